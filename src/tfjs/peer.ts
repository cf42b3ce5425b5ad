import type * as core from "@tensorflow/tfjs-core";
import { BatchNormError, complain } from "../errors.js";

/** A tensor of TensorFlow.js. */
export type Tensor = core.Tensor;
export type TensorInfo = core.TensorInfo;
/** Keeps tensors for a gradient. */
export type GradSaver = (tensors: Tensor[]) => void;

/** What of `tf.layers` is looked at: the class of its layer is found through it. */
export interface Layers {
  // The real type takes more; nothing of it is needed here.
  /** Makes a layer. */
  batchNormalization(config?: { name?: string }): object;
}

/** TensorFlow.js as the user imports it: `@tensorflow/tfjs`, or `@tensorflow/tfjs-core` without layers. */
export type TensorFlow = Pick<
  typeof core,
  | "add"
  | "batchNorm"
  | "clipByValue"
  | "clone"
  | "customGrad"
  | "div"
  | "elu"
  | "engine"
  | "env"
  | "erf"
  | "exp"
  | "getBackend"
  | "getGradient"
  | "getKernel"
  | "grads"
  | "leakyRelu"
  | "moments"
  | "mul"
  | "neg"
  | "onesLike"
  | "ready"
  | "registerGradient"
  | "registerKernel"
  | "relu"
  | "reshape"
  | "rsqrt"
  | "scalar"
  | "sigmoid"
  | "step"
  | "sub"
  | "sum"
  | "tanh"
  | "tidy"
  | "unregisterGradient"
  | "unregisterKernel"
  | "zeros"
  | "zerosLike"
> & {
  /** Not in `@tensorflow/tfjs-core`. */
  readonly layers?: Layers;
};

/** What TensorFlow.js's WebGPU backend keeps of a tensor. */
interface TensorData {
  /** What the numbers are stored as. */
  readonly dtype: string;
  readonly resource: GPUBuffer | null;
  readonly values: ArrayLike<number> | null;
}

/** The members of TensorFlow.js's WebGPU backend by which its own kernels allocate and record. */
export interface Backend {
  readonly device: GPUDevice;
  readonly disposed: boolean;
  readonly tensorMap: { get(id: object): TensorData };
  readonly commandQueueOwnedIds: WeakSet<object>;
  readonly supportTimestampQuery: boolean;
  readonly querySetCount: number;
  readonly activeTimers?: { name: string; query: Promise<number> }[] | null;
  querySet: GPUQuerySet | null;
  commandEncoder: GPUCommandEncoder | null;
  computePassEncoder: GPUComputePassEncoder | null;
  dispatchCountInPass: number;
  makeTensorInfo(shape: readonly number[], dtype: "float32"): TensorInfo;
  uploadToGPU(id: object): void;
  disposeData(id: object): boolean;
  ensureCommandEncoderReady(): void;
  endComputePassEncoder(): void;
  submitQueue(): void;
  getQueryTime(): Promise<number>;
}

const METHODS = [
  "makeTensorInfo",
  "uploadToGPU",
  "disposeData",
  "ensureCommandEncoderReady",
  "endComputePassEncoder",
  "submitQueue",
] as const;

/** Whether a backend has what is recorded with here; another, or a later version, may not. */
export function isWebGPU(backend: unknown): backend is Backend {
  const given = backend as Partial<Backend> | null;
  return (
    METHODS.every((name) => typeof given?.[name] === "function") &&
    given?.device !== undefined &&
    given.tensorMap !== undefined &&
    given.commandQueueOwnedIds !== undefined
  );
}

/** The current backend where it is the WebGPU one, else null. */
export function currentBackend(tf: TensorFlow): Backend | null {
  if (tf.getBackend() !== "webgpu") return null;
  const { backend } = tf.engine();
  return isWebGPU(backend) ? backend : null;
}

/** How the engine runs a kernel that is no registered one: forward, what is saved, and its backward. */
interface KernelCall {
  inputs: Record<string, Tensor>;
  forwardFunc(backend: unknown, save: (tensors: Tensor[]) => void): Tensor[];
  backwardsFunc?(dys: Tensor[], saved: Tensor[]): Record<string, () => Tensor>;
}

