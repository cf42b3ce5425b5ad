import { shareDevice } from "../../bench/gpu.js";
import { openDevice } from "./device.js";

/** TensorFlow.js with layers, as a program imports it. */
export type TF = typeof import("@tensorflow/tfjs");

/** What of its WebGPU backend the tests look at. */
export interface WebGPUBackend {
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
