/**
 * A drop-in for TensorFlow.js: its batch normalization on our kernels, on its WebGPU backend.
 *
 * @packageDocumentation
 */
import { kindOf, requireKnown } from "../arguments.js";
import { resolveOptions, type ActivationName } from "../descriptor.js";
import { complain, DestroyedError, OptionError, ShapeError } from "../errors.js";
import { remedyFor } from "../remedy.js";
import { overrideInference } from "./inference.js";
import { patchLayer } from "./layer.js";
import { currentBackend, missing, type Layers, type Tensor, type TensorFlow } from "./peer.js";
import { destroyPlans } from "./plans.js";
import { train } from "./training.js";
import { viewAlong } from "./view.js";

export type { Layers, Tensor, TensorFlow } from "./peer.js";

interface Registration {
  readonly tf: TensorFlow;
  /** What puts the stock ones back, in turn. */
  readonly undo: readonly (() => void)[];
}

let registration: Registration | null = null;

/** Options of {@link register}. */
export interface RegisterOptions {
  /** `@tensorflow/tfjs-layers`, where it is imported apart from `tf`. Default: `tf.layers`. */
  layers?: Layers | undefined;
}

/**
 * Lets TensorFlow.js normalise with our kernels on its `webgpu` backend: `tf.batchNorm` and its gradient,
 * and every `BatchNormalization` layer in training and inference, those of loaded models too. Our kernels
 * read and write TensorFlow.js's own buffers, recorded into its own pass: no copy, no readback, no submit
 * besides its own. On other backends, and for what is not served, the stock kernels run.
 *
 * @param tf the namespace that the program uses, `@tensorflow/tfjs` or `@tensorflow/tfjs-core`; the WebGPU
 * backend must have been imported. It may be set before or after.
 * Rejects with BatchNormError without the WebGPU backend, or with one that lacks the members of version 4.22;
 * OptionError where an argument is of another kind.
 *
 * @example
 * ```ts
 * import * as tf from "@tensorflow/tfjs";
 * import "@tensorflow/tfjs-backend-webgpu";
 * import { register } from "webgpu-batchnorm/tfjs";
 *
 * await tf.setBackend("webgpu");
 * await register(tf);
 * ```
 */
export async function register(tf: TensorFlow, options: RegisterOptions = {}): Promise<void> {
  if (typeof (tf as Partial<TensorFlow> | undefined)?.ready !== "function") {
    throw new OptionError(
      complain(
        "register: tf",
        "TensorFlow.js",
        kindOf(tf),
        'pass import * as tf from "@tensorflow/tfjs"',
      ),
    );
  }
  requireKnown("register", options, ["layers"]);
  await tf.ready();
  if (tf.getBackend() === "webgpu" && !currentBackend(tf)) {
    throw missing(
      "register",
      "a WebGPU backend with the members of version 4.22",
      "use @tensorflow/tfjs-backend-webgpu 4.22",
    );
  }
  const layers = options.layers ?? tf.layers;
  // Before anything is replaced.
  if (layers && typeof (layers as Partial<Layers>).batchNormalization !== "function") {
    throw new OptionError(
      complain("register: layers", "tf.layers", kindOf(layers), "pass tf.layers, or leave it out"),
    );
  }
  if (registration) unregister(registration.tf);
  const undo = [overrideInference(tf)];
  if (layers) undo.push(patchLayer(tf, layers));
  registration = { tf, undo };
}

/** Puts the stock kernel, gradient and layer back and frees what ours held. Does nothing where nothing is registered. */
export function unregister(tf: TensorFlow): void {
  if (registration?.tf.engine() !== tf.engine()) return;
  for (const each of registration.undo) each();
  registration = null;
  destroyPlans();
}

/** Options of {@link batchNormTraining}. */
export interface BatchNormTrainingOptions {
  /** Added to the variance before the root. Default 1e-3, as `tf.batchNorm`. */
  eps?: number | undefined;
  /** Applied to `gamma * xHat + beta + residual`, in the same pass. Default "none". */
  activation?: ActivationName | undefined;
  /** Slope of leaky-relu (default 0.01), alpha of elu (default 1). */
  slope?: number | undefined;
  /** Added before the activation: of x's shape. */
  residual?: Tensor | null | undefined;
  /** The channel's axis, from the end where negative. Default -1. */
  axis?: number | undefined;
}

