/**
 * Batch Normalization out of files and into them: safetensors, ONNX, the order of Keras's weights. Nothing here needs a
 * GPU, a file system or a network: bytes in, bytes out.
 *
 * @packageDocumentation
 */
export { readSafetensors, writeSafetensors } from "./safetensors.js";
export type { SafetensorsFile, WritableTensor } from "./safetensors.js";
export { readOnnx } from "./onnx.js";
export type { OnnxFile, OnnxNode, OnnxOptions } from "./onnx.js";
export { findBatchNorms } from "./batchnorms.js";
export type { FoundBatchNorm, FoundState, NamedTensor } from "./batchnorms.js";
export { fromKeras, toKeras } from "./keras.js";
export type { KerasOptions, KerasState } from "./keras.js";
export { prefixed } from "./prefixed.js";
export { FileTensor } from "./tensor.js";
export type { FileData, FileDtype, NonFinite, ReadOptions } from "./tensor.js";
export { FileError } from "./error.js";
