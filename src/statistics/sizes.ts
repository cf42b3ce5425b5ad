import { byteSizes, type ByteSizes, type PlanDescriptor } from "../bindings.js";
import { extentOf } from "../descriptor.js";

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

/** Bytes of every buffer that this entry's plans bind. */
export type StatisticsByteSizes = ByteSizes &
  Readonly<Record<"parts" | "statistics" | "sums", number>>;

/** What decides the sizes. */
export interface SizesDescriptor extends PlanDescriptor {
  /** Parts in the buffer of partial statistics or sums. Default 1. */
  parts?: number;
}

/**
 * Bytes that each buffer of this entry's plans needs at least; `saved` is larger than the core's.
 *
 * @throws ShapeError on a bad shape.
 */
export function statisticsByteSizes(descriptor: SizesDescriptor): StatisticsByteSizes {
  const sizes = byteSizes(descriptor);
  const { channels } = extentOf(
    "statisticsByteSizes",
    descriptor.shape,
    descriptor.layout ?? "channels-first",
  );
  const parts = descriptor.parts ?? 1;
  return {
    ...sizes,
    saved: SAVED_PLANES * 4 * channels,
    parts: statisticsBytes(channels, parts),
    statistics: statisticsBytes(channels, parts),
    sums: sumsBytes(channels, parts),
  };
}
