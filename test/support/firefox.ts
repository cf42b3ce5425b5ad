import { spawn, type ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { defineBrowserProvider } from "@vitest/browser";
import { unpackChromium } from "./chromium.js";

const SYSTEM = [
  "/usr/bin/firefox",
  "/usr/bin/firefox-esr",
  "/Applications/Firefox.app/Contents/MacOS/firefox",
];

/** What a fresh profile is to be: WebGPU on, nothing that asks, updates or calls home. */
const PREFERENCES: Readonly<Record<string, unknown>> = {
  "dom.webgpu.enabled": true,
  "gfx.webgpu.ignore-blocklist": true,
  "app.update.enabled": false,
  "browser.aboutwelcome.enabled": false,
  "browser.shell.checkDefaultBrowser": false,
  "browser.startup.homepage_override.mstone": "ignore",
  "datareporting.policy.dataSubmissionEnabled": false,
  "toolkit.telemetry.reportingpolicy.firstRun": false,
  "dom.max_script_run_time": 0,
  "dom.disable_open_during_load": false,
};

async function start(url: string): Promise<{ process: ChildProcess; profile: string }> {
  const executable = process.env["FIREFOX_PATH"] ?? SYSTEM.find((path) => existsSync(path));
  if (!executable) throw new Error("no Firefox found: install it, or name it in FIREFOX_PATH");
  const profile = await mkdtemp(join(tmpdir(), "webgpu-batchnorm-firefox-"));
  const lines = Object.entries(PREFERENCES).map(
    ([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});`,
  );
  await writeFile(join(profile, "user.js"), lines.join("\n"));
  const env = { ...process.env };
  if (process.platform === "linux" && env["FIREFOX_WEBGPU_ADAPTER"] !== "default") {
    const folder = await unpackChromium();
    env["VK_ICD_FILENAMES"] = join(folder, "vk_swiftshader_icd.json");
    env["LD_LIBRARY_PATH"] = [env["LD_LIBRARY_PATH"], folder].filter(Boolean).join(":");
  }
  const child = spawn(executable, ["--headless", "--no-remote", "--profile", profile, url], {
    env,
    stdio: "ignore",
  });
  return { process: child, profile };
}

/**
 * Firefox as it is installed (FIREFOX_PATH names another), without a driver: it opens the page that it is told. On Linux its
 * WebGPU runs on SwiftShader unless FIREFOX_WEBGPU_ADAPTER is "default".
 */
export const firefox = defineBrowserProvider({
  name: "firefox",
  options: {},
  providerFactory: () => {
    let started: Awaited<ReturnType<typeof start>> | undefined;
    return {
      name: "firefox",
      supportsParallelism: false,
      getCommandsContext: () => ({}),
      openPage: async (_session: string, url: string) => {
        started = await start(url);
      },
      close: async () => {
        if (!started) return;
        const { process: child, profile } = started;
        const gone = new Promise((resolve) => child.once("exit", resolve));
        if (child.exitCode === null) {
          child.kill();
          await gone;
        }
        await rm(profile, { recursive: true, force: true });
      },
    };
  },
});
