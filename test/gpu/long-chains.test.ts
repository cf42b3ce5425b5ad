/**
 * Sums that one lane carries over hundreds of thousands of values: plain addition would lose dBeta's digits here (1.5 times
 * its bound when `backward/lib/sums_along.wgsl` drops what rounding lost, against 0.003 as it is).
 */
import { beforeAll, expect, test } from "vitest";
import {
  chooseDispatch,
  createBackwardSync,
  createForwardSync,
  SOFTWARE_TUNING,
  Tensor,
  tensor,
} from "webgpu-batchnorm";
import { extentOf } from "../../src/descriptor.js";
import { openDevice } from "../support/device.js";
import { createRandom } from "../support/random.js";
import { comparisons, runOnce } from "../support/tolerance.js";
import "../support/allclose.js";

let device: GPUDevice;
beforeAll(async () => {
  device = await openDevice();
});

const { fence: _, ...SOFTWARE } = SOFTWARE_TUNING;
const WHOLE = { ...SOFTWARE, wholePerLane: 2 ** 24, maxChunks: 1 };
const SPLIT = { ...WHOLE, wholePerLane: 0, targetInvocations: 1 };

test.each([
  { path: "whole", shape: [2, 3, 600_007], tuning: WHOLE },
  { path: "split", shape: [1_200_001, 2], tuning: SPLIT },
])("one lane walks a whole channel, $path: $shape", async ({ shape, tuning }) => {
  const random = createRandom(1);
  const size = shape.reduce((a, b) => a * b, 1);
  // Of one sign, so that sums grow and their rounding errors with them.
  const inputs = { x: random.uniforms(size, 2, 3), dy: random.uniforms(size, 0.5, 1) };
  const call = { shape, tuning };
  const found = comparisons(call, inputs, await runOnce(device, call, inputs));
  expect(found.length).toBe(6);
  for (const { name, actual, expected, atol } of found) {
    expect(actual, name).toBeAllclose(expected, { atol });
  }
});

/**
 * 64 chunks of 524,176 values on SwiftShader, 131,044 blocks a lane. The first value of each is the largest, and the others
 * are such that every addition to it loses the same part of a unit: what was lost is itself a long sum.
 */
test("a chain whose losses all point one way", async () => {
  const shape = [1, 1, 5793, 5791];
  const size = 5793 * 5791;
  const chunk = 524_176;
  const small = Math.fround(1.4841789131025962e-8);
  const step = Math.fround(1.0019232034683228);
  const x = new Float32Array(size);
  const dy = new Float32Array(size).fill(small);
  for (let i = 0; i < size; i++) x[i] = i % 2 === 0 ? step : -step;
  for (let at = 0; at < size; at += chunk) [x[at], dy[at]] = [11600, 1];
  const { trackRunningStats, tuning } = { trackRunningStats: false, tuning: SOFTWARE };
  const bn = [
    createForwardSync(device, { shape, affine: false, trackRunningStats, tuning }),
    createBackwardSync(device, { shape, affine: true, tuning, wants: { x: false } }),
  ] as const;
  const [input, gradient] = [tensor(device, x, shape), tensor(device, dy, shape)];
  const [y, dGamma, dBeta] = [shape, [1], [1]].map((dims) => Tensor.empty(device, dims));
  const saved = tensor(device, new Float32Array(5), [5]);
  const encoder = device.createCommandEncoder();
  bn[0].encode(encoder, { x: input, y: y!, saved });
  bn[1].encode(encoder, { x: input, dy: gradient, saved, dGamma: dGamma!, dBeta: dBeta! });
  device.queue.submit([encoder.finish()]);
  const sum = (of: Float32Array): number => of.reduce((all, each) => all + each, 0);
  const mean = sum(x) / size;
  const variance = x.reduce((all, each) => all + (each - mean) ** 2, 0) / size;
  const outlier = (11600 - mean) / Math.sqrt(variance + 1e-5);
  expect((await y!.read()).slice(0, 1)).toBeAllclose([outlier], { rtol: 2e-6 });
  expect(await dBeta!.read()).toBeAllclose([sum(dy)], { rtol: 1e-6 });
  for (const each of [...bn, input, gradient, y!, dGamma!, dBeta!, saved]) each.destroy();
});

