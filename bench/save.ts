import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import type { Results } from "./results.js";

/** What tells one measurement from another. */
function keyOf(of: {
  readonly name: string;
  readonly layout: string;
  readonly dtype: string;
  readonly operation: string;
}): string {
  return [of.name, of.layout, of.dtype, of.operation].join();
}

/**
 * Adds the cases that a file has already, but for those that were measured anew. A file of another adapter or runtime is
 * an error: its times are no company for these.
 */
export async function appended(file: string, results: Results): Promise<Results> {
  const text = await readFile(file, "utf8").catch(() => null);
  if (text === null) return results;
  const before = JSON.parse(text) as Results;
  if (before.adapter !== results.adapter || before.runtime !== results.runtime) {
    throw new Error(
      `--append: ${file} is of ${before.adapter}, ${before.runtime}; this is ${results.adapter}, ${results.runtime}`,
    );
  }
  const timed = new Set(results.rows.map(keyOf));
  const leftOut = new Set(results.skipped.map(keyOf));
  return {
    ...results,
    peers: [...new Set([...before.peers, ...results.peers])],
    rows: [...before.rows.filter((row) => !timed.has(keyOf(row))), ...results.rows],
    skipped: [
      ...before.skipped.filter((each) => !timed.has(keyOf(each)) && !leftOut.has(keyOf(each))),
      ...results.skipped,
    ],
    ...((results.hostCost ?? before.hostCost)
      ? { hostCost: results.hostCost ?? before.hostCost! }
      : {}),
  };
}

/** Writes results as JSON, numbers to five digits. */
export async function save(file: string, results: Results): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const text = JSON.stringify(
    results,
    (_, value: unknown) =>
      typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value,
    1,
  );
  await writeFile(file, `${text}\n`);
}
