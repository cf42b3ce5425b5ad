import { requireKnown } from "./arguments.js";
import type { PlanDescriptor, Resource } from "./bindings.js";
import {
  type ActivationName,
  requireChoices,
  requireInvertible,
  requireTrainable,
  SWITCH,
  type Choices,
} from "./descriptor.js";
import { stateOf } from "./device.js";
import type { Dispatch } from "./dispatch/dispatch.js";
import { map } from "./dispatch/map.js";
import { reduce } from "./dispatch/reduce.js";
import { complain, OptionError } from "./errors.js";
import { PLAIN, type BindingName, type Variant } from "./kernels.js";
import { backwardKernel } from "./kernels/backward.js";
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

/** Which gradients are wanted; each defaults to true where it exists. */
export interface Wants {
  /** dx. */
  x?: boolean | undefined;
  /** dGamma. */
  gamma?: boolean | undefined;
  /** dBeta. */
  beta?: boolean | undefined;
}

/** @throws OptionError where something else is asked for. */
export function requireWants(subject: string, wants: Wants = {}): void {
  const choices = { x: SWITCH, gamma: SWITCH, beta: SWITCH };
  requireKnown(subject, wants, Object.keys(choices));
  requireChoices(subject, wants, choices);
}

/** What `createBackward` takes. */
export interface BackwardDescriptor extends PlanDescriptor {
  /** `training`: gradients flow through the batch's mean and variance; `evaluation`: those are constants. Default "training". */
  mode?: "training" | "evaluation" | undefined;
  /** gamma and beta default to `affine`. */
  wants?: Wants | undefined;
  /** Whether the forward added a residual. Default false. */
  residual?: boolean | undefined;
  /** Whether dResidual is written. Default: `residual`. */
  residualGrad?: boolean | undefined;
  /** Adds to what dGamma and dBeta hold instead of replacing it. Default false. */
  accumulate?: boolean | undefined;
  /**
   * What the forward has left: x, or y, from which xHat is recovered; that forward must have been planned with
   * `invertible: true`, else the gradients are wrong. Default "x".
   */
  from?: "x" | "y" | undefined;
}

const BACKWARD_OPTIONS: Choices = {
  mode: ["training", "evaluation"],
  wants: null,
  residual: SWITCH,
  residualGrad: SWITCH,
  accumulate: SWITCH,
  from: ["x", "y"],
};

/** What a backward plan binds; outputs where they are wanted. `byteSizes` tells the bytes of each. */
export interface BackwardResources {
  /** Of the plan's shape and dtype. */
  dy: Resource;
  /** The x of the forward; not needed where only dx is wanted in evaluation and there is no activation. */
  x?: Resource | undefined;
  /** The y of the forward, in place of x where `from` is "y". */
  y?: Resource | undefined;
  /** The residual of the forward, where it had one and there is an activation. */
  residual?: Resource | undefined;
  /** What the forward left. */
  saved: Resource;
  /** Where the plan works in place, it may be left out: dx is written to dy. */
  dx?: Resource | undefined;
  /** `[C]`, f32. */
  dGamma?: Resource | undefined;
  /** `[C]`, f32. */
  dBeta?: Resource | undefined;
  /** Of x's shape and dtype. */
  dResidual?: Resource | undefined;
}

/** A planned backward pass. */
export interface BackwardPlan {
  /** Bytes of scratch that the plan owns. */
  readonly scratchBytes: number;
  /**
   * Records at most two dispatches into an encoder or an open compute pass; three for large tensors, and where dx is
   * written over dy in evaluation, in 16-bit types, with channels that share a word. Those over x run once for every
   * region of a tensor beyond one binding.
   *
   * @throws BufferError, ShapeError, OverlapError, OptionError, DestroyedError, DeviceLostError.
   */
  encode(target: Target, resources: BackwardResources): void;
  /** Frees what the plan owns, not what it binds. Idempotent. */
  destroy(): void;
}

/** Activations whose dz is dy or 0: any type stores it as it is. */
const EXACT: readonly ActivationName[] = ["none", "relu", "relu6"];

