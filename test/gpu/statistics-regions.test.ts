/** Masks over regions whose last word is of two channels: 16-bit numbers in rows of odd length. */
import { beforeAll, expect, test } from "vitest";
import { bounds, runBeyond } from "../support/beyond.js";
import { openDevice } from "../support/device.js";
import { createRandom } from "../support/random.js";
import { rounded, TUNINGS } from "../support/tolerance.js";
import "../support/allclose.js";

let device: GPUDevice;
beforeAll(async () => {
  device = await openDevice();
});

test.each([
  ["some channels of a sample", [2, 5, 99], 1024],
  ["one channel of a sample", [2, 5, 99], 512],
  ["part of a row", [2, 3, 1001], 512],
  ["part of a row, of which there are two", [2, 2, 777], 1024],
  ["part of a row of the only channel", [3, 1, 1001], 512],
] as const)("a region is %s", async (_, shape, maxBindingBytes) => {
  const [batch, channels, inner] = shape;
  for (const dtype of ["f16", "bf16"] as const) {
    for (const seed of [1, 2, 3]) {
      const random = createRandom(seed);
      const values = (mean: number): Float32Array =>
        rounded(random.normals(batch * channels * inner, mean), dtype);
      const call = {
        descriptor: { shape, dtype, limits: { maxBindingBytes } },
        ...{ x: values(1), dy: values(0.2) },
        mask: Float32Array.from({ length: batch * inner }, () => Number(random.uniform() < 0.6)),
        ...{ gamma: random.normals(channels, 0.2, 1), beta: random.normals(channels) },
        state: {
          ...{ mean: random.normals(channels), variance: random.uniforms(channels, 0.5, 2) },
          numBatchesTracked: 3,
        },
      };
      for (const tuning of [TUNINGS.software, TUNINGS.split]) {
        const outputs = await runBeyond(device, { ...call, tuning });
        for (const { name, actual, expected, atol } of bounds(call, outputs))
          expect(actual, `${name}, ${dtype}, seed ${seed}`).toBeAllclose(expected, { atol });
      }
    }
  }
});
