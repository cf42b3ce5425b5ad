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