test("hundreds of regions, each of which leaves a part of its own", async () => {
  const shape = [600, 2, 64];
  const values = createRandom(2).normals(600 * 128);
  const dy = new Float32Array(600 * 128);
  // Plainly added to 1, 2^-24 is rounded away each time.
  for (let at = 0; at < dy.length; at += 64) dy[at] = at < 128 ? 1 : 2 ** -24;
  const plan = { shape, limits: { maxBindingBytes: 1024 }, affine: true, trackRunningStats: false };
  const plans = [
    createForwardSync(device, { ...plan, affine: false }),
    createBackwardSync(device, { ...plan, wants: { x: false } }),
  ] as const;
  const [x, gradient] = [tensor(device, values, shape), tensor(device, dy, shape)];
  const y = Tensor.empty(device, shape);
  const [dGamma, dBeta] = [Tensor.empty(device, [2]), Tensor.empty(device, [2])];
  const saved = tensor(device, new Float32Array(10), [10]);
  const encoder = device.createCommandEncoder();
  plans[0].encode(encoder, { x, y, saved });
  plans[1].encode(encoder, { x, dy: gradient, saved, dGamma, dBeta });
  device.queue.submit([encoder.finish()]);
  const wanted = 1 + 599 * 2 ** -24;
  expect(await dBeta.read()).toBeAllclose([wanted, wanted], { rtol: 2 ** -23 });
  for (const each of [...plans, x, gradient, y, dGamma, dBeta, saved]) each.destroy();
});

// Four of them together are half a unit in the last place of the first: plainly added, all the others' squares are lost.
test.each([
  { merged: "by every team", cacheBytes: 2 ** 40, mergedBytes: 2 ** 20 },
  { merged: "by a dispatch of its own", cacheBytes: 0, mergedBytes: 0.001 },
])(
  "thousands of chunks whose squares are small beside the first's, merged $merged",
  async (table) => {
    const [chunks, chunk] = [4096, 64];
    const size = chunks * chunk;
    const shape = [1, 1, size];
    const { merged: _, ...merging } = table;
    const cut = { wholePerLane: 0, targetInvocations: chunks, maxChunks: chunks, minPerLane: 1 };
    const tuning = { ...SOFTWARE, ...cut, ...merging };
    const extent = extentOf("test", shape, "channels-first");
    const options = { apart: true } as const;
    const dispatch = chooseDispatch(
      extent,
      "f32",
      "reduce",
      { ...tuning, fence: false },
      device.limits,
      options,
    );
    expect(dispatch).toMatchObject({ chunks, apart: merging.cacheBytes === 0, team: 1 });
    const values = new Float32Array(size);
    for (let i = 0; i < values.length; i++) {
      values[i] = (i % 2 === 0 ? 1 : -1) * (i < chunk ? 1 : 2 ** -13);
    }
    const bn = createForwardSync(device, {
      shape,
      affine: false,
      trackRunningStats: false,
      eps: 0,
      tuning,
    });
    const [x, y] = [tensor(device, values, shape), Tensor.empty(device, shape)];
    const saved = Tensor.empty(device, [5]);
    const encoder = device.createCommandEncoder();
    bn.encode(encoder, { x, y, saved });
    device.queue.submit([encoder.finish()]);
    const variance = (1 + (chunks - 1) * 2 ** -26) / chunks;
    expect((await y.read()).slice(0, 1)).toBeAllclose([1 / Math.sqrt(variance)], { rtol: 2e-6 });
    for (const each of [bn, x, y, saved]) each.destroy();
  },
);
