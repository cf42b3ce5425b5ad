/** Chunks merged by a dispatch of their own, as GPUs have it for large tensors, with small ones. */
import { beforeAll, describe, expect, test } from "vitest";
import {
  byteSizes,
  chooseDispatch,
  createBackward,
  createForward,
  GPU_TUNING,
  tensor,
  type BatchNormOptions,
  type Dtype,
  type ForwardDescriptor,
  type Tuning,
} from "../../src/index.js";
import { extentOf } from "../../src/descriptor.js";
import { openDevice } from "../support/device.js";
import { createRandom } from "../support/random.js";
import { inputsOf, runPlans, runReference, worst, type Case } from "../support/plans.js";
import { comparisons, runOnce, type Call } from "../support/tolerance.js";
import "../support/allclose.js";

let device: GPUDevice;
beforeAll(async () => {
  device = await openDevice();
});

const { fence: _, ...GPU } = GPU_TUNING;
/** Many chunks, and no bytes to read in the last dispatch for merging them. */
const APART: Omit<Tuning, "fence"> = {
  ...GPU,
  workgroupSize: 16,
  maxTeam: 8,
  maxHeldTeam: 8,
  columnBytes: 32,
  minPerLane: 1,
  wholePerLane: 0,
  wholeInvocations: 2 ** 40,
  maxHeld: 0,
  mergedBytes: 0,
  cacheBytes: 0,
};

type Layout = "channels-first" | "channels-last";
const CASES: readonly (readonly [readonly number[], Dtype, Layout])[] = [
  [[8, 3, 16, 16], "f32", "channels-first"],
  [[9, 5, 7, 7], "f32", "channels-first"],
  [[70, 12], "f32", "channels-last"],
  [[150, 7], "f32", "channels-last"],
  [[8, 3, 8, 8], "f16", "channels-first"],
  [[9, 5, 7, 7], "f16", "channels-first"],
  [[9, 5, 7, 7], "bf16", "channels-first"],
  [[9, 8, 3, 7], "f16", "channels-first"], // four channels share a row of Values
  [[70, 4, 3, 3], "bf16", "channels-first"],
  [[300, 8], "f16", "channels-last"],
  [[301, 5], "bf16", "channels-last"],
  [[1, 1, 40, 50], "f32", "channels-first"],
];

test("two of these have four channels that share a row of Values", () => {
  const limits = { maxComputeWorkgroupsPerDimension: 65535 };
  const kinds = CASES.map(([shape, dtype, layout]) => {
    const extent = extentOf("test", shape, layout);
    return chooseDispatch(extent, dtype, "reduce", { ...APART, fence: true }, limits).value;
  });
  expect(kinds.filter((value) => value === "quad")).toHaveLength(2);
});

/** Counts the dispatches that are recorded. */
function counting(): { pass: GPUComputePassEncoder; dispatches: () => number } {
  let count = 0;
  const pass = {
    setPipeline: () => undefined,
    setBindGroup: () => undefined,
    dispatchWorkgroups: () => (count += 1),
  } as unknown as GPUComputePassEncoder;
  return { pass, dispatches: () => count };
}

function buffersOf(descriptor: ForwardDescriptor): Record<string, GPUBuffer> {
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  return Object.fromEntries(
    Object.entries(byteSizes(descriptor)).map(([name, size]) => [
      name,
      device.createBuffer({ size: Math.max(16, size), usage }),
    ]),
  );
}

