/** What shareDevice adds to a device: writes from shared memory, as Dawn's own writes from any other. */
import { expect, test } from "vitest";
import { requestDevice, shareDevice } from "webgpu-batchnorm/node";
import { Tensor } from "webgpu-batchnorm";

test("shared memory is written as what it views", async () => {
  const device = await requestDevice({ quiet: true });
  shareDevice(device);
  const memory = new SharedArrayBuffer(32);
  const values = new Float32Array(memory);
  values.set([1, 2, 3, 4, 5, 6, 7, 8]);
  const target = Tensor.empty(device, [8]);
  const written = async (...of: [data: ArrayBufferView | SharedArrayBuffer, ...rest: number[]]) => {
    target.write(new Float32Array(8));
    device.queue.writeBuffer(target.buffer, 0, ...(of as unknown as [ArrayBuffer]));
    return [...(await target.read())];
  };
  try {
    expect(await written(values)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(await written(values, 2, 3)).toEqual([3, 4, 5, 0, 0, 0, 0, 0]);
    expect(await written(values.subarray(1), 2)).toEqual([4, 5, 6, 7, 8, 0, 0, 0]);
    expect(await written(new DataView(memory, 4, 8))).toEqual([2, 3, 0, 0, 0, 0, 0, 0]);
    expect(await written(new DataView(memory), 8, 4)).toEqual([3, 0, 0, 0, 0, 0, 0, 0]);
    expect(await written(memory, 4, 8)).toEqual([2, 3, 0, 0, 0, 0, 0, 0]);
    for (const [start, ...size] of [[9], [-1], [9, 1], [7, 2]]) {
      await expect(written(values, start!, ...size)).rejects.toThrow();
    }
    expect(await written(Float32Array.from(values), 1, 2)).toEqual([2, 3, 0, 0, 0, 0, 0, 0]);
    // A tensor copies it, whatever the device takes.
    const other = await requestDevice({ quiet: true });
    const plain = Tensor.empty(other, [8]);
    plain.write(values);
    expect([...(await plain.read())]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    plain.destroy();
    other.destroy();
  } finally {
    target.destroy();
  }
});
