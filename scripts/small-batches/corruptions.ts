import { normals } from "../support/random.js";

const clamp = (value: number): number => Math.min(1, Math.max(0, value));

/** What may happen to a camera's picture, on pixels of 0 to 1. */
export const CORRUPTIONS: Readonly<Record<string, (x: Float32Array) => Float32Array>> = {
  none: (x) => x,
  "contrast to a quarter": (x) => x.map((value) => 0.5 + (value - 0.5) / 4),
  inversion: (x) => x.map((value) => 1 - value),
  "noise of 0.3": (x) => {
    const noise = normals(x.length, 99, 0, 0.3);
    return x.map((value, i) => clamp(value + noise[i]!));
  },
  "brightness + 0.4": (x) => x.map((value) => clamp(value + 0.4)),
};
