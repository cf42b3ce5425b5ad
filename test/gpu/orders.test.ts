/**
 * Values in orders that are hard on a mean which is corrected as it goes: what a block is centred on lies far from it, again
 * and again, or once and for all. A channel has one of them each.
 */
import { beforeAll, expect, test } from "vitest";
import { extentOf } from "../../src/descriptor.js";
import { openDevice } from "../support/device.js";
import { createRandom } from "../support/random.js";
import { comparisons, runOnce, TUNINGS } from "../support/tolerance.js";
import "../support/allclose.js";

let device: GPUDevice;
beforeAll(async () => {
  device = await openDevice();
});

const random = createRandom(12);
const noise = (): number => random.normal();

/** The m-th of M values. */
type Order = (m: number, M: number) => number;

const ORDERS: readonly Order[] = [
  (m) => m,
  (m, M) => 1e6 + (64 * m) / M,
  (m, M) => (1e5 * m) / M + noise(),
  (m, M) => (m < M / 2 ? 0 : 1e6) + noise(),
  (m, M) => (m < M / 10 ? 1e6 : 0) + noise(),
  (m) => (m < 5 ? 0 : 1e6 + noise()),
  (m) => (m % 2 ? 1e6 : -1e6) + noise(),
  (m) => (m % 3) * 1e5 + noise(),
  (m) => (m % 16 === 0 ? 1e5 : noise()),
  (m) => (Math.floor(m / 64) % 2 ? 1e4 : -1e4) + noise(),
  (m, M) => 2 ** ((40 * m) / M) * noise(),
  (m, M) => 2 ** ((40 * (M - m)) / M) * noise(),
  (m, M) => (m === Math.floor(M / 3) ? 1e12 : noise()),
  () => 1e6 + (noise() > 0 ? 0.0625 : 0),
  () => 1e16 * noise(),
  () => 1e-30 * noise(),
];

test.each([
  { shape: [16, 16, 14, 14], layout: "channels-first" },
  { shape: [16, 16, 7, 7], layout: "channels-first" },
  { shape: [3, 16, 37, 11], layout: "channels-first" },
  { shape: [4, 14, 14, 16], layout: "channels-last" },
  { shape: [4099, 16], layout: "channels-last" },
] as const)("$shape, $layout", async ({ shape, layout }) => {
  const { channels, inner, count, size } = extentOf("test", shape, layout);
  expect(channels).toBe(ORDERS.length);
  const x = new Float32Array(size);
  for (const [c, order] of ORDERS.entries()) {
    for (let m = 0; m < count; m++) {
      x[(Math.floor(m / inner) * channels + c) * inner + (m % inner)] = order(m, count);
    }
  }
  const inputs = {
    x,
    dy: random.normals(size, 0.2),
    gamma: random.normals(channels, 0.2),
    beta: random.normals(channels),
  };
  for (const [name, tuning] of Object.entries(TUNINGS)) {
    const call = { shape, options: { layout }, tuning };
    const found = comparisons(call, inputs, await runOnce(device, call, inputs));
    expect(found.length).toBe(6);
    for (const { name: output, actual, expected, atol } of found) {
      expect(actual, `${name}: ${output}`).toBeAllclose(expected, { atol });
    }
  }
});
