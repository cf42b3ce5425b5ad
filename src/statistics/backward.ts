import { map } from "../dispatch/map.js";
import { reduce } from "../dispatch/reduce.js";
import { requireObject } from "../arguments.js";
import type { Resource } from "../bindings.js";
import { requireWants, type Wants } from "../backward.js";
import { SWITCH } from "../descriptor.js";
import { gridOf } from "../dispatch/dispatch.js";
import { complain, OptionError } from "../errors.js";
import type { BindingName } from "../kernels.js";
import { Plan, type Outline, type Step, type Target } from "../plan.js";
import { requireCount, requirePart } from "./count.js";
import {
  ALONE,
  Draft,
  exclude,
  type GhostDescriptor,
  type StatisticsPlanDescriptor,
} from "./outline.js";
import { resolveRenorm, type RenormOptions } from "./renorm.js";
import { PASS_OPTIONS, WHOSE } from "./sizes.js";

/** What {@link createSums} takes. */
export interface SumsDescriptor extends StatisticsPlanDescriptor {
  /** Parts in the buffer that is written to. Default 1. */
  parts?: number | undefined;
  /** Which of them is written. Default 0. */
  part?: number | undefined;
  /** Whether the forward added a residual. Default false. */
  residual?: boolean | undefined;
  /** Whether dResidual, which is dz, is written on the way. Default: `residual`. */
  residualGrad?: boolean | undefined;
}

/** What a sums plan binds; residual and dResidual where they are asked for. */
export interface SumsResources {
  /** Of the plan's shape and dtype. */
  dy: Resource;
  /** The x of the forward. */
  x: Resource;
  /** The residual of the forward, where it had one and there is an activation. */
  residual?: Resource | undefined;
  /** What {@link createStatisticsForward} left. */
  saved: Resource;
  /** Written, one part of it: {@link sumsBytes} of all parts. */
  sums: Resource;
  /** Written, of x's shape and dtype, where it is wanted. */
  dResidual?: Resource | undefined;
}

/** Planned partial sums of a backward. */
export interface SumsPlan {
  /** Bytes of scratch that the plan owns. */
  readonly scratchBytes: number;
  /**
   * Records at most two dispatches into an encoder or an open compute pass, the one over x once for every region of a
   * tensor beyond one binding.
   *
   * @throws BufferError, ShapeError, OverlapError, OptionError, DestroyedError, DeviceLostError.
   */
  encode(target: Target, resources: SumsResources): void;
  /** Frees what the plan owns, not what it binds. Idempotent. */
  destroy(): void;
}

function outlineSums(device: GPUDevice, descriptor: SumsDescriptor): Outline {
  const subject = "sums";
  const also = { parts: null, part: null, residual: SWITCH, residualGrad: SWITCH };
  const draft = new Draft(device, subject, descriptor, reduce, also, { kinds: 2 });
  const part = requirePart(subject, descriptor);
  const { resolved, mapping } = draft;
  const { activation } = resolved.options;
  const residual = (descriptor.residual ?? false) && activation !== "none";
  const dResidual = descriptor.residualGrad ?? descriptor.residual ?? false;
  const merge = draft.channels({ kernel: "merge_sums" }, {}, { extra: part });
  const fields = { activation, residual, dResidual };
  const steps: Step[] = [];
  if (resolved.extent.size === 0) {
    steps.push({ ...merge, slots: 0 });
  } else if (mapping.slots === 1) {
    for (const step of draft.regions({ kernel: "backward_sums" }, fields, {
      rename: { partials: "sums" },
    })) {
      steps.push({ ...step, mapped: { ...step.mapped, firstSlot: part } });
    }
  } else {
    steps.push(...draft.regions({ kernel: "backward_sums" }, fields), merge);
  }
  const inputs: BindingName[] = ["x", "dy", "saved"];
  if (residual) inputs.push("residual");
  return {
    subject,
    resolved,
    mapping,
    inputs,
    optional: [...(descriptor.residual ? [] : ["residual" as const]), "dResidual"],
    outputs: dResidual ? ["sums", "dResidual"] : ["sums"],
    steps,
    scratchBytes: draft.scratch(2),
  };
}

