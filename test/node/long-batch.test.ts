/** 200,000 values in each of 1,000 channels: 800 MB, which takes a device with a raised `maxBufferSize`. In Node alone. */
import { expect, test } from "vitest";
import { BatchNorm1d, Tensor } from "webgpu-batchnorm";
import { requestDevice } from "webgpu-batchnorm/node";
import { backward, forward } from "webgpu-batchnorm/reference";
import "../support/allclose.js";

const ROWS = 200_000;
const CHANNELS = 1000;
const SAMPLED = [0, 499, 999];
const AT_ONCE = 8000; // rows, 32 MB

test("[200000, 1000], forward and backward", async () => {
  const bytes = ROWS * CHANNELS * 4;
  const device = await requestDevice({ quiet: true, requiredLimits: { maxBufferSize: bytes } });
  const trouble: string[] = [];
  device.addEventListener("uncapturederror", ({ error }) => trouble.push(error.message));
  const buffers = ["x", "y"].map((label) =>
    // STORAGE | COPY_SRC | COPY_DST
    device.createBuffer({ label, size: bytes, usage: 0x80 | 0x4 | 0x8 }),
  );
  const [x, y] = buffers.map((buffer) => Tensor.wrap(device, buffer, [ROWS, CHANNELS])) as [
    Tensor,
    Tensor,
  ];

  /** Rows of a tensor, block after block. */
  const blocks = function* (): Generator<{ first: number; size: number }> {
    for (let first = 0; first < ROWS; first += AT_ONCE)
      yield { first, size: Math.min(AT_ONCE, ROWS - first) * CHANNELS };
  };
  const pick = (block: Float32Array, first: number, into: Float32Array): void => {
    for (let row = 0; row < block.length / CHANNELS; row++)
      SAMPLED.forEach((channel, i) => {
        into[(first + row) * SAMPLED.length + i] = block[row * CHANNELS + channel]!;
      });
  };
  const someOf = async (buffer: GPUBuffer): Promise<Float32Array> => {
    const some = new Float32Array(ROWS * SAMPLED.length);
    for (const { first, size } of blocks()) {
      const range = { buffer, offset: first * CHANNELS * 4, size: size * 4 };
      pick(await Tensor.wrap(device, range, [size]).read(), first, some);
    }
    return some;
  };

  const someX = new Float32Array(ROWS * SAMPLED.length);
  let seed = 1;
  for (const { first, size } of blocks()) {
    const block = new Float32Array(size);
    for (let i = 0; i < size; i++) {
      seed = (Math.imul(seed, 1664525) + 1013904223) | 0;
      block[i] = 50 + seed / 2 ** 31;
    }
    pick(block, first, someX);
    device.queue.writeBuffer(buffers[0]!, first * CHANNELS * 4, block);
    await device.queue.onSubmittedWorkDone();
  }

  const bn = new BatchNorm1d(device, CHANNELS);
  bn.forward(x, { out: y });
  const shape = [ROWS, SAMPLED.length];
  const f = forward(someX, shape, {});
  const someY = await someOf(buffers[1]!);
  const largest = f.xHat.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
  expect(someY).toBeAllclose(f.y, { atol: 2e-6 * largest, rtol: 2 ** -23 });
  const mean = await bn.runningMean!.read();
  expect(SAMPLED.map((c) => mean[c]! / 0.1)).toBeAllclose(f.mean, { rtol: 2 ** -22, atol: 2e-6 });

  // y is dy, and dx stands over it: two tensors are all that there is.
  bn.backward(y, { out: y });
  const b = backward(someY, someX, shape, { mode: "training" });
  const steepest = Math.max(...b.invStd) * Math.max(...b.maxAbsDz);
  expect(await someOf(buffers[1]!)).toBeAllclose(b.dx, { atol: 1e-5 * steepest });
  const [gamma, beta] = [await bn.gammaGrad!.read(), await bn.betaGrad!.read()];
  const of = (values: Float32Array): number[] => SAMPLED.map((c) => values[c]!);
  expect(of(gamma)).toBeAllclose(b.dGamma, { atol: (c) => 1e-5 * b.sumAbsDzXHat[c]! });
  expect(of(beta)).toBeAllclose(b.dBeta, { atol: (c) => 1e-5 * b.sumAbsDz[c]! });
  await bn.status();
  expect(trouble).toEqual([]);
  for (const each of [bn, ...buffers]) each.destroy();
  device.destroy();
});
