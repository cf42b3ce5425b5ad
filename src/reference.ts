/**
 * Level 0: Batch Normalization in float64 on the CPU, with the conventions and the errors of the GPU layers (but that a
 * single value in evaluation without running statistics is an error here, where the modules give 0).
 * It needs no WebGPU, keeps nothing between calls and changes none of its arguments. Everything here is a
 * yardstick: written to be read and to be right, with plain loops so that it can also be timed.
 *
 * Per channel, over its M values: `mean = Σx/M`, `varBiased = Σ(x-mean)²/M`, `invStd = 1/√(varBiased+eps)`,
 * `xHat = (x-mean)·invStd`, `z = gamma·xHat + beta (+ residual)`, `y = activation(z)`.
 *
 * @module
 */
import {
  type ActivationName,
  type BatchNormOptions,
  type Extent,
  requireTrainable,
  type ResolvedOptions,
  resolveOptions,
} from "./descriptor.js";
import { complain, OptionError } from "./errors.js";
import {
  type Call,
  forbidWithoutTracking,
  moved,
  prepare,
  requireLength,
  stateFrom,
} from "./reference-arguments.js";

/** Numbers in memory order; typed arrays of any kind and plain arrays will do. */
export type Values = ArrayLike<number>;

/** Running statistics, one value per channel, and how many batches went into them. */
export interface RunningState {
  /** `[C]`. */
  readonly mean: Values;
  /** `[C]`. */
  readonly variance: Values;
  /** Batches seen before. */
  readonly numBatchesTracked: bigint | number;
}

/** Running statistics after a batch: new arrays, the caller's stay as they were. */
export interface UpdatedState {
  /** `[C]`. */
  mean: Float64Array;
  /** `[C]`. */
  variance: Float64Array;
  /** Batches seen, this one included. */
  numBatchesTracked: bigint;
}

/** What every function here takes besides the options of Batch Normalization. */
export interface ReferenceOptions extends BatchNormOptions {
  /** Scale, `[C]`; 1 where left out. An error with `affine: false`. */
  gamma?: Values | undefined;
  /** Shift, `[C]`; 0 where left out. An error with `affine: false`. */
  beta?: Values | undefined;
  /** Added before the activation; x's shape. */
  residual?: Values | undefined;
}

/** Options of {@link forward}. */
export interface ForwardOptions extends ReferenceOptions {
  /** Running statistics to update; where left out none are. An error with `trackRunningStats: false`. */
  state?: RunningState | undefined;
}

/** Options of {@link inference}. */
export interface InferenceOptions extends ReferenceOptions {
  /** Running mean, `[C]`. Needed with `trackRunningStats`, an error without. */
  mean?: Values | undefined;
  /** Running variance, `[C]`. Needed with `trackRunningStats`, an error without. */
  variance?: Values | undefined;
}

/** Options of {@link backward}. */
export interface BackwardOptions extends InferenceOptions {
  /** Which forward is differentiated. Default "training". */
  mode?: "training" | "evaluation" | undefined;
}

/** What {@link inference} gives. `[C]`: one value per channel; `x`: x's shape and memory order. */
export interface InferenceResult {
  /** `activation(z)`, shape of x. */
  y: Float64Array;
  /** The mean that was subtracted, `[C]`. */
  mean: Float64Array;
  /** The variance that was divided by, `[C]`: the running one, or the batch's biased one. */
  varBiased: Float64Array;
  /** `1/√(varBiased+eps)`, `[C]`; 0 where varBiased + eps = 0, NaN below. */
  invStd: Float64Array;
  /** Normalised x, shape of x. */
  xHat: Float64Array;
  /** What the activation was given, shape of x. */
  z: Float64Array;
}

/** What {@link forward} gives. */
export interface ForwardResult extends InferenceResult {
  /** The updated running statistics; null where none were given. */
  state: UpdatedState | null;
}