/**
 * Plans the partial sums of a backward over a batch, or over any share of one: per channel `sum dz` and
 * `sum dz * xHat` with `dz = dy * activation'(z)` and the xHat of {@link createStatisticsForward}'s `saved`. In the
 * buffer they are two planes of one f32 per channel: {@link sumsBytes}. They are this share's dBeta and (without batch
 * renormalization) dGamma; added up over all shares they are the whole batch's.
 *
 * @throws OptionError, ShapeError, DeviceLostError; rejects with CompileError, OutOfMemoryError.
 */
export function createSums(device: GPUDevice, descriptor: SumsDescriptor): Promise<SumsPlan> {
  return Plan.create(device, outlineSums(device, descriptor));
}

/** {@link createSums}, compiling on the spot. */
export function createSumsSync(device: GPUDevice, descriptor: SumsDescriptor): SumsPlan {
  return Plan.createSync(device, outlineSums(device, descriptor));
}

/** What {@link createStatisticsBackward} takes. */
export interface StatisticsBackwardDescriptor
  extends StatisticsPlanDescriptor, GhostDescriptor, RenormOptions {
  /** Whether the sums of dz and dz * xHat are x's own, or handed over as parts. Default "own". */
  sums?: "own" | "given" | undefined;
  /** Parts in the buffer of given sums. Default 1. */
  parts?: number | undefined;
  /** As the forward's. Default: `affine`. */
  scale?: boolean | undefined;
  /** As the forward's. Default: `affine`. */
  center?: boolean | undefined;
  /** gamma and beta default to `scale` and `center`. */
  wants?: Wants | undefined;
  /** Whether the forward added a residual. Default false. */
  residual?: boolean | undefined;
  /** Whether dResidual is written; with given sums {@link createSums} writes it. Default: `residual` with own sums. */
  residualGrad?: boolean | undefined;
  /** Adds to what dGamma and dBeta hold instead of replacing it. Default false. */
  accumulate?: boolean | undefined;
}

/** What a backward plan binds; outputs where they are wanted. */
export interface StatisticsBackwardResources {
  /** Of the plan's shape and dtype. */
  dy: Resource;
  /** The x of the forward. */
  x: Resource;
  /** The residual of the forward, where it had one and there is an activation. */
  residual?: Resource | undefined;
  /** What the forward left. */
  saved: Resource;
  /** Read, where they are given: {@link sumsBytes} of all parts. */
  sums?: Resource | undefined;
  /** Read, where the forward had one: one f32 a position. */
  mask?: Resource | undefined;
  /** Written, of x's shape and dtype, where it is wanted. */
  dx?: Resource | undefined;
  /** Written where it is wanted, `[C]` f32. */
  dGamma?: Resource | undefined;
  /** Written where it is wanted, `[C]` f32. */
  dBeta?: Resource | undefined;
  /** Written, of x's shape and dtype, where it is wanted. */
  dResidual?: Resource | undefined;
}

/** A planned backward pass. */
export interface StatisticsBackwardPlan {
  /** Bytes of scratch that the plan owns. */
  readonly scratchBytes: number;
  /**
   * Records at most three dispatches into an encoder or an open compute pass, those over x once for every region of a
   * tensor beyond one binding.
   *
   * @throws BufferError, ShapeError, OverlapError, OptionError, DestroyedError, DeviceLostError.
   */
  encode(target: Target, resources: StatisticsBackwardResources): void;
  /** Frees what the plan owns, not what it binds. Idempotent. */
  destroy(): void;
}

