/** TypeGPU's buffers, without a copy: `root.unwrap` gives the GPUBuffer, `Tensor.wrap` views it. */
import tgpu, { d } from "typegpu";
import { BatchNorm1d, Tensor } from "webgpu-batchnorm";

/** Normalises `[N, C]` in a TypeGPU buffer, in place, and reads it back through TypeGPU. */
export async function normalize(
  device: GPUDevice,
  rows: readonly number[],
  shape: readonly [number, number],
): Promise<number[]> {
  const root = tgpu.initFromDevice({ device });
  const values = root.createBuffer(d.arrayOf(d.f32, rows.length), [...rows]).$usage("storage");

  const bn = new BatchNorm1d(root.device, shape[1], { inPlace: true });
  const x = Tensor.wrap(root.device, root.unwrap(values), shape);
  bn.forward(x); // submitted to the queue that TypeGPU submits to

  const normalized = await values.read();
  bn.destroy();
  values.destroy(); // TypeGPU's own; the view never frees it
  return normalized;
}
