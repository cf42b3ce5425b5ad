/**
 * The bounds with their derivations, and the runs that are held against them: a plan's outputs beside the
 * float64 reference's, each with its tolerance. No test framework here, so that `npm run accuracy` uses the same bounds.
 *
 * Every check built on this is phrased `error <= tolerance`, so that a NaN fails.
 */
import { createBackward, type Wants } from "../../src/backward.js";
import { byteSizes, stateLayout, type Resource } from "../../src/bindings.js";
import {
  extentOf,
  type ActivationName,
  type BatchNormOptions,
  type Dtype,
} from "../../src/descriptor.js";
import { GPU_TUNING, SOFTWARE_TUNING, type Tuning } from "../../src/dispatch/choose.js";
import { createForward } from "../../src/forward.js";
import { narrow, widen } from "../../src/half.js";
import { createInference } from "../../src/inference.js";
import * as reference from "../../src/reference.js";
import { tensor, type Tensor } from "../../src/tensor.js";

// ---------------------------------------------------------------------------------------------------------------
// Units

/** Half of an f32's unit in the last place, relative: what one correctly rounded operation may be off by. */
export const ROUNDING = 2 ** -24;

/** Fraction bits and the exponent of the smallest normal number. */
const FORMATS = { f32: [23, -126], f16: [10, -14], bf16: [7, -126] } as const;

/** The distance from |value| to the next number of a type above it; subnormals are evenly spaced. */
export function ulp(value: number, dtype: Dtype = "f32"): number {
  const [fraction, lowest] = FORMATS[dtype];
  const exponent = value === 0 ? lowest : Math.floor(Math.log2(Math.abs(value)));
  return 2 ** (Math.max(exponent, lowest) - fraction);
}

/** What storing a value, known to within `error`, makes of that error: half a unit more for 16 bits. */
function storing(value: number, error: number, dtype: Dtype): number {
  return dtype === "f32" ? error : error + 0.5 * ulp(Math.abs(value) + error, dtype);
}

/** WGSL lets a device take a subnormal for 0: an error of less than 2^-126 that no other bound covers. */
const FLUSHED = 2 ** -126;

// ---------------------------------------------------------------------------------------------------------------
// Bounds

/**
 * |y error| of an f32 without an activation: `2e-6·max(1,|xHat|)·|gamma| + ulp(y)`.
 *
 * In half units (2^-24) of xHat: x - shift and its difference with delta round once each (2·|xHat|); delta is a mean of
 * blocks of sixteen, each off by 6 of its spread, which merging averages (8: the "1" of the maximum); invStd goes with the
 * root of M2, whose long chains are compensated (a square and 5 additions in a block, 2 for what is taken off again, 14 in two
 * rounds of 64 lanes side by side, where 256 in a row have a tree of 8, 8 more where as many merge chunks, halved: 15), its
 * root and division are off by 3 units at most where we have looked (6; WGSL allows 7 units); the products with gamma and
 * with the deviation round once each (2).
 * 2 + 8 + 15 + 6 + 2 = 33, which is 2e-6. ulp(y) is for the last addition, where beta is the larger.
 */
export function yTolerance(xHat: number, gamma: number, y: number): number {
  return 2e-6 * Math.max(1, Math.abs(xHat)) * Math.abs(gamma) + ulp(y);
}

/**
 * The share of Σ|dz|, Σ|dz·xHat| and |gamma|·invStd·max|dz| by which dBeta, dGamma and dx may be off.
 *
 * A sum's error is at most (additions that one value goes through)·2^-24 of the sum of magnitudes: 2 in a block of four,
 * 2 for the compensated chain of blocks, 2 for the parts of a vector, 30 in two rounds of 256 lanes, 2 for the compensated
 * chain of chunks, 30 where 256 lanes merge them. 68 of them are 4e-6, whatever M is. dGamma has a rounding of each product
 * and xHat's own error besides, 2e-6 of max(1,|xHat|): 1e-5 of Σ|dz|·max(1,|xHat|) is what README promises; where dz is
 * spread over all xHat, as in what is run here, that of Σ|dz·xHat| holds as well. dx = gamma·invStd·(dz - dBeta/M -
 * xHat·dGamma/M): the same shares add up, those of the sums divided by M, the last times |xHat| (|dGamma|/M <= max|dz| by
 * Cauchy and Schwarz): so README's max(1,|xHat|), which only an outlier needs whose share of dGamma is large.
 */
