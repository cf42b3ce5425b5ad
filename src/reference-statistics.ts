/**
 * Statistics beyond the batch in float64, for {@link module:reference}: ghosts, masks, batch renormalization, parts
 * that are merged. Built on the reference's own forward and backward, whose conventions and errors they share.
 */
import { requireObject } from "./arguments.js";
import { extentOf } from "./descriptor.js";
import { complain, OptionError, ShapeError } from "./errors.js";
import {
  backward,
  forward,
  inference,
  type BackwardResult,
  type ForwardOptions,
  type UpdatedState,
  type Values,
} from "./reference.js";
import { moved, prepare, requireLength, stateFrom } from "./reference-arguments.js";
import { requireCount } from "./statistics/count.js";

/** Statistics of some of a batch's values, `[C]` each. */
export interface PartialStatistics {
  /** M: values per channel. */
  count: number;
  /** `[C]`. */
  mean: Float64Array;
  /** Sum of squared deviations. */
  m2: Float64Array;
}

/** mu and sigma of batch renormalization, `[C]` each. */
export interface RenormState {
  /** mu. */
  readonly mean: Values;
  /** sigma. */
  readonly deviation: Values;
}

/** Options of {@link statisticsForward} and {@link statisticsBackward}. At most one of ghosts, mask and parts. */
export interface StatisticsOptions extends ForwardOptions {
  /** Samples of a ghost; the last takes what is left. */
  virtualBatchSize?: number | undefined;
  /** One value a position, in memory order of x without its channel; what is not 0 counts. */
  mask?: Values | undefined;
  /** Statistics to use in place of x's own. */
  statistics?: PartialStatistics | undefined;
  /** Batch renormalization: its averages before the batch. */
  renorm?: RenormState | undefined;
  /** Limits of r and of |d|. Default: 0 and infinity. */
  limits?:
    | {
        /** Default 0. */
        rMin?: number | undefined;
        /** Default infinity. */
        rMax?: number | undefined;
        /** Default infinity. */
        dMax?: number | undefined;
      }
    | undefined;
  /** Weight of the batch in the averages. Default 0.01. */
  renormMomentum?: number | undefined;
  /** r and d to use instead of the batch's: what a gradient takes for constants. */
  correction?:
    | {
        /** `[C]`. */
        r: Values;
        /** `[C]`. */
        d: Values;
      }
    | undefined;
}

/** What {@link statisticsForward} gives. With ghosts mean, varBiased, r and d are of one after another, `[ghosts * C]`. */
export interface StatisticsResult {
  /** Of x's size. */
  y: Float64Array;
  /** Of x's size, without renormalization's r and d. */
  xHat: Float64Array;
  /** What the activation is given, of x's size. */
  z: Float64Array;
  /** M of each ghost. */
  counts: number[];
  /** Of the batch. */
  mean: Float64Array;
  /** Of the batch, divided by M. */
  varBiased: Float64Array;
  /** 1 / sqrt(varBiased + eps). */
  invStd: Float64Array;
  /** 1 without batch renormalization. */
  r: Float64Array;
  /** 0 without batch renormalization. */
  d: Float64Array;
  /** Running statistics after the batch; null where none were given. */
  state: UpdatedState | null;
  /** The averages of batch renormalization after the batch, `[C]` each; null without. */
  renorm: {
    /** mu. */
    mean: Float64Array;
    /** sigma. */
    deviation: Float64Array;
  } | null;
}

/** What {@link statisticsBackward} gives: the core's gradients, and the scales of their errors. */
export type StatisticsGradients = Pick<
  BackwardResult,
  "dx" | "dGamma" | "dBeta" | "dz" | "sumAbsDz" | "sumAbsDzXHat" | "maxAbsDz" | "xHat" | "invStd"
>;

/**
 * Count, mean and M2 of a batch, or of what a mask leaves of it.
 *
 * @throws ShapeError, OptionError.
 */
export function statistics(
  x: Values,
  shape: readonly number[],
  options: Pick<StatisticsOptions, "layout" | "mask"> = {},
): PartialStatistics {
  const layout = options.layout ?? "channels-first";
  const { channels, size } = extentOf("statistics", shape, layout);
  requireLength("statistics", "x", x, size, `the product of [${shape.join(", ")}]`);
  const kept = keep(x, shape, options);
  const count = kept.length / channels;
  const { mean, varBiased } = forward(kept, [count, channels], { singleValue: "zero" });
  return { count, mean, m2: varBiased.map((variance) => variance * count) };
}

