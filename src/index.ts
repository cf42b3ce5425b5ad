/**
 * Batch Normalization for WebGPU: training and inference, forward and backward.
 *
 * @packageDocumentation
 */
export { BatchNorm, BatchNorm1d, BatchNorm2d, BatchNorm3d, Context } from "./batchnorm.js";
export type {
  BackwardOptions,
  ForwardOptions,
  LoadOptions,
  PrepareOptions,
  StateDict,
  StateDictInput,
  StateEntry,
  StateFile,
} from "./batchnorm.js";
export { Tensor, tensor } from "./tensor.js";
export type { TensorData, TensorOptions } from "./tensor.js";
export { createForward, createForwardSync } from "./forward.js";
export type { ForwardDescriptor, ForwardPlan, ForwardResources } from "./forward.js";
export { createInference, createInferenceSync } from "./inference.js";
export type { InferenceDescriptor, InferencePlan, InferenceResources } from "./inference.js";
export { createBackward, createBackwardSync } from "./backward.js";
export type { BackwardDescriptor, BackwardPlan, BackwardResources, Wants } from "./backward.js";
export { byteSizes, stateLayout } from "./bindings.js";
export type { ByteSizes, PlanDescriptor, Resource, StateLayout } from "./bindings.js";
export { chooseDispatch, GPU_TUNING, SOFTWARE_TUNING } from "./dispatch/choose.js";
export type { Dispatch, DispatchLimits, DispatchOptions, Tuning } from "./dispatch/choose.js";
export type { Limits, Target } from "./plan.js";
export type { CoreBindingName, ValueKind } from "./kernels.js";
export type {
  ActivationName,
  BatchNormOptions,
  Dtype,
  Extent,
  Layout,
  ResolvedOptions,
  RunningVariance,
  SingleValue,
} from "./descriptor.js";
export { GAMMA_FLOOR } from "./descriptor.js";
export {
  AdapterError,
  BatchNormError,
  BufferError,
  CompileError,
  ContextError,
  DestroyedError,
  DeviceLostError,
  OptionError,
  OutOfMemoryError,
  OverlapError,
  ShapeError,
  SingleValueError,
} from "./errors.js";