/** What {@link backward} gives. */
export interface BackwardResult {
  /** Gradient of x, shape of x. */
  dx: Float64Array;
  /** `Σ dz·xHat`, `[C]`: the gradient of gamma. */
  dGamma: Float64Array;
  /** `Σ dz`, `[C]`: the gradient of beta. */
  dBeta: Float64Array;
  /** Gradient of the residual, the very array `dz`; null without a residual. */
  dResidual: Float64Array | null;
  /** Gradient of the running mean, `[C]`; null where the batch's mean was used. */
  dMean: Float64Array | null;
  /** Gradient of the running variance, `[C]`; null where the batch's variance was used. */
  dVar: Float64Array | null;
  /** `dy·activation'(z)`, shape of x. */
  dz: Float64Array;
  /** `Σ|dz|`, `[C]`: the scale of dBeta's rounding errors. */
  sumAbsDz: Float64Array;
  /** `Σ|dz·xHat|`, `[C]`: the scale of dGamma's rounding errors. */
  sumAbsDzXHat: Float64Array;
  /** `max|dz|`, `[C]`, 0 for an empty batch, NaN where one is: the scale of dx's rounding errors. */
  maxAbsDz: Float64Array;
  /** As in {@link InferenceResult}. */
  mean: Float64Array;
  /** As in {@link InferenceResult}. */
  varBiased: Float64Array;
  /** As in {@link InferenceResult}. */
  invStd: Float64Array;
  /** As in {@link InferenceResult}. */
  xHat: Float64Array;
  /** As in {@link InferenceResult}. */
  z: Float64Array;
}

/**
 * Batch Normalization in training: normalises by the batch's own statistics and updates the running ones.
 *
 * `running = (1-momentum)·running + momentum·batch`, the variance with the divisor that `runningVariance` names.
 * M = 1: an error, or xHat = 0 and a running variance fed with 0 (`singleValue: "zero"`). M = 0: y is empty, the
 * statistics come back unchanged, mean and varBiased are 0. varBiased = 0: xHat = 0 exactly. A NaN or an infinity
 * makes its channel's statistics and outputs NaN, and changes no other channel.
 *
 * @param x values in memory order of `shape` and `options.layout`
 * @param shape `[N,C]`, `[N,C,L]`, `[N,C,H,W]`, `[N,C,D,H,W]`, or the channel last with `layout: "channels-last"`
 * @throws ShapeError where a length does not fit the shape
 * @throws OptionError where an option is outside its range, or given where it has no meaning
 * @throws SingleValueError where M = 1, unless `singleValue: "zero"`
 * @example
 * ```ts
 * import { forward } from "webgpu-batchnorm/reference";
 * const { y, mean, varBiased } = forward([1, 10, 3, 30], [2, 2], { eps: 0 });
 * // y = [-1, -1, 1, 1], mean = [2, 20], varBiased = [1, 100]
 * ```
 * @see Ioffe and Szegedy, "Batch Normalization" (2015), algorithm 1; PyTorch's `torch.nn.functional.batch_norm`.
 */
export function forward(
  x: Values,
  shape: readonly number[],
  options: ForwardOptions = {},
): ForwardResult {
  const subject = "forward";
  const call = prepare(subject, x, shape, options, ["state"]);
  const { extent, resolved } = call;
  const state = stateFrom(subject, options.state, call);
  requireTrainable(subject, extent, resolved.singleValue);
  const statistics = batchStatistics(x, extent, resolved.eps);
  const { shift, delta, mean, varBiased, invStd } = statistics;
  const xHat = normalise(x, extent, shift, delta, invStd);
  const z = affine(xHat, extent, call.gamma, call.beta, options.residual);
  const y = activateAll(resolved, z);
  if (state) updateState(state, statistics, call);
  return { y, mean, varBiased, invStd, xHat, z, state };
}

