/**
 * Sums that one lane carries over hundreds of thousands of values: plain addition would lose dBeta's digits here (1.5 times
 * its bound when `backward/lib/sums_along.wgsl` drops what rounding lost, against 0.003 as it is).
 */
import { beforeAll, expect, test } from "vitest";
import { SOFTWARE_TUNING } from "webgpu-batchnorm";
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
