/** The API site: every export is documented, every link leads somewhere. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));

test("typedoc gives no warning", async () => {
  const typedoc = fileURLToPath(new URL("../../node_modules/.bin/typedoc", import.meta.url));
  const { stdout, stderr } = await promisify(execFile)(typedoc, ["--emit", "none"], {
    cwd: root,
  }).catch((error: { stdout: string; stderr: string }) => error);
  expect(stdout + stderr).not.toMatch(/warning|error/i);
}, 120_000);
