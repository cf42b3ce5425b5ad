import { requireObject } from "../arguments.js";
import type { ByteSizes, PlanDescriptor } from "../bindings.js";
import { SWITCH, type Choices } from "../descriptor.js";
import { resolveDescriptor, type Resolved } from "../plan.js";
import { requireCount } from "./count.js";
import { RENORM_OPTIONS } from "./renorm.js";

/** Bytes of `parts` partial statistics of so many channels: count, shift, delta, M2, one 32-bit word each. */
export function statisticsBytes(channels: number, parts = 1): number {
  return 16 * channels * parts;
}

/** Bytes of `parts` partial sums of so many channels: sum of dz, sum of dz * xHat, one f32 each. */
export function sumsBytes(channels: number, parts = 1): number {
  return 8 * channels * parts;
}

/** Planes of `saved`: see `shaders/statistics/finish.wgsl`. */
const SAVED_PLANES = 7;
const RENORM_PLANES = 2;

/** Bytes of every buffer that this entry's plans bind. */
export type StatisticsByteSizes = ByteSizes &
  Readonly<Record<"parts" | "statistics" | "sums" | "mask" | "renorm", number>>;

/** Whose statistics or sums. */
export const WHOSE = ["own", "given"];

/** What the descriptors of forward and backward have. */
export const PASS_OPTIONS = {
  ...RENORM_OPTIONS,
  ...{ parts: null, virtualBatchSize: null },
  ...{ scale: SWITCH, center: SWITCH, residual: SWITCH },
};

/** What some descriptor of this entry has beside the core's. */
const STATISTICS_OPTIONS: Choices = {
  ...PASS_OPTIONS,
  ...{ mask: SWITCH, part: null, statistics: WHOSE, sums: WHOSE },
  ...{ wants: null, residualGrad: SWITCH, accumulate: SWITCH },
};

/** What decides the sizes. */
export interface SizesDescriptor extends PlanDescriptor {
  /** Parts in the buffer of partial statistics or sums. Default 1. */
  parts?: number | undefined;
  /** Samples of a ghost. */
  virtualBatchSize?: number | undefined;
  /** Whether batch renormalization is on. */
  renorm?: boolean | undefined;
}

/** Ghosts that a batch is cut into: 1 where there are none. */
export function ghostsOf(shape: readonly number[], virtualBatchSize: number | undefined): number {
  return virtualBatchSize === undefined ? 1 : Math.max(1, Math.ceil(shape[0]! / virtualBatchSize));
}

/**
 * Bytes that each buffer of this entry's plans needs at least. `saved` is larger than the core's, and there is one
 * for each ghost. mask: one f32 a position. renorm: the averages mu and sigma, two planes of one f32 per channel.
 *
 * @throws ShapeError on a bad shape; OptionError where virtualBatchSize or parts is no whole number >= 1.
 */
export function statisticsByteSizes(descriptor: SizesDescriptor): StatisticsByteSizes {
  const subject = "statisticsByteSizes";
  requireObject(subject, descriptor);
  const { virtualBatchSize, parts = 1 } = descriptor;
  requireCount(`${subject}: parts`, parts, 1);
  if (virtualBatchSize !== undefined) {
    requireCount(`${subject}: virtualBatchSize`, virtualBatchSize, 1);
  }
  return statisticsSizesOf(descriptor, resolveDescriptor(subject, descriptor, STATISTICS_OPTIONS));
}

/** {@link statisticsByteSizes} of what has been checked. */
export function statisticsSizesOf(
  { shape, parts = 1, renorm = false, virtualBatchSize }: SizesDescriptor,
  { extent, bytes }: Pick<Resolved, "extent" | "bytes">,
): StatisticsByteSizes {
  const { channels, count } = extent;
  const planes = SAVED_PLANES + (renorm ? RENORM_PLANES : 0);
  return {
    ...bytes,
    saved: planes * 4 * channels * ghostsOf(shape, virtualBatchSize),
    parts: statisticsBytes(channels, parts),
    statistics: statisticsBytes(channels, parts),
    sums: sumsBytes(channels, parts),
    mask: 4 * count,
    renorm: 8 * channels,
  };
}
