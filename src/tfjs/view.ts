import type { Layout } from "../descriptor.js";

/** A tensor as (outer, channels, inner). */
export interface View {
  readonly outer: number;
  readonly channels: number;
  readonly inner: number;
}

const product = (sizes: readonly number[]): number => sizes.reduce((a, b) => a * b, 1);

/** The view where one axis, counted from the end if negative, is the channel's. */
export function viewAlong(shape: readonly number[], axis: number): View {
  const at = axis < 0 ? axis + shape.length : axis;
  return {
    outer: product(shape.slice(0, at)),
    channels: shape[at]!,
    inner: product(shape.slice(at + 1)),
  };
}

/**
 * The view that statistics of a shape mean when they are broadcast over x: what they do not repeat along is
 * the channel. Null where that is no contiguous part of x's axes, or all of them: then every number has
 * statistics of its own.
 */
export function viewOf(shape: readonly number[], statistics: readonly number[]): View | null {
  const extra = shape.length - statistics.length;
  if (extra < 0) return null;
  const padded = [...Array.from({ length: extra }, () => 1), ...statistics];
  const first = padded.findIndex((size) => size !== 1);
  if (first < 0) return { outer: product(shape), channels: 1, inner: 1 };
  const last = padded.findLastIndex((size) => size !== 1);
  const axes = padded.slice(first, last + 1);
  if (axes.some((size, i) => size !== shape[first + i])) return null;
  if (statistics.length > 1 && padded.every((size, i) => size === shape[i])) return null;
  return {
    outer: product(shape.slice(0, first)),
    channels: product(axes),
    inner: product(shape.slice(last + 1)),
  };
}

/** The same for a plan's descriptor. */
export function planShape({ outer, channels, inner }: View): { shape: number[]; layout: Layout } {
  return inner === 1
    ? { shape: [outer, channels], layout: "channels-last" }
    : { shape: [outer, channels, inner], layout: "channels-first" };
}

/** The shape over which `[C]` is broadcast: 1 everywhere but along the axis. */
export function broadcastShape(shape: readonly number[], axis: number): number[] {
  const at = axis < 0 ? axis + shape.length : axis;
  return shape.map((size, i) => (i === at ? size : 1));
}
