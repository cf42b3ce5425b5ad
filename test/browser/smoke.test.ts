import { expect, test } from "vitest";
import { BatchNorm1d, tensor } from "webgpu-batchnorm";
import { adapterName, openDevice } from "../support/device.js";

test("a real browser runs the library on navigator.gpu", async () => {
  const device = await openDevice();
  console.info(`browser adapter: ${adapterName(device)}`);
  const bn = new BatchNorm1d(device, 2, { affine: false, eps: 0 });
  const y = bn.forward(tensor(device, [1, 10, 3, 30], [2, 2]));
  expect([...(await y.read())]).toEqual([-1, -1, 1, 1]);
});

test("Float16Array, where the runtime has it, is taken by its numbers", async () => {
  const device = await openDevice();
  const { Float16Array: Half } = globalThis as unknown as {
    Float16Array: new (values: number[]) => Float32Array;
  };
  for (const dtype of ["f16", "f32"] as const) {
    const x = tensor(device, new Half([1, 0.1, -65504, 2 ** -24]), [2, 2], { dtype });
    expect([...(await x.read())]).toEqual([1, 0.0999755859375, -65504, 2 ** -24]);
  }
});
