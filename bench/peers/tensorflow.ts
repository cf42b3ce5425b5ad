import type { Candidate, Outputs } from "../candidate.js";
import { memoryShape, type Case } from "../cases.js";
import { EPS, type Inputs } from "../data.js";
import { shareDevice } from "../../src/share.js";
import { DROP_IN } from "../results.js";

type Core = typeof import("@tensorflow/tfjs-core");
type Tensor = import("@tensorflow/tfjs-core").Tensor;
type KernelConfig = import("@tensorflow/tfjs-core").KernelConfig;
type GradConfig = import("@tensorflow/tfjs-core").GradConfig;

/** What of the backend is needed to submit what it has recorded and not yet submitted. */
interface Backend {
  commandEncoder: GPUCommandEncoder | null;
  endComputePassEncoder(): void;
  submitQueue(): void;
}

/** The shape that TensorFlow.js is given: its batchNorm takes rank 4 at most, and depth and height may be one. */
function shapeFor(each: Case): number[] {
  const shape = memoryShape(each);
  if (shape.length < 5) return shape;
  const [batch, first, second, ...rest] = shape as [number, number, number, number, number];
  return each.layout === "channels-last"
    ? [batch * first, second, ...rest]
    : [batch, first, second * rest[0], rest[1]];
}

/** What computes `tf.batchNorm`, and its gradient. */
interface Kernels {
  readonly kernel: KernelConfig;
  readonly gradient: GradConfig;
}

const KERNEL = "FusedBatchNorm";
const BACKEND = "webgpu";

function kernelsOf(tf: Core): Kernels {
  return { kernel: tf.getKernel(KERNEL, BACKEND), gradient: tf.getGradient(KERNEL) };
}

/** Both stand side by side in one process: whichever runs puts its own in place first. */
function put(tf: Core, { kernel, gradient }: Kernels): void {
  tf.unregisterKernel(KERNEL, BACKEND);
  tf.registerKernel(kernel);
  tf.unregisterGradient(KERNEL);
  tf.registerGradient(gradient);
}

let stock: Kernels | null = null;

async function load(device: GPUDevice): Promise<Core> {
  shareDevice(device);
  const tf: Core = await import("@tensorflow/tfjs-core");
  await import("@tensorflow/tfjs-core/dist/register_all_gradients.js");
  await import("@tensorflow/tfjs-backend-webgpu");
  await tf.setBackend(BACKEND);
  await tf.ready();
  stock ??= kernelsOf(tf);
  return tf;
}

/** Training's forward; statistics over all axes but the channel's. */
type Training = (x: Tensor, gamma: Tensor, beta: Tensor, axis: number) => Tensor;

/**
 * TensorFlow.js's WebGPU backend: inference with `tf.batchNorm`; in training `tf.moments` with it, differentiated by
 * `tf.grads`. With the channel first its batchNorm has no gradient, so that there the same is written as arithmetic.
 * Running statistics, which would be more dispatches, are left out.
 */
export async function tensorflow(device: GPUDevice): Promise<Candidate> {
  const tf = await load(device);
  return candidateOf(tf, device, "TensorFlow.js", stock!, 24, (x, gamma, beta, axis) => {
    const axes = x.shape.map((_, i) => i).filter((i) => i !== axis);
    if (axis === x.rank - 1) {
      const { mean, variance } = tf.moments(x, axes);
      return normalize(tf, x, mean, variance, gamma, beta);
    }
    const { mean, variance } = tf.moments(x, axes, true);
    const factor = tf.mul(tf.rsqrt(tf.add(variance, EPS)), gamma);
    return tf.add(tf.mul(tf.sub(x, mean), factor), beta);
  });
}

/** The same with this package's drop-in: `tf.batchNorm` on our kernels, training with `batchNormTraining`. */
export async function dropIn(device: GPUDevice): Promise<Candidate> {
  const tf = await load(device);
  const { batchNormTraining, register } = await import("webgpu-batchnorm/tfjs");
  put(tf, stock!);
  await register(tf);
  const name = DROP_IN;
  return candidateOf(tf, device, name, kernelsOf(tf), 6, (x, gamma, beta, axis) => {
    const flat = (values: Tensor): Tensor => tf.reshape(values, [values.size]);
    return batchNormTraining(x, flat(gamma), flat(beta), { eps: EPS, axis }).y;
  });
}

