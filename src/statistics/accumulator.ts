import { requireKnown } from "../arguments.js";
import {
  extentOf,
  OPTIONS,
  resolveOptions,
  type BatchNormOptions,
  type Extent,
} from "../descriptor.js";
import { complain, destroyedError, ShapeError } from "../errors.js";
import type { Target } from "../plan.js";
import { requireTensor, type Tensor } from "../tensor.js";
import { requireCount } from "./count.js";
import { Gathering, PARTS, PLANS, type Merge } from "./gathering.js";
import { requireMask } from "./mask.js";
import { createMergeStatisticsSync } from "./merge.js";
import { PlanCache, record } from "../record.js";
import { statisticsBytes } from "./sizes.js";
import { createStatisticsSync } from "./statistics.js";

/** Values per channel at most: counts are words of 32 bits. */
const MOST_VALUES = 2 ** 32 - 1;

/**
 * The statistics of any number of tensors, one after another, as if they were one batch. Kept and merged on the
 * device: {@link StatisticsAccumulator.total} is one part at any time.
 *
 * @example
 * ```ts
 * const all = new StatisticsAccumulator(device, 64);
 * for (const x of batches) all.add(x);
 * const [{ mean, varBiased }] = await readStatistics(device, all.total(), { channels: 64 });
 * ```
 */
export class StatisticsAccumulator {
  /** As they were given. */
  readonly options: Pick<BatchNormOptions, "layout">;
  readonly #plans: PlanCache;
  readonly #gathering: Gathering;
  #destroyed = false;

  /** @throws OptionError; DeviceLostError where the loss is known by then. */
  constructor(
    /** What it was made on. */
    readonly device: GPUDevice,
    /** C. */
    readonly channels: number,
    options: Pick<BatchNormOptions, "layout"> = {},
  ) {
    const subject = "StatisticsAccumulator";
    requireKnown(subject, options, OPTIONS);
    requireCount(`${subject}: channels`, channels, 1);
    resolveOptions(subject, options);
    this.options = Object.freeze({ ...options });
    this.#plans = new PlanCache(device, PLANS);
    this.#gathering = new Gathering(device, "bn.accumulator", (parts) =>
      statisticsBytes(channels, parts),
    );
  }

  /**
   * Adds a tensor's values, those that a mask leaves.
   *
   * @throws ShapeError, also where it would be more than 2^32 - 1 values per channel, masked ones counted; BufferError,
   * OptionError, DestroyedError, DeviceLostError.
   */
  add(x: Tensor, options: { mask?: Tensor | undefined; encoder?: Target | undefined } = {}): void {
    this.#requireLive("add");
    requireKnown("add", options, ["mask", "encoder"]);
    requireTensor("add: x", x);
    const { mask, encoder } = options;
    const { shape, dtype } = x;
    // Of the options only this matters, and what works in place has no plan here.
    const { layout = "channels-first" } = this.options;
    const { count } = this.#requireFitting(shape);
    if (mask !== undefined) requireMask("add: mask", mask, x, layout);
    this.attempt(() => {
      record(this.device, "accumulator", encoder, (target) => {
        const part = this.#gathering.next(this.#merge(target, encoder), count);
        const key = [shape.join("x"), dtype, mask !== undefined, part].join();
        const plan = this.#plans.get(key, encoder !== undefined, () =>
          createStatisticsSync(this.device, {
            ...{ layout, shape, dtype, part, parts: PARTS },
            mask: mask !== undefined,
          }),
        );
        const statistics = this.#gathering.parts;
        plan.encode(target, { x, statistics, ...(mask ? { mask } : {}) });
      });
    });
  }

  /**
   * One part with everything so far; the accumulator's own buffer, valid until the next `add`.
   *
   * @throws DestroyedError, DeviceLostError.
   */
  total(encoder?: Target): GPUBuffer {
    this.#requireLive("total");
    return this.attempt(() => {
      let whole: GPUBuffer;
      record(this.device, "accumulator", encoder, (target) => {
        whole = this.#gathering.whole(this.#merge(target, encoder));
      });
      return whole!;
    });
  }

  /** @internal Does what adds or asks for the total, and takes that back where it throws. */
  attempt<T>(action: () => T): T {
    return this.#gathering.attempt(action);
  }

  /** @internal Values per channel so far, masked ones counted. */
  get values(): number {
    return this.#gathering.values;
  }

  /** @internal Whether so many values per channel can still be added. */
  hasRoomFor(count: number): boolean {
    return this.values + count <= MOST_VALUES;
  }

  /** Forgets everything. */
  reset(): void {
    this.#gathering.reset();
  }

  /** Frees buffers and plans. Idempotent. */
  destroy(): void {
    this.#destroyed = true;
    this.#plans.destroy();
    this.#gathering.destroy();
  }

  #requireLive(subject: string): void {
    if (!this.#destroyed) return;
    throw destroyedError(subject, "StatisticsAccumulator");
  }

  #requireFitting(shape: readonly number[]): Extent {
    const { layout = "channels-first" } = this.options;
    const extent = extentOf("add: x", shape, layout);
    if (extent.channels !== this.channels) {
      throw new ShapeError(
        complain(
          "add: x",
          `${this.channels} channels (${layout})`,
          `${extent.channels} ([${shape.join(", ")}])`,
          "check the shape and the layout option",
        ),
      );
    }
    if (!this.hasRoomFor(extent.count)) {
      throw new ShapeError(
        complain(
          "add: x",
          `at most ${MOST_VALUES} values per channel in all`,
          `${this.#gathering.values} and ${extent.count} more`,
          "read the total and reset(), or begin another accumulator",
        ),
      );
    }
    return extent;
  }

  #merge(target: Target, encoder: Target | undefined): Merge {
    const { channels, device } = this;
    return (parts, count, into, slot) => {
      const merge = this.#plans.get(`merge ${count} ${slot}`, encoder !== undefined, () =>
        createMergeStatisticsSync(device, { channels, parts: count, slot }),
      );
      merge.encode(target, { parts, statistics: into });
    };
  }
}
