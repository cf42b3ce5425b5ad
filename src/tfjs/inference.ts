import type {
  GradConfig,
  KernelConfig,
  KernelFunc,
  NamedTensorInfoMap,
} from "@tensorflow/tfjs-core";
import { composedInferenceGradients } from "./composed.js";
import { planGradient, planInference, takesEps } from "./outlines.js";
import {
  asF32,
  bufferOf,
  currentBackend,
  isF32,
  isWebGPU,
  missing,
  record,
  runKernel,
  tensorsOf,
  type Backend,
  type Tensor,
  type TensorFlow,
  type TensorInfo,
} from "./peer.js";
import { plansOf } from "./plans.js";
import { viewOf, type View } from "./view.js";

const KERNEL = "FusedBatchNorm";
const BACKEND = "webgpu";
const WITH_SCALE = ["x", "mean", "variance", "scale"];
const WITHOUT_SCALE = ["x", "mean", "variance"];

interface Inputs {
  x: TensorInfo;
  mean: TensorInfo;
  variance: TensorInfo;
  scale?: TensorInfo | null;
  offset?: TensorInfo | null;
}

/**
 * How statistics lie over x where our kernels serve: f32, not empty, all of one shape that is not x's own, with an eps
 * that plans take.
 */
function servedView(
  backend: Backend,
  { x, mean, variance, scale, offset }: Inputs,
  eps: number,
): View | null {
  const statistics = [mean, variance, scale, offset].filter((each) => !!each);
  const alike = statistics.every(
    (each) =>
      isF32(backend, each) &&
      each.shape.length === mean.shape.length &&
      each.shape.every((size, i) => size === mean.shape[i]),
  );
  if (!alike || !isF32(backend, x) || x.shape.includes(0) || !takesEps(eps)) return null;
  return viewOf(x.shape, mean.shape);
}

/** y from given mean and variance. */
function infer(
  tf: TensorFlow,
  backend: Backend,
  inputs: Inputs,
  view: View,
  eps: number,
): TensorInfo {
  const { x, mean, variance, scale, offset } = inputs;
  const plans = plansOf(backend);
  const affine = !!scale || !!offset;
  const { outer, channels, inner } = view;
  const plan = plans.get(`inference ${outer} ${channels} ${inner} ${eps} ${affine}`, () =>
    planInference(backend.device, view, eps, affine),
  );
  const ones = affine && !scale ? plans.constant(1, channels) : null;
  const zeros = affine && !offset ? plans.constant(0, channels) : null;
  const y = backend.makeTensorInfo(x.shape, "float32");
  const buffer = (info: TensorInfo): GPUBuffer => bufferOf(backend, info);
  record(tf, backend, {
    name: "batchNorm",
    inputs: [x, mean, variance, scale, offset].filter((each) => !!each),
    outputs: [y],
    dispatches: 1,
    encode(pass) {
      plan.encode(pass, {
        x: buffer(x),
        mean: buffer(mean),
        variance: buffer(variance),
        ...(affine ? { gamma: ones ?? buffer(scale!), beta: zeros ?? buffer(offset!) } : {}),
        y: buffer(y),
      });
    },
  });
  return y;
}

/** Gradients of {@link infer}, all in one: [dx, dScale, dOffset, dMean, dVariance]. */
function differentiate(
  tf: TensorFlow,
  backend: Backend,
  dy: Tensor,
  [x, mean, variance, scale]: readonly [Tensor, Tensor, Tensor, Tensor | undefined],
  view: View,
  eps: number,
): Tensor[] {
  const { outer, channels, inner } = view;
  return runKernel(tf, "batchNormGradient", {
    inputs: { dy, x, mean, variance, ...(scale ? { scale } : {}) },
    forwardFunc() {
      const plans = plansOf(backend);
      const plan = plans.get(`gradient ${outer} ${channels} ${inner} ${eps}`, () =>
        planGradient(backend.device, view, eps),
      );
      const ones = scale ? null : plans.constant(1, channels);
      const like = (of: Tensor): TensorInfo => backend.makeTensorInfo(of.shape, "float32");
      const outputs = [x, mean, mean, mean, mean].map(like);
      const buffer = (info: TensorInfo): GPUBuffer => bufferOf(backend, info);
      record(tf, backend, {
        name: "batchNormGradient",
        inputs: [dy, x, mean, variance, ...(scale ? [scale] : [])],
        outputs,
        dispatches: 2,
        encode(pass) {
          const [dx, dGamma, dBeta, dMean, dVariance] = outputs.map(buffer);
          plan.encode(pass, {
            x: buffer(x),
            dy: buffer(dy),
            mean: buffer(mean),
            variance: buffer(variance),
            gamma: ones ?? buffer(scale!),
            dx: dx!,
            dGamma: dGamma!,
            dBeta: dBeta!,
            dMean: dMean!,
            dVariance: dVariance!,
          });
        },
      });
      return tensorsOf(tf, backend, outputs);
    },
  });
}

