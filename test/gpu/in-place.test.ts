/** y over x and dx over dy: the same numbers as apart, and, from y alone, gradients within a bound of their own. */
import { beforeAll, describe, expect, test } from "vitest";
import {
  BatchNorm2d,
  byteSizes,
  createBackwardSync,
  createInferenceSync,
  GAMMA_FLOOR,
  tensor,
  Tensor,
  type ActivationName,
  type Tuning,
} from "webgpu-batchnorm";
import "../support/allclose.js";
import * as reference from "webgpu-batchnorm/reference";
import { openDevice } from "../support/device.js";
import {
  inputsOf,
  runPlans,
  runReference,
  TUNINGS,
  worst,
  type Case,
  type Inputs,
  type Outcome,
} from "../support/plans.js";
import { createRandom } from "../support/random.js";

let device: GPUDevice;
beforeAll(async () => {
  device = await openDevice();
});

const SHAPES = [
  [4, 3, 7, 7],
  [3, 5, 2, 3],
  [9, 7],
  [4, 8, 4, 4],
  [8, 8, 5, 3],
] as const;
const DTYPES = ["f32", "f16", "bf16"] as const;

describe("dx over dy is dx apart, to the bit, with the sums", () => {
  /** A backward of given statistics, with dx apart or over dy. */
  async function backwardOf(each: Case, inputs: Inputs, tuning: Partial<Tuning>, inPlace: boolean) {
    const { shape, dtype = "f32", mode, activation = "none" } = each;
    const { channels } = inputs;
    const made: Tensor[] = [];
    const put = (values: ArrayLike<number>, of: readonly number[], type = dtype): Tensor => {
      const one = tensor(device, values as Float64Array, of, { dtype: type });
      made.push(one);
      return one;
    };
    const x = put(inputs.x, shape);
    const dy = put(inputs.dy, shape);
    const [dx, dResidual] = [0, 1].map(() => put(new Float64Array(x.size).fill(NaN), shape));
    const [dGamma, dBeta, gamma, beta] = [NaN, NaN, 1, 0].map((value) =>
      put(new Float32Array(channels).fill(value), [channels], "f32"),
    );
    gamma!.write(inputs.gamma);
    beta!.write(inputs.beta);
    const words = (bytes: number): Tensor => put(new Float32Array(bytes / 4), [bytes / 4], "f32");
    const sizes = byteSizes(each);
    const [saved, state] = [words(sizes.saved), words(sizes.state)];
    const initial = new Float32Array(sizes.state / 4);
    initial.set(inputs.mean);
    initial.set(inputs.variance, Math.ceil(channels / 64) * 64);
    state.write(initial);
    const own = { shape, dtype, activation, ...(each.layout ? { layout: each.layout } : {}) };
    // Statistics of an inference serve both modes: what matters here is who overwrites what.
    const forward = createInferenceSync(device, { ...own, save: true });
    const residualGrad = each.residual ?? false;
    const plan = createBackwardSync(device, { ...own, mode, residualGrad, inPlace, tuning });
    const encoder = device.createCommandEncoder();
    const y = put(new Float64Array(x.size), shape);
    forward.encode(encoder, { x, gamma: gamma!, beta: beta!, y, saved, state });
    plan.encode(encoder, {
      x,
      dy,
      saved,
      dGamma: dGamma!,
      dBeta: dBeta!,
      ...(inPlace ? {} : { dx: dx! }),
      ...(residualGrad ? { dResidual: dResidual! } : {}),
    });
    device.queue.submit([encoder.finish()]);
    try {
      return {
        dx: await (inPlace ? dy : dx!).read(),
        dGamma: await dGamma!.read(),
        dBeta: await dBeta!.read(),
        dResidual: residualGrad ? await dResidual!.read() : null,
      };
    } finally {
      forward.destroy();
      plan.destroy();
      for (const one of made) one.destroy();
    }
  }

  const ACTIVATIONS: readonly ActivationName[] = ["none", "relu", "silu"];
  test.each(DTYPES.flatMap((dtype) => SHAPES.map((shape) => [dtype, shape] as const)))(
    "%s, %j",
    async (dtype, shape) => {
      const tunings = Object.values(TUNINGS);
      let turn = 0;
      for (const mode of ["training", "evaluation"] as const)
        for (const activation of ACTIVATIONS) {
          turn += 1;
          const layout = turn % 3 === 1 ? "channels-last" : "channels-first";
          const residual = turn % 4 === 0;
          const each: Case = { shape, dtype, mode, layout, activation, residual };
          const inputs = inputsOf(createRandom(turn), each);
          const tuning = tunings[turn % tunings.length]!;
          const apart = await backwardOf(each, inputs, tuning, false);
          const over = await backwardOf(each, inputs, tuning, true);
          expect(apart.dBeta.every(Number.isFinite)).toBe(true);
          expect(over, JSON.stringify(each)).toEqual(apart);
        }
    },
  );
});

