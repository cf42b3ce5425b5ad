import { createBuffer, USAGE } from "../device.js";

/** Parts that are gathered before they are merged into one: chains of merges stay short. */
export const PARTS = 16;

/** Records the merge of the first `count` parts of a buffer into one part of another. */
export type Merge = (parts: GPUBuffer, count: number, into: GPUBuffer) => void;

interface Gathered {
  /** Side by side, `used` of them. */
  readonly parts: GPUBuffer;
  /** Where they go once they are merged. */
  readonly spare: GPUBuffer;
  readonly used: number;
  /** Values per channel that they are of, at most. */
  readonly values: number;
}

/**
 * Partial results of one tensor after another, merged into one part where there is no room for more. A merge leaves its
 * parts as they are, so what fails after it, and may never be submitted, is taken back as if it had not been.
 */
export class Gathering {
  #now: Gathered;

  /** @param bytes of {@link PARTS} parts. */
  constructor(device: GPUDevice, label: string, bytes: number) {
    const usage = USAGE.STORAGE | USAGE.COPY_SRC | USAGE.COPY_DST;
    const make = (): GPUBuffer => createBuffer(device, label, bytes, usage);
    this.#now = { parts: make(), spare: make(), used: 0, values: 0 };
  }

  /** The buffer of the parts, another one after a merge. */
  get parts(): GPUBuffer {
    return this.#now.parts;
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
    if (this.#now.used === PARTS) this.whole(merge);
    const part = this.#now.used;
    this.#now = { ...this.#now, used: part + 1, values: this.#now.values + values };
    return part;
  }

  /** The buffer once it begins with everything as one part; an empty one where nothing was gathered. */
  whole(merge: Merge): GPUBuffer {
    const { parts, spare, used } = this.#now;
    if (used !== 1) {
      merge(parts, used, spare);
      this.#now = { ...this.#now, parts: spare, spare: parts, used: 1 };
    }
    return this.#now.parts;
  }

  /** Forgets everything. */
  reset(): void {
    this.#now = { ...this.#now, used: 0, values: 0 };
  }

  destroy(): void {
    this.#now.parts.destroy();
    this.#now.spare.destroy();
  }
}
