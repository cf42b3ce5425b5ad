/** The same shape with other options, or in another way than the first time: what is kept must not stand in for it. */
import { beforeAll, describe, expect, test } from "vitest";
import {
  BatchNorm1d,
  BatchNorm2d,
  BufferError,
  byteSizes,
  createBackwardSync,
  createForwardSync,
  OptionError,
  stateLayout,
  tensor,
  type BatchNorm,
  type BatchNormOptions,
  type Dtype,
} from "../../src/index.js";
import { activationGradient, backward, forward, inference } from "../../src/reference.js";
import { AccumulatedBatchNorm, ExtendedBatchNorm } from "../../src/statistics/index.js";
import { openDevice } from "../support/device.js";
import { inputsOf, runPlans, runReference, TUNINGS, worst, type Case } from "../support/plans.js";
import { createRandom } from "../support/random.js";
import "../support/allclose.js";

let device: GPUDevice;
beforeAll(async () => {
  device = await openDevice();
});

const random = createRandom(41);
const shape = [6, 4, 3, 3];
const size = 6 * 4 * 9;
/** |xHat| below 5: 2e-6 of it, and 1e-5 of sums of at most 54 terms below 5. */
const Y = { atol: 1e-5 };
const SUM = { atol: 54 * 25 * 1e-5 };
const DX = { atol: 1e-4 };

const put = (values: ArrayLike<number>, dims: readonly number[] = shape, dtype: Dtype = "f32") =>
  tensor(device, Float32Array.from(values), dims, { dtype });

