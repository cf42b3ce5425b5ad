/**
 * Kernels in your own WebGPU code: your device, your buffers, your encoder. One submit holds your copy, a training
 * forward, its backward and your readback; nothing here submits, maps or allocates but you.
 */
import { byteSizes, createBackward, createForward, stateLayout } from "webgpu-batchnorm";

/** One training step on `[N, C, H, W]`; gives y, dx, and the running mean. */
export async function trainingStep(
  device: GPUDevice,
  shape: readonly [number, number, number, number],
  x: Float32Array<ArrayBuffer>,
  dy: Float32Array<ArrayBuffer>,
): Promise<{ y: Float32Array; dx: Float32Array; runningMean: Float32Array }> {
  const channels = shape[1];
  const descriptor = { shape, activation: "relu" } as const;
  // What may fail happens here.
  const [forward, backward] = await Promise.all([
    createForward(device, descriptor),
    createBackward(device, descriptor),
  ]);

  const sizes = byteSizes(descriptor);
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const make = (size: number): GPUBuffer => device.createBuffer({ size, usage });
  const buffers = {
    x: make(sizes.x),
    dy: make(sizes.x),
    y: make(sizes.y),
    dx: make(sizes.x),
    gamma: make(sizes.gamma),
    beta: make(sizes.beta),
    dGamma: make(sizes.gamma),
    dBeta: make(sizes.beta),
    saved: make(sizes.saved),
    state: make(sizes.state),
  };
  const { queue } = device;
  queue.writeBuffer(buffers.x, 0, x);
  queue.writeBuffer(buffers.dy, 0, dy);
  queue.writeBuffer(buffers.gamma, 0, new Float32Array(channels).fill(1));
  queue.writeBuffer(
    buffers.state,
    stateLayout(channels).variance,
    new Float32Array(channels).fill(1),
  );

  const result = device.createBuffer({
    size: sizes.y + sizes.x + 4 * channels,
    usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
  });
  const encoder = device.createCommandEncoder();
  // An open pass of yours is taken too.
  const pass = encoder.beginComputePass();
  forward.encode(pass, buffers);
  backward.encode(pass, buffers);
  pass.end();
  encoder.copyBufferToBuffer(buffers.y, 0, result, 0, sizes.y);
  encoder.copyBufferToBuffer(buffers.dx, 0, result, sizes.y, sizes.x);
  const { mean } = stateLayout(channels);
  encoder.copyBufferToBuffer(buffers.state, mean, result, sizes.y + sizes.x, 4 * channels);
  queue.submit([encoder.finish()]);

  await result.mapAsync(GPUMapMode.READ);
  const values = new Float32Array(result.getMappedRange().slice(0));
  result.destroy();
  for (const buffer of Object.values(buffers)) buffer.destroy();
  forward.destroy();
  backward.destroy();
  return {
    y: values.subarray(0, x.length),
    dx: values.subarray(x.length, 2 * x.length),
    runningMean: values.subarray(2 * x.length),
  };
}