export const GRADIENT = 1e-5;

/**
 * Running statistics: the batch's own error enters with the batch's weight (the mean's is 2e-6 deviations as in y, the
 * variance's twice that, since invStd goes with its root), and `keep·old + momentum·new` rounds: momentum itself
 * (1/n by a division of 2.5 units), two products, a sum: 8 half units of at most |old| + |new|.
 */
export const runningTolerance = {
  mean: (weight: number, old: number, mean: number, varBiased: number): number =>
    weight * 2e-6 * Math.sqrt(varBiased) + 8 * ROUNDING * (Math.abs(old) + Math.abs(mean)),
  variance: (weight: number, old: number, variance: number): number =>
    weight * 4e-6 * variance + 8 * ROUNDING * (Math.abs(old) + variance),
};

/** How an activation passes errors on. */
interface Smoothness {
  /** Largest |activation'|, rounded up: what an error of z grows by. */
  readonly slope: number;
  /** Largest |activation''| away from the jumps, rounded up: what an error of z does to dz. */
  readonly curvature: number;
  /** Where the derivative jumps. */
  readonly jumps: readonly number[];
}

function smoothnessOf(activation: ActivationName, slope: number): Smoothness {
  const size = Math.abs(slope);
  switch (activation) {
    case "none":
      return { slope: 1, curvature: 0, jumps: [] };
    case "relu":
      return { slope: 1, curvature: 0, jumps: [0] };
    case "relu6":
      return { slope: 1, curvature: 0, jumps: [0, 6] };
    case "leaky-relu":
      return { slope: Math.max(1, size), curvature: 0, jumps: [0] };
    case "elu":
      return { slope: Math.max(1, size), curvature: size, jumps: [0] };
    case "tanh":
      return { slope: 1, curvature: 0.77, jumps: [] };
    case "sigmoid":
      return { slope: 0.25, curvature: 0.1, jumps: [] };
    case "silu":
      return { slope: 1.1, curvature: 0.5, jumps: [] };
    case "gelu":
      return { slope: 1.13, curvature: 0.8, jumps: [] };
    case "hard-swish":
      return { slope: 1.5, curvature: 0.34, jumps: [-3, 3] };
  }
}

/**
 * What computing an activation or its derivative adds, of max(1,|z|): WGSL's exp is off by (3 + 2|z|) units, which
 * e^-|z| outweighs, its divisions by 2.5; gelu's erf by 4e-7.
 */
const ACTIVATING = 2e-6;

// ---------------------------------------------------------------------------------------------------------------
// Runs

/** What is run: a descriptor's options and how. */
export interface Call {
  readonly shape: readonly number[];
  readonly options?: BatchNormOptions;
  readonly dtype?: Dtype;
  readonly tuning?: Partial<Tuning>;
  /** "evaluation": by the running statistics that `Inputs.state` gives. Default "training". */
  readonly mode?: "training" | "evaluation";
  /** Gradients to leave out. */
  readonly wants?: Wants;
}

/** Running statistics before a batch. */
export interface State {
  readonly mean: ArrayLike<number>;
  readonly variance: ArrayLike<number>;
  readonly numBatchesTracked: number;
}

/** Values that the device stores exactly: see {@link rounded}. */
export interface Inputs {
  readonly x: ArrayLike<number>;
  /** Without it only the forward runs. */
  readonly dy?: ArrayLike<number>;
  readonly residual?: ArrayLike<number>;
  /** 1 where left out; not read with `affine: false`. */
  readonly gamma?: ArrayLike<number>;
  /** 0 where left out; not read with `affine: false`. */
  readonly beta?: ArrayLike<number>;
  /** 0, 1 and 0 where left out. */
  readonly state?: State;
}