/**
 * Batch Normalization in evaluation: normalises by the running statistics, or by the batch's own with
 * `trackRunningStats: false` (then M = 1 is as in training).
 *
 * `xHat = 0` where variance + eps = 0, NaN where it is below 0.
 *
 * @param x values in memory order of `shape` and `options.layout`
 * @param shape as for {@link forward}
 * @throws ShapeError where a length does not fit the shape, or the statistics are missing
 * @throws OptionError where an option is outside its range, or given where it has no meaning
 * @throws SingleValueError with `trackRunningStats: false` and M = 1, unless `singleValue: "zero"`
 * @example
 * ```ts
 * import { inference } from "webgpu-batchnorm/reference";
 * const { y } = inference([1, 2, 3, 4], [2, 2], { mean: [0, 0], variance: [1, 4], eps: 0 });
 * // y = [1, 1, 3, 2]
 * ```
 * @see PyTorch's `torch.nn.functional.batch_norm` with `training=False`.
 */
export function inference(
  x: Values,
  shape: readonly number[],
  options: InferenceOptions = {},
): InferenceResult {
  const call = prepare("inference", x, shape, options, ["mean", "variance"]);
  const { extent, resolved } = call;
  const statistics = evaluationStatistics("inference", x, options, call);
  const { shift, delta, mean, varBiased, invStd } = statistics;
  const xHat = normalise(x, extent, shift, delta, invStd);
  const z = affine(xHat, extent, call.gamma, call.beta, options.residual);
  const y = activateAll(resolved, z);
  return { y, mean, varBiased, invStd, xHat, z };
}

/**
 * Gradients of {@link forward} (`mode: "training"`) or {@link inference} (`mode: "evaluation"`), from x anew.
 *
 * With `dz = dy·activation'(z)`: `dBeta = Σdz`, `dGamma = Σdz·xHat`, and
 * in training `dx = gamma·invStd·(dz - dBeta/M - xHat·dGamma/M)`,
 * in evaluation `dx = gamma·invStd·dz`, `dMean = -gamma·invStd·dBeta`, `dVar = -½·gamma·invStd²·dGamma`.
 * Evaluation with `trackRunningStats: false` used the batch's statistics, so its gradient is training's. M = 0
 * gives zeros. Where var + eps = 0, invStd and so dx are 0.
 *
 * @param dy gradient of y, shape and memory order of x
 * @param x the forward's input
 * @param shape as for {@link forward}
 * @param options those of the forward, and `mode`
 * @throws ShapeError, OptionError, SingleValueError as the forward does
 * @example
 * ```ts
 * import { backward } from "webgpu-batchnorm/reference";
 * const { dx, dBeta } = backward([1, 0, 0], [1, 2, 3], [3, 1]);
 * // dBeta = [1]; dx sums to 0
 * ```
 * @see Ioffe and Szegedy, "Batch Normalization" (2015), section 3; PyTorch's `native_batch_norm_backward`.
 */