describe("accumulate adds to what was there, and the next call replaces it", () => {
  test.each(Object.keys(TUNINGS))("plans, tuning %s", async (name) => {
    const tuning = TUNINGS[name]!;
    for (const dtype of ["f32", "f16"] as const) {
      for (const limits of [{}, { maxBindingBytes: 1024 }]) {
        const each: Case = { shape, dtype, mode: "training", tuning, limits };
        const inputs = inputsOf(random, each, 1);
        const { dGamma, dBeta } = runReference(each, inputs);
        const sizes = byteSizes({ shape, dtype });
        const bytes = (values: Float32Array) => put(values, [values.length]);
        const tensors = {
          ...{ x: put(inputs.x, shape, dtype), dy: put(inputs.dy, shape, dtype) },
          ...{ dx: put(inputs.x, shape, dtype), y: put(inputs.x, shape, dtype) },
          ...{ gamma: bytes(inputs.gamma), beta: bytes(inputs.beta) },
          ...{ dGamma: put([10, 20, 30, 40], [4]), dBeta: put([1, 2, 3, 4], [4]) },
        };
        const { x, y, dy, dx, gamma, beta } = tensors;
        const saved = put(new Float32Array(sizes.saved / 4), [sizes.saved / 4]);
        const plain = { shape, dtype, tuning, limits, trackRunningStats: false };
        const plans = [
          createForwardSync(device, plain),
          createBackwardSync(device, { ...plain, accumulate: true }),
        ] as const;
        const encoder = device.createCommandEncoder();
        plans[0].encode(encoder, { x, y, gamma, beta, saved });
        const gradients = { dGamma: tensors.dGamma, dBeta: tensors.dBeta };
        plans[1].encode(encoder, { x, dy, dx, saved, ...gradients });
        device.queue.submit([encoder.finish()]);
        const wanted = [dGamma.map((d, c) => d + 10 * (c + 1)), dBeta.map((d, c) => d + c + 1)];
        expect(await tensors.dGamma.read()).toBeAllclose(wanted[0]!, SUM);
        expect(await tensors.dBeta.read()).toBeAllclose(wanted[1]!, SUM);
        for (const one of [...plans, saved, ...Object.values(tensors)]) one.destroy();
      }
    }
  });

  test.each<[string, () => BatchNorm]>([
    ["BatchNorm2d", () => new BatchNorm2d(device, 4)],
    ["ExtendedBatchNorm", () => new ExtendedBatchNorm(device, 4)],
    ["ExtendedBatchNorm, ghosts", () => new ExtendedBatchNorm(device, 4, { virtualBatchSize: 6 })],
  ])("%s", async (_, make) => {
    const bn = make();
    const [xs, dys] = [random.normals(size), random.normals(size)];
    const { dGamma, dBeta, dx } = backward(dys, xs, shape);
    const [x, dy] = [put(xs), put(dys)];
    const sums = async (times: number): Promise<void> => {
      expect(await bn.gammaGrad!.read()).toBeAllclose(
        dGamma.map((d) => times * d),
        SUM,
      );
      expect(await bn.betaGrad!.read()).toBeAllclose(
        dBeta.map((d) => times * d),
        SUM,
      );
    };
    for (const [accumulate, times] of [
      [false, 1],
      [true, 2],
      [true, 3],
      [false, 1],
    ] as const) {
      bn.forward(x);
      expect(await bn.backward(dy, { accumulate }).read()).toBeAllclose(dx, DX);
      await sums(times);
    }
    // What is wanted is another plan too.
    const residualGrad = put(new Float32Array(size).fill(7));
    bn.forward(x);
    expect(bn.backward(dy, { wants: { x: false }, accumulate: true })).toBeNull();
    await sums(2);
    bn.forward(x);
    expect(await bn.backward(dy, { wants: { gamma: false } }).read()).toBeAllclose(dx, DX);
    expect(await bn.gammaGrad!.read()).toBeAllclose(
      dGamma.map((d) => 2 * d),
      SUM,
    );
    expect(await bn.betaGrad!.read()).toBeAllclose(dBeta, SUM);
    bn.forward(x, { residual: x });
    bn.backward(dy, { residualGrad });
    expect(await residualGrad.read()).toEqual(Float32Array.from(dys));
    bn.forward(x, { residual: x });
    expect(await bn.backward(dy).read()).toBeAllclose(dx, DX);
    for (const each of [bn, x, dy, residualGrad]) each.destroy();
  });

  test("AccumulatedBatchNorm", async () => {
    const bn = new AccumulatedBatchNorm(device, 4);
    const [xs, dys] = [random.normals(size), random.normals(size)];
    const { dGamma, dBeta } = backward(dys, xs, shape);
    const [x, dy] = [put(xs), put(dys)];
    for (const [accumulate, times] of [
      [false, 1],
      [true, 2],
      [false, 1],
    ] as const) {
      bn.observe(x);
      bn.forward(x).destroy();
      bn.observeGradient(dy, { x });
      bn.backward(dy, { x, accumulate }).destroy();
      expect(await bn.gammaGrad!.read()).toBeAllclose(
        dGamma.map((d) => times * d),
        SUM,
      );
      expect(await bn.betaGrad!.read()).toBeAllclose(
        dBeta.map((d) => times * d),
        SUM,
      );
    }
    for (const each of [bn, x, dy]) each.destroy();
  });
});

test.each([
  [{ affine: false }, "gamma", "scale"],
  [{ scale: false }, "gamma", "scale"],
  [{ center: false }, "beta", "center"],
] as const)("gradients that %j does not have are not wanted", (options, name, option) => {
  const bn = new ExtendedBatchNorm(device, 4, options);
  const x = put(random.normals(size));
  const y = bn.forward(x);
  const call = () => bn.backward(x, { wants: { [name]: true } });
  expect(call).toThrow(OptionError);
  expect(call).not.toThrow(BufferError);
  expect(call).toThrow(`backward: wants: no ${name} (${option} is false), got one; leave it out`);
  const dx = bn.backward(x);
  for (const each of [bn, x, y, dx]) each.destroy();
});

