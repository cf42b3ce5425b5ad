import type { Dtype } from "webgpu-batchnorm";
import { extentsOf, sizeOf, type Case } from "./cases.js";

/** Numbers of one case, in memory order; x and dy as they are once rounded to the case's type. */
export interface Inputs {
  readonly x: Float32Array<ArrayBuffer>;
  readonly dy: Float32Array<ArrayBuffer>;
  readonly gamma: Float32Array<ArrayBuffer>;
  readonly beta: Float32Array<ArrayBuffer>;
  readonly mean: Float32Array<ArrayBuffer>;
  readonly variance: Float32Array<ArrayBuffer>;
}

export const EPS = 1e-5;

/** Uniform in [-1, 1), the same on every machine. */
function noise(count: number, seed: number): Float32Array<ArrayBuffer> {
  const values = new Float32Array(count);
  // A block of random numbers, repeated with an odd period: generating 512 MB anew would take a minute.
  const block = Math.min(count, 1_048_573);
  let state = seed | 0;
  for (let i = 0; i < block; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    values[i] = (state ^ (state >>> 15)) / 2147483648;
  }
  for (let at = block; at < count; at += block)
    values.copyWithin(at, 0, Math.min(block, count - at));
  return values;
}

/** Rounds to what the type can hold, nearest even; values of moderate size only. */
function round(values: Float32Array, dtype: Dtype): void {
  if (dtype === "f32") return;
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const dropped = dtype === "bf16" ? 16 : 13;
  const half = (1 << (dropped - 1)) - 1;
  for (let i = 0; i < bits.length; i++) {
    const word = bits[i]!;
    bits[i] = ((word + half + ((word >>> dropped) & 1)) >>> dropped) << dropped;
  }
  if (dtype !== "f16") return;
  // Below the smallest normal half the spacing is fixed.
  for (let i = 0; i < values.length; i++) {
    if (Math.abs(values[i]!) < 2 ** -14) values[i] = Math.round(values[i]! * 2 ** 24) / 2 ** 24;
  }
}

let latest: { key: string; inputs: Inputs } | undefined;

/** A case's numbers: every channel with a mean and a spread of its own. Those of the last case are kept for its like. */
export function inputsOf(each: Case): Inputs {
  const key = [...extentsOf(each), each.dtype].join();
  if (latest?.key !== key) {
    latest = undefined;
    latest = { key, inputs: make(each) };
  }
  return latest.inputs;
}

function make(each: Case): Inputs {
  const [outer, channels, inner] = extentsOf(each);
  const size = sizeOf(each);
  const x = noise(size, 1);
  for (let o = 0, i = 0; o < outer; o++) {
    for (let c = 0; c < channels; c++) {
      const offset = (c % 7) - 3;
      const scale = 1 + (c % 5) / 4;
      for (let k = 0; k < inner; k++, i++) x[i] = offset + scale * x[i]!;
    }
  }
  const dy = noise(size, 2);
  round(x, each.dtype);
  round(dy, each.dtype);
  const perChannel = (make: (c: number) => number): Float32Array<ArrayBuffer> =>
    Float32Array.from({ length: channels }, (_, c) => make(c));
  return {
    x,
    dy,
    gamma: perChannel((c) => 1 + (c % 3) / 4),
    beta: perChannel((c) => (c % 4) / 8 - 0.25),
    mean: perChannel((c) => (c % 7) - 2.9),
    variance: perChannel((c) => 0.3 * (1 + (c % 5) / 4) ** 2),
  };
}

/** The bits of 16-bit floats, two to a word; the values must be ones that the type holds. */
export function pack(
  values: Float32Array<ArrayBuffer>,
  dtype: Dtype,
): Uint16Array<ArrayBuffer> | Float32Array<ArrayBuffer> {
  if (dtype === "f32") return values;
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(Math.ceil(values.length / 2) * 2);
  for (let i = 0; i < bits.length; i++) {
    const word = bits[i]!;
    if (dtype === "bf16") {
      halves[i] = word >>> 16;
      continue;
    }
    const sign = (word >>> 16) & 0x8000;
    const exponent = ((word >>> 23) & 0xff) - 112;
    halves[i] =
      exponent > 0
        ? sign | (exponent << 10) | ((word >>> 13) & 0x3ff)
        : sign | Math.round(Math.abs(values[i]!) * 2 ** 24);
  }
  return halves;
}

/** Undoes {@link pack}. */
export function unpack(halves: Uint16Array, count: number, dtype: "f16" | "bf16"): Float32Array {
  const values = new Float32Array(count);
  const bits = new Uint32Array(values.buffer);
  for (let i = 0; i < count; i++) {
    const half = halves[i]!;
    if (dtype === "bf16") {
      bits[i] = half << 16;
      continue;
    }
    const exponent = (half >>> 10) & 0x1f;
    const fraction = half & 0x3ff;
    const size =
      exponent === 0
        ? fraction * 2 ** -24
        : exponent === 31
          ? fraction
            ? NaN
            : Infinity
          : (1 + fraction / 1024) * 2 ** (exponent - 15);
    values[i] = half & 0x8000 ? -size : size;
  }
  return values;
}
