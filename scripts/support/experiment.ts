import { extentOf, type BatchNormOptions } from "../../src/descriptor.js";
import { BatchNorm1d, BatchNorm2d, BatchNorm3d, tensor, type BatchNorm } from "../../src/index.js";
import type { Inputs, Outputs } from "./check.js";

/** What one run does. */
export type Operation = "training" | "inference" | "backward";

/** The module for a shape: 1d for rank 2 and 3, 2d for 4, 3d for 5. */
export function moduleFor(
  device: GPUDevice,
  shape: readonly number[],
  options: BatchNormOptions,
): BatchNorm {
  const { channels } = extentOf("module", shape, options.layout ?? "channels-first");
  const Kind = shape.length <= 3 ? BatchNorm1d : shape.length === 4 ? BatchNorm2d : BatchNorm3d;
  return new Kind(device, channels, options);
}

/** Runs Batch Normalization on the device and reads everything back. Frees what it made. */
export async function runOnDevice(
  device: GPUDevice,
  inputs: Inputs,
  operations: readonly Operation[],
): Promise<Outputs> {
  const { shape, layout, eps, momentum } = inputs;
  const bn = moduleFor(device, shape, { layout, eps, momentum });
  const x = tensor(device, inputs.x, shape);
  const parameters = { weight: inputs.gamma, bias: inputs.beta };
  const running = { running_mean: inputs.runningMean, running_var: inputs.runningVar };
  const outputs: Outputs = {};
  try {
    bn.loadStateDict({ ...parameters, ...running, num_batches_tracked: 0 });
    if (operations.includes("inference")) {
      const y = bn.eval().forward(x);
      outputs.inference = { y: await y.read() };
      y.destroy();
    }
    if (operations.includes("training") || operations.includes("backward")) {
      const y = bn.train().forward(x);
      outputs.training = {
        y: await y.read(),
        runningMean: await bn.runningMean!.read(),
        runningVar: await bn.runningVar!.read(),
      };
      y.destroy();
    }
    if (operations.includes("backward")) {
      const dy = tensor(device, inputs.dy, shape);
      const dx = bn.backward(dy);
      outputs.backward = {
        dx: await dx.read(),
        dGamma: await bn.gammaGrad!.read(),
        dBeta: await bn.betaGrad!.read(),
      };
      dx.destroy();
      dy.destroy();
    }
  } finally {
    x.destroy();
    bn.destroy();
  }
  return outputs;
}
