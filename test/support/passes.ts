/** Runs plans on given numbers and brings everything back. Every output holds NaN before it is written. */
import {
  type BatchNormOptions,
  byteSizes,
  createBackward,
  createForward,
  createInference,
  type Dtype,
  GPU_TUNING,
  SOFTWARE_TUNING,
  stateLayout,
  Tensor,
  tensor,
  type Tuning,
  type Wants,
} from "webgpu-batchnorm";
import { backward, forward, inference } from "webgpu-batchnorm/reference";
import { createRandom } from "./random.js";
import { type Bound, boundOfY, boundsOfGradients, boundsOfState } from "./tolerance.js";

/** Running statistics as numbers. */
export interface State {
  readonly mean: ArrayLike<number>;
  readonly variance: ArrayLike<number>;
  readonly numBatchesTracked: number;
}

/** What one run is given. */
export interface Case {
  readonly shape: readonly number[];
  readonly options?: BatchNormOptions | undefined;
  readonly dtype?: Dtype | undefined;
  readonly x: Float32Array;
  readonly dy: Float32Array;
  readonly gamma?: Float32Array | undefined;
  readonly beta?: Float32Array | undefined;
  readonly residual?: Float32Array | undefined;
  readonly state?: State | undefined;
  readonly tuning?: Partial<Tuning> | undefined;
  readonly limits?: { maxBindingBytes?: number; maxWorkgroups?: number } | undefined;
}

/** What came back. What was not asked for, or does not exist, is null. */
export interface Passed {
  y: Float32Array;
  saved: Float32Array;
  state: { mean: Float32Array; variance: Float32Array; counter: number } | null;
  dx: Float32Array | null;
  dGamma: Float32Array | null;
  dBeta: Float32Array | null;
  dResidual: Float32Array | null;
}

/** Ways to cut the work that no single device's default would all take. */
export const TUNINGS: Readonly<Record<string, Tuning>> = {
  software: SOFTWARE_TUNING,
  "software, split": {
    ...SOFTWARE_TUNING,
    wholePerLane: 0,
    minPerLane: 1,
    targetInvocations: 2048,
  },
  gpu: GPU_TUNING,
  "gpu, not held": { ...GPU_TUNING, maxHeld: 0, wholePerLane: 1e6 },
  "gpu, split": { ...GPU_TUNING, maxHeld: 0, wholePerLane: 0, minPerLane: 1 },
  "teams of 8, split": {
    ...GPU_TUNING,
    workgroupSize: 64,
    maxTeam: 8,
    columnSlots: 8,
    maxHeld: 0,
    wholePerLane: 0,
    minPerLane: 1,
  },
};

/** f32 as the device gets eps and momentum. */
export function roundedOptions(options: BatchNormOptions): BatchNormOptions {
  const { eps = 1e-5, momentum = 0.1 } = options;
  return {
    ...options,
    eps: Math.fround(eps),
    momentum: momentum === null ? null : Math.fround(momentum),
  };
}

/** Inputs that are neither centred nor alike: every channel has an offset and a deviation of its own. */
export function inputsOf(
  shape: readonly number[],
  options: BatchNormOptions = {},
  seed = 1,
): Omit<Case, "shape"> & { gamma: Float32Array | undefined; beta: Float32Array | undefined } {
  const random = createRandom(seed + shape.reduce((a, b) => (a * 31 + b) | 0, 7));
  const { layout = "channels-first", affine = true, trackRunningStats = true } = options;
  const size = shape.reduce((a, b) => a * b, 1);
  const last = layout === "channels-last" || shape.length === 2;
  const channels = (last ? shape[shape.length - 1] : shape[1])!;
  const inner = last ? 1 : shape.slice(2).reduce((a, b) => a * b, 1);
  const offset = random.normals(channels, 0, 3);
  const deviation = random.uniforms(channels, 0.2, 4);
  const x = random.normals(size);
  for (let i = 0; i < size; i++) {
    const c = Math.floor(i / inner) % channels;
    x[i] = offset[c]! + deviation[c]! * x[i]!;
  }
  return {
    options,
    x,
    dy: random.normals(size, 0.25, 1),
    gamma: affine ? random.normals(channels, 0.5, 1) : undefined,
    beta: affine ? random.normals(channels) : undefined,
    state: trackRunningStats
      ? {
          mean: random.normals(channels),
          variance: random.uniforms(channels, 0.1, 3),
          numBatchesTracked: 3,
        }
      : undefined,
  };
}

