import type { Extent } from "./descriptor.js";

/**
 * A contiguous part of a tensor that fits into one binding: a range of outer indices with all channels,
 * or at one outer index a range of channels, or of one channel a range of inner indices.
 */
export interface Region {
  /** Flat index of its first element. */
  readonly start: number;
  readonly size: number;
  readonly firstChannel: number;
  /** Its shape as (outer, channels, inner). */
  readonly extent: Extent;
  /** Regions with the same outer index and channel follow each other by this. */
  readonly outerIndex: number;
  readonly piece: number;
}

const boxOf = (outer: number, channels: number, inner: number): Extent =>
  Object.freeze({ outer, channels, inner, count: outer * inner, size: outer * channels * inner });

/**
 * Cuts a tensor into regions of at most `maxBytes` bytes, alignment of the binding included. One region
 * where it fits. Pure.
 *
 * @param granularity elements that must stay together (a Value's width).
 * @param maxBytes at least 512.
 */
export function regionsOf(
  extent: Extent,
  elementBytes: number,
  granularity: number,
  maxBytes: number,
): readonly Region[] {
  const { outer, channels, inner, size } = extent;
  if (size * elementBytes <= maxBytes) {
    return [{ start: 0, size, firstChannel: 0, extent, outerIndex: 0, piece: 0 }];
  }
  // A binding begins at a multiple of 256 bytes: less than that before its region, so that a word has room to end.
  const room = Math.floor((maxBytes - 256) / elementBytes / granularity) * granularity;
  const slice = channels * inner;
  const regions: Region[] = [];
  if (slice <= room) {
    const step = Math.floor(room / slice);
    for (let first = 0; first < outer; first += step) {
      const count = Math.min(step, outer - first);
      regions.push({
        start: first * slice,
        size: count * slice,
        firstChannel: 0,
        extent: boxOf(count, channels, inner),
        outerIndex: first,
        piece: 0,
      });
    }
    return regions;
  }
  const channelStep =
    inner <= room
      ? Math.max(
          1,
          Math.floor(room / inner / granularity) * granularity || Math.floor(room / inner),
        )
      : 1;
  const innerStep = inner <= room ? inner : room;
  for (let o = 0; o < outer; o += 1) {
    for (let channel = 0; channel < channels; channel += channelStep) {
      const count = Math.min(channelStep, channels - channel);
      for (let i = 0, piece = 0; i < inner; piece += 1) {
        let length = Math.min(innerStep, inner - i);
        const start = (o * channels + channel) * inner + i;
        // Two 16-bit numbers of one row share a word: no part ends between them.
        if (elementBytes === 2 && i + length < inner && (start + length) % 2 === 1) length -= 1;
        regions.push({
          start,
          size: count * length,
          firstChannel: channel,
          extent: boxOf(1, count, length),
          outerIndex: o,
          piece,
        });
        i += length;
      }
    }
  }
  return regions;
}
