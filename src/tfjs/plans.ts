import { createBuffer, stateOf, USAGE } from "../device.js";
import type { Backend } from "./peer.js";

interface Entry {
  readonly made: { destroy(): void };
  /** The encoder that it was last asked for with. */
  encoder: GPUCommandEncoder | null;
}

/** Shapes, times what is done with each, that a large network has. */
const CAPACITY = 256;

/**
 * The plans of one backend, and constants, by what they are for; the least recently used make room, and all where memory
 * or a compiler has failed. What is put out is destroyed once the backend has submitted the encoder that may hold it.
 */
export class Plans {
  #entries = new Map<string, Entry>();
  #retired: Entry[] = [];
  #generation = 0;

  constructor(
    readonly backend: Backend,
    readonly capacity = CAPACITY,
  ) {}

  /** Plans that are kept, and those that wait for a submit. */
  get sizes(): { kept: number; retired: number } {
    return { kept: this.#entries.size, retired: this.#retired.length };
  }

  /** The plan of a key, made where it is not there. Whoever asks records it into the backend's encoder at once. */
  get<T extends { destroy(): void }>(key: string, make: () => T): T {
    const { backend } = this;
    backend.ensureCommandEncoderReady();
    const { generation } = stateOf(backend.device);
    if (generation !== this.#generation) this.#keep(0);
    this.#generation = generation;
    let entry = this.#entries.get(key);
    if (entry) this.#entries.delete(key);
    else {
      entry = { made: make(), encoder: null };
      this.#sweep();
    }
    entry.encoder = backend.commandEncoder;
    this.#entries.set(key, entry);
    this.#keep(this.capacity);
    return entry.made as T;
  }

  #keep(most: number): void {
    for (const [oldest, old] of this.#entries) {
      if (this.#entries.size <= most) break;
      this.#entries.delete(oldest);
      this.#retired.push(old);
    }
  }

  /** `[C]` f32 of one value, for a gamma or a beta that is not there. */
  constant(value: 0 | 1, channels: number): GPUBuffer {
    return this.get(`constant ${value} ${channels}`, () =>
      createBuffer(
        this.backend.device,
        `bn.tfjs/constant ${value}`,
        4 * channels,
        USAGE.STORAGE,
        (zeros) => void new Float32Array(zeros).fill(value),
      ),
    );
  }

  #sweep(): void {
    this.#retired = this.#retired.filter(({ made, encoder }) => {
      if (!this.backend.disposed && encoder === this.backend.commandEncoder) return true;
      made.destroy();
      return false;
    });
  }

  /** Destroys what no pending encoder holds; the rest is let go with it. Nobody submits that of a backend disposed of. */
  destroy(): void {
    this.#retired.push(...this.#entries.values());
    this.#entries.clear();
    this.#sweep();
    this.#retired = [];
  }
}

let plans = new WeakMap<Backend, Plans>();
let known: Plans[] = [];

/** The plans of a backend. */
export function plansOf(backend: Backend): Plans {
  let found = plans.get(backend);
  if (!found) {
    found = new Plans(backend);
    plans.set(backend, found);
    const gone = known.filter((each) => each.backend.disposed);
    for (const each of gone) each.destroy();
    known = [...known.filter((each) => !gone.includes(each)), found];
  }
  return found;
}

/** Destroys the plans of every backend. */
export function destroyPlans(): void {
  for (const each of known) each.destroy();
  known = [];
  plans = new WeakMap();
}