function normalize(
  tf: Core,
  x: Tensor,
  mean: Tensor,
  variance: Tensor,
  gamma: Tensor,
  beta: Tensor,
): Tensor {
  // The kernel broadcasts; its types name only what it can differentiate.
  return (tf.batchNorm as (...of: unknown[]) => Tensor)(x, mean, variance, beta, gamma, EPS);
}

function candidateOf(
  tf: Core,
  device: GPUDevice,
  name: string,
  kernels: Kernels,
  holdsInTraining: number,
  training: Training,
): Candidate {
  const backend = tf.backend() as unknown as Backend;

  const submit = async (): Promise<void> => {
    backend.endComputePassEncoder();
    if (backend.commandEncoder) backend.submitQueue();
    await device.queue.onSubmittedWorkDone();
  };

  return {
    name,
    kind: "peer",
    version: `@tensorflow/tfjs-backend-webgpu ${tf.version_core}`,
    refuses: ({ dtype, operation }) =>
      dtype !== "f32"
        ? `has no ${dtype}`
        : operation === "backward"
          ? "does a forward with every backward"
          : null,
    holds: ({ operation }) =>
      operation === "inference"
        ? 2
        : operation === "forward"
          ? Math.min(5, holdsInTraining)
          : holdsInTraining,
    async prepare(_device, each, inputs: Inputs) {
      const shape = shapeFor(each);
      const last = each.layout === "channels-last" || shape.length === 2;
      const channels = inputs.gamma.length;
      const axis = last ? shape.length - 1 : 1;
      const perChannel = last ? [channels] : shape.map((_, i) => (i === 1 ? channels : 1));
      const made: Tensor[] = [];
      const keep = (values: Float32Array, of: number[]): Tensor => {
        const tensor = tf.tensor(values, of, "float32");
        made.push(tensor);
        return tensor;
      };
      const x = keep(inputs.x, shape);
      const gamma = keep(inputs.gamma, perChannel);
      const beta = keep(inputs.beta, perChannel);
      const composed = (value: Tensor, scale: Tensor, shift: Tensor): Tensor =>
        training(value, scale, shift, axis);
      let step: () => Tensor[];
      if (each.operation === "inference") {
        const mean = keep(inputs.mean, perChannel);
        const variance = keep(inputs.variance, perChannel);
        step = () => [normalize(tf, x, mean, variance, gamma, beta)];
      } else if (each.operation === "forward") {
        step = () => [composed(x, gamma, beta)];
      } else {
        const dy = keep(inputs.dy, shape);
        const gradients = tf.valueAndGrads((...of: Tensor[]) => composed(of[0]!, of[1]!, of[2]!));
        step = () => {
          const { value, grads } = gradients([x, gamma, beta], dy);
          return [value, ...grads];
        };
      }
      return {
        async run(repeats) {
          put(tf, kernels);
          for (let i = 0; i < repeats; i++) tf.dispose(tf.tidy(step));
          await submit();
        },
        async outputs() {
          put(tf, kernels);
          const results = tf.tidy(step);
          const [y, dx, dGamma, dBeta] = (await Promise.all(
            results.map((each) => each.data()),
          )) as Float32Array[];
          tf.dispose(results);
          const outputs: Outputs = { y: y! };
          if (dx) Object.assign(outputs, { dx, dGamma, dBeta });
          return outputs;
        },
        dispose() {
          tf.dispose(made);
          // Freed buffers are kept for reuse by size; a benchmark of many sizes would drown in them.
          const { bufferManager } = backend as unknown as {
            bufferManager: { freeBuffers: Map<string, GPUBuffer[]>; numFreeBuffers: number };
          };
          backend.endComputePassEncoder();
          if (backend.commandEncoder) backend.submitQueue();
          for (const buffers of bufferManager.freeBuffers.values()) {
            for (const buffer of buffers) buffer.destroy();
            buffers.length = 0;
          }
          bufferManager.numFreeBuffers = 0;
        },
      };
    },
  };
}