/**
 * Statistics of all values of several parts.
 *
 * `mean = sum n_i mean_i / n`, `M2 = sum M2_i + n_i (mean_i - mean)^2`; empty parts count for nothing.
 *
 * @see Chan, Golub and LeVeque 1983, https://doi.org/10.1080/00031305.1983.10483115.
 */
export function mergeStatistics(parts: readonly PartialStatistics[]): PartialStatistics {
  const some = parts.filter(({ count }) => count > 0);
  const count = some.reduce((sum, part) => sum + part.count, 0);
  const channels = parts[0]?.mean.length ?? 0;
  const mean = new Float64Array(channels);
  const m2 = new Float64Array(channels);
  for (let c = 0; c < channels; c++) {
    // Around one of the means, so that a large one costs no digits.
    const around = some[0]?.mean[c] ?? 0;
    const shift =
      some.reduce((sum, part) => sum + part.count * (part.mean[c]! - around), 0) / count;
    mean[c] = count > 0 ? around + shift : 0;
    for (const part of some) {
      m2[c]! += part.m2[c]! + part.count * (part.mean[c]! - around - shift) ** 2;
    }
  }
  return { count, mean, m2 };
}

/** x's values where the mask is not 0, channels last. */
function keep(
  x: Values,
  shape: readonly number[],
  { layout = "channels-first", mask }: Pick<StatisticsOptions, "layout" | "mask">,
): Float64Array {
  const { outer, channels, inner, count } = extentOf("statistics", shape, layout);
  if (mask && mask.length !== count) {
    throw new ShapeError(
      complain("mask", `${count} values (one a position)`, String(mask.length), "check its shape"),
    );
  }
  const kept: number[] = [];
  for (let o = 0; o < outer; o++) {
    for (let k = 0; k < inner; k++) {
      if (mask && mask[o * inner + k] === 0) continue;
      for (let c = 0; c < channels; c++) kept.push(x[(o * channels + c) * inner + k]!);
    }
  }
  return Float64Array.from(kept);
}

/** The part of the options that the core's reference takes. */
function plainOf(options: StatisticsOptions): ForwardOptions {
  const {
    virtualBatchSize: _v,
    mask: _m,
    statistics: _s,
    renorm: _r,
    limits: _l,
    renormMomentum: _n,
    correction: _c,
    ...plain
  } = options;
  return plain;
}

/** @throws ShapeError where a plane has not one number for each channel, or channel of each ghost. */
function requirePlanes(
  subject: string,
  { renorm, statistics: given, correction }: StatisticsOptions,
  channels: number,
  ghosts: number,
): void {
  const require = (name: string, values: Values | undefined, each = 1): void => {
    requireLength(subject, name, values, channels * each, "one per channel, and ghost");
  };
  if (renorm) {
    require("renorm.mean", renorm.mean);
    require("renorm.deviation", renorm.deviation);
  }
  if (given) {
    require("statistics.mean", given.mean);
    require("statistics.m2", given.m2);
  }
  if (correction) {
    require("correction.r", correction.r, ghosts);
    require("correction.d", correction.d, ghosts);
  }
}

interface Slice {
  readonly first: number;
  readonly end: number;
  readonly shape: readonly number[];
}

function slicesOf(shape: readonly number[], options: StatisticsOptions): Slice[] {
  const { virtualBatchSize, mask, statistics: given } = options;
  const [batch, ...rest] = shape as [number, ...number[]];
  if (virtualBatchSize !== undefined && (mask ?? given)) {
    throw new OptionError(
      complain("virtualBatchSize", "no mask and no statistics beside it", "one", "leave one out"),
    );
  }
  const size = requireCount("virtualBatchSize", virtualBatchSize ?? Math.max(1, batch), 1);
  const each = rest.reduce((a, b) => a * b, 1);
  return Array.from({ length: Math.max(1, Math.ceil(batch / size)) }, (_, ghost) => {
    const count = Math.min(size, batch - ghost * size);
    const first = ghost * size * each;
    return { first, end: first + count * each, shape: [count, ...rest] };
  });
}

function cut(values: Values, { first, end }: Slice): Float64Array {
  return Float64Array.from({ length: end - first }, (_, i) => values[first + i]!);
}

const joined = (parts: readonly Float64Array[]): Float64Array =>
  Float64Array.from(parts.flatMap((part) => Array.from(part)));