/** @throws OptionError where something is no tensor of TensorFlow.js, of whichever of its copies. */
function requireTensor(subject: string, given: unknown): void {
  const { dataId, shape } = Object(given) as Partial<Tensor>;
  if (dataId !== undefined && Array.isArray(shape)) return;
  const remedy = remedyFor(given, "make one with tf.tensor(values, shape)");
  throw new OptionError(complain(subject, "a tensor of TensorFlow.js", kindOf(given), remedy));
}

/** What {@link batchNormTraining} returns; the caller disposes of it, or a `tf.tidy` does. */
// A type, so that it fits into TensorFlow.js's containers (tf.dispose, tf.tidy).
export type BatchNormTrainingResult = {
  /** Of x's shape. */
  y: Tensor;
  /** `[C]`, of the batch. */
  mean: Tensor;
  /** `[C]`, of the batch, biased. */
  variance: Tensor;
};

/**
 * Batch Normalization with the batch's own statistics:
 * `y = activation(gamma * (x - mean) / sqrt(variance + eps) + beta + residual)`, per channel over all other
 * axes. Differentiable in x, gamma, beta and residual, through y, mean and variance, by one fused backward;
 * twice differentiable by TensorFlow.js's own operations. One value per channel gives xHat = 0, and so does a
 * variance of 0.
 *
 * @param x float32 of rank 2 or more.
 * @param gamma `[C]`, or null for 1.
 * @param beta `[C]`, or null for 0.
 * @throws BatchNormError before `register(tf)`; ShapeError, OptionError; DestroyedError of a disposed tensor.
 * @see Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167, algorithm 1.
 * @example
 * ```ts
 * const { y, mean, variance } = batchNormTraining(x, gamma, beta, { activation: "relu" });
 * ```
 */
export function batchNormTraining(
  x: Tensor,
  gamma: Tensor | null,
  beta: Tensor | null,
  options: BatchNormTrainingOptions = {},
): BatchNormTrainingResult {
  const subject = "batchNormTraining";
  if (!registration)
    throw missing(subject, "a registered TensorFlow.js", "await register(tf) first");
  requireKnown(subject, options, ["eps", "activation", "slope", "residual", "axis"]);
  const operands = { x, gamma, beta, residual: options.residual };
  for (const [name, tensor] of Object.entries(operands)) {
    if (tensor || name === "x") requireTensor(`${subject}: ${name}`, tensor);
    if (!tensor?.isDisposed) continue;
    throw new DestroyedError(
      complain(`${subject}: ${name}`, "a live tensor", "a disposed one", "dispose of it later"),
    );
  }
  const { residual = null, axis = -1 } = options;
  const { eps, activation, slope } = resolveOptions(subject, {
    ...options,
    eps: options.eps ?? 1e-3,
  });
  const { shape } = x;
  if (!(shape.length >= 2)) {
    throw new ShapeError(
      complain(`${subject}: x`, "rank 2 or more", `[${shape.join(", ")}]`, "reshape it first"),
    );
  }
  if (!(Number.isInteger(axis) && axis >= -shape.length && axis < shape.length)) {
    throw new OptionError(
      complain(`${subject}: axis`, `one of x's ${shape.length}`, `${axis}`, "-1 is the last"),
    );
  }
  const view = viewAlong(shape, axis);
  const fit = (name: string, tensor: Tensor | null, wanted: readonly number[]): void => {
    const fits =
      !tensor ||
      (tensor.shape.length === wanted.length &&
        tensor.shape.every((size, i) => size === wanted[i]));
    if (fits) return;
    throw new ShapeError(
      complain(
        `${subject}: ${name}`,
        `shape [${wanted.join(", ")}]`,
        `[${tensor.shape.join(", ")}]`,
        "check it and the axis",
      ),
    );
  };
  fit("gamma", gamma, [view.channels]);
  fit("beta", beta, [view.channels]);
  fit("residual", residual, shape);
  const { tf } = registration;
  return tf.tidy(() => {
    const { y, mean, variance } = train(tf, {
      x,
      gamma,
      beta,
      residual,
      view,
      eps,
      activation,
      slope,
    });
    return { y, mean, variance };
  });
}
