/**
 * How far a value on the device may be from the float64 reference, each bound with its derivation. The reference is
 * given the very numbers that the device has: inputs, eps and momentum rounded to f32 (and x, dy and residual to 16 bits
 * where they are stored so).
 *
 * Written with U = 2^-24, the relative error of one rounding to f32. WGSL allows 2.5 ulp for a division and 2 for an
 * inverse square root.
 */
import type { ActivationName, Dtype, Layout } from "../../src/descriptor.js";
import type { BackwardResult, ForwardResult, InferenceResult } from "../../src/reference.js";

/** The relative error of one rounding to f32. */
export const U = 2 ** -24;

/**
 * |error of xHat| <= XHAT * max(1, |xHat|). In units of U, the deviation of one value from the mean is off by 2 |xHat|
 * (two subtractions; the first is exact where offset / std is large) and by up to 8 for the mean itself (a block's mean
 * costs 3 times its spread, merging averages those errors). invStd is off by half of what m2 is (4 + log2 of 256 teams, its
 * long chain is compensated), plus 8 for root and division; the product with gamma, that with the deviation and the
 * sum with beta add 3. Together 2 + 8 + 6 + 8 + 3 = 27 U = 1.7e-6, stated as 2e-6 (DESIGN 5).
 */
export const XHAT = 2e-6;

/** The bound of DESIGN 5 for gradients, relative to the sums or maxima named below. */
export const GRADIENT = 1e-5;

/**
 * Additions that one value goes through at most: 2 within a block of four, 2 for the compensated chain of blocks, 2 for
 * the parts of a vector, 8 for a tree of 256 lanes, 64 for the chunks that one lane adds plainly.
 */
export function sumDepth(count: number): number {
  return Math.max(0, Math.min(count - 1, 2 + 2 + 2 + 8 + 64));
}

/** The distance from |value| to the next f32. */
export function ulp(value: number): number {
  const exponent = value === 0 ? -126 : Math.max(-126, Math.floor(Math.log2(Math.abs(value))));
  return 2 ** (exponent - 23);
}

const STORED = { f16: [10, -14], bf16: [7, -126] } as const;

/** Half of a unit of the stored type, at a value that is itself off by `error`; 0 for f32, whose ulp stands in the bounds. */
function storing(value: number, error: number, dtype: Dtype): number {
  if (dtype === "f32") return 0;
  const [fraction, least] = STORED[dtype];
  const size = Math.abs(value) + error;
  const exponent = size === 0 ? least : Math.max(least, Math.floor(Math.log2(size)));
  return 2 ** (exponent - fraction - 1);
}

/**
 * Largest |activation'| and |activation''| away from kinks, and the error of evaluating either in f32 (WGSL: exp within
 * 3 + 2|z| ulp; erf by a rational approximation within 4e-7; tanh and sigmoid end in a division).
 */
const ACTIVATION: Readonly<Record<ActivationName, readonly [number, number, number]>> = {
  none: [1, 0, 0],
  relu: [1, 0, 0],
  relu6: [1, 0, 0],
  "leaky-relu": [1, 0, 2 * U],
  elu: [1.5, 1.5, 1e-6],
  tanh: [1, 0.8, 2e-6],
  sigmoid: [0.25, 0.1, 1e-6],
  silu: [1.1, 0.5, 2e-6],
  gelu: [1.13, 0.8, 2e-6],
  "hard-swish": [1.5, 0.34, 4 * U],
};

/** What the bounds depend on besides the reference's result. */
export interface Setting {
  readonly shape: readonly number[];
  readonly layout?: Layout | undefined;
  readonly dtype?: Dtype | undefined;
  readonly activation?: ActivationName | undefined;
  /** 1 where left out. */
  readonly gamma?: ArrayLike<number> | undefined;
  /** 0 where left out. */
  readonly residual?: ArrayLike<number> | undefined;
}

/** One bound per element of a tensor, or per channel. */
export type Bound = (index: number) => number;

/** Which channel an element belongs to, and how many values a channel has. */
export function channelsOf({ shape, layout = "channels-first" }: Setting): {
  channels: number;
  count: number;
  channelAt: Bound;
} {
  const size = shape.reduce((a, b) => a * b, 1);
  const last = layout === "channels-last" || shape.length === 2;
  const channels = (last ? shape[shape.length - 1] : shape[1])!;
  const inner = last ? 1 : shape.slice(2).reduce((a, b) => a * b, 1);
  return {
    channels,
    count: channels === 0 ? 0 : size / channels,
    channelAt: (index) => Math.floor(index / inner) % channels,
  };
}

/** |error of z|: xHat's times |gamma|, and with a residual one more rounding of a sum that it may cancel. */
function errorOfZ(setting: Setting, result: InferenceResult): Bound {
  const { channelAt } = channelsOf(setting);
  const { gamma, residual } = setting;
  return (i) => {
    const scale = Math.abs(gamma?.[channelAt(i)] ?? 1);
    const added = residual ? 2 * U * (Math.abs(residual[i]!) + Math.abs(result.z[i]!)) : 0;
    return XHAT * Math.max(1, Math.abs(result.xHat[i]!)) * scale + added;
  };
}

