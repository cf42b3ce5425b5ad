import { complain, OptionError } from "./errors.js";

/** What a value is, in words: for what was received in place of another. */
export function kindOf(value: unknown): string {
  if (value === undefined || value === null) return "nothing";
  const name = typeof value === "object" ? (value.constructor?.name ?? "object") : typeof value;
  return `${/^[aeio]/i.test(name) ? "an" : "a"} ${name}`;
}

/** A value as it was written: strings in quotes. */
export function shown(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}

const plain = (name: string): string => name.replace(/_/g, "").toLowerCase();

/** In how many letters two names differ, 2 where one shortens the other; Infinity where they are not near. */
function distance(one: string, other: string): number {
  const [a, b] = [plain(one), plain(other)].sort((x, y) => x.length - y.length) as [string, string];
  let begin = 0;
  while (begin < a.length && a[begin] === b[begin]) begin += 1;
  let end = 0;
  while (end < a.length - begin && a.at(-1 - end) === b.at(-1 - end)) end += 1;
  const letters = b.length - begin - end;
  if (letters < 3 && letters < a.length - 1) return letters;
  return a.length > 2 && begin === a.length ? 2 : Infinity;
}

/** @throws OptionError where options are none. */
export function requireObject(subject: string, given: object): void {
  if (Object(given) === given) return;
  throw new OptionError(complain(subject, "an object of options", kindOf(given), "pass one"));
}

/**
 * Refuses options that there are not: in JavaScript nobody else would notice a slip.
 *
 * @param hints remedies for names that belong elsewhere.
 * @throws OptionError naming the first such option and the nearest that there is.
 */
export function requireKnown(
  subject: string,
  given: object,
  known: readonly string[],
  hints: Readonly<Record<string, string>> = {},
): void {
  requireObject(subject, given);
  for (const name of Object.keys(given)) {
    if (known.includes(name)) continue;
    const apart = known.map((each) => distance(name, each));
    const least = Math.min(...apart);
    const near = least < 3 && known[apart.indexOf(least)];
    throw new OptionError(
      complain(
        `${subject}: ${name}`,
        `one of ${known.join(", ")}`,
        `"${name}"`,
        hints[name] ?? (near ? `did you mean ${near}?` : "leave it out"),
      ),
    );
  }
}

/** @throws OptionError where a number is no whole one of at least `least`. */
export function requireWhole(subject: string, value: number, least: number, remedy: string): void {
  if (Number.isSafeInteger(value) && value >= least) return;
  throw new OptionError(complain(subject, `a whole number >= ${least}`, shown(value), remedy));
}
