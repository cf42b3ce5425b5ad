import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import type { Results } from "./results.js";
import { UsageError } from "./usage.js";

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
 * What a file has already, null where there is none.
 *
 * @throws UsageError where it is of another adapter or runtime: its times are no company for these.
 */
export async function resultsIn(
  file: string,
  of: Pick<Results, "adapter" | "runtime">,
): Promise<Results | null> {
  const text = await readFile(file, "utf8").catch(() => null);
  if (text === null) return null;
  const found = JSON.parse(text) as Results;
  if (found.adapter === of.adapter && found.runtime === of.runtime) return found;
  throw new UsageError(
    `--append: ${file} is of ${found.adapter}, ${found.runtime}; this is ${of.adapter}, ${of.runtime}`,
  );
}

/** Adds the cases of before, but for those that were measured anew. */
export function appended(before: Results | null, results: Results): Results {
  if (!before) return results;
  const timed = new Set(results.rows.map(keyOf));
  const leftOut = new Set(results.skipped.map(keyOf));
  const known = new Set(before.rows.map(keyOf));
  return {
    ...results,
    peers: [...new Set([...before.peers, ...results.peers])],
    rows: [...before.rows.filter((row) => !timed.has(keyOf(row))), ...results.rows],
    skipped: [
      ...before.skipped.filter((each) => !timed.has(keyOf(each)) && !leftOut.has(keyOf(each))),
      // A case that was left out now stands in the file as it was timed before.
      ...results.skipped.filter((each) => each.candidate !== "all" || !known.has(keyOf(each))),
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
