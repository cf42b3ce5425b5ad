import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import bundled, { inflate } from "@sparticuz/chromium";

/** How to launch a Chromium with WebGPU. */
export interface Launch {
  executablePath: string;
  args: string[];
  env: Record<string, string>;
}

const SYSTEM = [
  "/usr/bin/google-chrome",
  "/usr/bin/google-chrome-stable",
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

function lacksLibraries(executable: string): boolean {
  if (process.platform !== "linux") return false;
  try {
    return execFileSync("ldd", [executable], { encoding: "utf8" }).includes("not found");
  } catch {
    return true;
  }
}

/**
 * A Chrome of the system where there is one, else the Chromium that the npm package @sparticuz/chromium
 * ships, with the libraries that it ships where the system lacks some. CHROME_PATH overrides; CHROME_PATH=bundled
 * asks for the one out of npm.
 */
export async function chromiumLaunch(): Promise<Launch> {
  const asked = process.env["CHROME_PATH"];
  const system =
    asked === "bundled" ? undefined : (asked ?? SYSTEM.find((path) => existsSync(path)));
  const env = Object.fromEntries(
    Object.entries(process.env).filter(
      (entry): entry is [string, string] => entry[1] !== undefined,
    ),
  );
  let executablePath = system;
  if (!executablePath) {
    executablePath = await bundled.executablePath();
    if (lacksLibraries(executablePath)) {
      const packed = join(
        dirname(createRequire(import.meta.url).resolve("@sparticuz/chromium")),
        "../bin/al2023.tar.br",
      );
      await inflate(packed);
      const libraries = join(tmpdir(), "al2023", "lib");
      env["LD_LIBRARY_PATH"] = [libraries, env["LD_LIBRARY_PATH"]].filter(Boolean).join(":");
    }
  }
  return {
    executablePath,
    env,
    args: [
      "--no-sandbox",
      "--enable-unsafe-webgpu",
      "--use-webgpu-adapter=swiftshader",
      "--enable-features=Vulkan",
      "--disable-gpu-watchdog",
    ],
  };
}
