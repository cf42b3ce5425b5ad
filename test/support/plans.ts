import {
  byteSizes,
  createBackwardSync,
  createForwardSync,
  createInferenceSync,
  GPU_TUNING,
  tensor,
  Tensor,
  type BackwardDescriptor,
  type ForwardDescriptor,
  type Tuning,
} from "webgpu-batchnorm";
import * as reference from "webgpu-batchnorm/reference";
import { narrow, widen } from "../../src/half.js";
import type { Random } from "./random.js";

/**
 * Tunings that together reach every path on any adapter: its own, a GPU's, and one that splits everything. Workgroups are
 * small: SwiftShader takes a fifth longer to compile those of 64 invocations, and three times as long for 256.
 */
export const TUNINGS: Readonly<Record<string, Partial<Tuning>>> = {
  own: {},
  gpu: { ...GPU_TUNING, workgroupSize: 32, maxTeam: 32 },
  split: {
    ...GPU_TUNING,
    workgroupSize: 16,
    maxTeam: 8,
    minPerLane: 1,
    mergedBytes: 2 ** 40,
    wholePerLane: 0,
    maxHeld: 0,
  },
  whole: { ...GPU_TUNING, workgroupSize: 16, maxTeam: 16, targetInvocations: 1, maxHeld: 0 },
};

export type Case = ForwardDescriptor &
  Pick<BackwardDescriptor, "from" | "residualGrad"> & { mode: "training" | "evaluation" };

export interface Outcome {
  y: Float32Array;
  dx: Float32Array;
  dGamma: Float32Array;
  dBeta: Float32Array;
  dResidual: Float32Array | null;
  state: Float32Array;
}

/** Numbers as the type stores them. */
export function rounded(values: Float64Array, dtype: "f32" | "f16" | "bf16"): Float64Array {
  return values.map((value) =>
    dtype === "f32" ? Math.fround(value) : widen(narrow(value, dtype), dtype),
  );
}

/** Inputs of one case, rounded to its types. */
export function inputsOf(random: Random, each: Case, offset = 0, std = 1) {
  const size = each.shape.reduce((a, b) => a * b, 1);
  const channels = each.layout === "channels-last" ? each.shape.at(-1)! : each.shape[1]!;
  const dtype = each.dtype ?? "f32";
  const normals = (count: number, mean = 0, deviation = 1): Float64Array =>
    Float64Array.from({ length: count }, () => mean + deviation * random.normal());
  return {
    x: rounded(normals(size, offset, std), dtype),
    dy: rounded(normals(size), dtype),
    residual: rounded(normals(size), dtype),
    gamma: Float32Array.from(normals(channels, 1, 0.3)),
    beta: Float32Array.from(normals(channels, 0, 0.5)),
    mean: Float32Array.from(normals(channels, offset, std)),
    variance: Float32Array.from(normals(channels), (v) => std * std * (0.5 + v * v)),
    channels,
  };
}

export type Inputs = ReturnType<typeof inputsOf>;

/** Runs forward and backward of one case through plans, in one encoder. */
export async function runPlans(device: GPUDevice, each: Case, inputs: Inputs): Promise<Outcome> {
  const { shape, mode } = each;
  const dtype = each.dtype ?? "f32";
  const sizes = byteSizes(each);
  const { channels } = inputs;
  const made: Tensor[] = [];
  const put = (data: ArrayLike<number>, dims: readonly number[], type: "f32" | "f16" | "bf16") => {
    const one = tensor(device, data as Float64Array, dims, { dtype: type });
    made.push(one);
    return one;
  };
  const poison = new Float64Array(inputs.x.length).fill(NaN);
  const x = put(inputs.x, shape, dtype);
  const dy = put(inputs.dy, shape, dtype);
  const residual = put(inputs.residual, shape, dtype);
  const y = put(poison, shape, dtype);
  const dx = put(poison, shape, dtype);
  const dResidual = put(poison, shape, dtype);
  const perChannel = (data: ArrayLike<number>): Tensor => put(data, [channels], "f32");
  const gamma = perChannel(inputs.gamma);
  const beta = perChannel(inputs.beta);
  const dGamma = perChannel(new Float32Array(channels).fill(NaN));
  const dBeta = perChannel(new Float32Array(channels).fill(NaN));
  const saved = put(new Float32Array(sizes.saved / 4).fill(NaN), [sizes.saved / 4], "f32");
  const part = Math.ceil(channels / 64) * 64;
  const initial = new Float32Array(sizes.state / 4);
  initial.set(inputs.mean);
  initial.set(inputs.variance, part);
  const state = put(initial, [sizes.state / 4], "f32");

  const { from, mode: _, invertible, residualGrad = each.residual ?? false, ...both } = each;
  const own = { ...both, ...(invertible === undefined ? {} : { invertible }) };
  const forward =
    mode === "training"
      ? createForwardSync(device, own)
      : createInferenceSync(device, { ...own, save: true });
  const backward = createBackwardSync(device, {
    ...both,
    mode,
    residualGrad,
    ...(from ? { from } : {}),
  });
  const inPlace = each.inPlace ?? false;
  const outY = inPlace ? x : y;
  const outDx = inPlace ? dy : dx;
  const encoder = device.createCommandEncoder();
  forward.encode(encoder, {
    x,
    gamma,
    beta,
    saved,
    state,
    ...(inPlace ? {} : { y }),
    ...(each.residual ? { residual } : {}),
  });
  backward.encode(encoder, {
    dy,
    saved,
    dGamma,
    dBeta,
    ...(each.from === "y" ? { y: outY } : { x }),
    ...(inPlace ? {} : { dx }),
    ...(each.residual ? { residual } : {}),
    ...(residualGrad ? { dResidual } : {}),
  });
  device.queue.submit([encoder.finish()]);
  try {
    return {
      y: await outY.read(),
      dx: await outDx.read(),
      dGamma: await dGamma.read(),
      dBeta: await dBeta.read(),
      dResidual: residualGrad ? await dResidual.read() : null,
      state: await state.read(),
    };
  } finally {
    forward.destroy();
    backward.destroy();
    for (const one of made) one.destroy();
  }
}

