/** The core does not grow unseen. */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

// What it is now and a little: 15 KB, which was aimed at, holds for neither the modules nor the plans alone.
const LIMIT = 24.5 * 1024;

test(`the core, minified, is at most ${LIMIT} bytes with gzip`, () => {
  const script = fileURLToPath(new URL("../../scripts/size.mjs", import.meta.url));
  const size = (limit: number): string =>
    execFileSync(process.execPath, [script, String(limit)], { encoding: "utf8", stdio: "pipe" });
  expect(size(LIMIT)).toMatch(/^core: \d+ bytes minified, \d+ bytes with gzip/);
  expect(() => size(1024)).toThrow("Command failed");
});
