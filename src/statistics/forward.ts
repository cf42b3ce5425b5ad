import { map } from "../dispatch/map.js";
import { reduce } from "../dispatch/reduce.js";
import { requireObject } from "../arguments.js";
import type { Resource } from "../bindings.js";
import { requireTrainable } from "../descriptor.js";
import type { BindingName } from "../kernels.js";
import { Plan, type Outline, type Step, type Target } from "../plan.js";
import { requireCount } from "./count.js";
import { Draft, exclude, type GhostDescriptor, type StatisticsPlanDescriptor } from "./outline.js";
import { resolveRenorm, type RenormOptions } from "./renorm.js";
import { PASS_OPTIONS, WHOSE } from "./sizes.js";

/** What {@link createStatisticsForward} takes. */
export interface StatisticsForwardDescriptor
  extends StatisticsPlanDescriptor, GhostDescriptor, RenormOptions {
  /** Whether the statistics are x's own, or handed over as parts. Default "own". */
  statistics?: "own" | "given" | undefined;
  /** Parts in the buffer of given statistics. Default 1. */
  parts?: number | undefined;
  /** Whether gamma exists (Keras's name). Default: `affine`. */
  scale?: boolean | undefined;
  /** Whether beta exists (Keras's name). Default: `affine`. */
  center?: boolean | undefined;
  /** Whether a residual is added before the activation. Default false. */
  residual?: boolean | undefined;
}

/** What a forward plan binds: gamma where `scale`, beta where `center`, state where `trackRunningStats`. */
export interface StatisticsForwardResources {
  /** Of the plan's shape and dtype. */
  x: Resource;
  /** Read, where they are given: {@link statisticsBytes} of all parts. */
  statistics?: Resource | undefined;
  /** Read, with own statistics and a mask: one f32 a position, x's shape without the channel. */
  mask?: Resource | undefined;
  /** Read and written, with batch renormalization: its averages mu and sigma, two planes of `[C]` f32. */
  renorm?: Resource | undefined;
  /** `[C]` f32, where there is one. */
  gamma?: Resource | undefined;
  /** `[C]` f32, where there is one. */
  beta?: Resource | undefined;
  /** Of x's shape and dtype, where the plan has one. */
  residual?: Resource | undefined;
  /** Written, of x's shape and dtype. */
  y: Resource;
  /** Written: what the backward reads, larger than the core's ({@link statisticsByteSizes}). */
  saved: Resource;
  /** Read and written: running mean and variance, batch counter. */
  state?: Resource | undefined;
}

/** A planned forward pass. */
export interface StatisticsForwardPlan {
  /** Bytes of scratch that the plan owns. */
  readonly scratchBytes: number;
  /**
   * Records into an encoder or an open compute pass: at most four dispatches, of which only those over x
   * are large (and run once for every region of a tensor beyond one binding).
   *
   * @throws BufferError, ShapeError, OverlapError, OptionError, DestroyedError, DeviceLostError.
   */
  encode(target: Target, resources: StatisticsForwardResources): void;
  /** Frees what the plan owns, not what it binds. Idempotent. */
  destroy(): void;
}

