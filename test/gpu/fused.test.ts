import { beforeAll, describe, expect, test } from "vitest";
import {
  BatchNorm2d,
  byteSizes,
  chooseDispatch,
  createBackwardSync,
  createForwardSync,
  GPU_TUNING,
  SOFTWARE_TUNING,
  stateLayout,
  Tensor,
  tensor,
  type ActivationName,
  type Dtype,
} from "webgpu-batchnorm";
import * as reference from "webgpu-batchnorm/reference";
import { openDevice } from "../support/device.js";
import { inputsOf, runPlans, runReference, TUNINGS, worst, type Case } from "../support/plans.js";
import { createRandom } from "../support/random.js";
import "../support/allclose.js";

let device: GPUDevice;
beforeAll(async () => {
  device = await openDevice();
});

const ACTIVATIONS: readonly ActivationName[] = [
  "none",
  "relu",
  "relu6",
  "leaky-relu",
  "elu",
  "tanh",
  "sigmoid",
  "silu",
  "gelu",
  "hard-swish",
];
const SHAPES: readonly (readonly number[])[] = [
  [4, 3, 7, 7],
  [8, 4, 14, 14],
  [3, 5, 2, 3],
  [9, 7],
  [12, 16],
  [5, 6],
  [2, 8, 3, 3],
  [8, 8, 3, 5],
];
const WITHIN = { y: 1, dx: 1, dGamma: 1, dBeta: 1, dResidual: 1 };

async function check(each: Case, seed: number, offset = 0, std = 1): Promise<void> {
  const inputs = inputsOf(createRandom(seed), each, offset, std);
  const ratios = worst(
    each,
    inputs,
    await runPlans(device, each, inputs),
    runReference(each, inputs),
  );
  for (const [name, limit] of Object.entries(WITHIN)) {
    const ratio = ratios[name as keyof typeof ratios];
    expect(ratio <= limit, `${name}: ${ratio} of its bound, ${JSON.stringify(each)}`).toBe(true);
  }
}

describe.each(["f32", "f16", "bf16"] as const)("%s", (dtype) => {
  test.each(ACTIVATIONS)("%s, with and without a residual", async (activation) => {
    const at = ACTIVATIONS.indexOf(activation);
    const names = Object.keys(TUNINGS);
    for (const [index, residual] of [false, true].entries()) {
      for (const [turn, mode] of (["training", "evaluation"] as const).entries()) {
        // From f16 bf16 differs in one fragment: half of the four will do.
        if (dtype === "bf16" && (at + index + turn) % 2 === 1) continue;
        const shape = SHAPES[(at + 3 * index + 2 * turn) % SHAPES.length]!;
        const tuning = TUNINGS[names[(at + index + turn) % names.length]!]!;
        await check({ shape, dtype, activation, residual, mode, tuning }, at);
      }
    }
  });
});

// Of f32 values.test.ts has such shapes. Of bf16 one tuning of the two will do, as above.
describe.each(["f16", "bf16"] as const)("odd and even rows and channels: %s", (dtype) => {
  test.each(SHAPES.map((shape, index) => ({ shape, index })))(
    "$shape",
    async ({ shape, index }) => {
      const both = [TUNINGS["own"]!, TUNINGS["split"]!];
      for (const tuning of dtype === "f16" ? both : [both[index % 2]!]) {
        for (const layout of ["channels-first", "channels-last"] as const) {
          await check({ shape, dtype, layout, mode: "training", tuning }, 7, 3, 1);
        }
      }
    },
  );
});

test.each([
  [16, 12, 14, 14],
  [4, 3, 7, 7],
  [300, 12],
])("the tuning for GPUs, as the device allows it: %j", async (...shape) => {
  const lanes = device.limits.maxComputeInvocationsPerWorkgroup;
  const tuning = { ...GPU_TUNING, workgroupSize: lanes, maxTeam: lanes };
  await check({ shape, mode: "training", tuning }, 19, 1e4, 1);
});