/** Inputs that an operation was called without: the tape would take them for tensors. */
function dropAbsent(inputs: NamedTensorInfoMap): void {
  for (const name of Object.keys(inputs)) if (!inputs[name]) delete inputs[name];
}

/**
 * Puts our kernel and gradient in place of those of `tf.batchNorm`; what they do not serve, they hand on.
 *
 * @returns what puts the stock ones back.
 * @throws BatchNormError where the WebGPU backend has not been imported.
 */
export function overrideInference(tf: TensorFlow): () => void {
  const stock = tf.getKernel(KERNEL, BACKEND) as KernelConfig | undefined;
  if (!stock) {
    throw missing(
      "register",
      "TensorFlow.js's WebGPU backend",
      'import "@tensorflow/tfjs-backend-webgpu" first',
    );
  }
  const stockGradient = tf.getGradient(KERNEL) as GradConfig | undefined;
  let saving = WITH_SCALE;
  const kernelFunc: KernelFunc = (call) => {
    const { attrs, backend } = call;
    dropAbsent(call.inputs);
    const inputs = call.inputs as unknown as Inputs;
    saving = inputs.scale ? WITH_SCALE : WITHOUT_SCALE;
    const { varianceEpsilon } = attrs as { varianceEpsilon: number };
    const view = isWebGPU(backend) ? servedView(backend, inputs, varianceEpsilon) : null;
    if (!view) return stock.kernelFunc(call);
    return infer(tf, backend as unknown as Backend, inputs, view, varianceEpsilon);
  };
  const gradient: GradConfig = {
    kernelName: KERNEL,
    // Asked for right after the kernel has run, whose call had a scale or had none.
    get inputsToSave() {
      return tf.getBackend() === BACKEND ? saving : WITH_SCALE;
    },
    gradFunc(dy, saved, attrs) {
      const [x, mean, variance, scale] = saved;
      const { varianceEpsilon } = attrs as { varianceEpsilon: number };
      const backend = currentBackend(tf);
      const inputs = { x: x!, mean: mean!, variance: variance!, scale: scale ?? null };
      const view = backend && servedView(backend, inputs, varianceEpsilon);
      if (!backend || !view) {
        if (!stockGradient) {
          throw missing(
            "tf.batchNorm: gradient",
            "the stock gradient, for what is not served here",
            'import "@tensorflow/tfjs-core/dist/register_all_gradients.js" before register(tf)',
          );
        }
        return stockGradient.gradFunc(dy, saved, attrs);
      }
      const known = [x!, mean!, variance!, scale] as const;
      // With a tape running, somebody differentiates the gradient: only stock operations have one.
      const [dx, dScale, dOffset, dMean, dVariance] = tf.engine().isTapeOn()
        ? composedInferenceGradients(tf, dy as Tensor, known, view, varianceEpsilon)
        : differentiate(
            tf,
            backend,
            asF32(tf, backend, dy as Tensor),
            known,
            view,
            varianceEpsilon,
          );
      return {
        x: () => dx!,
        scale: () => dScale!,
        offset: () => dOffset!,
        mean: () => dMean!,
        variance: () => dVariance!,
      };
    },
  };
  tf.unregisterKernel(KERNEL, BACKEND);
  tf.registerKernel({ ...stock, kernelFunc });
  replaceGradient(tf, gradient);
  return () => {
    tf.unregisterKernel(KERNEL, BACKEND);
    tf.registerKernel(stock);
    replaceGradient(tf, stockGradient);
  };
}

function replaceGradient(tf: TensorFlow, gradient: GradConfig | undefined): void {
  if (tf.getGradient(KERNEL) as GradConfig | undefined) tf.unregisterGradient(KERNEL);
  if (gradient) tf.registerGradient(gradient);
}
