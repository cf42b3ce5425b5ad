import { reduce } from "../dispatch/reduce.js";
import { requireObject } from "../arguments.js";
import type { Resource } from "../bindings.js";
import { Plan, type Outline, type Step, type Target } from "../plan.js";
import { requirePart } from "./count.js";
import { Draft, type StatisticsPlanDescriptor } from "./outline.js";

/** What {@link createStatistics} takes: of the options only `layout` matters. */
export interface StatisticsDescriptor extends StatisticsPlanDescriptor {
  /** Parts in the buffer that is written to. Default 1. */
  parts?: number | undefined;
  /** Which of them is written. Default 0. */
  part?: number | undefined;
}

/** What a statistics plan binds. */
export interface StatisticsResources {
  /** Read. */
  x: Resource;
  /** Read, where there is one: one f32 a position, x's shape without the channel. */
  mask?: Resource | undefined;
  /** Written, one part of it: {@link statisticsBytes} of all parts. */
  statistics: Resource;
}

/** Planned partial statistics. */
export interface StatisticsPlan {
  /** Bytes of scratch that the plan owns. */
  readonly scratchBytes: number;
  /**
   * Records at most two dispatches into an encoder or an open compute pass, the one over x once for every region of a
   * tensor beyond one binding.
   *
   * @throws BufferError, ShapeError, OverlapError, OptionError, DestroyedError, DeviceLostError.
   */
  encode(target: Target, resources: StatisticsResources): void;
  /** Frees what the plan owns, not what it binds. Idempotent. */
  destroy(): void;
}

function outlineStatistics(device: GPUDevice, descriptor: StatisticsDescriptor): Outline {
  const subject = "statistics";
  requireObject(subject, descriptor);
  const mask = descriptor.mask ?? false;
  const draft = new Draft(device, subject, descriptor, reduce, { parts: null, part: null });
  const { resolved, mapping } = draft;
  const part = requirePart(subject, descriptor);
  const merge = draft.channels({ kernel: "merge_statistics" }, {}, { extra: part });
  const steps: Step[] = [];
  if (resolved.extent.size === 0) {
    steps.push({ ...merge, slots: 0 });
  } else if (mapping.slots === 1) {
    for (const step of draft.regions({ kernel: "statistics", mask })) {
      steps.push({ ...step, mapped: { ...step.mapped, firstSlot: part } });
    }
  } else {
    const toScratch = { rename: { statistics: "partials" as const } };
    steps.push(...draft.regions({ kernel: "statistics", mask }, {}, toScratch), merge);
  }
  return {
    subject,
    resolved,
    mapping,
    inputs: mask ? ["x", "mask"] : ["x"],
    optional: ["mask"],
    outputs: ["statistics"],
    steps,
    scratchBytes: draft.scratch(4),
  };
}

/**
 * Plans the partial statistics of a batch, or of any share of one: per channel count, shift, delta and M2, where
 * `mean = shift + delta` and `M2 = sum (x - mean)^2`. In the buffer they are four planes of one 32-bit word per
 * channel, the count as an unsigned integer, the others as f32: {@link statisticsBytes}.
 *
 * An empty x gives count 0; whatever stands in the other planes then means nothing.
 *
 * @throws OptionError, ShapeError, DeviceLostError; rejects with CompileError, OutOfMemoryError.
 * @see Chan, Golub and LeVeque 1983, https://doi.org/10.1080/00031305.1983.10483115.
 * @example
 * ```ts
 * const plan = await createStatistics(device, { shape: [32, 64, 56, 56] });
 * plan.encode(encoder, { x, statistics }); // statistics: statisticsBytes(64) bytes
 * ```
 */
export function createStatistics(
  device: GPUDevice,
  descriptor: StatisticsDescriptor,
): Promise<StatisticsPlan> {
  return Plan.create(device, outlineStatistics(device, descriptor));
}

/** {@link createStatistics}, compiling on the spot. */
export function createStatisticsSync(
  device: GPUDevice,
  descriptor: StatisticsDescriptor,
): StatisticsPlan {
  return Plan.createSync(device, outlineStatistics(device, descriptor));
}
