import { expect } from "vitest";

/** One bound for every element, or one for each: an array, or a function of index and expected value. */
export type Tolerance = number | ArrayLike<number> | ((index: number, expected: number) => number);

/** Passes where `|actual - expected| <= atol + rtol·|expected|`, element by element. */
export interface AllcloseOptions {
  /** Absolute tolerance, finite and >= 0. Default 0. */
  atol?: Tolerance;
  /** Relative to `|expected|`, finite and >= 0. Default 0. */
  rtol?: Tolerance;
  /** Lets NaN match NaN. Default false: any NaN fails. */
  nan?: boolean;
}

/** What a comparison found, and what it says about it. */
export interface AllcloseResult {
  pass: boolean;
  message: string;
}

interface AllcloseMatchers<R = unknown> {
  /**
   * Compares two arrays of numbers so that NaN, a missing element or a senseless tolerance fails. Infinity matches
   * only the same infinity.
   */
  toBeAllclose(expected: ArrayLike<number>, options?: AllcloseOptions): R;
}

declare module "vitest" {
  // eslint-disable-next-line @typescript-eslint/no-empty-object-type, @typescript-eslint/no-explicit-any
  interface Matchers<T = any> extends AllcloseMatchers<T> {}
}

function toleranceAt(name: string, tolerance: Tolerance, index: number, expected: number): number {
  const value =
    typeof tolerance === "number"
      ? tolerance
      : typeof tolerance === "function"
        ? tolerance(index, expected)
        : tolerance[index];
  if (value === undefined || !(value >= 0 && value < Infinity)) {
    throw new RangeError(
      `toBeAllclose: ${name}[${index}]: expected a finite number >= 0, got ${String(value)}; a bound that no error can exceed tests nothing`,
    );
  }
  return value;
}

function isNumbers(value: unknown): value is ArrayLike<number> {
  if (ArrayBuffer.isView(value)) return !(value instanceof DataView);
  return Array.isArray(value) && value.every((each) => typeof each === "number");
}

/** The comparison behind `toBeAllclose`. */
export function compareAllclose(
  actual: unknown,
  expected: ArrayLike<number>,
  { atol = 0, rtol = 0, nan = false }: AllcloseOptions = {},
): AllcloseResult {
  if (!isNumbers(actual) || !isNumbers(expected)) {
    const which = isNumbers(actual) ? "expected" : "actual";
    return { pass: false, message: `${which}: needs an array of numbers` };
  }
  for (const [name, tolerance] of Object.entries({ atol, rtol })) {
    if (typeof tolerance === "object" && tolerance.length !== expected.length) {
      throw new RangeError(
        `toBeAllclose: ${name}: expected ${expected.length} values, got ${tolerance.length}; one for each element`,
      );
    }
    // Checked even where there is no element to compare.
    if (typeof tolerance === "number") toleranceAt(name, tolerance, 0, 0);
  }
  if (actual.length !== expected.length) {
    const message = `lengths differ: actual has ${actual.length} elements, expected has ${expected.length}`;
    return { pass: false, message };
  }
  let failures = 0;
  let first = -1;
  let worst = -1;
  let worstRatio = -1;
  for (let i = 0; i < expected.length; i++) {
    const a = Number(actual[i]);
    const e = Number(expected[i]);
    const bound = boundAt(i, e);
    const error = Math.abs(a - e);
    const same = a === e || (nan && Number.isNaN(a) && Number.isNaN(e));
    const ok = same || (Number.isFinite(error) && error <= bound);
    if (!ok) {
      failures++;
      if (first < 0) first = i;
    }
    // By how much the bound is used, or broken; what is no number breaks it most.
    const ratio = same
      ? 0
      : ok
        ? error / bound
        : Number.isFinite(error)
          ? Math.max(error / bound, 1)
          : Infinity;
    if (ratio > worstRatio) {
      worstRatio = ratio;
      worst = i;
    }
  }
  const pass = failures === 0;
  if (worst < 0) return { pass, message: "both are empty" };
  const a = Number(actual[worst]);
  const e = Number(expected[worst]);
  const message = [
    pass
      ? `all ${expected.length} elements are within tolerance; nearest to it:`
      : `${failures} of ${expected.length} elements are out of tolerance, first at index ${first}; worst:`,
    `  index      ${worst}`,
    `  actual     ${a}`,
    `  expected   ${e}`,
    `  error      ${Math.abs(a - e)}`,
    `  tolerance  ${boundAt(worst, e)}`,
  ].join("\n");
  return { pass, message };

  function boundAt(index: number, value: number): number {
    const absolute = toleranceAt("atol", atol, index, value);
    const relative = toleranceAt("rtol", rtol, index, value);
    return relative === 0 ? absolute : absolute + relative * Math.abs(value);
  }
}

expect.extend({
  toBeAllclose(received: unknown, expected: ArrayLike<number>, options?: AllcloseOptions) {
    const { pass, message } = compareAllclose(received, expected, options);
    return { pass, message: () => message };
  },
});
