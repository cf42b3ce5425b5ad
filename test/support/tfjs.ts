import { shareDevice } from "../../src/share.js";
import { openDevice } from "./device.js";

/** TensorFlow.js with layers, as a program imports it. */
export type TF = typeof import("@tensorflow/tfjs");

/** What of its WebGPU backend the tests look at. */
export interface WebGPUBackend {
  readonly dispatchCountInPass: number;
  readonly device: GPUDevice;
  readonly tensorMap: { get(id: object): { resource: GPUBuffer | null; values: unknown } };
  readonly bufferManager: { numBytesUsed: number; numBytesAllocated: number };
  commandEncoder: GPUCommandEncoder | null;
  endComputePassEncoder(): void;
  submitQueue(): void;
}

/** TensorFlow.js on its WebGPU backend, which works on the tests' device: uncaught errors fail the test. */
export async function openTensorFlow(): Promise<TF> {
  const device = await openDevice();
  shareDevice(device);
  const tf = await import("@tensorflow/tfjs");
  // No advice to install its native backend.
  tf.env().set("IS_NODE", false);
  await import("@tensorflow/tfjs-backend-webgpu");
  await tf.setBackend("webgpu");
  await tf.ready();
  return tf;
}

export function backendOf(tf: TF): WebGPUBackend {
  return tf.backend() as unknown as WebGPUBackend;
}

/** Submits what has been recorded, and waits for it. */
export async function settle(tf: TF): Promise<void> {
  const backend = backendOf(tf);
  backend.endComputePassEncoder();
  if (backend.commandEncoder) backend.submitQueue();
  await backend.device.queue.onSubmittedWorkDone();
}

/** Tells whether our kernels run: how many bind groups of ours were made since it was last asked. */
export function watchOurs(tf: TF): () => number {
  const { device } = backendOf(tf);
  const create = device.createBindGroup.bind(device);
  let count = 0;
  Object.defineProperty(device, "createBindGroup", {
    configurable: true,
    writable: true,
    value: (descriptor: GPUBindGroupDescriptor) => {
      if (descriptor.label?.startsWith("bn.")) count += 1;
      return create(descriptor);
    },
  });
  return () => {
    const found = count;
    count = 0;
    return found;
  };
}

/**
 * What two ways through TensorFlow.js may differ by: both compute in f32, and sum up to a few thousand terms by chains
 * or trees, off by at most M·2^-24 of the sum of magnitudes, in practice by its root. 2e-4 of the largest number has room for
 * that and for the handful of roundings in between; a wrong factor, or a term left out, is off by all of it.
 */
export const SHARE = 2e-4;

/** The absolute tolerance for two f32 computations of the same numbers, see {@link SHARE}. */
export function toleranceOf(expected: ArrayLike<number>): { atol: number } {
  return { atol: SHARE * Math.max(1, ...Array.from(expected, Math.abs)) };
}