export function backward(
  dy: Values,
  x: Values,
  shape: readonly number[],
  options: BackwardOptions = {},
): BackwardResult {
  const subject = "backward";
  const call = prepare(subject, x, shape, options, ["mean", "variance", "mode"]);
  const { extent, resolved, gamma } = call;
  requireLength(subject, "dy", dy, extent.size, "as many as x");
  const mode = options.mode ?? "training";
  if (mode !== "training" && mode !== "evaluation") {
    const remedy = "pass one of these";
    throw new OptionError(
      complain(`${subject}: mode`, '"training" or "evaluation"', JSON.stringify(mode), remedy),
    );
  }
  const running = mode === "evaluation" && resolved.trackRunningStats;
  let statistics: Statistics;
  if (mode === "training") {
    requireTrainable(subject, extent, resolved.singleValue);
    statistics = batchStatistics(x, extent, resolved.eps);
  } else {
    statistics = evaluationStatistics(subject, x, options, call);
  }
  const { shift, delta, mean, varBiased, invStd } = statistics;
  const xHat = normalise(x, extent, shift, delta, invStd);
  const z = affine(xHat, extent, gamma, call.beta, options.residual);

  const dz = new Float64Array(extent.size);
  const gradient = GRADIENTS[resolved.activation];
  const { slope } = resolved;
  for (let i = 0; i < dz.length; i++) dz[i] = dy[i]! * gradient(z[i]!, slope);

  const { outer, channels, inner, count } = extent;
  const sums = new Float64Array(4 * channels);
  const sumAbsDz = new Float64Array(channels);
  const sumAbsDzXHat = new Float64Array(channels);
  const maxAbsDz = new Float64Array(channels);
  for (let o = 0, i = 0; o < outer; o++) {
    for (let c = 0; c < channels; c++) {
      let beta = sums[4 * c]!;
      let betaError = sums[4 * c + 1]!;
      let scale = sums[4 * c + 2]!;
      let scaleError = sums[4 * c + 3]!;
      let absDz = sumAbsDz[c]!;
      let absDzXHat = sumAbsDzXHat[c]!;
      let largest = maxAbsDz[c]!;
      for (let k = 0; k < inner; k++, i++) {
        const value = dz[i]!;
        const product = value * xHat[i]!;
        const size = Math.abs(value);
        absDz += size;
        absDzXHat += Math.abs(product);
        largest = Math.max(largest, size);
        const betaNext = beta + value;
        const betaPart = betaNext - beta;
        betaError += beta - (betaNext - betaPart) + (value - betaPart);
        beta = betaNext;
        const scaleNext = scale + product;
        const scalePart = scaleNext - scale;
        scaleError += scale - (scaleNext - scalePart) + (product - scalePart);
        scale = scaleNext;
      }
      sums[4 * c] = beta;
      sums[4 * c + 1] = betaError;
      sums[4 * c + 2] = scale;
      sums[4 * c + 3] = scaleError;
      sumAbsDz[c] = absDz;
      sumAbsDzXHat[c] = absDzXHat;
      maxAbsDz[c] = largest;
    }
  }
  const dBeta = new Float64Array(channels);
  const dGamma = new Float64Array(channels);
  for (let c = 0; c < channels; c++) {
    dBeta[c] = sums[4 * c]! + sums[4 * c + 1]!;
    dGamma[c] = sums[4 * c + 2]! + sums[4 * c + 3]!;
  }

  const dx = new Float64Array(extent.size);
  for (let o = 0, i = 0; o < outer; o++) {
    for (let c = 0; c < channels; c++) {
      const factor = gamma[c]! * invStd[c]!;
      const meanDz = running ? 0 : dBeta[c]! / count;
      const meanDzXHat = running ? 0 : dGamma[c]! / count;
      if (running) {
        for (let k = 0; k < inner; k++, i++) dx[i] = factor * dz[i]!;
      } else {
        for (let k = 0; k < inner; k++, i++) {
          dx[i] = factor * (dz[i]! - meanDz - xHat[i]! * meanDzXHat);
        }
      }
    }
  }
  let dMean: Float64Array | null = null;
  let dVar: Float64Array | null = null;
  if (running) {
    dMean = dBeta.map((sum, c) => -gamma[c]! * invStd[c]! * sum);
    dVar = dGamma.map((sum, c) => -0.5 * gamma[c]! * invStd[c]! * invStd[c]! * sum);
  }
  const dResidual = options.residual ? dz : null;
  return {
    ...{ dx, dGamma, dBeta, dResidual, dMean, dVar, dz },
    ...{ sumAbsDz, sumAbsDzXHat, maxAbsDz },
    ...{ mean, varBiased, invStd, xHat, z },
  };
}

// ---------------------------------------------------------------------------------------------------------------
// Statistics

/** mean = shift + delta, kept apart: a mean in one number costs digits where |mean| is much above the deviation. */
interface Statistics {
  readonly shift: Float64Array;
  readonly delta: Float64Array;
  readonly mean: Float64Array;
  readonly varBiased: Float64Array;
  readonly invStd: Float64Array;
  /** Sum of squared deviations, from which either variance follows. */
  readonly m2: Float64Array;
}

