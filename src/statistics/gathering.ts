import { createBuffer, USAGE } from "../device.js";

/** Parts of a level that are gathered before they become one of the next. */
export const PARTS = 16;

/**
 * Plans that are kept of who gathers: for each place of a part and each number of parts that may be merged into it, and for
 * some shapes.
 */
export const PLANS = 512;

/** Records the merge of the first `count` parts of a buffer into a part of another, in the place `slot`. */
export type Merge = (parts: GPUBuffer, count: number, into: GPUBuffer, slot: number) => void;

interface Level {
  /** Side by side, `used` of them, and a place for what the levels below come to. */
  readonly parts: GPUBuffer;
  /** Takes the next ones once these are merged. */
  readonly spare: GPUBuffer;
  readonly used: number;
}

interface Gathered {
  /** From the parts of one tensor each upwards. */
  readonly levels: readonly Level[];
  /** Values per channel that all are of, at most. */
  readonly values: number;
  /** What begins with everything as one part, once it was asked for. */
  readonly whole: GPUBuffer | null;
}

/**
 * Partial results of one tensor after another, merged in a tree: a value is merged as often as there are levels, of which
 * each holds {@link PARTS} times as many tensors as the one below. A merge leaves its parts as they are, so what fails
 * after it, and may never be submitted, is taken back as if it had not been.
 */
export class Gathering {
  /** Every level there has ever been. */
  readonly #made: Level[] = [];
  readonly #whole: GPUBuffer;
  #now: Gathered;

  /** @param bytesOf of so many parts side by side. */
  constructor(
    readonly device: GPUDevice,
    readonly label: string,
    readonly bytesOf: (parts: number) => number,
  ) {
    this.#whole = this.#buffer(1);
    this.#now = { levels: [this.#level(0)], values: 0, whole: null };
  }

  /** The buffer of the parts of one tensor each, another one after a merge. */
  get parts(): GPUBuffer {
    return this.#now.levels[0]!.parts;
  }

  /** Values per channel so far, at most. */
  get values(): number {
    return this.#now.values;
  }

  /** Does what gathers or merges, and takes back what it has gathered and merged where it throws. */
  attempt<T>(action: () => T): T {
    const before = this.#now;
    try {
      return action();
    } catch (error) {
      this.#now = before;
      throw error;
    }
  }

  /** The place of one part more, which whoever asks writes next. */
  next(merge: Merge, values = 0): number {
    const levels = [...this.#now.levels];
    const slot = this.#room(levels, 0, merge);
    this.#now = { levels, values: this.#now.values + values, whole: null };
    return slot;
  }

  /** The buffer once it begins with everything as one part; an empty one where nothing was gathered. */
  whole(merge: Merge): GPUBuffer {
    const { levels, whole } = this.#now;
    if (whole) return whole;
    let result: GPUBuffer;
    let count = levels[0]!.used;
    if (count === 1 && levels.length === 1) {
      result = this.parts;
    } else {
      levels.forEach(({ parts }, at) => {
        const above = levels[at + 1];
        merge(parts, count, above?.parts ?? this.#whole, above?.used ?? 0);
        count = (above?.used ?? 0) + 1;
      });
      result = this.#whole;
    }
    this.#now = { ...this.#now, whole: result };
    return result;
  }

  /** Forgets everything. */
  reset(): void {
    this.#now = { levels: [this.#level(0)], values: 0, whole: null };
  }

  destroy(): void {
    this.#whole.destroy();
    for (const { parts, spare } of this.#made) {
      parts.destroy();
      spare.destroy();
    }
  }

  /** A place at a level, where a full one becomes a part of the next. */
  #room(levels: Level[], at: number, merge: Merge): number {
    const level = (levels[at] ??= this.#level(at));
    const { parts, spare, used } = level;
    if (used < PARTS) {
      levels[at] = { ...level, used: used + 1 };
      return used;
    }
    const slot = this.#room(levels, at + 1, merge);
    merge(parts, PARTS, levels[at + 1]!.parts, slot);
    levels[at] = { parts: spare, spare: parts, used: 1 };
    return 0;
  }

  #level(at: number): Level {
    const make = (): GPUBuffer => this.#buffer(PARTS + 1);
    return (this.#made[at] ??= { parts: make(), spare: make(), used: 0 });
  }

  #buffer(parts: number): GPUBuffer {
    const usage = USAGE.STORAGE | USAGE.COPY_SRC | USAGE.COPY_DST;
    return createBuffer(this.device, this.label, this.bytesOf(parts), usage);
  }
}