describe("what was prepared gives what is made on the spot", () => {
  test("in evaluation, forward and backward", async () => {
    const bn = new BatchNorm2d(device, 4, { activation: "silu" });
    const [xs, dys] = [random.normals(size, 2), random.normals(size)];
    const [x, dy] = [put(xs), put(dys)];
    bn.runningMean!.write([1, 2, 3, 4]);
    bn.runningVar!.write([4, 3, 2, 1]);
    // Statistics of a batch stand in the context that evaluation fills anew.
    bn.forward(x).destroy();
    const [mean, variance] = [await bn.runningMean!.read(), await bn.runningVar!.read()];
    await bn.prepare(shape);
    bn.eval();
    const options = { activation: "silu", mean, variance } as const;
    expect(await bn.forward(x).read()).toBeAllclose(inference(xs, shape, options).y, Y);
    const { dx } = backward(dys, xs, shape, { ...options, mode: "evaluation" });
    expect(await bn.backward(dy).read()).toBeAllclose(dx, DX);
    for (const each of [bn, x, dy]) each.destroy();
  });

  test("in place, with a gamma below its floor", async () => {
    const [xs, dys] = [random.normals(size, 2), random.normals(size)];
    const run = async (prepared: boolean): Promise<Float32Array[]> => {
      const bn = new BatchNorm2d(device, 4, { inPlace: true, activation: "elu" });
      if (prepared) await bn.prepare(shape);
      bn.gamma!.write([0, 1, -1e-3, 2]);
      const [x, dy] = [put(xs), put(dys)];
      const tensors = [bn.forward(x), bn.backward(dy), bn.gammaGrad!, bn.betaGrad!];
      const read = await Promise.all(tensors.map((each) => each.read()));
      for (const each of [bn, x, dy]) each.destroy();
      return read;
    };
    const [plain, prepared] = [await run(false), await run(true)];
    expect(prepared).toEqual(plain);
    for (const values of prepared) expect(values.every(Number.isFinite)).toBe(true);
  });
});

test("an encoder that held a plan once holds it, whatever came since", async () => {
  const bn = new BatchNorm1d(device, 3);
  const [xs, dims] = [random.normals(30), [10, 3]];
  const x = put(xs, dims);
  const encoder = device.createCommandEncoder();
  const context = bn.context();
  const y = bn.forward(x, { encoder, context });
  // The same plan, submitted at once, and others enough that it makes room.
  bn.forward(x).destroy();
  for (let n = 11; n < 31; n++) {
    const other = put(random.normals(3 * n), [n, 3]);
    bn.forward(other).destroy();
    other.destroy();
  }
  device.queue.submit([encoder.finish()]);
  expect(await y.read()).toBeAllclose(forward(xs, dims).y, Y);
  await bn.status();
  for (const each of [bn, context, x, y]) each.destroy();
});

test("a context's statistics have room for another mode, and for more ghosts", async () => {
  const bn = new ExtendedBatchNorm(device, 4, { virtualBatchSize: 2 }).eval();
  const [xs, dys] = [random.normals(size), random.normals(size)];
  const [x, dy, few] = [put(xs), put(dys), put(xs.slice(0, 72), [2, 4, 3, 3])];
  bn.forward(few).destroy();
  bn.train();
  bn.forward(few).destroy();
  const y = bn.forward(x);
  const dx = bn.backward(dy);
  const [ys, dxs] = [await y.read(), await dx.read()];
  for (let at = 0; at < size; at += 72) {
    const part = <T extends { slice(from: number, to: number): T }>(all: T): T =>
      all.slice(at, at + 72);
    expect(part(ys)).toBeAllclose(forward(part(xs), [2, 4, 3, 3]).y, Y);
    expect(part(dxs)).toBeAllclose(backward(part(dys), part(xs), [2, 4, 3, 3]).dx, DX);
  }
  await bn.status();
  for (const each of [bn, x, dy, few, y, dx]) each.destroy();
});