/**
 * A training forward whose statistics are of ghosts, of what a mask leaves, or another's, with or without batch
 * renormalization: `y = activation(gamma * (r * xHat + d) + beta)`, `r = clip(sigmaB / sigma, rMin, rMax)`,
 * `d = clip((muB - mu) / sigma, -dMax, dMax)`; without it r = 1 and d = 0.
 *
 * Ghosts count as batches one after another in the running statistics; all of them are corrected by the averages from
 * before the batch. With renormalization the running variance is the average deviation squared, as in the paper.
 *
 * @throws ShapeError, OptionError, SingleValueError as the core's forward does.
 * @see Hoffer, Hubara and Soudry 2017, https://arxiv.org/abs/1705.08741; Ioffe 2017, https://arxiv.org/abs/1702.03275.
 */
export function statisticsForward(
  x: Values,
  shape: readonly number[],
  options: StatisticsOptions = {},
): StatisticsResult {
  const subject = "statisticsForward";
  requireObject(subject, options);
  const plain = plainOf(options);
  const call = prepare(subject, x, shape, plain, ["state"]);
  const { resolved, extent } = call;
  const { eps, layout } = resolved;
  const { channels } = extent;
  const { state: _, residual, gamma, beta, ...rest } = plain;
  let state = stateFrom(subject, plain.state, call);
  const weight = options.renormMomentum ?? 0.01;
  const { rMin = 0, rMax = Infinity, dMax = Infinity } = options.limits ?? {};
  const before = options.renorm;
  const slices = slicesOf(shape, options);
  requirePlanes(subject, options, channels, slices.length);
  let renorm = before && {
    mean: Float64Array.from(before.mean),
    deviation: Float64Array.from(before.deviation),
  };
  const ghosts = slices.map((slice, ghost) => {
    const own = cut(x, slice);
    const part =
      options.statistics ??
      (options.mask
        ? statistics(own, slice.shape, { layout, mask: options.mask })
        : withCheck(own, slice.shape, rest));
    const { count, mean } = part;
    const variance = part.m2.map((sum) => (count > 0 ? sum / count : 0));
    const deviation = variance.map((value) => Math.sqrt(value + eps));
    const at = ghost * channels;
    /** In average deviations, 0 of 0 being 0, and clipped. */
    const relative = (of: number, c: number, low: number, high: number): number => {
      const sigma = Math.max(before!.deviation[c]!, Math.sqrt(eps));
      return Math.min(Math.max(of === 0 ? 0 : of / sigma, low), high);
    };
    const r = deviation.map((value, c) => {
      if (options.correction) return options.correction.r[at + c]!;
      return before ? relative(value, c, rMin, rMax) : 1;
    });
    const d = mean.map((value, c) => {
      if (options.correction) return options.correction.d[at + c]!;
      return before ? relative(value - before.mean[c]!, c, -dMax, dMax) : 0;
    });
    const scale = r.map((value, c) => value * (gamma?.[c] ?? 1));
    const offset = d.map((value, c) => value * (gamma?.[c] ?? 1) + (beta?.[c] ?? 0));
    const result = inference(own, slice.shape, {
      ...rest,
      ...(residual ? { residual: cut(residual, slice) } : {}),
      ...{ affine: true, trackRunningStats: true, gamma: scale, beta: offset, mean, variance },
    });
    if (count > 0 && state) {
      const tracked = state.numBatchesTracked + 1n;
      const momentum = resolved.momentum ?? 1 / Number(tracked);
      const divisor = resolved.runningVariance === "unbiased" ? Math.max(count - 1, 1) : count;
      const learned = part.m2.map((sum) => sum / divisor);
      const move = (old: number, value: number): number => moved(old, value, momentum);
      state = {
        mean: state.mean.map((old, c) => move(old, mean[c]!)),
        variance: state.variance.map((old, c) => {
          if (!before) return move(old, learned[c]!);
          const average = move(Math.sqrt(old + eps), Math.sqrt(learned[c]! + eps));
          return Math.max(0, average * average - eps);
        }),
        numBatchesTracked: tracked,
      };
    }
    if (count > 0) {
      renorm = renorm && {
        mean: renorm.mean.map((old, c) => moved(old, mean[c]!, weight)),
        deviation: renorm.deviation.map((old, c) => moved(old, deviation[c]!, weight)),
      };
    }
    return { ...result, varBiased: variance, count, r, d };
  });
  const all = (name: "y" | "xHat" | "z" | "mean" | "varBiased" | "invStd" | "r" | "d") =>
    joined(ghosts.map((each) => each[name]));
  return {
    ...{ y: all("y"), xHat: all("xHat"), z: all("z"), mean: all("mean") },
    ...{ varBiased: all("varBiased"), invStd: all("invStd"), r: all("r"), d: all("d") },
    counts: ghosts.map(({ count }) => count),
    state,
    renorm: renorm ?? null,
  };
}