test("the same bits on 20 runs in place, in 16 bits too", async () => {
  for (const dtype of DTYPES)
    for (const mode of ["training", "evaluation"] as const) {
      const each: Case = { shape: [4, 3, 7, 7], dtype, mode, activation: "elu" };
      const inputs = inputsOf(createRandom(23), each);
      const first = await runPlans(device, { ...each, inPlace: true }, inputs);
      expect(first.y.every(Number.isFinite)).toBe(true);
      for (let again = 1; again < 20; again++)
        expect(await runPlans(device, { ...each, inPlace: true }, inputs)).toEqual(first);
    }
});

test.each(DTYPES)("inference of %s over x is inference apart", async (dtype) => {
  for (const shape of SHAPES) {
    const each: Case = { shape, dtype, mode: "evaluation", activation: "relu" };
    const inputs = inputsOf(createRandom(5), each);
    const apart = await runPlans(device, each, inputs);
    const over = await runPlans(device, { ...each, inPlace: true }, inputs);
    expect(over.y).toEqual(apart.y);
  }
});

/**
 * The largest error of gradients from y in units of their bound. What is recovered from y is off by
 * `e = 8·2^-24·((|y| + 1)/slope + |z| + |beta|)/|gamma|` in xHat: y is rounded when it is stored (half a unit, and its
 * own two roundings of z·1 + beta), which the inverse of the activation spreads by 1/slope; its division or logarithm, the
 * subtraction of beta and the division by gamma round once or are within 3 units of WGSL. dGamma is off by Σ|dz|·e more than
 * the core's bound; dx = gamma·invStd·(dz − Σdz/M − xHat·Σdz·xHat/M) by
 * `|gamma|·invStd·(|dGamma|/M·e + |xHat|·Σ|dz|·e/M)` more; dz itself goes with slope, whose error is e's of a smaller term.
 */