/**
 * Two passes around the channel's first value, compensated by TwoSum (Knuth, TAOCP 2, 4.2.2). A constant channel has
 * delta = 0 and m2 = 0 exactly; the first value is at most √M deviations from the mean, so that delta keeps its digits.
 */
function batchStatistics(x: Values, extent: Extent, eps: number): Statistics {
  const { outer, channels, inner, count } = extent;
  const shift = new Float64Array(channels);
  const delta = new Float64Array(channels);
  const mean = new Float64Array(channels);
  const varBiased = new Float64Array(channels);
  const m2 = new Float64Array(channels);
  if (count > 0) {
    for (let c = 0; c < channels; c++) shift[c] = x[c * inner]!;

    const error = new Float64Array(channels);
    for (let o = 0, i = 0; o < outer; o++) {
      for (let c = 0; c < channels; c++) {
        const first = shift[c]!;
        let sum = delta[c]!;
        let lost = error[c]!;
        for (let k = 0; k < inner; k++, i++) {
          const value = x[i]! - first;
          const next = sum + value;
          const part = next - sum;
          lost += sum - (next - part) + (value - part);
          sum = next;
        }
        delta[c] = sum;
        error[c] = lost;
      }
    }
    for (let c = 0; c < channels; c++) delta[c] = (delta[c]! + error[c]!) / count;

    const lostSquares = new Float64Array(channels);
    for (let o = 0, i = 0; o < outer; o++) {
      for (let c = 0; c < channels; c++) {
        const first = shift[c]!;
        const offset = delta[c]!;
        let sum = m2[c]!;
        let lost = lostSquares[c]!;
        for (let k = 0; k < inner; k++, i++) {
          const deviation = x[i]! - first - offset;
          const value = deviation * deviation;
          const next = sum + value;
          const part = next - sum;
          lost += sum - (next - part) + (value - part);
          sum = next;
        }
        m2[c] = sum;
        lostSquares[c] = lost;
      }
    }
    for (let c = 0; c < channels; c++) {
      m2[c] = m2[c]! + lostSquares[c]!;
      mean[c] = shift[c]! + delta[c]!;
      varBiased[c] = m2[c]! / count;
    }
  }
  return { shift, delta, mean, varBiased, invStd: inverseRoot(varBiased, eps), m2 };
}

function evaluationStatistics(
  subject: string,
  x: Values,
  options: InferenceOptions,
  { extent, resolved }: Call,
): Statistics {
  if (!resolved.trackRunningStats) {
    if (options.mean !== undefined) forbidWithoutTracking(subject, "mean", resolved);
    if (options.variance !== undefined) forbidWithoutTracking(subject, "variance", resolved);
    requireTrainable(subject, extent, resolved.singleValue);
    return batchStatistics(x, extent, resolved.eps);
  }
  const { channels } = extent;
  requireLength(subject, "mean", options.mean, channels, "one per channel");
  requireLength(subject, "variance", options.variance, channels, "one per channel");
  const mean = Float64Array.from(options.mean);
  const varBiased = Float64Array.from(options.variance);
  const zeros = new Float64Array(channels);
  const invStd = inverseRoot(varBiased, resolved.eps);
  return { shift: mean, delta: zeros, mean, varBiased, invStd, m2: zeros };
}

function inverseRoot(variance: Float64Array, eps: number): Float64Array {
  return variance.map((value) => (value + eps === 0 ? 0 : 1 / Math.sqrt(value + eps)));
}

