import {
  digitsFromBytes,
  HELD_OUT,
  PIXELS,
  SIDE,
  type Digits,
} from "../../scripts/support/digits.js";
import { once } from "../shell/once.js";

/** The digits, from a file beside the page. */
export const loadDigits = once(load);

async function load(): Promise<Digits> {
  const response = await fetch(new URL("digits.bin", document.baseURI));
  if (!response.ok || !response.body) {
    throw new Error(`The digits could not be loaded: ${response.status} ${response.statusText}`);
  }
  const inflated = response.body.pipeThrough(new DecompressionStream("deflate"));
  return digitsFromBytes(new Uint8Array(await new Response(inflated).arrayBuffer()));
}

/** Digits as a network takes them. */
export interface Samples {
  readonly count: number;
  /** Values of one sample: side². */
  readonly inputs: number;
  readonly side: number;
  /** `[count, inputs]`, standardised over all of them. */
  readonly x: Float32Array<ArrayBuffer>;
  readonly labels: Uint8Array;
}

/**
 * Digits `from` to `to` with the whole data's mean taken off and its deviation divided by; at 14 pixels a side, each the
 * mean of four.
 */
export function samplesOf(digits: Digits, from: number, to: number, side: 14 | 28 = 28): Samples {
  const factor = SIDE / side;
  const inputs = side * side;
  const count = to - from;
  const x = new Float32Array(count * inputs);
  for (let n = 0; n < count; n++) {
    const start = (from + n) * PIXELS;
    for (let k = 0; k < inputs; k++) {
      const row = Math.floor(k / side) * factor;
      const column = (k % side) * factor;
      let sum = 0;
      for (let i = 0; i < factor; i++) {
        for (let j = 0; j < factor; j++)
          sum += digits.pixels[start + (row + i) * SIDE + column + j]!;
      }
      x[n * inputs + k] = (sum / factor ** 2 / 255 - MEAN) / DEVIATION;
    }
  }
  return { count, inputs, side, x, labels: digits.labels.subarray(from, to) };
}

/** Of all MNIST pixels, from 0 to 1: what is usually taken. */
export const MEAN = 0.1307;
export const DEVIATION = 0.3081;

/** How many there are to train on. */
export function trainingCount(digits: Digits): number {
  return digits.count - HELD_OUT;
}

/** Samples in an order that is the same for the same seed, batch after batch, over and over. */
export function* batches(
  samples: Samples,
  size: number,
  next: () => number,
): Generator<{ x: Float32Array<ArrayBuffer>; labels: Uint8Array }, never> {
  const order = Array.from({ length: samples.count }, (_, i) => i);
  for (let at = samples.count; ;) {
    if (at + size > samples.count) {
      for (let i = samples.count - 1; i > 0; i--) {
        const j = Math.floor(next() * (i + 1));
        [order[i], order[j]] = [order[j]!, order[i]!];
      }
      at = 0;
    }
    const chosen = order.slice(at, at + size);
    at += size;
    const x = new Float32Array(size * samples.inputs);
    chosen.forEach((n, i) => {
      x.set(samples.x.subarray(n * samples.inputs, (n + 1) * samples.inputs), i * samples.inputs);
    });
    yield { x, labels: Uint8Array.from(chosen, (n) => samples.labels[n]!) };
  }
}