test.each(["own", "split"])(
  "dx over dy beside the residual's gradient, tuning %s",
  async (name) => {
    for (const dtype of ["f32", "bf16"] as const) {
      const each: Case = {
        ...{ shape: [16, 4, 9, 9], dtype, activation: "silu", residual: true, residualGrad: true },
        ...{ mode: "training", inPlace: false, tuning: TUNINGS[name]! },
      };
      const inputs = inputsOf(random, each);
      const apart = await runPlans(device, each, inputs);
      const sizes = byteSizes(each);
      const [x, dy] = [put(inputs.x, each.shape, dtype), put(inputs.dy, each.shape, dtype)];
      const residual = put(inputs.residual, each.shape, dtype);
      const [y, dResidual] = [put(inputs.x, each.shape, dtype), put(inputs.x, each.shape, dtype)];
      const [gamma, beta] = [put(inputs.gamma, [4]), put(inputs.beta, [4])];
      const saved = put(new Float32Array(sizes.saved / 4), [sizes.saved / 4]);
      const { mode: _, residualGrad, inPlace: __, ...plain } = each;
      const own = { ...plain, trackRunningStats: false };
      const plans = [
        createForwardSync(device, own),
        createBackwardSync(device, {
          ...{ ...plain, mode: "training", inPlace: true },
          ...{ residualGrad: residualGrad!, wants: { gamma: false, beta: false } },
        }),
      ] as const;
      const encoder = device.createCommandEncoder();
      plans[0].encode(encoder, { x, y, gamma, beta, residual, saved });
      plans[1].encode(encoder, { x, dy, residual, saved, dResidual });
      device.queue.submit([encoder.finish()]);
      expect(await dy.read()).toEqual(apart.dx);
      expect(await dResidual.read()).toEqual(apart.dResidual);
      for (const one of [...plans, x, dy, residual, y, dResidual, gamma, beta, saved])
        one.destroy();
    }
  },
);

test.each(Object.keys(TUNINGS))(
  "dx of 16-bit types is made from dz, not from what dResidual stores of it, tuning %s",
  async (name) => {
    for (const activation of ["silu", "gelu", "leaky-relu", "relu"] as const) {
      const each: Case = {
        ...{ shape: [16, 2, 16, 16], dtype: "bf16", activation, residual: true },
        ...{ residualGrad: true, mode: "training", tuning: TUNINGS[name]! },
      };
      const inputs = inputsOf(random, each);
      // All dz nearly alike: what the subtraction of their mean leaves is far below a unit of them.
      inputs.dy.fill(1);
      inputs.residual.fill(0);
      inputs.gamma.fill(0.1);
      inputs.beta.fill(2.4);
      const found = await runPlans(device, each, inputs);
      const ratios = worst(each, inputs, found, runReference(each, inputs));
      expect(ratios.dx, activation).toBeLessThanOrEqual(1);
      const total = found.dx.reduce((sum, dx) => sum + dx, 0);
      expect(Math.abs(total), activation).toBeLessThan(0.02);
    }
  },
);

test.each([
  ["by channel", [2, 8, 16, 16], 4096],
  ["within a row", [2, 3, 20, 20], 1024],
])("running statistics of a tensor that is cut %s", async (_, dims, maxBindingBytes) => {
  for (const momentum of [0.25, null]) {
    const each: Case = { shape: dims, mode: "training", momentum };
    const inputs = inputsOf(random, each, 3, 2);
    const cut = { ...each, limits: { maxBindingBytes } };
    const [whole, parts] = [
      await runPlans(device, each, inputs),
      await runPlans(device, cut, inputs),
    ];
    const { channels } = inputs;
    const { mean, varUnbiased } = momentsOf(inputs.x, dims);
    const weight = momentum ?? 1;
    const places = stateLayout(channels);
    for (const { state } of [whole, parts]) {
      const at = (from: number): Float32Array => state.slice(from / 4, from / 4 + channels);
      const moved = (old: ArrayLike<number>, own: number[]): number[] =>
        own.map((value, c) => (1 - weight) * old[c]! + weight * value);
      expect(at(places.mean)).toBeAllclose(moved(inputs.mean, mean), { rtol: 1e-5, atol: 1e-5 });
      expect(at(places.variance)).toBeAllclose(moved(inputs.variance, varUnbiased), { rtol: 1e-5 });
      const counter = new BigUint64Array(state.slice(places.counter / 4).buffer)[0];
      expect(counter).toBe(1n);
    }
    const ratios = worst(cut, inputs, parts, runReference(each, inputs));
    for (const [name, ratio] of Object.entries(ratios)) expect(ratio, name).toBeLessThanOrEqual(1);
  }
});

