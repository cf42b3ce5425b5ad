import { requireKnown } from "../arguments.js";
import { createBuffer, USAGE } from "../device.js";
import { extentOf, OPTIONS, type BatchNormOptions } from "../descriptor.js";
import { complain, DestroyedError, ShapeError } from "../errors.js";
import type { Target } from "../plan.js";
import type { Tensor } from "../tensor.js";
import { createMergeStatisticsSync } from "./merge.js";
import { PlanCache, record } from "../record.js";
import { statisticsBytes } from "./sizes.js";
import { createStatisticsSync } from "./statistics.js";

/** Parts that are gathered before they are merged into one: chains of merges stay short. */
const PARTS = 16;

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
  readonly #plans: PlanCache;
  /** What is gathered, and where it goes once it is merged. */
  #parts: GPUBuffer;
  #spare: GPUBuffer;
  #used = 0;
  #destroyed = false;

  /** @throws OptionError; DeviceLostError where the loss is known by then. */
  constructor(
    readonly device: GPUDevice,
    readonly channels: number,
    readonly options: Pick<BatchNormOptions, "layout"> = {},
  ) {
    requireKnown("StatisticsAccumulator", options, OPTIONS);
    const make = (): GPUBuffer =>
      createBuffer(
        device,
        "bn.accumulator",
        statisticsBytes(channels, PARTS),
        USAGE.STORAGE | USAGE.COPY_SRC | USAGE.COPY_DST,
      );
    this.#plans = new PlanCache(device, 64);
    this.#parts = make();
    this.#spare = make();
  }

  /**
   * Adds a tensor's values, those that a mask leaves.
   *
   * @throws ShapeError, BufferError, DestroyedError, DeviceLostError.
   */
  add(x: Tensor, options: { mask?: Tensor | undefined; encoder?: Target | undefined } = {}): void {
    this.#requireLive("add");
    requireKnown("add", options, ["mask", "encoder"]);
    const { mask, encoder } = options;
    const { shape, dtype } = x;
    // Of the options only this matters, and what works in place has no plan here.
    const { layout = "channels-first" } = this.options;
    this.#requireChannels(shape);
    const lent = encoder !== undefined;
    // On its own: what cannot be recorded after it leaves it in place.
    if (this.#used === PARTS) this.total(encoder);
    record(this.device, "accumulator", encoder, (target) => {
      const part = this.#used;
      const key = [shape.join("x"), dtype, mask !== undefined, part].join();
      const plan = this.#plans.get(key, lent, () =>
        createStatisticsSync(this.device, {
          ...{ layout, shape, dtype, part, parts: PARTS },
          mask: mask !== undefined,
        }),
      );
      plan.encode(target, { x, statistics: this.#parts, ...(mask ? { mask } : {}) });
      this.#used += 1;
    });
  }

  /**
   * One part with everything so far; the accumulator's own buffer, valid until the next `add`.
   *
   * @throws DestroyedError, DeviceLostError.
   */
  total(encoder?: Target): GPUBuffer {
    this.#requireLive("total");
    const lent = encoder !== undefined;
    record(this.device, "accumulator", encoder, (target) => {
      if (this.#used !== 1) this.#merge(target, lent);
    });
    return this.#parts;
  }

  /** Forgets everything. */
  reset(): void {
    this.#used = 0;
  }

  /** Frees buffers and plans. Idempotent. */
  destroy(): void {
    this.#destroyed = true;
    this.#plans.destroy();
    this.#parts.destroy();
    this.#spare.destroy();
  }

  #requireLive(subject: string): void {
    if (!this.#destroyed) return;
    const remedy = "make it anew or destroy it later";
    throw new DestroyedError(
      complain(subject, "a live StatisticsAccumulator", "a destroyed one", remedy),
    );
  }

  #requireChannels(shape: readonly number[]): void {
    const { layout = "channels-first" } = this.options;
    const { channels } = extentOf("add: x", shape, layout);
    if (channels === this.channels) return;
    throw new ShapeError(
      complain(
        "add: x",
        `${this.channels} channels (${layout})`,
        `${channels} ([${shape.join(", ")}])`,
        "check the shape and the layout option",
      ),
    );
  }

  #merge(target: Target, lent: boolean): void {
    const { channels, device } = this;
    const parts = this.#used;
    const merge = this.#plans.get(`merge ${parts}`, lent, () =>
      createMergeStatisticsSync(device, { channels, parts }),
    );
    merge.encode(target, { parts: this.#parts, statistics: this.#spare });
    [this.#parts, this.#spare] = [this.#spare, this.#parts];
    this.#used = 1;
  }
}
