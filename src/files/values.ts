import { refuse } from "./error.js";

/** @throws FileError where a value is no finite number; whole numbers of 64 bits are. */
export function requireFinite(
  subject: string,
  data: ArrayLike<number | bigint>,
  remedy = "check the training that made it",
): void {
  for (let index = 0; index < data.length; index += 1) {
    const value = data[index];
    if (typeof value === "bigint" || Number.isFinite(value)) continue;
    refuse(`${subject}: value ${index}`, "a finite number", String(value), remedy);
  }
}

/** @throws FileError where a value is negative. */
export function requireVariance(subject: string, data: ArrayLike<number>, remedy: string): void {
  for (let index = 0; index < data.length; index += 1) {
    if (data[index]! < 0) {
      refuse(`${subject}: value ${index}`, "a variance >= 0", String(data[index]), remedy);
    }
  }
}