function momentsOf(x: Float64Array, [outer, channels, height, width]: readonly number[]) {
  const inner = height! * width!;
  const count = outer! * inner;
  const values = Array.from({ length: channels! }, (_, c) =>
    [...x].filter((_, i) => Math.floor(i / inner) % channels! === c),
  );
  const mean = values.map((each) => each.reduce((a, b) => a + b) / count);
  const varUnbiased = values.map(
    (each, c) => each.reduce((sum, v) => sum + (v - mean[c]!) ** 2, 0) / (count - 1),
  );
  return { mean, varUnbiased };
}

test("in another type, and with dx over dy or apart", async () => {
  const [xs, dys] = [random.normals(size), random.normals(size)];
  const { dx: expected } = backward(dys, xs, shape);
  const bn = new BatchNorm2d(device, 4);
  for (const dtype of ["f32", "bf16", "f32"] as const) {
    const x = put(xs, shape, dtype);
    for (const over of [true, false, true]) {
      const dy = put(dys, shape, dtype);
      const [y, dx] = [bn.forward(x), bn.backward(dy, over ? { out: dy } : {})];
      // Of bf16 half a unit is 2^-9, in x, dy and dx, of which none is beyond 8.
      expect(await dx.read()).toBeAllclose(expected, dtype === "f32" ? DX : { atol: 0.1 });
      for (const each of [y, dy, dx]) each.destroy();
    }
    x.destroy();
  }
  bn.destroy();
});

test.each(["silu", "gelu"] as const)("%s has a slope of 0 or 1 far out", async (activation) => {
  const bn = new BatchNorm1d(device, 1, { activation }).eval();
  // z is x.
  bn.runningVar!.write([1 - 1e-5]);
  const far = [1e30, 1e37, -1e30, -1e37, 100, -100];
  const [x, dy] = [put(far, [6, 1]), put(new Float32Array(6).fill(1), [6, 1])];
  expect(await bn.forward(x).read()).toBeAllclose(
    far.map((z) => Math.max(z, 0)),
    { rtol: 1e-6, atol: 1e-30 },
  );
  expect(await bn.backward(dy).read()).toBeAllclose([1, 1, 0, 0, 1, 0], { atol: 1e-6 });
  for (const each of [bn, x, dy]) each.destroy();
});

test.each<BatchNormOptions>([
  { activation: "relu" },
  { activation: "relu6" },
  { activation: "leaky-relu" },
  { activation: "leaky-relu", inPlace: true },
  { activation: "elu" },
  { activation: "elu", inPlace: true },
  { activation: "hard-swish" },
])("at a kink the slope is the reference's: %o", async (options) => {
  const kinks = [0, 6, -3, 3];
  const bn = new BatchNorm1d(device, 4, { ...options, eps: 0 }).eval();
  // Without variance nothing of x is left: z is beta, to the bit, and dBeta what a dy of 1 becomes.
  bn.runningVar!.write([0, 0, 0, 0]);
  bn.beta!.write(kinks);
  const [x, dy] = [put([1, 2, 3, 4], [1, 4]), put([1, 1, 1, 1], [1, 4])];
  const [y, dx] = [bn.forward(x), bn.backward(dy)];
  expect(await bn.betaGrad!.read()).toBeAllclose(
    kinks.map((z) => activationGradient(options.activation!, z)),
    { rtol: 1e-5 },
  );
  for (const each of [bn, x, dy, y, dx]) each.destroy();
});
