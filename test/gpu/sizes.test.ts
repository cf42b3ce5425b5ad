/** Large tensors, many channels, many values per channel, counts that divide by nothing, empty batches, wide grids. */
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import {
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  byteSizes,
  createBackward,
  createForward,
  createInference,
  stateLayout,
  Tensor,
  tensor,
  type BatchNorm,
  type Layout,
  type Tuning,
} from "../../src/index.js";
import { backward, forward, inference } from "../../src/reference.js";
import { openDevice } from "../support/device.js";
import "../support/allclose.js";

let device: GPUDevice;
beforeAll(async () => {
  device = await openDevice();
});

const made: { destroy(): void }[] = [];
function keep<T extends { destroy(): void }>(one: T): T {
  made.push(one);
  return one;
}
afterEach(() => {
  for (const each of made.splice(0)) each.destroy();
});

/** Uniform numbers of mean 1 and deviation 1.15, fast enough for millions: a multiplicative congruence. */
function numbers(count: number, seed: number): Float32Array {
  const values = new Float32Array(count);
  let state = (seed * 2654435761) >>> 0 || 1;
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    values[i] = (state >>> 8) * (4 / 2 ** 24) - 1;
  }
  return values;
}

interface Extent {
  outer: number;
  channels: number;
  inner: number;
}

function extentOf(shape: readonly number[], layout: Layout): Extent {
  const product = (sizes: readonly number[]): number => sizes.reduce((a, b) => a * b, 1);
  const last = layout === "channels-last" || shape.length === 2;
  return last
    ? { outer: product(shape.slice(0, -1)), channels: shape.at(-1)!, inner: 1 }
    : { outer: shape[0]!, channels: shape[1]!, inner: product(shape.slice(2)) };
}

/** The values of some channels, as `[outer, channels.length, inner]`. */
function slice(values: Float32Array, extent: Extent, channels: readonly number[]): Float32Array {
  const { outer, inner } = extent;
  const taken = new Float32Array(outer * channels.length * inner);
  let at = 0;
  for (let o = 0; o < outer; o++) {
    for (const c of channels) {
      const from = (o * extent.channels + c) * inner;
      if (inner === 1) taken[at] = values[from]!;
      else taken.set(values.subarray(from, from + inner), at);
      at += inner;
    }
  }
  return taken;
}

/** The first and last channels and some between; all where they are few. */
function sampled(channels: number): number[] {
  if (channels <= 6) return Array.from({ length: channels }, (_, c) => c);
  const some = [
    0,
    1,
    Math.floor(channels / 3),
    Math.floor(channels / 2),
    channels - 2,
    channels - 1,
  ];
  return [...new Set(some)];
}

function maximum(values: ArrayLike<number>): number {
  let most = 0;
  for (let i = 0; i < values.length; i++) most = Math.max(most, Math.abs(values[i]!));
  return most;
}

function isFinite(values: Float32Array): boolean {
  for (const value of values) if (!(Math.abs(value) < 1e30)) return false;
  return true;
}

