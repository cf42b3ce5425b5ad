import { complain, OptionError } from "../errors.js";

/** @throws OptionError where a count is no whole number of at least `least`. */
export function requireCount(subject: string, value: number, least: number): number {
  if (!(Number.isSafeInteger(value) && value >= least && value < 2 ** 32)) {
    throw new OptionError(
      complain(subject, `a whole number >= ${least}`, String(value), "count again"),
    );
  }
  return value;
}