/** A ghost's own statistics; one value a channel is an error or not as in the core. */
function withCheck(
  x: Values,
  shape: readonly number[],
  rest: Omit<ForwardOptions, "state" | "residual" | "gamma" | "beta">,
): PartialStatistics {
  const { mean, varBiased } = forward(x, shape, rest);
  const { count } = extentOf("forward", shape, rest.layout ?? "channels-first");
  return { count, mean, m2: varBiased.map((variance) => variance * count) };
}

/**
 * Gradients of {@link statisticsForward}; r and d count as constants. With `dz = dy * activation'(z)`, sums over all
 * positions (of a ghost), M the number of those that the statistics are of, and m the mask:
 * `dBeta = sum dz`, `dGamma = r * sum dz * xHat + d * sum dz`,
 * `dx = gamma * r * invStd * (dz - m / M * (sum dz + xHat * sum dz * xHat))`.
 *
 * With statistics of another M is theirs, and `sums` are those of the whole batch (default: x's own).
 *
 * @throws as the forward.
 */
export function statisticsBackward(
  dy: Values,
  x: Values,
  shape: readonly number[],
  options: StatisticsOptions & { sums?: { dz: Values; dzXHat: Values } } = {},
): StatisticsGradients {
  const { sums: givenSums, ...of } = options;
  const made = statisticsForward(x, shape, of);
  requireLength("statisticsBackward", "dy", dy, x.length, "as many as x");
  const { state: _, residual, gamma, beta, ...rest } = plainOf(of);
  const { layout = "channels-first" } = rest;
  const { channels } = extentOf("backward", shape, layout);
  const zero = (): Float64Array => new Float64Array(channels);
  const total = {
    ...{ dGamma: zero(), dBeta: zero(), sumAbsDz: zero() },
    ...{ sumAbsDzXHat: zero(), maxAbsDz: zero() },
  };
  const ghosts = slicesOf(shape, of).map((slice, ghost) => {
    const at = ghost * channels;
    const ofGhost = (values: Float64Array): Float64Array => values.subarray(at, at + channels);
    const [r, d] = [ofGhost(made.r), ofGhost(made.d)];
    const scale = r.map((value, c) => value * (gamma?.[c] ?? 1));
    const offset = d.map((value, c) => value * (gamma?.[c] ?? 1) + (beta?.[c] ?? 0));
    // In evaluation dx = scale * invStd * dz, and the sums are there: what is left is to let the statistics move.
    const each = backward(cut(dy, slice), cut(x, slice), slice.shape, {
      ...rest,
      ...(residual ? { residual: cut(residual, slice) } : {}),
      ...{ affine: true, trackRunningStats: true, gamma: scale, beta: offset },
      ...{
        mean: ofGhost(made.mean),
        variance: ofGhost(made.varBiased),
        mode: "evaluation" as const,
      },
    });
    const count = made.counts[ghost]!;
    const { outer, inner } = extentOf("backward", slice.shape, layout);
    const dx = each.dx.slice();
    for (let o = 0, i = 0; o < outer; o++) {
      for (let c = 0; c < channels; c++) {
        const dz = givenSums?.dz[c] ?? each.dBeta[c]!;
        const dzXHat = givenSums?.dzXHat[c] ?? each.dGamma[c]!;
        for (let k = 0; k < inner; k++, i++) {
          if (count === 0 || of.mask?.[o * inner + k] === 0) continue;
          dx[i]! -= (scale[c]! * each.invStd[c]! * (dz + each.xHat[i]! * dzXHat)) / count;
        }
      }
    }
    for (let c = 0; c < channels; c++) {
      const dz = givenSums?.dz[c] ?? each.dBeta[c]!;
      const dzXHat = givenSums?.dzXHat[c] ?? each.dGamma[c]!;
      total.dBeta[c]! += dz;
      total.dGamma[c]! += r[c]! * dzXHat + d[c]! * dz;
      total.sumAbsDz[c]! += each.sumAbsDz[c]!;
      total.sumAbsDzXHat[c]! +=
        Math.abs(r[c]!) * each.sumAbsDzXHat[c]! + Math.abs(d[c]!) * each.sumAbsDz[c]!;
      total.maxAbsDz[c] = Math.max(total.maxAbsDz[c]!, each.maxAbsDz[c]!);
    }
    return { dx, dz: each.dz };
  });
  return {
    ...total,
    dx: joined(ghosts.map(({ dx }) => dx)),
    dz: joined(ghosts.map(({ dz }) => dz)),
    xHat: made.xHat,
    invStd: made.invStd,
  };
}