function conditioned(each: Case, inputs: Inputs, got: Outcome): number {
  const want = runReference(each, inputs);
  const { channels } = inputs;
  const { shape, activation = "none", slope = activation === "elu" ? 1 : 0.01 } = each;
  const inner = shape.slice(2).reduce((a, b) => a * b, 1);
  const count = want.y.length / channels;
  const channelOf = (i: number): number => Math.floor(i / inner) % channels;
  const off = Float64Array.from(want.y, (y, i) => {
    const c = channelOf(i);
    const z = want.z[i]!;
    const steep = z >= 0 || activation === "none" ? 1 : activation === "elu" ? y + slope : slope;
    const around = (Math.abs(y) + 1) / steep + Math.abs(z) + Math.abs(inputs.beta[c]!);
    return (8 * 2 ** -24 * around) / Math.abs(inputs.gamma[c]!);
  });
  const sum = new Float64Array(channels);
  const maxDz = new Float64Array(channels);
  want.dz.forEach((dz, i) => {
    const c = channelOf(i);
    sum[c]! += Math.abs(dz) * off[i]!;
    maxDz[c] = Math.max(maxDz[c]!, Math.abs(dz));
  });
  let largest = 0;
  const note = (error: number, bound: number): void => {
    const ratio = error / bound;
    if (!(ratio <= largest)) largest = Number.isNaN(ratio) ? Infinity : ratio;
  };
  want.dx.forEach((dx, i) => {
    const c = channelOf(i);
    const xHat = Math.abs(want.xHat[i]!);
    const recovered = (Math.abs(want.dGamma[c]!) / count) * off[i]! + (xHat * sum[c]!) / count;
    const scale = Math.abs(inputs.gamma[c]!) * want.invStd[c]!;
    const core = 1e-5 * maxDz[c]! * (1 + xHat);
    note(Math.abs(got.dx[i]! - dx), scale * (core + recovered));
  });
  for (let c = 0; c < channels; c += 1) {
    note(Math.abs(got.dBeta[c]! - want.dBeta[c]!), 1e-5 * want.sumAbsDz[c]!);
    note(Math.abs(got.dGamma[c]! - want.dGamma[c]!), 1e-5 * want.sumAbsDzXHat[c]! + sum[c]!);
  }
  return largest;
}

describe("training in place, gradients from y", () => {
  const INVERTIBLE = ["none", "leaky-relu", "elu"] as const;
  const from = { inPlace: true, invertible: true, from: "y", mode: "training" } as const;

  test.each(INVERTIBLE)("%s: within the conditioned bound on every path", async (activation) => {
    for (const shape of SHAPES) {
      for (const tuning of Object.values(TUNINGS)) {
        const each: Case = { ...from, shape, activation, tuning };
        const inputs = inputsOf(createRandom(3), each);
        const got = await runPlans(device, each, inputs);
        expect(worst(each, inputs, got, runReference(each, inputs)).y).toBeLessThanOrEqual(1);
        expect(conditioned(each, inputs, got)).toBeLessThanOrEqual(1);
      }
    }
  });

  test.each(INVERTIBLE)("%s: with dz written out, the same", async (activation) => {
    for (const tuning of Object.values(TUNINGS)) {
      const each: Case = { ...from, shape: [4, 3, 7, 7], activation, tuning };
      const inputs = inputsOf(createRandom(13), each);
      const without = await runPlans(device, each, inputs);
      const { dResidual, ...rest } = await runPlans(
        device,
        { ...each, residualGrad: true },
        inputs,
      );
      expect({ ...rest, dResidual: null }).toEqual(without);
      expect(dResidual!).toBeAllclose(runReference(each, inputs).dz, { atol: 1e-5 });
    }
  });

  test.each(INVERTIBLE)("%s: down to a gamma at the floor, within it still", async (activation) => {
    const each: Case = { ...from, shape: [6, 4, 5, 5], activation };
    const inputs = inputsOf(createRandom(7), each);
    inputs.gamma.set([GAMMA_FLOOR, -GAMMA_FLOOR, 2 ** -4, 8]);
    expect(conditioned(each, inputs, await runPlans(device, each, inputs))).toBeLessThanOrEqual(1);
  });

  test("a channel with too small a gamma is scaled by the floor, with its sign", async () => {
    const each: Case = { ...from, shape: [6, 4] };
    const inputs = inputsOf(createRandom(9), each);
    inputs.gamma.set([0, -1e-6, 1, -2]);
    const floored = { ...inputs, gamma: Float32Array.of(GAMMA_FLOOR, -GAMMA_FLOOR, 1, -2) };
    const got = await runPlans(device, each, inputs);
    expect(worst(each, floored, got, runReference(each, floored)).y).toBeLessThanOrEqual(1);
    expect(conditioned(each, floored, got)).toBeLessThanOrEqual(1);
  });
});