function updateState(
  state: UpdatedState,
  { mean, m2 }: Statistics,
  { extent, resolved }: Call,
): void {
  const { count } = extent;
  if (count === 0) return;
  state.numBatchesTracked += 1n;
  const weight = resolved.momentum ?? 1 / Number(state.numBatchesTracked);
  // TensorFlow's fused op divides by max(M-1, 1); PyTorch never gets there, as M = 1 is an error.
  const divisor = resolved.runningVariance === "unbiased" ? Math.max(count - 1, 1) : count;
  for (let c = 0; c < extent.channels; c++) {
    state.mean[c] = moved(state.mean[c]!, mean[c]!, weight);
    state.variance[c] = moved(state.variance[c]!, m2[c]! / divisor, weight);
  }
}

// ---------------------------------------------------------------------------------------------------------------
// Elementwise

function normalise(
  x: Values,
  { outer, channels, inner, size }: Extent,
  shift: Float64Array,
  delta: Float64Array,
  invStd: Float64Array,
): Float64Array {
  const xHat = new Float64Array(size);
  for (let o = 0, i = 0; o < outer; o++) {
    for (let c = 0; c < channels; c++) {
      const first = shift[c]!;
      const offset = delta[c]!;
      const factor = invStd[c]!;
      for (let k = 0; k < inner; k++, i++) xHat[i] = (x[i]! - first - offset) * factor;
    }
  }
  return xHat;
}

function affine(
  xHat: Float64Array,
  { outer, channels, inner, size }: Extent,
  gamma: Values,
  beta: Values,
  residual: Values | undefined,
): Float64Array {
  const z = new Float64Array(size);
  for (let o = 0, i = 0; o < outer; o++) {
    for (let c = 0; c < channels; c++) {
      const scale = gamma[c]!;
      const offset = beta[c]!;
      for (let k = 0; k < inner; k++, i++) z[i] = scale * xHat[i]! + offset;
    }
  }
  if (residual) for (let i = 0; i < size; i++) z[i] = z[i]! + residual[i]!;
  return z;
}

function activateAll({ activation, slope }: ResolvedOptions, z: Float64Array): Float64Array {
  const y = z.slice();
  if (activation === "none") return y;
  const value = VALUES[activation];
  for (let i = 0; i < y.length; i++) y[i] = value(y[i]!, slope);
  return y;
}

// ---------------------------------------------------------------------------------------------------------------
// Activations, by PyTorch's definitions

type Scalar = (z: number, slope: number) => number;

const sigmoid = (z: number): number => 1 / (1 + Math.exp(-z));
const normalCdf = (z: number): number => 0.5 * erfc(-z * Math.SQRT1_2);
const normalPdf = (z: number): number => Math.exp(-0.5 * z * z) / Math.sqrt(2 * Math.PI);

const VALUES: Readonly<Record<ActivationName, Scalar>> = {
  none: (z) => z,
  relu: (z) => (z < 0 ? 0 : z),
  relu6: (z) => (z < 0 ? 0 : z > 6 ? 6 : z),
  "leaky-relu": (z, slope) => (z > 0 ? z : slope * z),
  elu: (z, slope) => (z < 0 ? slope * Math.expm1(z) : z),
  tanh: (z) => Math.tanh(z),
  sigmoid: (z) => sigmoid(z),
  silu: (z) => z / (1 + Math.exp(-z)),
  gelu: (z) => z * normalCdf(z),
  "hard-swish": (z) => (z < -3 ? 0 : z > 3 ? z : (z * (z + 3)) / 6),
};

const GRADIENTS: Readonly<Record<ActivationName, Scalar>> = {
  none: () => 1,
  relu: (z) => (z <= 0 ? 0 : 1),
  relu6: (z) => (z <= 0 || z >= 6 ? 0 : 1),
  "leaky-relu": (z, slope) => (z > 0 ? 1 : slope),
  elu: (z, slope) => (z <= 0 ? slope * Math.exp(z) : 1),
  tanh: (z) => {
    const y = Math.tanh(z);
    return (1 - y) * (1 + y);
  },
  sigmoid: (z) => sigmoid(z) * sigmoid(-z),
  silu: (z) => sigmoid(z) * (1 + z * sigmoid(-z)),
  gelu: (z) => normalCdf(z) + z * normalPdf(z),
  "hard-swish": (z) => (z <= -3 ? 0 : z >= 3 ? 1 : z / 3 + 0.5),
};