function outlineForward(device: GPUDevice, descriptor: StatisticsForwardDescriptor): Outline {
  const subject = "statisticsForward";
  requireObject(subject, descriptor);
  const given = descriptor.statistics === "given";
  const parts = requireCount(`${subject}: parts`, descriptor.parts ?? 1, 1);
  const also = { ...PASS_OPTIONS, statistics: WHOSE };
  const draft = new Draft(device, subject, descriptor, given ? map : reduce, also);
  const { resolved, mapping } = draft;
  const { options, extent } = resolved;
  const { ghosts } = draft;
  const mask = (descriptor.mask ?? false) && !given;
  const renorm = resolveRenorm(subject, descriptor);
  if (ghosts > 1 && given) exclude(subject, "virtualBatchSize", "given statistics");
  if (parts > 1 && !given) exclude(subject, "parts", "own statistics");
  const { virtualBatchSize } = descriptor;
  if (virtualBatchSize !== undefined && descriptor.mask)
    exclude(subject, "virtualBatchSize", "mask");
  // Whether merged statistics are of one value only the device knows.
  if (!given && !mask) {
    const [batch] = resolved.shape as [number];
    const size = descriptor.virtualBatchSize ?? batch;
    // The smallest ghost is the last.
    const least = (extent.count / batch) * (batch % size || Math.min(batch, size));
    requireTrainable(subject, { ...extent, count: batch > 0 ? least : 0 }, options.singleValue);
  }
  const scale = descriptor.scale ?? options.affine;
  const center = descriptor.center ?? options.affine;
  const residual = descriptor.residual ?? false;
  const running = options.trackRunningStats;
  const steps: Step[] = [];
  const empty = extent.size === 0;
  if (!empty && !given) {
    const toScratch = { rename: { statistics: "partials" as const } };
    steps.push(...draft.regions({ kernel: "statistics", mask }, {}, toScratch));
  }
  if (!empty || given) {
    const finish = { kernel: "finish", scale, center, renorm } as const;
    steps.push(
      given
        ? draft.alone(finish, {}, { slots: parts, rename: { partials: "statistics" } })
        : draft.channels(finish),
    );
    if (!empty) {
      steps.push(
        ...draft.regions({ kernel: "apply" }, { residual, activation: options.activation }),
      );
    }
    if (running) {
      const unbiased = options.runningVariance === "unbiased";
      steps.push(
        draft.channels(
          { kernel: "learn", unbiased, renorm },
          {},
          { extra: ghosts, grid: [1, 1, 1] },
        ),
      );
    }
  }
  const inputs: BindingName[] = ["x"];
  if (given) inputs.push("statistics");
  if (mask) inputs.push("mask");
  if (scale) inputs.push("gamma");
  if (center) inputs.push("beta");
  if (residual) inputs.push("residual");
  const outputs: BindingName[] = ["y", "saved"];
  if (running) outputs.push("state");
  if (renorm) outputs.push("renorm");
  return {
    subject,
    resolved,
    mapping,
    inputs,
    optional: ["statistics", "mask", "gamma", "beta", "residual", "state", "renorm"],
    outputs,
    steps,
    scratchBytes: draft.scratch(4),
  };
}

/**
 * Plans a forward pass whose statistics may be another's: `y = activation(gamma * xHat + beta + residual)` with mean
 * and biased variance of x itself (`statistics: "own"`) or of the parts that are handed over (`"given"`), merged as if
 * their values had been one batch. M is the count of all parts, in the normalisation, in the running variance and,
 * through `saved`, in the backward. Running statistics and counter move as in the core; where every part is empty
 * they stay.
 *
 * M = 1 in given statistics gives xHat = 0 where the value is x's own, as `singleValue: "zero"` does: only the device
 * knows the count.
 *
 * @throws OptionError, ShapeError, SingleValueError, DeviceLostError; rejects with CompileError, OutOfMemoryError.
 * @see Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167, algorithm 1.
 * @example
 * ```ts
 * const plan = await createStatisticsForward(device, { shape: [8, 64, 56, 56], statistics: "given", parts: 4 });
 * plan.encode(encoder, { x, statistics, gamma, beta, y, saved, state });
 * ```
 */
export function createStatisticsForward(
  device: GPUDevice,
  descriptor: StatisticsForwardDescriptor,
): Promise<StatisticsForwardPlan> {
  return Plan.create(device, outlineForward(device, descriptor));
}

/** {@link createStatisticsForward}, compiling on the spot. */
export function createStatisticsForwardSync(
  device: GPUDevice,
  descriptor: StatisticsForwardDescriptor,
): StatisticsForwardPlan {
  return Plan.createSync(device, outlineForward(device, descriptor));
}
