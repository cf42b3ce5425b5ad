import { stateOf } from "./device.js";
import type { Target } from "./plan.js";

/** Does work of our own, and notes what the device has against it. */
export function watched(device: GPUDevice, subject: string, work: () => void): void {
  device.pushErrorScope("validation");
  try {
    work();
  } finally {
    stateOf(device).watchScope(subject, device.popErrorScope());
  }
}

/** Records into the caller's encoder, or into one of our own that is submitted. */
export function record(
  device: GPUDevice,
  subject: string,
  given: Target | undefined,
  encode: (target: Target) => void,
): void {
  if (given) {
    encode(given);
    return;
  }
  watched(device, subject, () => {
    const encoder = device.createCommandEncoder({ label: `bn.${subject}` });
    encode(encoder);
    device.queue.submit([encoder.finish()]);
  });
}

interface Kept {
  readonly plan: { destroy(): void };
  /** Whether a caller's encoder may hold it: then the garbage collector takes it. */
  lent: boolean;
}

/** Plans by what they were made for; the least recently used go first. */
export class PlanCache {
  #kept = new Map<string, Kept>();
  #generation = 0;

  constructor(
    readonly device: GPUDevice,
    readonly limit: number,
  ) {}

  /**
   * The plan of a key, made where it is not there; all anew once the device's conversions are known to be good, or memory
   * or a compiler has failed.
   */
  get<P extends { destroy(): void }>(key: string, lent: boolean, make: () => P): P {
    const { generation } = stateOf(this.device);
    if (generation !== this.#generation) this.#keep(0);
    this.#generation = generation;
    const kept = this.#kept.get(key) ?? { plan: make(), lent: false };
    kept.lent ||= lent;
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    this.#keep(this.limit);
    return kept.plan as P;
  }

  #keep(most: number): void {
    for (const [oldest, old] of this.#kept) {
      if (this.#kept.size <= most) break;
      this.#kept.delete(oldest);
      if (!old.lent) old.plan.destroy();
    }
  }

  /** Frees every plan. */
  destroy(): void {
    for (const { plan } of this.#kept.values()) plan.destroy();
    this.#kept.clear();
  }
}