function outlineBackward(device: GPUDevice, descriptor: BackwardDescriptor): Outline {
  const subject = "backward";
  const resolved = resolveDescriptor(subject, descriptor, BACKWARD_OPTIONS);
  requireWants(`${subject}: wants`, descriptor.wants);
  const { options, extent } = resolved;
  const evaluation = descriptor.mode === "evaluation";
  if (!evaluation) requireTrainable(subject, extent, options.singleValue);
  const residual = (descriptor.residual ?? false) && options.activation !== "none";
  const dResidual = descriptor.residualGrad ?? descriptor.residual ?? false;
  const dx = descriptor.wants?.x ?? true;
  const dGamma = descriptor.wants?.gamma ?? options.affine;
  const dBeta = descriptor.wants?.beta ?? options.affine;
  const parameters = dGamma || dBeta;
  if (!dx && !parameters && !dResidual) {
    throw new OptionError(
      complain(`${subject}: wants`, "at least one gradient", "none", "leave the call out instead"),
    );
  }
  const tuning = { ...stateOf(device).tuning, ...descriptor.tuning };
  const onlyScale = evaluation && dx && !parameters && !dResidual && options.activation === "none";
  const inPlace = (descriptor.inPlace ?? false) && dx;
  const recovers = descriptor.from === "y";
  if (recovers) requireInvertible(subject, options, descriptor.residual ?? false);
  const fromY = recovers ? { x: "y" as const } : {};
  const overDy = inPlace ? { dx: "dy" as const } : {};
  const purpose = onlyScale ? map : reduce;
  const mapping = mapOnto(device, resolved, purpose, tuning, descriptor.limits, {
    forbidWhole: evaluation || !dx,
    // Without dx in training there is one dispatch that merges in any case.
    apart: evaluation || !dx ? "always" : true,
    kinds: 2,
  });
  const { apart } = mapping;
  // Once a dispatch has merged the chunks, those of the last need not be the same.
  const last =
    apart && dx && !evaluation
      ? mapOnto(device, resolved, map, tuning, descriptor.limits, {
          value: mapping.dispatch.value,
        })
      : mapping;
  const base = (dispatch: Dispatch) => ({ ...PLAIN, ...variantOf(resolved, dispatch, tuning) });
  const shaping: Pick<Variant, "activation" | "residual" | "recovers"> = {
    recovers,
    activation: options.activation,
    residual,
  };
  const { dispatch } = mapping;
  const { path } = dispatch;
  const merge = mergingStep(mapping, tuning, (each) => ({
    ...base(each),
    kernel: backwardKernel("parameters"),
    dGamma,
    dBeta,
  }));
  const steps: Step[] = [];
  if (extent.size === 0) {
    if (parameters) steps.push({ ...merge, slots: 0 });
  } else if (onlyScale) {
    steps.push(
      ...stepsOf(mapping, (each) => ({ ...base(each), kernel: backwardKernel("scale"), inPlace }), {
        rename: overDy,
      }),
    );
  } else if (path !== "split") {
    steps.push(
      ...stepsOf(
        mapping,
        (each) => ({
          ...base(each),
          kernel: backwardKernel(path),
          held: each.held,
          ...shaping,
          inPlace,
          dGamma,
          dBeta,
          dResidual,
        }),
        { rename: { ...fromY, ...overDy } },
      ),
    );
  } else {
    const sums = (writesInput: boolean, writesResidual: boolean): Step[] =>
      stepsOf(
        mapping,
        (each) => ({
          ...base(each),
          kernel: backwardKernel("sums"),
          ...shaping,
          inPlace: inPlace && writesInput,
          dResidual: writesResidual,
          evaluation: writesInput,
        }),
        { rename: { ...fromY, ...overDy } },
      );
    // Where channels share words, one writes over what another has yet to sum up: first the sums, then dx.
    const twice = inPlace && evaluation && parameters && dispatch.value === "half";
    steps.push(...sums(evaluation && dx && !twice, dResidual));
    if (twice) steps.push(merge, ...sums(true, false));
    if (dx && !evaluation) {
      // Where dz is at hand as dResidual, to the last bit, it stands for dy, the residual and the activation; not so where
      // xHat is recovered from y, through the activation.
      const isStored = resolved.dtype === "f32" || EXACT.includes(options.activation);
      const hasGradient = dResidual && isStored && !recovers;
      if (apart) {
        const kernel = backwardKernel("merge");
        steps.push(mergingStep(mapping, tuning, (each) => ({ ...base(each), kernel })));
      }
      steps.push(
        ...stepsOf(
          last,
          (each) => ({
            ...base(each),
            kernel: backwardKernel("input"),
            ...(hasGradient ? {} : shaping),
            inPlace: inPlace && !hasGradient,
            dGamma,
            dBeta,
          }),
          {
            rename: { ...fromY, ...overDy, ...(hasGradient ? { dy: "dResidual" as const } : {}) },
            ...(apart ? { slots: 1 } : {}),
          },
        ),
      );
    } else if (parameters && !twice) {
      steps.push(merge);
    }
  }
  const inputs: BindingName[] = ["saved"];
  if (!onlyScale) inputs.push(recovers ? "y" : "x");
  if (!inPlace) inputs.push("dy");
  if (residual) inputs.push("residual");
  const outputs: BindingName[] = [];
  if (dx) outputs.push(inPlace ? "dy" : "dx");
  if (dResidual) outputs.push("dResidual");
  if (dGamma) outputs.push("dGamma");
  if (dBeta) outputs.push("dBeta");
  return {
    subject,
    resolved,
    mapping,
    inputs,
    optional: [
      ...(descriptor.residual ? [] : ["residual" as const]),
      ...(["dx", "dResidual", "dGamma", "dBeta"] as const),
    ],
    outputs,
    steps,
    scratchBytes: partialBytes(resolved, mapping, 2),
    ...(inPlace ? { over: { dx: "dy" } } : {}),
    accumulate: descriptor.accumulate ?? false,
  };
}

/**
 * Plans a backward pass. With `dz = dy * activation'(z)`: `dBeta = sum dz`, `dGamma = sum dz * xHat`,
 * `dResidual = dz`, and `dx = gamma * invStd * (dz - dBeta / M - xHat * dGamma / M)` in training,
 * `gamma * invStd * dz` in evaluation. gamma is the one that the forward used: it stands in `saved`.
 *
 * @throws OptionError, ShapeError, SingleValueError, DeviceLostError; rejects with CompileError,
 * OutOfMemoryError.
 * @see Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167, section 3.
 */
export function createBackward(
  device: GPUDevice,
  descriptor: BackwardDescriptor,
): Promise<BackwardPlan> {
  return Plan.create(device, outlineBackward(device, descriptor));
}

/** {@link createBackward}, compiling on the spot. */
export function createBackwardSync(
  device: GPUDevice,
  descriptor: BackwardDescriptor,
): BackwardPlan {
  return Plan.createSync(device, outlineBackward(device, descriptor));
}