interface Bound16 {
  readonly made: Tensor[];
  input(values: Float32Array, shape: readonly number[], dtype?: Dtype): Tensor;
  output(shape: readonly number[], dtype?: Dtype): Tensor;
}

function maker(device: GPUDevice): Bound16 {
  const made: Tensor[] = [];
  const input = (values: Float32Array, shape: readonly number[], dtype: Dtype = "f32"): Tensor => {
    const each = tensor(device, values, shape, { dtype });
    made.push(each);
    return each;
  };
  return {
    made,
    input,
    output: (shape, dtype) => {
      const size = shape.reduce((a, b) => a * b, 1);
      return input(new Float32Array(size).fill(NaN), shape, dtype);
    },
  };
}

/** Which pass, which gradients. */
export interface PassOptions {
  readonly mode?: "training" | "evaluation";
  /** False: forward only. */
  readonly backward?: boolean;
  readonly wants?: Wants;
  readonly residualGrad?: boolean;
  /** How often both are recorded, one after another in one encoder. Default 1. */
  readonly times?: number;
}

/** A forward (in evaluation: an inference that saves) and its backward, recorded into one encoder. */
export async function run(
  device: GPUDevice,
  given: Case,
  { mode = "training", backward: back = true, wants, residualGrad, times = 1 }: PassOptions = {},
): Promise<Passed> {
  const { shape, dtype = "f32", options = {}, tuning, limits, residual, state } = given;
  const { affine = true, trackRunningStats = true } = options;
  const descriptor = {
    ...options,
    shape,
    dtype,
    ...(tuning ? { tuning } : {}),
    ...(limits ? { limits } : {}),
    residual: residual !== undefined,
  };
  const sizes = byteSizes(descriptor);
  const channels = sizes.gamma / 4;
  const layout = stateLayout(channels);
  const { input, output, made } = maker(device);
  const x = input(given.x, shape, dtype);
  const y = output(shape, dtype);
  const saved = output([sizes.saved / 4]);
  const ones = new Float32Array(channels).fill(1);
  const parameters = affine
    ? {
        gamma: input(given.gamma ?? ones, [channels]),
        beta: input(given.beta ?? new Float32Array(channels), [channels]),
      }
    : {};
  const added = residual ? { residual: input(residual, shape, dtype) } : {};
  const running = trackRunningStats ? input(new Float32Array(layout.bytes / 4), [layout.bytes / 4]) : null;
  if (running) {
    const words = new Float32Array(layout.bytes / 4);
    words.set(state?.mean ?? [], layout.mean / 4);
    words.set(state?.variance ?? ones, layout.variance / 4);
    new Uint32Array(words.buffer)[layout.counter / 4] = state?.numBatchesTracked ?? 0;
    running.write(words);
  }
  const encoder = device.createCommandEncoder();
  const plans: { destroy(): void }[] = [];
  const batchStatistics = mode === "training" || !trackRunningStats;
  const bound = { x, y, saved, ...parameters, ...added };
  const record: (() => void)[] = [];
  if (batchStatistics) {
    const plan = await createForward(device, descriptor);
    plans.push(plan);
    record.push(() => plan.encode(encoder, { ...bound, ...(running ? { state: running } : {}) }));
  } else {
    const plan = await createInference(device, { ...descriptor, save: true });
    plans.push(plan);
    record.push(() => plan.encode(encoder, { ...bound, state: running! }));
  }
  let dx: Tensor | null = null;
  let dGamma: Tensor | null = null;
  let dBeta: Tensor | null = null;
  let dResidual: Tensor | null = null;
  if (back) {
    const plan = await createBackward(device, {
      ...descriptor,
      mode: batchStatistics ? "training" : "evaluation",
      ...(wants ? { wants } : {}),
      ...(residualGrad === undefined ? {} : { residualGrad }),
    });
    plans.push(plan);
    const dy = input(given.dy, shape, dtype);
    if (wants?.x ?? true) dx = output(shape, dtype);
    if (wants?.gamma ?? affine) dGamma = output([channels]);
    if (wants?.beta ?? affine) dBeta = output([channels]);
    if (residualGrad ?? residual !== undefined) dResidual = output(shape, dtype);
    record.push(() =>
      plan.encode(encoder, {
        ...{ x, dy, saved, ...added },
        ...(dx ? { dx } : {}),
        ...(dGamma ? { dGamma } : {}),
        ...(dBeta ? { dBeta } : {}),
        ...(dResidual ? { dResidual } : {}),
      }),
    );
  }
  for (let i = 0; i < times; i++) for (const each of record) each();
  device.queue.submit([encoder.finish()]);
  const outputs = [y, saved, running, dx, dGamma, dBeta, dResidual];
  const read = await Promise.all(outputs.map((each) => each?.read() ?? null));
  for (const each of [...made, ...plans]) each.destroy();
  const words = read[2];
  return {
    y: read[0]!,
    saved: read[1]!,
    state: words
      ? {
          mean: words.slice(layout.mean / 4, layout.mean / 4 + channels),
          variance: words.slice(layout.variance / 4, layout.variance / 4 + channels),
          counter: new Uint32Array(words.buffer, words.byteOffset)[layout.counter / 4]!,
        }
      : null,
    dx: read[3] ?? null,
    dGamma: read[4] ?? null,
    dBeta: read[5] ?? null,
    dResidual: read[6] ?? null,
  };
}