/** One training step and one evaluation of a module, against the reference on sampled channels. */
async function step(bn: BatchNorm, shape: readonly number[]): Promise<void> {
  const { layout } = bn.options;
  const extent = extentOf(shape, layout);
  const size = extent.outer * extent.channels * extent.inner;
  const channels = sampled(extent.channels);
  const few = [extent.outer, channels.length, extent.inner];
  const gamma = numbers(extent.channels, 3).map((value) => 0.25 + Math.abs(value));
  const beta = numbers(extent.channels, 4);
  bn.gamma!.write(gamma);
  bn.beta!.write(beta);
  const pick = (values: Float32Array): Float32Array =>
    slice(values, { outer: 1, channels: extent.channels, inner: 1 }, channels);
  const options = { gamma: pick(gamma), beta: pick(beta) };

  const xs = numbers(size, 1);
  const dys = numbers(size, 2);
  const [someX, someDy] = [slice(xs, extent, channels), slice(dys, extent, channels)];
  const x = keep(tensor(device, xs, shape));
  const dy = keep(tensor(device, dys, shape));
  const y = keep(Tensor.empty(device, shape));
  bn.forward(x, { out: y });
  const before = {
    mean: new Float32Array(channels.length),
    variance: new Float32Array(channels.length).fill(1),
    numBatchesTracked: 0,
  };
  const f = forward(someX, few, { ...options, state: before });
  const largest = Math.max(1, maximum(f.xHat)) * maximum(options.gamma);
  const compare = async (actual: Tensor, expected: Float64Array, atol: number): Promise<void> => {
    const all = await actual.read();
    expect(all.length).toBe(size);
    expect(isFinite(all), "all channels are finite").toBe(true);
    expect(slice(all, extent, channels)).toBeAllclose(expected, { atol, rtol: 2 ** -23 });
  };
  await compare(y, f.y, 2e-6 * largest);
  const mean = await bn.runningMean!.read();
  const variance = await bn.runningVar!.read();
  expect(pick(mean)).toBeAllclose(f.state!.mean, { atol: 5e-7 });
  expect(pick(variance)).toBeAllclose(f.state!.variance, { rtol: 2e-6 });
  expect(isFinite(mean) && isFinite(variance)).toBe(true);

  bn.backward(dy, { out: y });
  const b = backward(someDy, someX, few, options);
  const steepest = maximum(b.invStd) * maximum(options.gamma) * maximum(b.maxAbsDz);
  await compare(y, b.dx, 1e-5 * steepest);
  expect(pick(await bn.gammaGrad!.read())).toBeAllclose(b.dGamma, {
    atol: (c) => 1e-5 * b.sumAbsDzXHat[c]!,
  });
  expect(pick(await bn.betaGrad!.read())).toBeAllclose(b.dBeta, {
    atol: (c) => 1e-5 * b.sumAbsDz[c]!,
  });

  bn.eval().forward(x, { out: y });
  const running = { ...options, mean: pick(mean), variance: pick(variance) };
  const e = inference(someX, few, running);
  await compare(y, e.y, 2e-6 * Math.max(1, maximum(e.xHat)) * maximum(options.gamma));
  bn.backward(dy, { out: y });
  const g = backward(someDy, someX, few, { ...running, mode: "evaluation" });
  await compare(y, g.dx, 1e-5 * maximum(g.invStd) * maximum(options.gamma) * maximum(g.maxAbsDz));
  expect(pick(await bn.betaGrad!.read())).toBeAllclose(g.dBeta, {
    atol: (c) => 1e-5 * g.sumAbsDz[c]!,
  });
  await bn.status();
}

describe("large", () => {
  test("80 MB: [20, 64, 125, 125]", async () => {
    await step(keep(new BatchNorm2d(device, 64)), [20, 64, 125, 125]);
  });

  test("80 MB, channels last: [20, 125, 125, 64]", async () => {
    await step(keep(new BatchNorm2d(device, 64, { layout: "channels-last" })), [20, 125, 125, 64]);
  });

  test("1,000,000 channels of four values: [4, 1000000]", async () => {
    await step(keep(new BatchNorm1d(device, 1_000_000)), [4, 1_000_000]);
  });

  test("1,000,003 channels of two rows of two: [2, 1000003, 2]", async () => {
    await step(keep(new BatchNorm1d(device, 1_000_003)), [2, 1_000_003, 2]);
  });

  test.each([
    [[200_000, 1]],
    [[200_000, 3]],
    [[8, 3, 25_000]],
    [[8, 1, 25_000]],
    [[1, 3, 200_003]],
  ])("200,000 values per channel: %j", async (shape) => {
    await step(keep(new BatchNorm1d(device, shape[1]!)), shape);
  });

  test("30,000 values in each of 1,000 channels, 120 MB: [30000, 1000]", async () => {
    expect(byteSizes({ shape: [30_000, 1000] }).x).toBeLessThan(
      device.limits.maxStorageBufferBindingSize,
    );
    await step(keep(new BatchNorm1d(device, 1000)), [30_000, 1000]);
  });
});

describe("counts that divide by nothing", () => {
  test.each<[readonly number[], Layout]>([
    [[3, 5, 7, 7], "channels-first"],
    [[3, 7, 7, 5], "channels-last"],
    [[1, 5, 7, 7], "channels-first"],
    [[13, 1, 7, 11], "channels-first"],
    [[2, 3, 1, 1], "channels-first"],
    [[2, 127, 3, 1], "channels-first"],
    [[31, 2, 1, 67], "channels-first"],
    [[17, 3, 3, 131], "channels-last"],
    [[1, 1, 1, 1009], "channels-first"],
    [[4, 1, 1, 13], "channels-last"],
    [[4, 1, 1, 12], "channels-last"],
    [[5, 1, 1, 12], "channels-last"],
    [[257, 4, 1, 1], "channels-first"],
  ])("%j %s", async (shape, layout) => {
    const channels = layout === "channels-first" ? shape[1]! : shape[3]!;
    await step(keep(new BatchNorm2d(device, channels, { layout })), shape);
  });

  test.each([
    2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 255, 256, 257, 1023, 1025,
  ])("M = %i, whichever way it is cut", async (m) => {
    await step(keep(new BatchNorm1d(device, 3)), [m, 3]);
    await step(keep(new BatchNorm1d(device, 4)), [m, 4]);
    await step(keep(new BatchNorm1d(device, 2)), [1, 2, m]);
    await step(keep(new BatchNorm1d(device, 1)), [m, 1]);
  });
});

