/** The BatchNormalization nodes of an .onnx model as modules. */
import { BatchNorm2d } from "webgpu-batchnorm";
import { findBatchNorms, readOnnx } from "webgpu-batchnorm/files";

/** Modules by the names of their nodes, in evaluation unless the model was exported in training. */
export function fromOnnx(
  device: GPUDevice,
  model: Uint8Array,
  external?: Record<string, Uint8Array>,
): Map<string, BatchNorm2d> {
  const file = readOnnx(model, external ? { external } : {});
  return new Map(
    findBatchNorms(file).map(({ prefix, channels, state, eps, momentum, training }) => {
      const bn = new BatchNorm2d(device, channels, {
        eps: eps!,
        momentum: momentum!, // already the weight of the new batch
        runningVariance: "population",
      });
      bn.loadStateDict(state);
      return [prefix, bn.train(training)];
    }),
  );
}
