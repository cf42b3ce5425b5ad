/** What the functions of the reference are called with, and the errors where it does not fit. */
import { requireKnown } from "./arguments.js";
import {
  type Extent,
  extentOf,
  OPTIONS,
  type ResolvedOptions,
  resolveOptions,
} from "./descriptor.js";
import { complain, OptionError, ShapeError } from "./errors.js";
import type { ReferenceOptions, RunningState, Values } from "./reference.js";

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
  if (options.residual !== undefined) {
    requireLength(subject, "residual", options.residual, extent.size, "as many as x");
  }
  const { channels } = extent;
  for (const name of ["gamma", "beta"] as const) {
    const given = options[name];
    if (given === undefined) continue;
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
  values: Values | undefined,
  length: number,
  why: string,
): asserts values is Values {
  if (values === undefined || values.length !== length) {
    const received = values === undefined ? "nothing" : String(values.length);
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

/** @throws ShapeError where there is not one mean and variance per channel; OptionError where none are tracked. */
export function requireState(
  subject: string,
  state: RunningState | undefined,
  { extent, resolved }: Call,
): void {
  if (state === undefined) return;
  forbidWithoutTracking(subject, "state", resolved);
  requireLength(subject, "state.mean", state.mean, extent.channels, "one per channel");
  requireLength(subject, "state.variance", state.variance, extent.channels, "one per channel");
}

/** A moving average's next value. A weight of 1 forgets, whatever was there (0 times NaN is NaN). */
export function moved(old: number, value: number, weight: number): number {
  return weight === 1 ? value : (1 - weight) * old + weight * value;
}
