/** examples/tent.ts, as its first lines say to run it. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

test("new statistics repair most of a shift; entropy's gradient makes predictions surer and no worse", async () => {
  const cwd = fileURLToPath(new URL("../..", import.meta.url));
  const program = ["scripts/run.mjs", "examples/tent.ts"];
  const { stdout } = await promisify(execFile)(process.execPath, program, { cwd });
  type Adapted = { right: number; entropy: number };
  const { digits, before, withNewStatistics, withTent } = JSON.parse(stdout) as {
    digits: number;
    before: number;
    withNewStatistics: Adapted;
    withTent: Adapted;
  };
  expect(digits).toBe(1000);
  expect(before).toBeLessThan(400);
  expect(withNewStatistics.right).toBeGreaterThan(800);
  expect(withTent.right).toBeGreaterThanOrEqual(withNewStatistics.right);
  expect(withTent.entropy).toBeLessThan(withNewStatistics.entropy);
});