/** What a run has left on the device. Absent: not asked for, or it does not exist. */
export interface Outputs {
  readonly y: Float32Array;
  readonly dx?: Float32Array;
  readonly dGamma?: Float32Array;
  readonly dBeta?: Float32Array;
  readonly dResidual?: Float32Array;
  readonly state?: { mean: Float32Array; variance: Float32Array; numBatchesTracked: number };
  /** Every output's bytes as they stand on the device, `saved` among them. */
  readonly bits: Readonly<Record<string, Uint8Array>>;
}

const unfenced = ({ fence: _, ...tuning }: Tuning): Omit<Tuning, "fence"> => tuning;

/**
 * Tunings that between them take every path on any adapter: held, whole, split, with teams and without. Workgroups are
 * small: of 256 invocations SwiftShader compiles them several times as long. Whether the order of additions needs a
 * fence is for the device to say.
 */
export const TUNINGS: Readonly<
  Record<"software" | "gpu" | "whole" | "split", Omit<Tuning, "fence">>
> = {
  software: unfenced(SOFTWARE_TUNING),
  gpu: { ...unfenced(GPU_TUNING), workgroupSize: 32, maxTeam: 32, maxHeldTeam: 32 },
  whole: {
    ...unfenced(GPU_TUNING),
    workgroupSize: 32,
    maxTeam: 16,
    columnBytes: 64,
    maxHeld: 0,
    wholePerLane: 2 ** 20,
  },
  split: {
    ...unfenced(GPU_TUNING),
    workgroupSize: 16,
    maxTeam: 8,
    columnBytes: 32,
    mergedBytes: 2 ** 40,
    minPerLane: 1,
    wholePerLane: 0,
    maxHeld: 0,
  },
};

/** Numbers as a type stores them. */
export function rounded(values: Float32Array, dtype: Dtype): Float32Array {
  return dtype === "f32" ? values : values.map((value) => widen(narrow(value, dtype), dtype));
}

/** Which channel each element is of. */
export function channelsOf({ shape, options }: Call): (index: number) => number {
  const { channels, inner } = extentOf("test", shape, options?.layout ?? "channels-first");
  return (index) => Math.floor(index / inner) % channels;
}

/** The `state` buffer's contents. */
function packState(channels: number, state: State | undefined): Float32Array {
  const layout = stateLayout(channels);
  const packed = new Float32Array(layout.bytes / 4);
  if (state) {
    packed.set(Float32Array.from(state.mean), layout.mean / 4);
    packed.set(Float32Array.from(state.variance), layout.variance / 4);
  } else {
    packed.fill(1, layout.variance / 4, layout.variance / 4 + channels);
  }
  new Uint32Array(packed.buffer)[layout.counter / 4] = state?.numBatchesTracked ?? 0;
  return packed;
}

type Recording = (target: GPUCommandEncoder | GPUComputePassEncoder) => void;

/** A forward (in evaluation: an inference that saves) and its backward, on tensors of their own. */
export class Run {
  #named = new Map<string, Tensor>();
  #plans: { destroy(): void }[] = [];
  #record: Recording[] = [];

  private constructor(
    readonly device: GPUDevice,
    readonly call: Call,
    readonly channels: number,
  ) {}