/**
 * y: 2e-6 * max(1, |xHat|) * |gamma| + ulp(y), times the activation's slope; one rounding to the stored type for 16 bits.
 */
export function boundOfY(setting: Setting, result: InferenceResult): Bound {
  const { activation = "none", dtype = "f32" } = setting;
  const ofZ = errorOfZ(setting, result);
  const [slope, , own] = ACTIVATION[activation];
  return (i) => {
    const y = result.y[i]!;
    const error = slope * ofZ(i) + own * Math.max(1, Math.abs(y)) + ulp(y);
    return error + storing(y, error, dtype);
  };
}

/**
 * Running statistics after one update: the batch's own error enters with the weight of the batch (mean: XHAT deviations,
 * by xHat's bound; variance: twice XHAT, since invStd goes with its root), two products, a sum and the weight itself
 * round, each by U of at most |old| + |batch|.
 */
export function boundsOfState(
  before: { readonly mean: ArrayLike<number>; readonly variance: ArrayLike<number> },
  result: ForwardResult,
  weight: number,
): { mean: Bound; variance: Bound } {
  return {
    mean: (c) =>
      weight * XHAT * Math.sqrt(result.varBiased[c]!) +
      5 * U * (Math.abs(before.mean[c]!) + Math.abs(result.mean[c]!)),
    // M = 2 doubles the batch's variance.
    variance: (c) =>
      weight * 2 * 2 * XHAT * result.varBiased[c]! +
      5 * U * (before.variance[c]! + 2 * result.varBiased[c]!),
  };
}

/** Bounds of a backward pass. */
export interface GradientBounds {
  dx: Bound;
  dGamma: Bound;
  dBeta: Bound;
  dResidual: Bound;
}

/**
 * dBeta: every dz is rounded at most sumDepth(M) times, so sumDepth(M) * U of the sum of |dz|, never above 1e-5 of it.
 *
 * dGamma: the same of the sum of |dz * xHat|, each product rounded once more, and xHat's own error times |dz|; never above
 * 1e-5 of that sum.
 *
 * dx, in units of |gamma| * invStd * max|dz|: with m1 = dBeta / M <= 1, m2 = dGamma / M <= 1 (Cauchy and Schwarz, the mean
 * of xHat^2 being at most 1) and their errors of sumDepth(M) * U, plus XHAT each for xHat, for m2's xHat and for invStd:
 * 3 * XHAT + 4 * sumDepth(M) * U for |xHat| up to 3, never above 1e-5. In evaluation m1 = m2 = 0: four roundings, and the
 * 10 U that invStd may be off by.
 *
 * dz itself is exact without an activation; with one its derivative is off by |activation''| times z's error and by its own.
 * What 16 bits round is added to dx and dResidual; it stands in no sum.
 */
export function boundsOfGradients(
  setting: Setting,
  dy: ArrayLike<number>,
  result: BackwardResult,
): GradientBounds {
  const { activation = "none", dtype = "f32", gamma } = setting;
  const { channels, count, channelAt } = channelsOf(setting);
  const evaluation = result.dMean !== null;
  const { dz, xHat, invStd, maxAbsDz, sumAbsDz, sumAbsDzXHat } = result;
  const [, curvature, own] = ACTIVATION[activation];
  const ofZ = errorOfZ(setting, { ...result, y: result.z });
  const errorOfDz = (i: number): number =>
    activation === "none"
      ? 0
      : Math.abs(dy[i]!) * (curvature * ofZ(i) + own * Math.max(1, Math.abs(result.z[i]!)) + 4 * U);
  const sumErrors = new Float64Array(channels);
  const sumErrorsXHat = new Float64Array(channels);
  const maxErrors = new Float64Array(channels);
  const ofXHat = new Float64Array(channels);
  for (let i = 0; i < dz.length; i++) {
    const c = channelAt(i);
    const error = errorOfDz(i);
    sumErrors[c]! += error;
    sumErrorsXHat[c]! += error * Math.abs(xHat[i]!);
    maxErrors[c] = Math.max(maxErrors[c]!, error);
    ofXHat[c]! += XHAT * Math.max(1, Math.abs(xHat[i]!)) * Math.abs(dz[i]!);
  }
  const depth = sumDepth(count);
  const relative = evaluation ? 14 * U : Math.min(GRADIENT, 3 * XHAT + 4 * depth * U);
  return {
    dBeta: (c) => Math.min(GRADIENT, depth * U) * sumAbsDz[c]! + 2 * sumErrors[c]!,
    dGamma: (c) =>
      Math.min(GRADIENT * sumAbsDzXHat[c]!, (depth + 1) * U * sumAbsDzXHat[c]! + ofXHat[c]!) +
      2 * sumErrorsXHat[c]!,
    dx: (i) => {
      const c = channelAt(i);
      const scale = Math.abs(gamma?.[c] ?? 1) * invStd[c]!;
      const passed = evaluation ? errorOfDz(i) : 3 * maxErrors[c]!;
      const error = scale * (relative * maxAbsDz[c]! + passed);
      return error + storing(result.dx[i]!, error, dtype);
    },
    dResidual: (i) => {
      const error = errorOfDz(i);
      return error + storing(dz[i]!, error, dtype);
    },
  };
}
