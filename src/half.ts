import type { Dtype } from "./descriptor.js";

const view = new DataView(new ArrayBuffer(8));

/** The exponent of a normal positive number: floor(log2(value)). */
function exponentOf(value: number): number {
  view.setFloat64(0, value);
  return ((view.getUint16(0) >> 4) & 0x7ff) - 1023;
}

function roundToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return floor + (rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? 1 : 0);
}

/** Fraction bits, smallest normal exponent, exponent bias and the bits of infinity. */
const FORMATS = {
  f16: { fraction: 10, least: -14, bias: 15, infinity: 0x7c00 },
  bf16: { fraction: 7, least: -126, bias: 127, infinity: 0x7f80 },
} as const;

/** The 16 bits nearest to a number: ties to even, +-Inf on overflow, NaN stays NaN. */
export function narrow(value: number, dtype: Exclude<Dtype, "f32">): number {
  const { fraction, least, bias, infinity } = FORMATS[dtype];
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (Number.isNaN(value)) return infinity | (1 << (fraction - 1));
  if (size === Infinity) return sign | infinity;
  const exponent = size === 0 ? least : Math.max(least, exponentOf(size));
  const steps = roundToEven(size / 2 ** (exponent - fraction));
  const one = 2 ** fraction;
  const bits = exponent === least && steps < one ? steps : (exponent + bias) * one + (steps - one);
  return sign | Math.min(bits, infinity);
}

/** Narrows all values into as many of the words. (TypedArray.from would first collect them in a list, which has an end.) */
export function narrowAll(
  values: ArrayLike<number>,
  dtype: Exclude<Dtype, "f32">,
  into: Uint16Array,
): void {
  for (let i = 0; i < values.length; i++) into[i] = narrow(values[i]!, dtype);
}

/** What words stand for that have been met: a new list would cost a short array more than it saves. */
const KNOWN: Readonly<Record<Exclude<Dtype, "f32">, number[]>> = { f16: [], bf16: [] };

/** The numbers that words of 16 bits stand for, each word worked out once. */
export function widenAll(halves: Uint16Array, dtype: Exclude<Dtype, "f32">): Float32Array {
  const values = new Float32Array(halves.length);
  const known = KNOWN[dtype];
  for (let i = 0; i < halves.length; i++)
    values[i] = known[halves[i]!] ??= widen(halves[i]!, dtype);
  return values;
}

/** The number that 16 bits stand for. */
export function widen(bits: number, dtype: Exclude<Dtype, "f32">): number {
  const { fraction, least, bias, infinity } = FORMATS[dtype];
  const sign = bits & 0x8000 ? -1 : 1;
  const rest = bits & 0x7fff;
  const one = 2 ** fraction;
  if (rest > infinity) return NaN;
  if (rest === infinity) return sign * Infinity;
  const exponent = Math.floor(rest / one);
  if (exponent === 0) return sign * rest * 2 ** (least - fraction);
  return sign * (one + (rest % one)) * 2 ** (exponent - bias - fraction);
}
