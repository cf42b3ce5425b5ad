import type { PlanDescriptor, Resource } from "./bindings.js";
import { GAMMA_FLOOR, requireInvertible, SWITCH } from "./descriptor.js";
import { stateOf } from "./device.js";
import { map } from "./dispatch/map.js";
import { PLAIN, type BindingName } from "./kernels.js";
import { INFERENCE } from "./kernels/inference.js";
import {
  mapOnto,
  Plan,
  resolveDescriptor,
  stepsOf,
  variantOf,
  type Outline,
  type Target,
} from "./plan.js";

/** What `createInference` takes. */
export interface InferenceDescriptor extends PlanDescriptor {
  /** Whether a residual is added before the activation. Default false. */
  residual?: boolean | undefined;
  /** Whether `saved` is written, for a backward in evaluation mode. Default false. */
  save?: boolean | undefined;
  /** As the forward's: gamma counts as at least {@link GAMMA_FLOOR} in size. Default false. */
  invertible?: boolean | undefined;
}

/** What an inference plan binds; `byteSizes` tells the bytes of each. */
export interface InferenceResources {
  /** Of the plan's shape and dtype. */
  x: Resource;
  /** `[C]`, f32; where `affine`. */
  gamma?: Resource | undefined;
  /** `[C]`, f32; where `affine`. */
  beta?: Resource | undefined;
  /** Of x's shape and dtype; where the plan has a residual. */
  residual?: Resource | undefined;
  /** Where the plan works in place, it may be left out: y is written to x. */
  y?: Resource | undefined;
  /** Written where `save`: what a backward in evaluation mode reads. */
  saved?: Resource | undefined;
  /** Read only: running mean and variance. */
  state: Resource;
}

/** A planned forward pass with the running statistics. */
export interface InferencePlan {
  /** 0: inference needs no scratch. */
  readonly scratchBytes: number;
  /**
   * Records one dispatch into an encoder or an open compute pass; one for every region of a tensor beyond one binding.
   *
   * @throws BufferError, ShapeError, OverlapError, OptionError, DestroyedError, DeviceLostError.
   */
  encode(target: Target, resources: InferenceResources): void;
  /** Frees what the plan owns, not what it binds. Idempotent. */
  destroy(): void;
}

function outlineInference(device: GPUDevice, descriptor: InferenceDescriptor): Outline {
  const subject = "inference";
  const resolved = resolveDescriptor(subject, descriptor, {
    residual: SWITCH,
    save: SWITCH,
    invertible: SWITCH,
  });
  const { options, extent } = resolved;
  const tuning = { ...stateOf(device).tuning, ...descriptor.tuning };
  const residual = descriptor.residual ?? false;
  const save = descriptor.save ?? false;
  const inPlace = descriptor.inPlace ?? false;
  const floored = descriptor.invertible ?? false;
  if (floored) requireInvertible(subject, options, residual);
  const mapping = mapOnto(device, resolved, map, tuning, descriptor.limits);
  const inputs: BindingName[] = inPlace ? ["state"] : ["x", "state"];
  const y = inPlace ? "x" : "y";
  if (options.affine) inputs.push("gamma", "beta");
  if (residual) inputs.push("residual");
  return {
    subject,
    resolved,
    mapping,
    inputs,
    optional: ["gamma", "beta", "residual", "saved"],
    outputs: save ? [y, "saved"] : [y],
    steps:
      extent.size === 0
        ? []
        : stepsOf(
            mapping,
            (dispatch) => ({
              ...PLAIN,
              ...variantOf(resolved, dispatch, tuning),
              kernel: INFERENCE,
              affine: options.affine,
              activation: options.activation,
              residual,
              save,
              inPlace,
              floored,
            }),
            inPlace ? { rename: { y: "x" } } : {},
          ),
    ...(inPlace ? { over: { y: "x" } } : {}),
    gammaFloor: GAMMA_FLOOR,
    scratchBytes: 0,
  };
}

/**
 * Plans inference: `y = activation(gamma * (x - runningMean) / sqrt(runningVar + eps) + beta)`, one
 * dispatch that reads x once and writes y once.
 *
 * @throws OptionError, ShapeError, DeviceLostError; rejects with CompileError, OutOfMemoryError.
 * @see Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167, algorithm 2.
 */
export function createInference(
  device: GPUDevice,
  descriptor: InferenceDescriptor,
): Promise<InferencePlan> {
  return Plan.create(device, outlineInference(device, descriptor));
}

/** {@link createInference}, compiling on the spot. */
export function createInferenceSync(
  device: GPUDevice,
  descriptor: InferenceDescriptor,
): InferencePlan {
  return Plan.createSync(device, outlineInference(device, descriptor));
}
