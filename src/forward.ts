import type { PlanDescriptor, Resource } from "./bindings.js";
import { GAMMA_FLOOR, requireInvertible, requireTrainable, SWITCH } from "./descriptor.js";
import { stateOf } from "./device.js";
import type { Dispatch } from "./dispatch/dispatch.js";
import { map } from "./dispatch/map.js";
import { reduce } from "./dispatch/reduce.js";
import { PLAIN, type BindingName, type Variant } from "./kernels.js";
import { forwardKernel } from "./kernels/forward.js";
import {
  mapOnto,
  mergingStep,
  partialBytes,
  Plan,
  resolveDescriptor,
  stepsOf,
  variantOf,
  type Outline,
  type Step,
  type Target,
} from "./plan.js";

/** What `createForward` takes. */
export interface ForwardDescriptor extends PlanDescriptor {
  /** Whether a residual is added before the activation. Default false. */
  residual?: boolean | undefined;
  /**
   * Whether a backward may recover xHat from y (`from: "y"`), so that x need not be kept: gamma counts
   * as at least {@link GAMMA_FLOOR} in size, and the activation must have an inverse (none, leaky-relu,
   * elu). Default false.
   */
  invertible?: boolean | undefined;
}

/** What a forward plan binds; `byteSizes` tells the bytes of each. */
export interface ForwardResources {
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
  /** Written: what the backward of this batch reads. */
  saved: Resource;
  /** Read and written: running mean and variance, batch counter; where `trackRunningStats`. */
  state?: Resource | undefined;
}

/** A planned forward pass with the batch's statistics. */
export interface ForwardPlan {
  /** Bytes of scratch that the plan owns. */
  readonly scratchBytes: number;
  /**
   * Records into an encoder or an open compute pass: at most two dispatches, three for large tensors, those over x
   * once for every region of a tensor beyond one binding. Running statistics are updated on the device each time the
   * recorded commands run.
   *
   * @throws BufferError, ShapeError, OverlapError, OptionError, DestroyedError, DeviceLostError.
   */
  encode(target: Target, resources: ForwardResources): void;
  /** Frees what the plan owns, not what it binds. Idempotent. */
  destroy(): void;
}

function outlineForward(device: GPUDevice, descriptor: ForwardDescriptor): Outline {
  const subject = "forward";
  const resolved = resolveDescriptor(subject, descriptor, { residual: SWITCH, invertible: SWITCH });
  const { options, extent } = resolved;
  requireTrainable(subject, extent, options.singleValue);
  const tuning = { ...stateOf(device).tuning, ...descriptor.tuning };
  const residual = descriptor.residual ?? false;
  const inPlace = descriptor.inPlace ?? false;
  const invertible = descriptor.invertible ?? false;
  if (invertible) requireInvertible(subject, options, residual);
  const running = options.trackRunningStats;
  // The counter is read by every channel for a cumulative average, so it is incremented a dispatch earlier.
  const mapping = mapOnto(device, resolved, reduce, tuning, descriptor.limits, {
    forbidWhole: running && options.momentum === null,
    apart: true,
  });
  const base = (dispatch: Dispatch) => ({ ...PLAIN, ...variantOf(resolved, dispatch, tuning) });
  const finish: Pick<
    Variant,
    "affine" | "residual" | "running" | "activation" | "inPlace" | "floored"
  > = {
    inPlace,
    floored: invertible,
    affine: options.affine,
    residual,
    running,
    activation: options.activation,
  };
  const rename = inPlace ? { rename: { y: "x" as const } } : {};
  const { path } = mapping.dispatch;
  const normalize = (): Step[] =>
    stepsOf(
      mapping,
      (dispatch) => ({ ...base(dispatch), kernel: forwardKernel("normalize"), ...finish }),
      rename,
    );
  // Once a dispatch has merged the chunks, those of the last need not be the same.
  const apart = (): Step[] => [
    mergingStep(mapping, tuning, (dispatch) => ({
      ...base(dispatch),
      kernel: forwardKernel("finish"),
      affine: options.affine,
      floored: invertible,
      running,
    })),
    ...stepsOf(
      mapOnto(device, resolved, map, tuning, descriptor.limits, {
        value: mapping.dispatch.value,
      }),
      (dispatch) => ({
        ...base(dispatch),
        kernel: forwardKernel("apply"),
        inPlace,
        residual,
        activation: options.activation,
      }),
      rename,
    ),
  ];
  const steps: Step[] =
    extent.size === 0
      ? []
      : path !== "split"
        ? stepsOf(
            mapping,
            (dispatch) => ({
              ...base(dispatch),
              kernel: forwardKernel(path),
              held: dispatch.held,
              ...finish,
            }),
            rename,
          )
        : [
            ...stepsOf(mapping, (dispatch) => ({
              ...base(dispatch),
              kernel: forwardKernel("statistics"),
              running,
            })),
            ...(mapping.apart ? apart() : normalize()),
          ];
  const inputs: BindingName[] = inPlace ? [] : ["x"];
  if (options.affine) inputs.push("gamma", "beta");
  if (residual) inputs.push("residual");
  const outputs: BindingName[] = [inPlace ? "x" : "y", "saved"];
  if (running) outputs.push("state");
  return {
    subject,
    resolved,
    mapping,
    inputs,
    optional: ["gamma", "beta", "residual", "state"],
    outputs,
    steps,
    ...(inPlace ? { over: { y: "x" } } : {}),
    gammaFloor: GAMMA_FLOOR,
    scratchBytes: partialBytes(resolved, mapping, 4),
  };
}

/**
 * Plans a forward pass in training: `y = activation(gamma * (x - mean) / sqrt(varBiased + eps) + beta)`
 * with mean and biased variance of the batch, per channel over M values; running statistics are updated
 * with the unbiased or the population variance, as `runningVariance` says.
 *
 * M = 1 is an error unless `singleValue` is `"zero"`; varBiased = 0 gives y = activation(beta) exactly;
 * an empty batch records nothing.
 *
 * @throws OptionError, ShapeError, SingleValueError, DeviceLostError; rejects with CompileError,
 * OutOfMemoryError.
 * @see Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167, algorithm 1.
 * @example
 * ```ts
 * const plan = await createForward(device, { shape: [32, 64, 56, 56] });
 * plan.encode(encoder, { x, gamma, beta, y, saved, state });
 * ```
 */
export function createForward(
  device: GPUDevice,
  descriptor: ForwardDescriptor,
): Promise<ForwardPlan> {
  return Plan.create(device, outlineForward(device, descriptor));
}

/** {@link createForward}, compiling on the spot. */
export function createForwardSync(device: GPUDevice, descriptor: ForwardDescriptor): ForwardPlan {
  return Plan.createSync(device, outlineForward(device, descriptor));
}