describe.each(CASES)("%j %s %s", (shape, dtype, layout) => {
  const descriptor = { shape, dtype, layout, tuning: APART };

  test("takes three dispatches forward, and three backward", async () => {
    const { x, y, dy, dx, gamma, beta, saved, state, dGamma, dBeta } = buffersOf(
      descriptor,
    ) as Record<
      "x" | "y" | "dy" | "dx" | "gamma" | "beta" | "saved" | "state" | "dGamma" | "dBeta",
      GPUBuffer
    >;
    const forward = await createForward(device, descriptor);
    const backward = await createBackward(device, descriptor);
    const first = counting();
    forward.encode(first.pass, { x, y, gamma, beta, saved, state });
    const second = counting();
    backward.encode(second.pass, { x, dy, saved, dx, dGamma, dBeta });
    expect([first.dispatches(), second.dispatches()]).toEqual([3, 3]);
    for (const each of [forward, backward]) each.destroy();
  });

  test.each<Partial<Case>>([
    { activation: "silu", residual: true },
    { activation: "leaky-relu", residual: true, residualGrad: false },
  ])("with %j", async (more) => {
    const each: Case = { ...descriptor, mode: "training", ...more };
    const inputs = inputsOf(createRandom(3), each, 100, 1);
    const found = await runPlans(device, each, inputs);
    const ratios = worst(each, inputs, found, runReference(each, inputs));
    for (const [name, ratio] of Object.entries(ratios)) expect(ratio, name).toBeLessThanOrEqual(1);
    // The same bits on every run.
    expect(await runPlans(device, each, inputs)).toEqual(found);
  });
});

describe.each(CASES.filter(([, dtype]) => dtype === "f32"))("%j %s %s", (shape, _, layout) => {
  test.each<BatchNormOptions>([
    {},
    { affine: false, momentum: 0.5 },
    { momentum: null, eps: 1e-3 },
    { trackRunningStats: false },
  ])("options %j", async (options) => {
    const call: Call = { shape, options: { ...options, layout }, tuning: APART };
    const random = createRandom(5);
    const { channels, size } = extentOf("test", shape, layout);
    const affine = options.affine ?? true;
    const inputs = {
      x: random.normals(size, 1e4, 1),
      dy: random.normals(size),
      ...(affine ? { gamma: random.normals(channels), beta: random.normals(channels) } : {}),
      state: {
        mean: random.normals(channels),
        variance: random.uniforms(channels, 0.5, 3),
        numBatchesTracked: 4,
      },
    };
    const outputs = await runOnce(device, call, inputs);
    for (const { name, actual, expected, atol } of comparisons(call, inputs, outputs))
      expect(actual, name).toBeAllclose(expected, { atol });
    if (options.trackRunningStats !== false) expect(outputs.state!.numBatchesTracked).toBe(5);
  });
});

test("in place gives what apart does, to the bit", async () => {
  const shape = [8, 3, 16, 16];
  const size = 8 * 3 * 256;
  const values = createRandom(9).normals(size, 3, 2);
  const run = async (inPlace: boolean): Promise<Float32Array> => {
    const descriptor = {
      shape,
      inPlace,
      invertible: true,
      activation: "leaky-relu",
      tuning: APART,
    } as const;
    const { y, saved, state, gamma, beta } = buffersOf({ shape }) as Record<
      "y" | "saved" | "state" | "gamma" | "beta",
      GPUBuffer
    >;
    device.queue.writeBuffer(gamma, 0, new Float32Array([1e-5, 1, -2]));
    const x = tensor(device, values, shape);
    const out = tensor(device, new Float32Array(size), shape);
    const plan = await createForward(device, descriptor);
    const encoder = device.createCommandEncoder();
    plan.encode(encoder, { x, ...(inPlace ? {} : { y: out }), saved, state, gamma, beta });
    device.queue.submit([encoder.finish()]);
    const found = await (inPlace ? x : out).read();
    for (const each of [x, out, plan, y, saved, state, gamma, beta]) each.destroy();
    return found;
  };
  const apart = await run(false);
  expect(await run(true)).toEqual(apart);
  expect(apart.some((value) => value !== 0)).toBe(true);
});

test("a tensor beyond one binding", async () => {
  for (const layout of ["channels-first", "channels-last"] as const) {
    const each: Case = {
      shape: layout === "channels-first" ? [9, 3, 8, 8] : [120, 12],
      layout,
      mode: "training",
      activation: "gelu",
      tuning: APART,
      limits: { maxBindingBytes: 1024, maxWorkgroups: 5 },
    };
    const inputs = inputsOf(createRandom(4), each, 100, 1);
    const ratios = worst(
      each,
      inputs,
      await runPlans(device, each, inputs),
      runReference(each, inputs),
    );
    for (const [name, ratio] of Object.entries(ratios)) expect(ratio, name).toBeLessThanOrEqual(1);
  }
});