function outlineBackward(device: GPUDevice, descriptor: StatisticsBackwardDescriptor): Outline {
  const subject = "statisticsBackward";
  requireObject(subject, descriptor);
  const given = descriptor.sums === "given";
  const parts = requireCount(`${subject}: parts`, descriptor.parts ?? 1, 1);
  const also = {
    ...{ ...PASS_OPTIONS, sums: WHOSE, wants: null },
    ...{ residualGrad: SWITCH, accumulate: SWITCH },
  };
  const draft = new Draft(device, subject, descriptor, given ? map : reduce, also, {
    kinds: 2,
  });
  requireWants(`${subject}: wants`, descriptor.wants);
  const { resolved, mapping } = draft;
  const { options, extent } = resolved;
  const { ghosts } = draft;
  const mask = descriptor.mask ?? false;
  const renorm = resolveRenorm(subject, descriptor);
  if (ghosts > 1 && given) exclude(subject, "virtualBatchSize", "given sums");
  if (parts > 1 && !given) exclude(subject, "parts", "own sums");
  const { virtualBatchSize } = descriptor;
  if (virtualBatchSize !== undefined && mask) exclude(subject, "virtualBatchSize", "mask");
  const residual = (descriptor.residual ?? false) && options.activation !== "none";
  const dResidual = descriptor.residualGrad ?? ((descriptor.residual ?? false) && !given);
  const dx = descriptor.wants?.x ?? true;
  const dGamma = descriptor.wants?.gamma ?? descriptor.scale ?? options.affine;
  const dBeta = descriptor.wants?.beta ?? descriptor.center ?? options.affine;
  if (!dx && !dGamma && !dBeta && !dResidual) {
    throw new OptionError(
      complain(`${subject}: wants`, "at least one gradient", "none", "leave the call out instead"),
    );
  }
  if (given && dResidual) {
    throw new OptionError(
      complain(
        `${subject}: residualGrad`,
        "false with given sums",
        "true",
        "createSums writes dResidual, where dz is at hand first",
      ),
    );
  }
  const empty = extent.size === 0;
  const fields = { activation: options.activation, residual };
  const slots = given ? parts : empty ? 0 : mapping.slots;
  const from = { slots, ...(given ? { rename: { partials: "sums" as const } } : {}) };
  const steps: Step[] = [];
  if (!empty && !given) {
    steps.push(...draft.regions({ kernel: "backward_sums" }, { ...fields, dResidual }));
  }
  if (!empty && dx) steps.push(...draft.regions({ kernel: "gradient_input", mask }, fields, from));
  if (dGamma || dBeta) {
    const { dispatch, groups, limits } = mapping;
    const teams = given ? dispatch.workgroupSize : dispatch.workgroupSize / dispatch.team;
    steps.push(
      draft.channels(
        // Of an empty batch no forward has left r and d.
        { kernel: "gradient_parameters", renorm: slots === 0 ? null : renorm },
        { dGamma, dBeta, ...(given ? ALONE : {}) },
        { ...from, extra: ghosts, grid: gridOf(Math.ceil(groups / ghosts / teams), limits) },
      ),
    );
  }
  const inputs: BindingName[] = ["x", "dy", "saved"];
  if (given) inputs.push("sums");
  if (mask && dx) inputs.push("mask");
  if (residual) inputs.push("residual");
  const outputs: BindingName[] = [];
  if (dx) outputs.push("dx");
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
      ...(mask ? [] : ["mask" as const]),
      // Of given sums createSums has written dResidual.
      ...(given ? [] : ["sums" as const, "dResidual" as const]),
      ...(["dx", "dGamma", "dBeta"] as const),
    ],
    outputs,
    steps,
    scratchBytes: draft.scratch(2),
    accumulate: descriptor.accumulate ?? false,
  };
}

/**
 * Plans the backward of {@link createStatisticsForward}: with `dz = dy * activation'(z)`,
 * `dx = gamma * invStd * (dz - sum dz / M - xHat * (sum dz * xHat) / M)`, where the sums are x's own (`sums: "own"`) or
 * those of all parts that are handed over (`"given"`), and M is the count of the forward's statistics, whosever they
 * were. `dGamma` and `dBeta` are of the same sums: with given ones those of the whole batch, the same on every device,
 * so that they must not be added up over devices again.
 *
 * @throws OptionError, ShapeError, SingleValueError, DeviceLostError; rejects with CompileError, OutOfMemoryError.
 * @see Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167, section 3.
 */
export function createStatisticsBackward(
  device: GPUDevice,
  descriptor: StatisticsBackwardDescriptor,
): Promise<StatisticsBackwardPlan> {
  return Plan.create(device, outlineBackward(device, descriptor));
}

/** {@link createStatisticsBackward}, compiling on the spot. */
export function createStatisticsBackwardSync(
  device: GPUDevice,
  descriptor: StatisticsBackwardDescriptor,
): StatisticsBackwardPlan {
  return Plan.createSync(device, outlineBackward(device, descriptor));
}
