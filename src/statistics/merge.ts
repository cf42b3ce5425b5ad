import { map } from "../dispatch/map.js";
import { kindOf, requireKnown } from "../arguments.js";
import { rangeOf, type Need, type Resource } from "../bindings.js";
import { createBuffer, USAGE } from "../device.js";
import { complain, OptionError } from "../errors.js";
import type { Tuning } from "../dispatch/tuning.js";
import { Plan, type Outline, type Target } from "../plan.js";
import { watched } from "../record.js";
import { requireCount } from "./count.js";
import { Draft } from "./outline.js";
import { Tensor } from "../tensor.js";
import { statisticsBytes, sumsBytes } from "./sizes.js";

/** What {@link createMergeStatistics} and {@link createMergeSums} take. */
export interface MergeDescriptor {
  /** Channels of every part. */
  channels: number;
  /** Parts that stand one after another in the buffer, which has room for one at least. 0 gives an empty part. */
  parts: number;
  /** @internal The place that is written, of as many as fit. Default 0. */
  slot?: number | undefined;
  /** Overrides of the tuning table, for sweeps. */
  tuning?: Partial<Tuning> | undefined;
}

/** A planned merge of partial statistics. */
export interface MergeStatisticsPlan {
  /** 0: a merge needs no scratch. */
  readonly scratchBytes: number;
  /**
   * Records one dispatch into an encoder or an open compute pass. `parts` is read, `statistics` (one part) written.
   *
   * @throws BufferError, OverlapError, DestroyedError, DeviceLostError.
   */
  encode(target: Target, resources: { parts: Resource; statistics: Resource }): void;
  /** Frees what the plan owns, not what it binds. Idempotent. */
  destroy(): void;
}

/** A planned merge of the backward's partial sums. */
export interface MergeSumsPlan {
  /** 0: a merge needs no scratch. */
  readonly scratchBytes: number;
  /**
   * Records one dispatch into an encoder or an open compute pass. `parts` is read, `sums` (one part) written.
   *
   * @throws BufferError, OverlapError, DestroyedError, DeviceLostError.
   */
  encode(target: Target, resources: { parts: Resource; sums: Resource }): void;
  /** Frees what the plan owns, not what it binds. Idempotent. */
  destroy(): void;
}

function outlineMerge(
  device: GPUDevice,
  descriptor: MergeDescriptor,
  kernel: "merge_statistics" | "merge_sums",
): Outline {
  const output = kernel === "merge_sums" ? "sums" : "statistics";
  const subject = kernel === "merge_sums" ? "mergeSums" : "mergeStatistics";
  requireKnown(subject, descriptor, ["channels", "parts", "slot", "tuning"]);
  const channels = requireCount(`${subject}: channels`, descriptor.channels, 1);
  const parts = requireCount(`${subject}: parts`, descriptor.parts, 0);
  // A part counts as a value of its channel: that spreads a long chain over lanes.
  const { slot = 0, tuning } = descriptor;
  const shape = [Math.max(1, parts), channels];
  const draft = new Draft(device, subject, { shape, ...(tuning ? { tuning } : {}) }, map, {});
  const bytes = kernel === "merge_sums" ? sumsBytes : statisticsBytes;
  return {
    subject,
    resolved: {
      ...draft.resolved,
      bytes: {
        ...draft.resolved.bytes,
        parts: bytes(channels, Math.max(1, parts)),
        [output]: bytes(channels, slot + 1),
      } as typeof draft.resolved.bytes,
    },
    mapping: draft.mapping,
    inputs: ["parts"],
    outputs: [output],
    steps: [
      draft.channels({ kernel }, {}, { slots: parts, extra: slot, rename: { partials: "parts" } }),
    ],
    scratchBytes: 0,
  };
}