  /** Uploads the inputs, fills the outputs with NaN and makes the plans. */
  static async prepare(device: GPUDevice, call: Call, inputs: Inputs): Promise<Run> {
    const { shape, options = {}, dtype = "f32", tuning, wants, mode = "training" } = call;
    const { affine = true, trackRunningStats = true, layout = "channels-first" } = options;
    const { channels } = extentOf("test", shape, layout);
    const run = new Run(device, call, channels);
    const put = (
      name: string,
      values: ArrayLike<number>,
      of: readonly number[],
      type: Dtype = "f32",
    ): Tensor => {
      const made = tensor(device, Float32Array.from(values), of, { dtype: type });
      run.#named.set(name, made);
      return made;
    };
    const output = (name: string, of: readonly number[], type: Dtype = "f32"): Tensor =>
      put(name, new Float32Array(of.reduce((a, b) => a * b, 1)).fill(NaN), of, type);
    const x = put("x", inputs.x, shape, dtype);
    const bound: Record<string, Tensor> = { x };
    if (affine) {
      const ones = new Float32Array(channels).fill(1);
      bound["gamma"] = put("gamma", inputs.gamma ?? ones, [channels]);
      bound["beta"] = put("beta", inputs.beta ?? new Float32Array(channels), [channels]);
    }
    if (inputs.residual) bound["residual"] = put("residual", inputs.residual, shape, dtype);
    if (trackRunningStats) {
      const packed = packState(channels, inputs.state);
      bound["state"] = put("state", packed, [packed.length]);
    }
    const residual = inputs.residual !== undefined;
    const y = output("y", shape, dtype);
    const saved = output("saved", [byteSizes({ ...options, shape, dtype }).saved / 4]);
    const descriptor = { ...options, shape, dtype, residual, ...(tuning ? { tuning } : {}) };
    const forward: {
      encode(
        target: GPUCommandEncoder | GPUComputePassEncoder,
        of: Record<string, Resource> & { x: Resource; saved: Resource; state: Resource },
      ): void;
      destroy(): void;
    } =
      mode === "training"
        ? await createForward(device, descriptor)
        : await createInference(device, { ...descriptor, save: true });
    run.#plans.push(forward);
    run.#record.push((target) => {
      forward.encode(target, { ...bound, x, y, saved, state: bound["state"]! });
    });
    if (inputs.dy) {
      const dy = put("dy", inputs.dy, shape, dtype);
      const wanted = { x: true, gamma: affine, beta: affine, ...wants };
      const backward = await createBackward(device, { ...descriptor, mode, wants: wanted });
      const gradients = {
        ...(wanted.x ? { dx: output("dx", shape, dtype) } : {}),
        ...(wanted.gamma ? { dGamma: output("dGamma", [channels]) } : {}),
        ...(wanted.beta ? { dBeta: output("dBeta", [channels]) } : {}),
        ...(residual ? { dResidual: output("dResidual", shape, dtype) } : {}),
      };
      run.#plans.push(backward);
      run.#record.push((target) => {
        backward.encode(target, { ...bound, dy, saved, ...gradients });
      });
    }
    return run;
  }

  /** Records forward and backward once. */
  encode(target: GPUCommandEncoder | GPUComputePassEncoder): void {
    for (const record of this.#record) record(target);
  }

  /** Records once, or as often as asked into one encoder, and submits. */
  submit(times = 1): void {
    const encoder = this.device.createCommandEncoder();
    for (let i = 0; i < times; i++) this.encode(encoder);
    this.device.queue.submit([encoder.finish()]);
  }

  /** One of its tensors, by the plans' names. */
  tensorOf(name: string): Tensor {
    return this.#named.get(name)!;
  }

  /** Reads what it left. */
  async read(): Promise<Outputs> {
    const names = ["y", "saved", "dx", "dGamma", "dBeta", "dResidual", "state"];
    const bits: Record<string, Uint8Array> = {};
    await Promise.all(
      names.map(async (name) => {
        const found = this.#named.get(name);
        if (found) bits[name] = new Uint8Array(await found.readRaw());
      }),
    );
    const { dtype = "f32", mode = "training" } = this.call;
    const values = (name: string, type: Dtype): Float32Array => {
      const { buffer } = bits[name]!;
      if (type === "f32") return new Float32Array(buffer);
      return Float32Array.from(new Uint16Array(buffer), (half) => widen(half, type));
    };
    const layout = stateLayout(this.channels);
    const state = mode === "training" ? bits["state"]?.buffer : undefined;
    return {
      y: values("y", dtype),
      ...(bits["dx"] ? { dx: values("dx", dtype) } : {}),
      ...(bits["dGamma"] ? { dGamma: values("dGamma", "f32") } : {}),
      ...(bits["dBeta"] ? { dBeta: values("dBeta", "f32") } : {}),
      ...(bits["dResidual"] ? { dResidual: values("dResidual", dtype) } : {}),
      ...(state
        ? {
            state: {
              mean: new Float32Array(state, layout.mean, this.channels),
              variance: new Float32Array(state, layout.variance, this.channels),
              numBatchesTracked: new Uint32Array(state, layout.counter, 1)[0]!,
            },
          }
        : {}),
      bits,
    };
  }

  /** Frees tensors and plans. */
  destroy(): void {
    for (const each of this.#named.values()) each.destroy();
    for (const each of this.#plans) each.destroy();
  }
}

/** Prepares, runs once, reads and frees. */
export async function runOnce(device: GPUDevice, call: Call, inputs: Inputs): Promise<Outputs> {
  const run = await Run.prepare(device, call, inputs);
  try {
    run.submit();
    return await run.read();
  } finally {
    run.destroy();
  }
}

// ---------------------------------------------------------------------------------------------------------------
// Comparisons

/** One output beside what it should be. Passes where every |actual - expected| <= its tolerance. */
export interface Comparison {
  readonly name: "y" | "mean" | "variance" | "dx" | "dGamma" | "dBeta" | "dResidual";
  readonly actual: Float32Array;
  readonly expected: ArrayLike<number>;
  readonly atol: Float64Array;
}

/** What a run should leave according to somebody else. What is absent is not compared. */
export interface Expected {
  readonly y?: ArrayLike<number> | undefined;
  readonly dx?: ArrayLike<number> | undefined;
  readonly dGamma?: ArrayLike<number> | undefined;
  readonly dBeta?: ArrayLike<number> | undefined;
  readonly dResidual?: ArrayLike<number> | null | undefined;
  readonly state?:
    { readonly mean: ArrayLike<number>; readonly variance: ArrayLike<number> } | null | undefined;
}

/**
 * The outputs of a run with their tolerances, against the reference; or against `expected` where it is given, and the
 * reference then gives the tolerances alone.
 *
 * An error of z passes an activation multiplied by its largest slope, and reaches dz multiplied by |dy| and the largest
 * curvature, or by the whole jump of the derivative where z is as near to one as its error. dz's errors go through the
 * sums and dx as dz itself does. Without an activation dz is dy, exact, and the bounds of the README are all there is.
 */
export function comparisons(
  call: Call,
  inputs: Inputs,
  outputs: Outputs,
  expected?: Expected,
): Comparison[] {
  const { shape, options = {}, dtype = "f32", mode = "training" } = call;
  const { activation = "none", momentum = 0.1, layout = "channels-first" } = options;
  const { affine = true, trackRunningStats = true } = options;
  const slope = options.slope ?? (activation === "elu" ? 1 : 0.01);
  const { channels, count } = extentOf("test", shape, layout);
  const channel = channelsOf(call);
  const { x, dy, residual } = inputs;
  const gammaAt = (c: number): number => (affine ? (inputs.gamma?.[c] ?? 1) : 1);
  const betaAt = (c: number): number => (affine ? (inputs.beta?.[c] ?? 0) : 0);
  const given = {
    ...options,
    ...(affine ? { gamma: inputs.gamma, beta: inputs.beta } : {}),
    residual,
  };
  const before: State = inputs.state ?? {
    mean: new Float32Array(channels),
    variance: new Float32Array(channels).fill(1),
    numBatchesTracked: 0,
  };
  const running = mode === "evaluation" ? { mean: before.mean, variance: before.variance } : {};
  const result: reference.InferenceResult & { state?: reference.UpdatedState | null } =
    mode === "training"
      ? reference.forward(x, shape, { ...given, ...(trackRunningStats ? { state: before } : {}) })
      : reference.inference(x, shape, { ...given, ...running });
  const { xHat, z, mean, varBiased } = result;
  const smooth = smoothnessOf(activation, slope);
  const zError = (i: number): number => {
    const c = channel(i);
    const own = yTolerance(xHat[i]!, gammaAt(c), z[i]!);
    // A residual is added to a sum that is rounded before.
    return residual ? own + ulp(gammaAt(c) * xHat[i]! + betaAt(c)) : own;
  };
  const list: Comparison[] = [];
  const add = (
    name: Comparison["name"],
    actual: Float32Array | undefined,
    wanted: ArrayLike<number> | null | undefined,
    tolerance: (index: number, value: number) => number,
  ): void => {
    if (!actual || !wanted) return;
    const atol = Float64Array.from(wanted, (value, i) => tolerance(i, value));
    list.push({ name, actual, expected: wanted, atol });
  };

  const ofForward: Expected = expected ?? result;
  add("y", outputs.y, ofForward.y, (i, value) => {
    const own =
      activation === "none" ? 0 : ACTIVATING * Math.max(1, Math.abs(slope), Math.abs(z[i]!));
    return storing(value, smooth.slope * zError(i) + own + FLUSHED, dtype);
  });
  if (result.state) {
    const weight = momentum ?? 1 / Number(result.state.numBatchesTracked);
    const divisor = options.runningVariance === "population" ? count : Math.max(1, count - 1);
    add("mean", outputs.state?.mean, ofForward.state?.mean, (c) =>
      runningTolerance.mean(weight, before.mean[c]!, mean[c]!, varBiased[c]!),
    );
    add("variance", outputs.state?.variance, ofForward.state?.variance, (c) =>
      runningTolerance.variance(weight, before.variance[c]!, varBiased[c]! * (count / divisor)),
    );
  }
  if (!dy) return list;

  const gradients = reference.backward(dy, x, shape, { ...given, ...running, mode });
  const { dz, invStd, maxAbsDz, sumAbsDz, sumAbsDzXHat } = gradients;
  const dzError = Float64Array.from(dz, (_, i) => {
    if (activation === "none") return 0;
    const error = zError(i);
    const jumps = smooth.jumps.some((at) => Math.abs(z[i]! - at) <= error);
    const own = ACTIVATING * Math.max(1, Math.abs(slope));
    return Math.abs(dy[i]!) * (smooth.curvature * error + own + (jumps ? 1 + Math.abs(slope) : 0));
  });
  const sumError = new Float64Array(channels);
  const sumErrorXHat = new Float64Array(channels);
  for (let i = 0; i < dzError.length; i++) {
    const c = channel(i);
    sumError[c]! += dzError[i]!;
    sumErrorXHat[c]! += dzError[i]! * Math.abs(xHat[i]!);
  }
  const ofBackward: Expected = expected ?? gradients;
  add("dx", outputs.dx, ofBackward.dx, (i, value) => {
    const c = channel(i);
    const means =
      mode === "evaluation" ? 0 : (sumError[c]! + Math.abs(xHat[i]!) * sumErrorXHat[c]!) / count;
    const error = GRADIENT * maxAbsDz[c]! + dzError[i]! + means;
    return storing(value, Math.abs(gammaAt(c)) * invStd[c]! * error + FLUSHED, dtype);
  });
  add(
    "dGamma",
    outputs.dGamma,
    ofBackward.dGamma,
    (c) => GRADIENT * sumAbsDzXHat[c]! + sumErrorXHat[c]! + FLUSHED,
  );
  add(
    "dBeta",
    outputs.dBeta,
    ofBackward.dBeta,
    (c) => GRADIENT * sumAbsDz[c]! + sumError[c]! + FLUSHED,
  );
  add("dResidual", outputs.dResidual, ofBackward.dResidual, (i, value) =>
    storing(value, dzError[i]! + ROUNDING * Math.abs(value) + FLUSHED, dtype),
  );
  return list;
}
