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

/** @throws OptionError where `parts` is no number of parts, or `part` none of them; returns `part`. */
export function requirePart(
  subject: string,
  {
    parts = 1,
    part = 0,
  }: { readonly parts?: number | undefined; readonly part?: number | undefined },
): number {
  requireCount(`${subject}: parts`, parts, 1);
  if (Number.isSafeInteger(part) && part >= 0 && part < parts) return part;
  const expected = `a whole number from 0 to ${parts - 1} (parts is ${parts})`;
  throw new OptionError(complain(`${subject}: part`, expected, String(part), "count from 0"));
}
