import type { Tensor } from "@tensorflow/tfjs-core";
import * as reference from "webgpu-batchnorm/reference";

export type TensorFlow = typeof import("@tensorflow/tfjs-core");

export interface Normalised {
  readonly y: Tensor;
  /** `[C]`, of the batch, biased. */
  readonly mean: Tensor;
  readonly variance: Tensor;
}

/** TensorFlow.js for the layers that are not ours, and Batch Normalization by this package, channel last. */
export interface Engine {
  readonly tf: TensorFlow;
  readonly kind: "webgpu" | "cpu";
  /** With the batch's statistics; differentiable. */
  train(x: Tensor, gamma: Tensor, beta: Tensor): Normalised;
  /** With given ones. */
  infer(x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor): Tensor;
}

export const EPS = 1e-5;

/** TensorFlow.js on a device, with our drop-in. */
export async function openWebgpu(
  tf: TensorFlow,
  device: GPUDevice,
  software: boolean,
): Promise<Engine> {
  const { WebGPUBackend } = await import("@tensorflow/tfjs-backend-webgpu");
  const { batchNormTraining, register } = await import("webgpu-batchnorm/tfjs");
  // On the very device that the page has, so that its loss is seen and its limits are known.
  tf.removeBackend("webgpu");
  tf.registerBackend("webgpu", () => new WebGPUBackend(device, device.adapterInfo));
  await tf.setBackend("webgpu");
  await tf.ready();
  if (software) {
    // Of its products the packed one has the fewest barriers, which a software adapter pays dearly; and its
    // convolution with one input channel is 16 times as fast once the patches are laid out apart.
    tf.env().set("WEBGPU_MATMUL_PROGRAM_TYPE", 3);
    tf.env().set("WEBGPU_CONV_SEPARATE_IM2COL_SHADER", true);
  }
  await register(tf);
  return {
    tf,
    kind: "webgpu",
    train: (x, gamma, beta) => batchNormTraining(x, gamma, beta, { eps: EPS }),
    infer: (x, gamma, beta, mean, variance) => tf.batchNorm(x, mean, variance, beta, gamma, EPS),
  };
}

/** TensorFlow.js on the CPU, with the float64 reference. */
export async function openCpu(tf: TensorFlow): Promise<Engine> {
  await import("@tensorflow/tfjs-backend-cpu");
  await tf.setBackend("cpu");
  await tf.ready();
  const values = (tensor: Tensor): Float32Array => tensor.dataSync<"float32">();
  const options = { layout: "channels-last", singleValue: "zero", eps: EPS } as const;
  const back = (result: Float64Array, like: Tensor): Tensor =>
    tf.tensor(Float32Array.from(result), like.shape, "float32");
  return {
    tf,
    kind: "cpu",
    train(x, gamma, beta) {
      const input = values(x);
      const all = { ...options, gamma: values(gamma), beta: values(beta) };
      const { y, mean, varBiased } = reference.forward(input, x.shape, all);
      const op = tf.customGrad(() => ({
        value: back(y, x),
        gradFunc: (dy: Tensor) => {
          const { dx, dGamma, dBeta } = reference.backward(values(dy), input, x.shape, all);
          return [back(dx, x), back(dGamma, gamma), back(dBeta, beta)];
        },
      }));
      return { y: op(x, gamma, beta), mean: back(mean, gamma), variance: back(varBiased, gamma) };
    },
    infer(x, gamma, beta, mean, variance) {
      const { y } = reference.inference(values(x), x.shape, {
        ...options,
        gamma: values(gamma),
        beta: values(beta),
        mean: values(mean),
        variance: values(variance),
      });
      return back(y, x);
    },
  };
}

/** In a page: TensorFlow.js's core with its gradients, loaded when it is first asked for. */
export async function openEngine(device: GPUDevice | null, software: boolean): Promise<Engine> {
  const tf = await import("@tensorflow/tfjs-core");
  await import("@tensorflow/tfjs-core/dist/register_all_gradients.js");
  return device ? openWebgpu(tf, device, software) : openCpu(tf);
}