/** One array that came back, what it should be, and how far it may be off. */
export interface Comparison {
  readonly name: keyof Passed | "running mean" | "running variance" | "counter";
  readonly actual: ArrayLike<number>;
  readonly expected: ArrayLike<number>;
  readonly bound: Bound;
}

/** Compares whatever came back with the float64 reference. */
export function compare(
  given: Case,
  passed: Passed,
  mode: "training" | "evaluation" = "training",
): Comparison[] {
  const { shape, x, dy, gamma, beta, residual, dtype } = given;
  const options = roundedOptions(given.options ?? {});
  const { affine = true, trackRunningStats = true, layout, activation } = options;
  const { channels } = { channels: passed.saved.length / 5 };
  const setting = { shape, layout, dtype, activation, gamma: affine ? gamma : undefined, residual };
  const common = { ...options, ...(affine ? { gamma, beta } : {}), residual };
  const state = {
    mean: given.state?.mean ?? new Float64Array(channels),
    variance: given.state?.variance ?? new Float64Array(channels).fill(1),
    numBatchesTracked: given.state?.numBatchesTracked ?? 0,
  };
  const running =
    mode === "evaluation" && trackRunningStats
      ? { mean: state.mean, variance: state.variance }
      : {};
  const comparisons: Comparison[] = [];
  const add = (
    name: Comparison["name"],
    actual: ArrayLike<number> | null,
    expected: ArrayLike<number> | null,
    bound: Bound,
  ): void => {
    if (actual) comparisons.push({ name, actual, expected: expected!, bound });
  };
  if (mode === "training") {
    const result = forward(x, shape, { ...common, ...(trackRunningStats ? { state } : {}) });
    add("y", passed.y, result.y, boundOfY(setting, result));
    if (passed.state && result.state) {
      const momentum = options.momentum ?? 1 / Number(result.state.numBatchesTracked);
      const bounds = boundsOfState(state, result, momentum);
      add("running mean", passed.state.mean, result.state.mean, bounds.mean);
      add("running variance", passed.state.variance, result.state.variance, bounds.variance);
      add("counter", [passed.state.counter], [Number(result.state.numBatchesTracked)], () => 0);
    }
  } else {
    const result = inference(x, shape, { ...common, ...running });
    add("y", passed.y, result.y, boundOfY(setting, result));
    if (passed.state) {
      add("running mean", passed.state.mean, state.mean, () => 0);
      add("running variance", passed.state.variance, state.variance, () => 0);
      add("counter", [passed.state.counter], [state.numBatchesTracked], () => 0);
    }
  }
  if (passed.dx || passed.dGamma || passed.dBeta || passed.dResidual) {
    const result = backward(dy, x, shape, { ...common, ...running, mode });
    const bounds = boundsOfGradients(setting, dy, result);
    add("dx", passed.dx, result.dx, bounds.dx);
    add("dGamma", passed.dGamma, result.dGamma, bounds.dGamma);
    add("dBeta", passed.dBeta, result.dBeta, bounds.dBeta);
    add("dResidual", passed.dResidual, result.dz, bounds.dResidual);
  }
  return comparisons;
}
