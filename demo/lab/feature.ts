import { normals } from "../../scripts/support/random.js";
import type { Samples } from "../engine/digits.js";

/** What one unit of a first layer gives on each digit before anything is done to it: w·x + bias. */
export function featureOf(
  samples: Samples,
  seed: number,
  deviation: number,
  bias: number,
): Float32Array<ArrayBuffer> {
  const { count, inputs, x } = samples;
  const weights = normals(inputs, seed, 0, deviation / Math.sqrt(inputs));
  const values = new Float32Array(count).fill(bias);
  for (let n = 0; n < count; n++) {
    let sum = 0;
    for (let k = 0; k < inputs; k++) sum += weights[k]! * x[n * inputs + k]!;
    values[n] = values[n]! + sum;
  }
  return values;
}
