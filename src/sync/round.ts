import { hashOf, type Message } from "./message.js";

/** One rank's part of a round, perhaps not all of it yet. */
interface Part {
  readonly tag: string;
  readonly hash: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Bytes of its chunks, by where they begin. Where it was cut anew meanwhile, they may overlap. */
  readonly chunks: Map<number, number>;
  received: number;
  complete: boolean;
  /** When the last chunk came. */
  at: number;
}

/** Bytes of the largest part, 256 MiB: what a broken message may make us allocate. */
export const MOST_BYTES = 2 ** 28;

/** Collects what every rank contributes to one round. */
export class Round {
  readonly #parts: (Part | undefined)[];

  constructor(size: number) {
    this.#parts = Array.from({ length: size });
  }

  /** This rank's own part. */
  contribute(rank: number, bytes: Uint8Array<ArrayBuffer>, tag: string, hash: number): void {
    this.#parts[rank] = {
      ...{ tag, hash, bytes, chunks: new Map<number, number>() },
      ...{ received: bytes.length, complete: true, at: 0 },
    };
  }

  /** Takes a chunk; says what contradicts what that rank has sent before, or null. */
  take({ rank, text, hash, bytes, offset, payload }: Message, now: number): string | null {
    if (bytes > MOST_BYTES) return `a part of ${bytes} bytes`;
    const part = (this.#parts[rank] ??= {
      tag: text,
      hash,
      bytes: new Uint8Array(bytes),
      chunks: new Map<number, number>(),
      received: 0,
      complete: false,
      at: now,
    });
    if (part.tag !== text || part.hash !== hash || part.bytes.length !== bytes) {
      return "another part of the same round";
    }
    const known = part.chunks.get(offset);
    if (part.complete || (known !== undefined && known >= payload.length)) return null;
    if (offset + payload.length > bytes) return "a chunk beyond its part";
    part.at = now;
    part.bytes.set(payload, offset);
    part.chunks.set(offset, payload.length);
    part.received += payload.length - (known ?? 0);
    if (part.received < bytes) return null;
    part.complete = hashOf(part.bytes) === part.hash;
    // Garbled on the way, or of two cuts that leave a gap: as if it had never come.
    if (!part.complete) this.#parts[rank] = undefined;
    return null;
  }

  /** The first rank whose part does not go with this one's: how, or null. */
  mismatch(rank: number): { rank: number; expected: string; received: string } | null {
    const own = this.#parts[rank];
    if (!own) return null;
    for (const [other, part] of this.#parts.entries()) {
      if (!part) continue;
      if (part.tag !== own.tag) {
        return {
          rank: other,
          expected: JSON.stringify(own.tag),
          received: JSON.stringify(part.tag),
        };
      }
      if (part.bytes.length !== own.bytes.length) {
        const [expected, received] = [own, part].map(({ bytes }) => `${bytes.length / 4} numbers`);
        return { rank: other, expected: expected!, received: received! };
      }
    }
    return null;
  }

  /** Ranks whose part is not here, or not all of it. */
  get missing(): number[] {
    return [...this.#parts.keys()].filter((rank) => !this.#parts[rank]?.complete);
  }

  /** When the last of a rank's chunks came; -Infinity where none has. */
  progressOf(rank: number): number {
    return this.#parts[rank]?.at ?? -Infinity;
  }

  get hashes(): number[] {
    return this.#parts.map((part) => part?.hash ?? 0);
  }

  /** All parts in rank order; only when none is missing. */
  get parts(): Float32Array<ArrayBuffer>[] {
    return this.#parts.map((part) => new Float32Array(part!.bytes.buffer));
  }
}