/**
 * An activation's value at z.
 *
 * | name | value |
 * | --- | --- |
 * | relu, relu6 | `max(z, 0)`, `min(max(z, 0), 6)` |
 * | leaky-relu | `z` above 0, else `slope·z` |
 * | elu | `z` from 0 on, else `slope·(eᶻ-1)` |
 * | sigmoid, silu | `1/(1+e⁻ᶻ)`, `z·sigmoid(z)` |
 * | gelu | `z·Φ(z)`, the exact form by erf, not tanh's approximation |
 * | hard-swish | `z·min(max(z+3, 0), 6)/6` |
 *
 * @param slope of leaky-relu (default 0.01), or alpha of elu (default 1)
 * @throws OptionError on an unknown name or a slope that is not finite
 * @example
 * ```ts
 * import { activate } from "webgpu-batchnorm/reference";
 * activate("elu", -1); // -0.632...
 * ```
 * @see PyTorch's `torch.nn.functional` page.
 */
export function activate(name: ActivationName, z: number, slope?: number): number {
  const resolved = resolveActivation("activate", name, slope);
  return VALUES[name](z, resolved.slope);
}

/**
 * An activation's derivative at z. At a kink it is PyTorch's: relu 0 at 0; relu6 0 at 0 and 6; leaky-relu slope at 0;
 * elu slope at 0; hard-swish 0 at -3 and 1 at 3.
 *
 * @param slope as for {@link activate}
 * @throws OptionError on an unknown name or a slope that is not finite
 * @example
 * ```ts
 * import { activationGradient } from "webgpu-batchnorm/reference";
 * activationGradient("relu", 0); // 0
 * ```
 */
export function activationGradient(name: ActivationName, z: number, slope?: number): number {
  const resolved = resolveActivation("activationGradient", name, slope);
  return GRADIENTS[name](z, resolved.slope);
}

function resolveActivation(
  subject: string,
  activation: ActivationName,
  slope: number | undefined,
): ResolvedOptions {
  return resolveOptions(subject, slope === undefined ? { activation } : { activation, slope });
}

/**
 * The complementary error function `1 - erf(x)`, to 1e-13 relative wherever the result is a normal number.
 *
 * Below 1.25 it is 1 minus a series of terms of one sign, `erf(x) = 2/√π·exp(-x²)·Σ 2ⁿx²ⁿ⁺¹/(1·3·…·(2n+1))`; from 1.25 on,
 * where 1 - erf would cancel, the continued fraction `exp(-x²)/√π · 1/(x + ½/(x + 1/(x + 1½/(x + …))))`.
 *
 * @see NIST Digital Library of Mathematical Functions, 7.6.2 and 7.9.1.
 * @example
 * ```ts
 * import { erfc } from "webgpu-batchnorm/reference";
 * erfc(0); // 1
 * ```
 */
export function erfc(x: number): number {
  const size = Math.abs(x);
  if (size < 1.25) {
    const square = 2 * x * x;
    let term = x;
    let sum = x;
    for (let odd = 3; Math.abs(term) > 1e-17 * Math.abs(sum); odd += 2) {
      term *= square / odd;
      sum += term;
    }
    return 1 - (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
  }
  // Terms for a relative error below 1e-16 at the lower end of each range; past 28 the result is 0 in float64.
  const terms = size < 2 ? 250 : size < 4 ? 100 : 40;
  let fraction = size;
  for (let n = terms; n > 0; n--) fraction = size + (0.5 * n) / fraction;
  const tail = Math.exp(-x * x) / (Math.sqrt(Math.PI) * fraction);
  return x < 0 ? 2 - tail : tail;
}

export * from "./reference-statistics.js";