test("a value beyond the type becomes infinity beside an unharmed neighbour", async () => {
  const each: Case = { shape: [1, 1, 2, 3], dtype: "f16", mode: "evaluation", eps: 0 };
  const inputs = inputsOf(createRandom(1), each);
  inputs.x.set([1, 60000, -60000, 3, 0.5, 2]);
  inputs.gamma.fill(2);
  inputs.beta.fill(0);
  inputs.mean.fill(0);
  inputs.variance.fill(1);
  const { y } = await runPlans(device, each, inputs);
  expect([...y]).toEqual([2, Infinity, -Infinity, 6, 1, 4]);
});

describe("tensors beyond one binding", () => {
  const cases: readonly (readonly [
    string,
    readonly number[],
    Dtype,
    "channels-first" | "channels-last",
  ])[] = [
    ["by outer index", [9, 3, 4, 4], "f32", "channels-first"],
    ["by outer index, odd rows", [9, 3, 7, 7], "f16", "channels-first"],
    ["by outer index, odd rows whose number four divides", [8, 3, 5, 5], "f32", "channels-first"],
    ["by channel", [2, 40, 7, 7], "f32", "channels-first"],
    ["by channel, odd rows", [3, 41, 7, 7], "f16", "channels-first"],
    ["by inner index, one volume", [1, 1, 8, 12, 12], "f32", "channels-first"],
    ["by inner index", [2, 3, 31, 31], "f32", "channels-first"],
    ["by inner index, odd rows", [2, 3, 35, 35], "bf16", "channels-first"],
    ["channels last", [70, 12], "f32", "channels-last"],
    ["channels last, odd", [70, 13], "f16", "channels-last"],
  ];
  test.each(cases)("%s: %j %s %s", async (_name, shape, dtype, layout) => {
    const limits = { maxBindingBytes: 1024, maxWorkgroups: 5 };
    expect(byteSizes({ shape, dtype, layout }).x).toBeGreaterThan(limits.maxBindingBytes);
    for (const tuning of [{}, { ...GPU_TUNING, workgroupSize: 16, maxTeam: 8 }]) {
      for (const mode of ["training", "evaluation"] as const) {
        await check(
          { shape, dtype, layout, mode, tuning, limits, activation: "silu", residual: true },
          11,
          100,
          1,
        );
      }
    }
  });

  test("odd rows of channels that four divides, where a region does not hold four", async () => {
    const shape = [8, 8, 7, 7];
    const extent = { outer: 8, channels: 8, inner: 49, count: 392, size: 3136 };
    const whole = chooseDispatch(extent, "f32", "reduce", SOFTWARE_TUNING, device.limits);
    expect(whole.value).toBe("quad");
    const { fence: _, ...tuning } = SOFTWARE_TUNING;
    await check({ shape, mode: "training", tuning, limits: { maxBindingBytes: 1024 } }, 18);
  });

  test.each([
    ["by outer index", [9, 3, 4, 4]],
    ["by channel", [2, 40, 7, 7]],
    ["by inner index", [2, 3, 31, 31]],
  ])("a channel of several regions learns once, %s: %j", async (_name, shape) => {
    const channels = shape[1]!;
    const size = shape.reduce((a, b) => a * b);
    const plan = { shape, limits: { maxBindingBytes: 1024 } };
    const forward = createForwardSync(device, { ...plan, momentum: 0.5 });
    const backward = createBackwardSync(device, { ...plan, accumulate: true });
    const random = createRandom(17);
    const [xs, dys] = [random.normals(size, 3, 2), random.normals(size)];
    const [x, dy] = [tensor(device, xs, shape), tensor(device, dys, shape)];
    const [y, dx] = [Tensor.empty(device, shape), Tensor.empty(device, shape)];
    const layout = stateLayout(channels);
    const [saved, state] = [5 * channels, layout.bytes / 4].map((many) =>
      Tensor.empty(device, [many]),
    ) as [Tensor, Tensor];
    const [gamma, beta, dGamma, dBeta] = [1, 0, 1, 1].map((value) =>
      tensor(device, new Float32Array(channels).fill(value), [channels]),
    ) as [Tensor, Tensor, Tensor, Tensor];
    const encoder = device.createCommandEncoder();
    forward.encode(encoder, { x, gamma, beta, y, saved, state });
    backward.encode(encoder, { x, dy, saved, dx, dGamma, dBeta });
    device.queue.submit([encoder.finish()]);
    const zeros = new Float32Array(channels);
    const learned = reference.forward(xs, shape, {
      momentum: 0.5,
      state: { mean: zeros, variance: zeros, numBatchesTracked: 0 },
    }).state!;
    const gradient = reference.backward(dys, xs, shape);
    const words = await state.readRaw();
    const found = (offset: number): Float32Array => new Float32Array(words, offset, channels);
    expect(found(layout.mean)).toBeAllclose(learned.mean, { atol: 1e-5 });
    expect(found(layout.variance)).toBeAllclose(learned.variance, { rtol: 1e-5 });
    expect(new BigUint64Array(words, layout.counter)[0]).toBe(1n);
    for (const [sums, expected] of [
      [dGamma, gradient.dGamma],
      [dBeta, gradient.dBeta],
    ] as const) {
      // 1e-5 of the magnitudes of 1,922 terms, of which one is 0.8 on average.
      expect(await sums.read()).toBeAllclose(
        expected.map((value) => 1 + value),
        { atol: 0.02 },
      );
    }
    for (const each of [forward, backward, x, dy, y, dx, saved, state]) each.destroy();
    for (const each of [gamma, beta, dGamma, dBeta]) each.destroy();
  });

  test("truly above the default 128 MiB of a binding: 138 MB, forward and backward", async () => {
    const [outer, channels, inner] = [36, 1000, 961] as const;
    const shape = [outer, channels, 31, 31];
    const size = outer * channels * inner;
    expect(size * 4).toBeGreaterThan(device.limits.maxStorageBufferBindingSize);
    const data = new Float32Array(size);
    let seed = 1;
    for (let i = 0; i < size; i += 1) {
      seed = (Math.imul(seed, 1664525) + 1013904223) | 0;
      data[i] = 100 + seed / 2 ** 31;
    }
    const bn = new BatchNorm2d(device, channels);
    const x = tensor(device, data, shape);
    const y = bn.forward(x);
    const dx = bn.backward(y); // dy = y is as good as any
    const [ys, dxs] = [await y.read(), await dx.read()];
    for (const each of [x, y, dx]) each.destroy();
    bn.destroy();
    const plane = (of: Float32Array, channel: number): Float32Array => {
      const part = new Float32Array(outer * inner);
      for (let o = 0; o < outer; o += 1) {
        const at = (o * channels + channel) * inner;
        part.set(of.subarray(at, at + inner), o * inner);
      }
      return part;
    };
    for (const channel of [0, 1, 499, 998, 999]) {
      const one = [outer, 1, 31, 31];
      const got = plane(ys, channel);
      const want = reference.forward(plane(data, channel), one);
      const gradient = reference.backward(got, plane(data, channel), one);
      let worstY = 0;
      let worstDx = 0;
      plane(dxs, channel).forEach((dx, i) => {
        worstY = Math.max(worstY, Math.abs(got[i]! - want.y[i]!));
        worstDx = Math.max(worstDx, Math.abs(dx - gradient.dx[i]!));
      });
      expect(worstY <= 4e-6, `y of channel ${channel}: ${worstY}`).toBe(true);
      expect(worstDx <= 4e-5, `dx of channel ${channel}: ${worstDx}`).toBe(true);
    }
  });

  test("equal to the last bit to one binding where the chunks are the same", async () => {
    const each: Case = { shape: [8, 3, 4, 4], mode: "training" };
    const inputs = inputsOf(createRandom(13), each, 1e4, 1);
    // 8 outer indices of 48 values: regions of 2 and chunks of 2 * 16 values, whichever way.
    const tuning = {
      maxTeam: 1,
      minPerLane: 8,
      targetInvocations: 12,
      maxHeld: 0,
      wholePerLane: 0,
      mergedBytes: 2 ** 40,
    };
    const whole = await runPlans(device, { ...each, tuning }, inputs);
    const split = await runPlans(
      device,
      { ...each, tuning, limits: { maxBindingBytes: 700 } },
      inputs,
    );
    expect(split).toEqual(whole);
  });
});