/**
 * Runs a kernel through the engine, as `tf.customGrad` does, but with several outputs: the tape, the
 * profiler and the check for leaks see it.
 */
export function runKernel(tf: TensorFlow, name: string, call: KernelCall): Tensor[] {
  const engine = tf.engine() as unknown as { runKernelFunc(call: KernelCall): Tensor[] };
  return tf.tidy(name, () => engine.runKernelFunc(call));
}

/** The tensors of a kernel's outputs, which the engine keeps count of from now on. */
export function tensorsOf(
  tf: TensorFlow,
  backend: Backend,
  infos: readonly TensorInfo[],
): Tensor[] {
  const engine = tf.engine() as unknown as {
    makeTensorFromTensorInfo(info: TensorInfo, backend: Backend): Tensor;
  };
  return infos.map((info) => engine.makeTensorFromTensorInfo(info, backend));
}

/** The buffer of a tensor that is on the GPU. */
export function bufferOf(backend: Backend, tensor: TensorInfo): GPUBuffer {
  return backend.tensorMap.get(tensor.dataId).resource!;
}

/** Whether a tensor's numbers are stored as f32: `tf.cast` of integers renames the type and leaves the numbers. */
export function isF32(backend: Backend, tensor: TensorInfo): boolean {
  return tensor.dtype === "float32" && backend.tensorMap.get(tensor.dataId).dtype === "float32";
}

/** The same numbers stored as f32: a stock operation stores what it gives as what it is called. */
export function asF32(tf: TensorFlow, backend: Backend, tensor: Tensor): Tensor {
  return isF32(backend, tensor) ? tensor : tf.mul(tensor, 1);
}

/** Whether a gradient is the zeros that the engine makes on the host for outputs that lead nowhere. */
export function isAbsent(backend: Backend, dy: TensorInfo): boolean {
  const { resource, values } = backend.tensorMap.get(dy.dataId);
  return !resource && values !== null && Array.prototype.every.call(values, (each) => each === 0);
}

/** Inputs and outputs of what is recorded, and how. */
interface Recording {
  readonly name: string;
  readonly inputs: readonly TensorInfo[];
  readonly outputs: readonly TensorInfo[];
  readonly dispatches: number;
  readonly encode: (pass: GPUComputePassEncoder) => void;
}

/**
 * Records into the backend's open pass, behind what it has recorded: inputs are uploaded where they are on
 * the host, outputs allocated by its own buffer pool, and its rule says when to submit.
 */
export function record(tf: TensorFlow, backend: Backend, recording: Recording): void {
  const { name, inputs, outputs, dispatches, encode } = recording;
  for (const { dataId } of [...inputs, ...outputs]) {
    backend.uploadToGPU(dataId);
    backend.commandQueueOwnedIds.add(dataId);
  }
  backend.ensureCommandEncoderReady();
  const timers = backend.activeTimers;
  if (timers) backend.endComputePassEncoder();
  backend.computePassEncoder ??= backend.commandEncoder!.beginComputePass(
    timers && backend.supportTimestampQuery ? { timestampWrites: timestamps(backend) } : {},
  );
  encode(backend.computePassEncoder);
  backend.dispatchCountInPass += dispatches;
  if (timers) {
    backend.endComputePassEncoder();
    timers.push({ name, query: backend.getQueryTime() });
  } else if (
    backend.dispatchCountInPass >= (tf.env().get("WEBGPU_DEFERRED_SUBMIT_BATCH_SIZE") as number)
  ) {
    backend.endComputePassEncoder();
    backend.submitQueue();
  }
}

function timestamps(backend: Backend): GPUComputePassTimestampWrites {
  backend.querySet ??= backend.device.createQuerySet({
    type: "timestamp",
    count: backend.querySetCount,
  });
  return { querySet: backend.querySet, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 };
}

/** An error where TensorFlow.js lacks what a call needs. */
export function missing(subject: string, expected: string, remedy: string): BatchNormError {
  return new BatchNormError(complain(subject, expected, "none", remedy));
}
