import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import type { Results } from "./results.js";

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
