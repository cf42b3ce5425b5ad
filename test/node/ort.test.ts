/** Views for ONNX Runtime, on a device that executes nothing; what ONNX Runtime makes of them is tested in a browser. */
import { expect, test } from "vitest";
import { ShapeError, Tensor } from "webgpu-batchnorm";
import { toOrt } from "webgpu-batchnorm/ort";
import { openNullDevice } from "../support/null-device.js";

test("dims are whole numbers, as many values as the tensor has", async () => {
  const device = await openNullDevice();
  const x = Tensor.empty(device, [1, 3, 2, 2]);
  const Class = {
    fromGpuBuffer: (_: unknown, { dims }: { dims: readonly number[] }): readonly number[] => dims,
  };
  expect(toOrt(Class, x)).toEqual([1, 3, 2, 2]);
  expect(toOrt(Class, x, [3, 4])).toEqual([3, 4]);
  for (const dims of [[-3, -4], [0.5, 24], ["12"], [NaN], [12, 2 ** 60, 2 ** -60]]) {
    const view = (): unknown => toOrt(Class, x, dims as number[]);
    expect(view).toThrow(ShapeError);
    expect(view).toThrow(/^toOrt: dims: .*whole numbers >= 0, got \[.*\]; pass other dims/);
  }
  device.destroy();
});
