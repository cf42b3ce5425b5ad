import { requireKnown } from "../arguments.js";
import { readBytes } from "../device.js";
import { rangeOf, type Need, type Resource } from "../bindings.js";
import { requireCount } from "./count.js";
import { statisticsBytes } from "./sizes.js";

/** Statistics of one part on the host, `[C]` each. */
export interface HostStatistics {
  /** Values per channel. */
  readonly count: Uint32Array;
  /** shift + delta, in float64; NaN where count is 0. */
  readonly mean: Float64Array;
  /** M2 / count; NaN where count is 0. */
  readonly varBiased: Float64Array;
}

/**
 * Reads partial statistics back, one entry for each part.
 *
 * Rejects with BufferError, DestroyedError, DeviceLostError, OutOfMemoryError.
 * @example
 * ```ts
 * const [whole] = await readStatistics(device, statistics, { channels: 64 });
 * whole.mean; // Float64Array of 64
 * ```
 */
export async function readStatistics(
  device: GPUDevice,
  statistics: Resource,
  options: { channels: number; parts?: number | undefined },
): Promise<HostStatistics[]> {
  const subject = "readStatistics";
  requireKnown(subject, options, ["channels", "parts"]);
  const channels = requireCount(`${subject}: channels`, options.channels, 1);
  const parts = requireCount(`${subject}: parts`, options.parts ?? 1, 1);
  const need: Need = {
    name: "statistics",
    bytes: statisticsBytes(channels, parts),
    what: `${channels} channels, ${parts} parts`,
    dtype: "f32",
    shape: null,
    usage: "COPY_SRC",
  };
  const range = rangeOf(device, subject, need, statistics);
  const bytes = await readBytes(device, subject, range.buffer, range.offset, need.bytes);
  return Array.from({ length: parts }, (_, part) => {
    const at = (plane: number): number => statisticsBytes(channels, part) + 4 * plane * channels;
    const count = new Uint32Array(bytes, at(0), channels);
    const [shift, delta, m2] = [1, 2, 3].map(
      (plane) => new Float32Array(bytes, at(plane), channels),
    );
    const valid = (c: number, value: number): number => (count[c]! > 0 ? value : NaN);
    return {
      count,
      mean: Float64Array.from(count, (_, c) => valid(c, shift![c]! + delta![c]!)),
      varBiased: Float64Array.from(count, (each, c) => valid(c, m2![c]! / each)),
    };
  });
}