/** The same case in float64. */
export function runReference(each: Case, inputs: Inputs) {
  const { gamma, beta, residual, mean, variance, x, dy } = inputs;
  const { eps, layout, activation, slope, singleValue } = each;
  const options = {
    ...(eps === undefined ? {} : { eps }),
    ...(layout ? { layout } : {}),
    ...(activation ? { activation } : {}),
    ...(slope === undefined ? {} : { slope }),
    ...(singleValue ? { singleValue } : {}),
    gamma,
    beta,
    ...(each.residual ? { residual } : {}),
  };
  const evaluation = { ...options, mean, variance };
  return each.mode === "training"
    ? {
        ...reference.forward(x, each.shape, options),
        ...reference.backward(dy, x, each.shape, { ...options, mode: "training" }),
      }
    : {
        ...reference.inference(x, each.shape, evaluation),
        ...reference.backward(dy, x, each.shape, { ...evaluation, mode: "evaluation" }),
      };
}

/** Half a unit in the last place of a stored value, relative: what storing rounds. */
export const STORED = { f32: 2 ** -24, f16: 2 ** -11, bf16: 2 ** -8 } as const;
/** Half the distance of the smallest numbers of a type. */
export const SMALLEST = { f32: 0, f16: 2 ** -25, bf16: 2 ** -134 } as const;

/**
 * The largest error in units of its bound, over y, dx, dGamma, dBeta and dResidual. NaN counts as Infinity.
 *
 * y: 2e-6 * max(1, |xHat|) * |gamma| through an activation of slope at most 1.13, plus the activation's own
 * 1e-6 * max(1, |z|), plus half a unit of the stored type. dBeta, dGamma: 1e-5 of the sums of magnitudes.
 * dx: 1e-5 * |gamma| * invStd * max|dz| per unit of 1 + |xHat|, plus half a unit.
 */
export function worst(
  each: Case,
  inputs: Inputs,
  got: Outcome,
  want: ReturnType<typeof runReference>,
) {
  const dtype = each.dtype ?? "f32";
  const { channels } = inputs;
  const last = each.layout === "channels-last";
  const inner = last ? 1 : each.shape.slice(2).reduce((a, b) => a * b, 1);
  const half = STORED[dtype];
  const tiny = SMALLEST[dtype];
  const result = { y: 0, dx: 0, dGamma: 0, dBeta: 0, dResidual: 0 };
  const note = (name: keyof typeof result, error: number, bound: number): void => {
    const ratio = error <= bound ? error / bound || 0 : error / bound;
    if (!(ratio <= result[name])) result[name] = Number.isNaN(ratio) ? Infinity : ratio;
  };
  const maxDz = new Float64Array(channels);
  want.dz.forEach((dz, i) => {
    const c = Math.floor(i / inner) % channels;
    maxDz[c] = Math.max(maxDz[c]!, Math.abs(dz));
  });
  want.y.forEach((y, i) => {
    const c = Math.floor(i / inner) % channels;
    const gamma = Math.abs(inputs.gamma[c]!);
    const xHat = Math.abs(want.xHat[i]!);
    const bound =
      1.13 * 2e-6 * Math.max(1, xHat) * gamma + 1e-6 * Math.max(1, Math.abs(want.z[i]!));
    note("y", Math.abs(got.y[i]! - y), bound + half * Math.abs(y) + tiny + 2 ** -23 * Math.abs(y));
    const scale = gamma * want.invStd[c]!;
    const dx = want.dx[i]!;
    note(
      "dx",
      Math.abs(got.dx[i]! - dx),
      1e-5 * scale * maxDz[c]! * (1 + xHat) + half * Math.abs(dx) + tiny,
    );
    if (got.dResidual) {
      const dz = want.dz[i]!;
      note(
        "dResidual",
        Math.abs(got.dResidual[i]! - dz),
        1e-5 * maxDz[c]! + half * Math.abs(dz) + tiny,
      );
    }
  });
  for (let c = 0; c < channels; c += 1) {
    note("dBeta", Math.abs(got.dBeta[c]! - want.dBeta[c]!), 1e-5 * want.sumAbsDz[c]!);
    note("dGamma", Math.abs(got.dGamma[c]! - want.dGamma[c]!), 1e-5 * want.sumAbsDzXHat[c]!);
  }
  return result;
}
