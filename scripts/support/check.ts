import { extentOf, type BatchNormOptions, type Layout } from "../../src/descriptor.js";
import * as reference from "../../src/reference.js";

/** What a run normalises. gamma, beta and the running statistics have one value per channel. */
export interface Inputs {
  readonly shape: readonly number[];
  readonly layout: Layout;
  readonly eps: number;
  readonly momentum: number;
  readonly x: Float32Array<ArrayBuffer>;
  readonly dy: Float32Array<ArrayBuffer>;
  readonly gamma: Float32Array<ArrayBuffer>;
  readonly beta: Float32Array<ArrayBuffer>;
  readonly runningMean: Float32Array<ArrayBuffer>;
  readonly runningVar: Float32Array<ArrayBuffer>;
}

/** What is run and timed, in the order of the tables. */
export const OPERATIONS = ["training forward", "inference", "backward"] as const;

/** What came back from the device; what is absent was not run. */
export interface Outputs {
  training?: { y: Float32Array; runningMean: Float32Array; runningVar: Float32Array };
  inference?: { y: Float32Array };
  backward?: { dx: Float32Array; dGamma: Float32Array; dBeta: Float32Array };
}

/** One comparison with the float64 reference, told by the value that uses most of its tolerance. */
export interface Verdict {
  readonly operation: string;
  readonly name: string;
  readonly error: number;
  readonly tolerance: number;
  /** error / tolerance, the largest there is; Infinity where a tolerance of 0 is broken, NaN where a value is. */
  readonly used: number;
  readonly pass: boolean;
}

/**
 * Compares each value with its own tolerance. Phrased as what passes, so that a NaN fails.
 */
export function judge(
  operation: string,
  name: string,
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  toleranceAt: (index: number) => number,
): Verdict {
  let worst = { error: 0, tolerance: expected.length > 0 ? toleranceAt(0) : 0, used: 0 };
  let pass = actual.length === expected.length;
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i]! - expected[i]!);
    const tolerance = toleranceAt(i);
    const within = error <= tolerance;
    if (!within) pass = false;
    const used = error === 0 ? 0 : error / tolerance;
    if (used > worst.used || Number.isNaN(used)) {
      worst = { error, tolerance, used };
      if (Number.isNaN(used)) break;
    }
  }
  return { operation, name, ...worst, pass };
}

/** The distance from |value| to the next f32. */
export function ulp(value: number): number {
  const exponent = value === 0 ? -126 : Math.max(-126, Math.floor(Math.log2(Math.abs(value))));
  return 2 ** (exponent - 23);
}

/** Half an ulp of a f32, relative. */
const ROUNDING = 2 ** -24;

/**
 * One update of the running statistics: the batch's own error enters with weight momentum, and two
 * products and a sum round, each by half an ulp of at most |old| + |batch|.
 * The mean's error is that of y's bound (2e-6 deviations), the variance's twice it, since invStd goes with its root.
 */
export const runningTolerance = {
  mean: (momentum: number, old: number, mean: number, varBiased: number): number =>
    momentum * 2e-6 * Math.sqrt(varBiased) + 4 * ROUNDING * (Math.abs(old) + Math.abs(mean)),
  variance: (momentum: number, old: number, varBiased: number): number =>
    momentum * 4e-6 * varBiased + 4 * ROUNDING * (old + varBiased),
};

/** The reference on these inputs, one call per operation, in the order of `OPERATIONS`: for its times. */
export function referenceCalls(inputs: Inputs): (() => unknown)[] {
  const {
    shape,
    layout,
    eps,
    x,
    dy,
    gamma,
    beta,
    runningMean: mean,
    runningVar: variance,
  } = inputs;
  const options = { layout, eps, gamma, beta };
  return [
    () => reference.forward(x, shape, options),
    () => reference.inference(x, shape, { ...options, mean, variance }),
    () => reference.backward(dy, x, shape, options),
  ];
}

/**
 * Computes everything anew in float64 and compares. The bounds, per value:
 * y: `2e-6·max(1,|xHat|)·|gamma| + ulp(y)`; dx: `1e-5·|gamma|·invStd·max|dz|`;
 * dGamma: `1e-5·Σ|dz·xHat|`; dBeta: `1e-5·Σ|dz|`, sums and maximum over the channel.
 */
export function judgeAll(inputs: Inputs, outputs: Outputs): Verdict[] {
  const { shape, layout, x, dy, gamma, beta, eps, momentum } = inputs;
  const { channels, inner } = extentOf("check", shape, layout);
  const options: BatchNormOptions = { layout, eps, momentum };
  const channelAt = (i: number): number => Math.floor(i / inner) % channels;
  const verdicts: Verdict[] = [];
  const judgeY = (operation: string, y: Float32Array, result: reference.InferenceResult): void => {
    verdicts.push(
      judge(
        operation,
        "y",
        y,
        result.y,
        (i) =>
          2e-6 * Math.max(1, Math.abs(result.xHat[i]!)) * Math.abs(gamma[channelAt(i)]!) +
          ulp(result.y[i]!),
      ),
    );
  };
  const { training, inference, backward } = outputs;
  if (training) {
    const state = { mean: inputs.runningMean, variance: inputs.runningVar, numBatchesTracked: 0 };
    const result = reference.forward(x, shape, { ...options, gamma, beta, state });
    const { mean, varBiased } = result;
    judgeY("training forward", training.y, result);
    verdicts.push(
      judge("training forward", "running mean", training.runningMean, result.state!.mean, (c) =>
        runningTolerance.mean(momentum, state.mean[c]!, mean[c]!, varBiased[c]!),
      ),
      judge(
        "training forward",
        "running variance",
        training.runningVar,
        result.state!.variance,
        (c) => runningTolerance.variance(momentum, state.variance[c]!, varBiased[c]!),
      ),
    );
  }
  if (inference) {
    const running = { mean: inputs.runningMean, variance: inputs.runningVar };
    judgeY(
      "inference",
      inference.y,
      reference.inference(x, shape, { ...options, gamma, beta, ...running }),
    );
  }
  if (backward) {
    const result = reference.backward(dy, x, shape, { ...options, gamma, beta });
    const { invStd, maxAbsDz, sumAbsDz, sumAbsDzXHat } = result;
    verdicts.push(
      judge("backward", "dx", backward.dx, result.dx, (i) => {
        const c = channelAt(i);
        return 1e-5 * Math.abs(gamma[c]!) * invStd[c]! * maxAbsDz[c]!;
      }),
      judge("backward", "dGamma", backward.dGamma, result.dGamma, (c) => 1e-5 * sumAbsDzXHat[c]!),
      judge("backward", "dBeta", backward.dBeta, result.dBeta, (c) => 1e-5 * sumAbsDz[c]!),
    );
  }
  return verdicts;
}