describe("an empty batch", () => {
  test.each<[string, () => BatchNorm, readonly number[]]>([
    ["[0, 3]", () => new BatchNorm1d(device, 3), [0, 3]],
    ["[0, 3, 4, 4]", () => new BatchNorm2d(device, 3), [0, 3, 4, 4]],
    ["[4, 3, 0, 5]", () => new BatchNorm2d(device, 3), [4, 3, 0, 5]],
    [
      "[0, 2, 2, 2, 3] channels last",
      () => new BatchNorm3d(device, 3, { layout: "channels-last" }),
      [0, 2, 2, 2, 3],
    ],
    ["[0, 3], momentum null", () => new BatchNorm1d(device, 3, { momentum: null }), [0, 3]],
    [
      "[0, 3], activation and residual",
      () => new BatchNorm1d(device, 3, { activation: "silu" }),
      [0, 3],
    ],
  ])("%s: empty output, zero gradients, statistics as they were", async (name, make, shape) => {
    const bn = keep(make());
    const weights = {
      weight: [2, 3, 4],
      bias: [5, 6, 7],
      running_mean: [1, -2, 3],
      running_var: [4, 5, 6],
      num_batches_tracked: 17,
    };
    bn.loadStateDict(weights);
    const before = await bn.stateDict();
    const x = keep(Tensor.empty(device, shape));
    const extra = name.includes("residual") ? { residual: keep(Tensor.empty(device, shape)) } : {};
    await bn.prepare(shape, { residual: "residual" in extra });
    for (const mode of ["train", "eval"] as const) {
      bn[mode]();
      bn.gammaGrad!.write([NaN, NaN, NaN]);
      bn.betaGrad!.write([NaN, NaN, NaN]);
      const y = keep(bn.forward(x, extra));
      expect(y.shape).toEqual(shape);
      expect(await y.read()).toEqual(new Float32Array(0));
      const dx = keep(bn.backward(y));
      expect(dx.shape).toEqual(shape);
      expect(await dx.read()).toEqual(new Float32Array(0));
      expect([...(await bn.gammaGrad!.read())], `${mode}: dGamma`).toEqual([0, 0, 0]);
      expect([...(await bn.betaGrad!.read())], `${mode}: dBeta`).toEqual([0, 0, 0]);
      bn.gammaGrad!.write([1, 2, 3]);
      keep(bn.forward(x, extra));
      keep(bn.backward(y, { accumulate: true }));
      expect([...(await bn.gammaGrad!.read())], `${mode}: accumulated`).toEqual([1, 2, 3]);
    }
    expect(await bn.stateDict()).toEqual(before);
    await bn.status();
  });

  test("without parameters and statistics there is nothing to do", async () => {
    const bn = keep(new BatchNorm1d(device, 3, { affine: false, trackRunningStats: false }));
    const x = keep(Tensor.empty(device, [0, 3]));
    const y = keep(bn.forward(x));
    const dx = keep(bn.backward(y));
    expect((await y.read()).length + (await dx.read()).length).toBe(0);
    expect(await bn.stateDict()).toEqual({});
  });
});

