/** What the functions of the reference are called with, and the errors where it does not fit. */
import { kindOf, requireKnown } from "./arguments.js";
import {
  type Extent,
  extentOf,
  OPTIONS,
  type ResolvedOptions,
  resolveOptions,
} from "./descriptor.js";
import { complain, OptionError, ShapeError } from "./errors.js";
import type { ReferenceOptions, RunningState, UpdatedState, Values } from "./reference.js";

const REFERENCE_OPTIONS: readonly string[] = [...OPTIONS, "gamma", "beta", "residual"];

/** What a function of the reference was called with, checked. */
export interface Call {
  readonly extent: Extent;
  readonly resolved: ResolvedOptions;
  readonly gamma: Values;
  readonly beta: Values;
}

/** @throws ShapeError where a length does not fit the shape; OptionError where an option is unknown or outside its range. */
export function prepare(
  subject: string,
  x: Values,
  shape: readonly number[],
  options: ReferenceOptions,
  also: readonly string[],
): Call {
  requireKnown(subject, options, [...REFERENCE_OPTIONS, ...also]);
  const resolved = resolveOptions(subject, options);
  const extent = extentOf(subject, shape, resolved.layout);
  requireLength(subject, "x", x, extent.size, `the product of [${shape.join(", ")}]`);
  const { residual = null } = options;
  if (residual !== null) requireLength(subject, "residual", residual, extent.size, "as many as x");
  const { channels } = extent;
  for (const name of ["gamma", "beta"] as const) {
    const { [name]: given = null } = options;
    if (given === null) continue;
    if (!resolved.affine) {
      const remedy = `leave ${name} out, or set affine: true`;
      throw new OptionError(
        complain(`${subject}: ${name}`, "nothing with affine: false", "values", remedy),
      );
    }
    requireLength(subject, name, given, channels, "one per channel");
  }
  const gamma = options.gamma ?? new Float64Array(channels).fill(1);
  const beta = options.beta ?? new Float64Array(channels);
  return { extent, resolved, gamma, beta };
}

/** @throws ShapeError where there are not so many values. */
export function requireLength(
  subject: string,
  name: string,
  values: Values | null | undefined,
  length: number,
  why: string,
): asserts values is Values {
  const found = (values as Partial<Values> | null | undefined)?.length;
  if (found !== length) {
    const received = String(found ?? kindOf(values));
    const remedy = `check ${name}, shape and layout`;
    throw new ShapeError(
      complain(`${subject}: ${name}`, `${length} values (${why})`, received, remedy),
    );
  }
}

/** @throws OptionError where no running statistics are tracked. */
export function forbidWithoutTracking(
  subject: string,
  name: string,
  resolved: ResolvedOptions,
): void {
  if (resolved.trackRunningStats) return;
  const expected = "nothing with trackRunningStats: false";
  const remedy = `leave ${name} out: the batch's own statistics are used`;
  throw new OptionError(complain(`${subject}: ${name}`, expected, "values", remedy));
}

/**
 * The running statistics given, as they are to be updated; null where none are.
 *
 * @throws ShapeError where there is not one mean and variance per channel; OptionError where none are tracked, or the counter
 * is no count.
 */
export function stateFrom(
  subject: string,
  state: RunningState | null | undefined,
  { extent, resolved }: Call,
): UpdatedState | null {
  if (state === undefined || state === null) return null;
  forbidWithoutTracking(subject, "state", resolved);
  const { mean, variance, numBatchesTracked: given } = state;
  requireLength(subject, "state.mean", mean, extent.channels, "one per channel");
  requireLength(subject, "state.variance", variance, extent.channels, "one per channel");
  if (!(given >= 0 && (typeof given === "bigint" || Number.isInteger(given)))) {
    const name = `${subject}: state.numBatchesTracked`;
    throw new OptionError(
      complain(name, "a whole number >= 0", String(given), "0 before the first batch"),
    );
  }
  return {
    mean: Float64Array.from(mean),
    variance: Float64Array.from(variance),
    numBatchesTracked: BigInt(given),
  };
}

/** A moving average's next value. A weight of 1 forgets, whatever was there (0 times NaN is NaN). */
export function moved(old: number, value: number, weight: number): number {
  return weight === 1 ? value : (1 - weight) * old + weight * value;
}
