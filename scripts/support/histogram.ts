import type { Extent } from "../../src/descriptor.js";

/** How often values fall into bins of one width over [low, high]; the last bin includes high. */
export interface Histogram {
  readonly low: number;
  readonly high: number;
  readonly counts: Float64Array;
  /** Values below low, above high, and NaN. */
  readonly outside: number;
  readonly total: number;
}

/** Counts values into `bins` bins over [low, high]. */
export function histogram(
  values: ArrayLike<number>,
  bins: number,
  low: number,
  high: number,
): Histogram {
  const counts = new Float64Array(bins);
  const scale = bins / (high - low);
  let outside = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (value >= low && value <= high) {
      const bin = Math.min(bins - 1, Math.floor((value - low) * scale));
      counts[bin] = counts[bin]! + 1;
    } else {
      outside += 1;
    }
  }
  return { low, high, counts, outside, total: values.length };
}

/** Mean, standard deviation (divisor: the number of values), smallest and largest, in float64, two passes. */
export interface Summary {
  readonly mean: number;
  readonly deviation: number;
  readonly smallest: number;
  readonly largest: number;
}

export function summarise(values: ArrayLike<number>): Summary {
  let sum = 0;
  let smallest = Infinity;
  let largest = -Infinity;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    sum += value;
    if (value < smallest) smallest = value;
    if (value > largest) largest = value;
  }
  const mean = sum / values.length;
  let squares = 0;
  for (let i = 0; i < values.length; i++) squares += (values[i]! - mean) ** 2;
  return { mean, deviation: Math.sqrt(squares / values.length), smallest, largest };
}

/** The values of one channel, in memory order. */
export function channelOf(
  values: ArrayLike<number>,
  extent: Extent,
  channel: number,
): Float64Array {
  const { outer, channels, inner } = extent;
  const picked = new Float64Array(outer * inner);
  for (let o = 0, i = 0; o < outer; o++) {
    const start = (o * channels + channel) * inner;
    for (let k = 0; k < inner; k++, i++) picked[i] = values[start + k]!;
  }
  return picked;
}

/** Round numbers, at most about `most` of them, within [low, high]. */
export function ticks(low: number, high: number, most = 6): number[] {
  const span = high - low;
  if (!(span > 0) || !Number.isFinite(span)) return [low];
  const rough = span / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough * 0.999)!;
  const found: number[] = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) {
    found.push(Number((k * step).toPrecision(12)));
  }
  return found;
}
