import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

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
  try {
    return execFileSync("ldd", [executable], { encoding: "utf8" }).includes("not found");
  } catch {
    return true;
  }
}

/**
 * Unpacks the Chromium of `@sparticuz/chromium`, its fonts and its libraries into a folder that is this
 * checkout's and this version's: the package itself takes whatever lies in the temporary folder, and a second
 * process meets the first one's half-written file there.
 */
export async function unpackChromium(): Promise<string> {
  const require = createRequire(import.meta.url);
  const packed = join(dirname(require.resolve("@sparticuz/chromium")), "..");
  const { version } = JSON.parse(readFileSync(join(packed, "package.json"), "utf8")) as {
    version: string;
  };
  const cache = fileURLToPath(new URL("../../node_modules/.cache", import.meta.url));
  const folder = join(cache, `chromium-${version}`);
  if (existsSync(folder)) return folder;
  const making = `${folder}.${randomUUID()}`;
  await mkdir(making, { recursive: true });
  const before = process.env["TMPDIR"];
  process.env["TMPDIR"] = making;
  try {
    const { default: bundled, inflate } = await import("@sparticuz/chromium");
    await Promise.all([bundled.executablePath(), inflate(join(packed, "bin", "al2023.tar.br"))]);
  } finally {
    if (before === undefined) delete process.env["TMPDIR"];
    else process.env["TMPDIR"] = before;
  }
  await rename(making, folder).catch(async (error: unknown) => {
    await rm(making, { recursive: true, force: true });
    if (!existsSync(folder)) throw error;
  });
  return folder;
}

/**
 * A Chrome of the system where there is one, else the Chromium that the npm package @sparticuz/chromium
 * ships (Linux on x64), with the libraries and fonts that it ships where the system lacks some. Elsewhere the one
 * that playwright would have installed.
 * CHROME_PATH names another, or is "bundled" for the one out of npm. CHROME_WEBGPU_ADAPTER is what
 * `--use-webgpu-adapter` gets: "swiftshader" unless said otherwise, "default" for the machine's GPU.
 */
export async function chromiumLaunch(): Promise<Launch> {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(
      (entry): entry is [string, string] => entry[1] !== undefined,
    ),
  );
  const args = [
    "--no-sandbox",
    "--enable-unsafe-webgpu",
    `--use-webgpu-adapter=${process.env["CHROME_WEBGPU_ADAPTER"] ?? "swiftshader"}`,
    "--enable-features=Vulkan",
    "--disable-gpu-watchdog",
  ];
  const asked = process.env["CHROME_PATH"];
  const system =
    asked === "bundled" ? undefined : (asked ?? SYSTEM.find((path) => existsSync(path)));
  if (system) return { executablePath: system, args, env };
  if (process.platform !== "linux" || process.arch !== "x64") {
    return { executablePath: chromium.executablePath(), args, env };
  }
  const folder = await unpackChromium();
  const executablePath = join(folder, "chromium");
  if (lacksLibraries(executablePath)) {
    const libraries = join(folder, "al2023", "lib");
    env["LD_LIBRARY_PATH"] = [env["LD_LIBRARY_PATH"], libraries].filter(Boolean).join(":");
  }
  if (!existsSync("/etc/fonts/fonts.conf")) env["FONTCONFIG_PATH"] ??= join(folder, "fonts");
  return { executablePath, args, env };
}