describe("a module that works in place", () => {
  const shape = [6, 4, 5, 5] as const;
  const size = 600;
  const random = createRandom(11);
  const xs = random.normals(size, 1, 2);
  const dys = random.normals(size);
  const gamma = [0.001, -0.5, 1, 2];
  const floored = [GAMMA_FLOOR, -0.5, 1, 2];
  const beta = [0.1, 0, -0.3, 0.5];
  const state = { running_mean: [1, 0, 1, 2], running_var: [4, 3, 1, 5] };

  test.each(["training", "evaluation"] as const)(
    "%s: y is x, gradients come from it",
    async (mode) => {
      const bn = new BatchNorm2d(device, 4, { inPlace: true, activation: "leaky-relu" });
      bn.loadStateDict({ weight: gamma, bias: beta, ...state });
      expect(await bn.flooredChannels()).toEqual([0]);
      if (mode === "evaluation") bn.eval();
      const x = tensor(device, xs, shape);
      const dy = tensor(device, dys, shape);
      const y = bn.forward(x);
      expect(y).toBe(x);
      const dx = bn.backward(dy, { out: dy });
      expect(dx).toBe(dy);
      const got: Outcome = {
        y: await y.read(),
        dx: await dx.read(),
        dGamma: await bn.gammaGrad!.read(),
        dBeta: await bn.betaGrad!.read(),
        dResidual: null,
        state: new Float32Array(),
      };
      const inputs: Inputs = {
        x: Float64Array.from(xs),
        dy: Float64Array.from(dys),
        residual: new Float64Array(size),
        gamma: Float32Array.from(floored),
        beta: Float32Array.from(beta),
        mean: Float32Array.from(state.running_mean),
        variance: Float32Array.from(state.running_var),
        channels: 4,
      };
      const each: Case = { shape, activation: "leaky-relu", mode };
      expect(worst(each, inputs, got, runReference(each, inputs)).y).toBeLessThanOrEqual(1);
      expect(conditioned(each, inputs, got)).toBeLessThanOrEqual(1);
      for (const one of [x, dy, bn]) one.destroy();
    },
  );

  test("keeps one tensor of a layer alive, where one apart keeps two", async () => {
    const bytes = size * 4;
    /** Bytes of tensors of x's size that are alive after a forward of three layers, x itself included. */
    const aliveAfter = async (inPlace: boolean): Promise<number> => {
      const create = device.createBuffer.bind(device);
      let alive = 0;
      device.createBuffer = (descriptor) => {
        const made = create(descriptor);
        if (descriptor.size < bytes) return made;
        alive += descriptor.size;
        const destroy = made.destroy.bind(made);
        made.destroy = () => {
          alive -= descriptor.size;
          destroy();
        };
        return made;
      };
      try {
        const layers = [0, 1, 2].map(
          () => new BatchNorm2d(device, 4, { inPlace, activation: "leaky-relu" }),
        );
        const first = tensor(device, xs, shape);
        const values = [first];
        for (const bn of layers) values.push(bn.forward(values.at(-1)!));
        const last = await values.at(-1)!.read();
        expect(last.every(Number.isFinite)).toBe(true);
        const found = alive;
        for (const each of [...new Set(values), ...layers]) each.destroy();
        return found;
      } finally {
        delete (device as Partial<GPUDevice>).createBuffer;
      }
    };
    expect(await aliveAfter(false)).toBe(4 * bytes);
    expect(await aliveAfter(true)).toBe(bytes);
  });

  test("inference over x of another module counts its x as lost", async () => {
    const bn = new BatchNorm2d(device, 4);
    const x = tensor(device, xs, shape);
    bn.eval().forward(x, { out: x });
    const dy = tensor(device, dys, shape);
    expect(() => bn.backward(dy)).toThrow("whose x was written over");
    const want = reference.inference(xs, shape, {
      mean: new Float32Array(4),
      variance: new Float32Array(4).fill(1),
    });
    const got = await x.read();
    expect(got.every((value, i) => Math.abs(value - want.y[i]!) <= 1e-5)).toBe(true);
    for (const each of [x, dy, bn]) each.destroy();
  });
});
