import { backward, forward, inference } from "webgpu-batchnorm/reference";
import type { Outputs } from "./candidate.js";
import { extentsOf, type Case } from "./cases.js";
import { EPS, type Inputs } from "./data.js";

/** How far a candidate is from float64, as a share of what is still taken for right. */
export interface Verdict {
  readonly pass: boolean;
  /** Largest error over its tolerance; NaN where something is not a number. */
  readonly worst: number;
  readonly where: string;
}

/** Channels are compared until so many values have been: they are independent of one another. */
const VALUES = 1 << 20;

/**
 * Wide enough for every sound f32 program (the package's own bound, tested elsewhere, is 50 times tighter) and too
 * narrow for a wrong one; for 16-bit types one unit of the stored type is added.
 */
const RELATIVE = { f32: 1e-4, f16: 1e-4 + 2 ** -10, bf16: 1e-4 + 2 ** -7 } as const;

/** What float64 says about some channels of a case. */
export interface Expected {
  readonly channels: readonly number[];
  readonly pick: (values: Float32Array) => Float32Array;
  readonly y: Float64Array;
  readonly dx?: Float64Array;
  readonly dGamma?: Float64Array;
  readonly dBeta?: Float64Array;
  /** Scale of an error in dx, dGamma, dBeta per channel. */
  readonly scales?: { dx: Float64Array; dGamma: Float64Array; dBeta: Float64Array };
}

/** Runs the reference on as many channels as are quick, the first and the last among them. */
export function expectedOf(each: Case, inputs: Inputs): Expected {
  const [outer, all, inner] = extentsOf(each);
  const count = Math.max(1, Math.min(all, Math.floor(VALUES / (outer * inner))));
  const channels =
    count === all
      ? Array.from({ length: all }, (_, c) => c)
      : [...new Set(Array.from({ length: count }, (_, i) => Math.round((i * (all - 1)) / Math.max(1, count - 1))))];
  const pick = (values: Float32Array): Float32Array => {
    const picked = new Float32Array(outer * channels.length * inner);
    for (let o = 0, i = 0; o < outer; o++) {
      for (const c of channels) {
        const from = (o * all + c) * inner;
        picked.set(values.subarray(from, from + inner), i);
        i += inner;
      }
    }
    return picked;
  };
  const few = (values: Float32Array): Float64Array => Float64Array.from(channels, (c) => values[c]!);
  const x = pick(inputs.x);
  const shape = [outer, channels.length, inner];
  const options = { gamma: few(inputs.gamma), beta: few(inputs.beta), eps: EPS };
  if (each.operation === "inference") {
    const { y } = inference(x, shape, { ...options, mean: few(inputs.mean), variance: few(inputs.variance) });
    return { channels, pick, y };
  }
  const { y } = forward(x, shape, options);
  if (each.operation === "forward") return { channels, pick, y };
  const gradients = backward(pick(inputs.dy), x, shape, options);
  const dx = gradients.maxAbsDz.map((most, c) => most * Math.abs(options.gamma[c]!) * gradients.invStd[c]!);
  return {
    channels,
    pick,
    y,
    dx: gradients.dx,
    dGamma: gradients.dGamma,
    dBeta: gradients.dBeta,
    scales: { dx, dGamma: gradients.sumAbsDzXHat, dBeta: gradients.sumAbsDz },
  };
}

/** Compares what a candidate computed with {@link expectedOf}. NaN fails. */
export function judge(each: Case, expected: Expected, outputs: Outputs): Verdict {
  const relative = RELATIVE[each.dtype];
  const [, , inner] = extentsOf(each);
  const { channels, pick, scales } = expected;
  let worst = 0;
  let where = "";
  const note = (name: string, error: number, tolerance: number): void => {
    const share = error / tolerance;
    if (share <= worst) return;
    worst = share;
    where = name;
  };
  const compare = (
    name: string,
    actual: Float32Array | undefined,
    wanted: Float64Array | undefined,
    tolerance: (index: number) => number,
  ): void => {
    if (!actual || !wanted) return;
    for (let i = 0; i < wanted.length; i++) {
      const error = Math.abs(actual[i]! - wanted[i]!);
      if (Number.isNaN(error) && !Number.isNaN(worst)) {
        worst = NaN;
        where = name;
      }
      note(name, error, tolerance(i));
    }
  };
  const channelAt = (i: number): number => Math.floor(i / inner) % channels.length;
  const few = (values: Float32Array | undefined): Float32Array | undefined =>
    values && Float32Array.from(channels, (c) => values[c]!);
  compare("y", outputs.y && pick(outputs.y), expected.y, (i) => relative * (1 + Math.abs(expected.y[i]!)));
  if (scales) {
    compare("dx", outputs.dx && pick(outputs.dx), expected.dx, (i) => relative * scales.dx[channelAt(i)]!);
    compare("dGamma", few(outputs.dGamma), expected.dGamma, (i) => 1e-4 * scales.dGamma[i]!);
    compare("dBeta", few(outputs.dBeta), expected.dBeta, (i) => 1e-4 * scales.dBeta[i]!);
  }
  return { pass: worst <= 1, worst, where };
}
