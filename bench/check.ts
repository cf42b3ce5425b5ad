import { backward, forward, inference } from "webgpu-batchnorm/reference";
import type { Outputs } from "./candidate.js";
import { extentsOf, type Case } from "./cases.js";
import { EPS, type Inputs } from "./data.js";

/** How far a candidate is from float64, as a share of what is still taken for right. */
export interface Verdict {
  readonly pass: boolean;
  /** Largest error over its tolerance; NaN where something is not a number. */
  readonly worst: number;
  /** Largest error over its scale: of y over 1 + |y|, of gradients over what they sum; NaN as above. */
  readonly error: number;
  readonly where: string;
}

/** Channels are compared until so many values have been: they are independent of one another. */
const VALUES = 1 << 20;

/**
 * Wide enough for plain f32 sums over millions of values (the package's own bound, tested elsewhere, is a thousand times
 * tighter) and too narrow for a wrong program; for 16-bit types one unit of the stored type is added.
 */
const F32 = 2e-3;
const RELATIVE = { f32: F32, f16: F32 + 2 ** -10, bf16: F32 + 2 ** -7 } as const;

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
      : [
          ...new Set(
            Array.from({ length: count }, (_, i) =>
              Math.round((i * (all - 1)) / Math.max(1, count - 1)),
            ),
          ),
        ];
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
  const few = (values: Float32Array): Float64Array =>
    Float64Array.from(channels, (c) => values[c]!);
  const x = pick(inputs.x);
  const shape = [outer, channels.length, inner];
  const options = { gamma: few(inputs.gamma), beta: few(inputs.beta), eps: EPS };
  if (each.operation === "inference") {
    const { y } = inference(x, shape, {
      ...options,
      mean: few(inputs.mean),
      variance: few(inputs.variance),
    });
    return { channels, pick, y };
  }
  const { y } = forward(x, shape, options);
  if (each.operation === "forward") return { channels, pick, y };
  const gradients = backward(pick(inputs.dy), x, shape, options);
  const dx = gradients.maxAbsDz.map(
    (most, c) => most * Math.abs(options.gamma[c]!) * gradients.invStd[c]!,
  );
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
  let largest = 0;
  let where = "";
  const compare = (
    name: string,
    actual: Float32Array | undefined,
    wanted: Float64Array | undefined,
    allowed: number,
    scale: (index: number) => number,
  ): void => {
    if (!actual || !wanted) return;
    for (let i = 0; i < wanted.length; i++) {
      const difference = Math.abs(actual[i]! - wanted[i]!);
      // A scale of 0 allows nothing.
      const error = difference === 0 ? 0 : difference / scale(i);
      if (error <= largest && error / allowed <= worst) continue;
      if (Number.isNaN(worst)) return;
      largest = Number.isNaN(error) ? NaN : Math.max(largest, error);
      if (error / allowed <= worst) continue;
      worst = error / allowed;
      where = name;
    }
  };
  const channelAt = (i: number): number => Math.floor(i / inner) % channels.length;
  const few = (values: Float32Array | undefined): Float32Array | undefined =>
    values && Float32Array.from(channels, (c) => values[c]!);
  compare(
    "y",
    outputs.y && pick(outputs.y),
    expected.y,
    relative,
    (i) => 1 + Math.abs(expected.y[i]!),
  );
  if (scales) {
    compare(
      "dx",
      outputs.dx && pick(outputs.dx),
      expected.dx,
      relative,
      (i) => scales.dx[channelAt(i)]!,
    );
    compare("dGamma", few(outputs.dGamma), expected.dGamma, F32, (i) => scales.dGamma[i]!);
    compare("dBeta", few(outputs.dBeta), expected.dBeta, F32, (i) => scales.dBeta[i]!);
  }
  return { pass: worst <= 1, worst, error: largest, where };
}