/**
 * Plans a merge of partial statistics: any number of parts that stand one after another in a buffer become one, as
 * if their values had been one batch. Counts may differ, parts may have one value, none (count 0, the rest of such
 * a part is not looked at), or shifts far apart. The order of merging is fixed by the number of parts and the adapter.
 *
 * Counts are whole numbers and exact; together they must stay below 2^32.
 *
 * @throws OptionError, DeviceLostError; rejects with CompileError, OutOfMemoryError.
 * @see Chan, Golub and LeVeque 1983, https://doi.org/10.1080/00031305.1983.10483115.
 * @example
 * ```ts
 * const merge = await createMergeStatistics(device, { channels: 64, parts: 4 });
 * merge.encode(encoder, { parts, statistics }); // statisticsBytes(64, 4) and statisticsBytes(64) bytes
 * ```
 */
export function createMergeStatistics(
  device: GPUDevice,
  descriptor: MergeDescriptor,
): Promise<MergeStatisticsPlan> {
  return Plan.create(device, outlineMerge(device, descriptor, "merge_statistics"));
}

/** {@link createMergeStatistics}, compiling on the spot. */
export function createMergeStatisticsSync(
  device: GPUDevice,
  descriptor: MergeDescriptor,
): MergeStatisticsPlan {
  return Plan.createSync(device, outlineMerge(device, descriptor, "merge_statistics"));
}

/**
 * Plans a merge of the backward's partial sums (see {@link createSums}): the parts are added up, in a fixed order.
 *
 * @throws OptionError, DeviceLostError; rejects with CompileError, OutOfMemoryError.
 */
export function createMergeSums(
  device: GPUDevice,
  descriptor: MergeDescriptor,
): Promise<MergeSumsPlan> {
  return Plan.create(device, outlineMerge(device, descriptor, "merge_sums"));
}

/** {@link createMergeSums}, compiling on the spot. */
export function createMergeSumsSync(device: GPUDevice, descriptor: MergeDescriptor): MergeSumsPlan {
  return Plan.createSync(device, outlineMerge(device, descriptor, "merge_sums"));
}

/**
 * Merges partial statistics that stand in buffers of their own, at once: they are copied side by side, merged in the
 * order given, and submitted.
 *
 * @param parts any number, of none comes an empty part: one part each ({@link statisticsBytes}), in buffers with usage COPY_SRC.
 * @returns one part, as a tensor `[4, C]` of 32-bit words that the caller destroys (`out` where it is given);
 * {@link readStatistics} reads it.
 * @throws OptionError, BufferError, ShapeError, DestroyedError; DeviceLostError where the loss is known by then.
 * @example
 * ```ts
 * const whole = mergeStatistics(device, 64, [first, second]);
 * const [{ mean }] = await readStatistics(device, whole, { channels: 64 });
 * ```
 */
export function mergeStatistics(
  device: GPUDevice,
  channels: number,
  parts: readonly Resource[],
  options: { out?: Tensor | undefined } = {},
): Tensor {
  const subject = "mergeStatistics";
  requireKnown(subject, options, ["out"]);
  const isList: boolean = Array.isArray(parts);
  if (!isList) {
    throw new OptionError(
      complain(`${subject}: parts`, "a list of parts", kindOf(parts), "one part is a list too"),
    );
  }
  const bytes = statisticsBytes(channels);
  const plan = createMergeStatisticsSync(device, { channels, parts: parts.length });
  const beside = createBuffer(
    device,
    `bn.${subject}/parts`,
    bytes * Math.max(1, parts.length),
    USAGE.STORAGE | USAGE.COPY_DST,
  );
  const what = `${channels} channels`;
  const need: Need = {
    ...{ name: "statistics", bytes, what, dtype: "f32", shape: null },
    usage: "COPY_SRC",
  };
  try {
    const encoder = device.createCommandEncoder({ label: `bn.${subject}` });
    parts.forEach((part, index) => {
      const range = rangeOf(device, subject, need, part);
      encoder.copyBufferToBuffer(range.buffer, range.offset, beside, index * bytes, bytes);
    });
    const out = options.out ?? Tensor.empty(device, [4, channels]);
    plan.encode(encoder, { parts: beside, statistics: out });
    watched(device, subject, () => {
      device.queue.submit([encoder.finish()]);
    });
    return out;
  } finally {
    beside.destroy();
    plan.destroy();
  }
}