describe("grids beyond maxComputeWorkgroupsPerDimension", () => {
  const TINY: Partial<Tuning> = { workgroupSize: 4, maxTeam: 4, columnBytes: 64, maxHeld: 0 };
  test.each<[string, readonly number[], Partial<Tuning>]>([
    ["a workgroup per channel", [2, 70_000, 9], TINY],
    ["a workgroup per channel, held", [2, 70_000, 9], { ...TINY, maxHeld: 8 }],
    ["four columns a workgroup", [3, 300_001], { ...TINY, maxTeam: 1 }],
    [
      "a workgroup per chunk",
      [2, 33_013, 40],
      {
        ...TINY,
        wholePerLane: 0,
        minPerLane: 4,
        mergedBytes: 2 ** 40,
        targetInvocations: 2 ** 30,
        wholeInvocations: 2 ** 30,
      },
    ],
  ])("%s", async (_name, shape, tuning) => {
    const descriptor = { shape, tuning };
    const extent = extentOf(shape, "channels-first");
    const size = extent.outer * extent.channels * extent.inner;
    const sizes = byteSizes({ shape });
    const layout = stateLayout(extent.channels);
    const dispatched: number[][] = [];
    const xs = numbers(size, 5);
    const dys = numbers(size, 6);
    const whole = [extent.channels];
    const ones = new Float32Array(extent.channels).fill(1);
    const at = {
      x: keep(tensor(device, xs, shape)),
      dy: keep(tensor(device, dys, shape)),
      y: keep(tensor(device, new Float32Array(size).fill(NaN), shape)),
      dx: keep(tensor(device, new Float32Array(size).fill(NaN), shape)),
      gamma: keep(tensor(device, ones, whole)),
      beta: keep(tensor(device, new Float32Array(extent.channels), whole)),
      dGamma: keep(
        tensor(
          device,
          ones.map(() => NaN),
          whole,
        ),
      ),
      dBeta: keep(
        tensor(
          device,
          ones.map(() => NaN),
          whole,
        ),
      ),
      saved: keep(device.createBuffer({ size: sizes.saved, usage: 0x80 })),
      state: keep(tensor(device, new Float32Array(layout.bytes / 4), [layout.bytes / 4])),
    };
    const plans = await Promise.all([
      createForward(device, descriptor),
      createBackward(device, descriptor),
      createInference(device, descriptor),
    ]);
    plans.forEach((plan) => keep(plan));
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    const dispatch = pass.dispatchWorkgroups.bind(pass);
    pass.dispatchWorkgroups = (...grid: [number, number?, number?]) => {
      dispatched.push([grid[0], grid[1] ?? 1, grid[2] ?? 1]);
      dispatch(...grid);
    };
    plans[0].encode(pass, at);
    plans[1].encode(pass, at);
    pass.end();
    device.queue.submit([encoder.finish()]);
    const most = device.limits.maxComputeWorkgroupsPerDimension;
    expect(
      dispatched.some(([, height]) => height! > 1),
      "the grid has two dimensions",
    ).toBe(true);
    expect(dispatched.flat().every((count) => count >= 1 && count <= most)).toBe(true);

    const f = forward(xs, shape, {
      state: { mean: ones.map(() => 0), variance: ones.map(() => 0), numBatchesTracked: 0 },
    });
    const b = backward(dys, xs, shape);
    const channel = (i: number): number => Math.floor(i / extent.inner) % extent.channels;
    const largest = Math.max(1, maximum(f.xHat));
    // Two or three values may lie close together, where invStd magnifies x's own rounding: so does the bound.
    const y = await at.y.read();
    expect(y).toBeAllclose(f.y, { atol: 2e-6 * largest, rtol: 2 ** -23 });
    expect(await at.dx.read()).toBeAllclose(b.dx, {
      atol: (i) => 1e-5 * b.invStd[channel(i)]! * b.maxAbsDz[channel(i)]!,
    });
    expect(await at.dGamma.read()).toBeAllclose(b.dGamma, {
      atol: (c) => 1e-5 * b.sumAbsDzXHat[c]!,
    });
    expect(await at.dBeta.read()).toBeAllclose(b.dBeta, { atol: (c) => 1e-5 * b.sumAbsDz[c]! });
    const state = await at.state.read();
    expect(state.subarray(0, extent.channels)).toBeAllclose(f.state!.mean, { atol: 5e-7 });
    const variance = state.subarray(layout.variance / 4, layout.variance / 4 + extent.channels);
    expect(variance).toBeAllclose(f.state!.variance, { rtol: 4e-6, atol: 1e-12 });

    const second = device.createCommandEncoder();
    plans[2].encode(second, { ...at, saved: undefined });
    device.queue.submit([second.finish()]);
    const mean = state.slice(0, extent.channels);
    const e = inference(xs, shape, { mean, variance });
    expect(await at.y.read()).toBeAllclose(e.y, {
      atol: (i) => 2e-6 * Math.max(1, Math.abs(e.xHat[i]!)),
      rtol: 2 ** -23,
    });
  });
});
