import type { Dtype, Layout } from "webgpu-batchnorm";
import { UsageError } from "./usage.js";

/** What is timed. `forward` and the two backward ones are training's. */
export type Operation = "inference" | "forward" | "backward" | "forward+backward";

export const OPERATIONS: readonly Operation[] = [
  "inference",
  "forward",
  "backward",
  "forward+backward",
];
export const DTYPES: readonly Dtype[] = ["f32", "f16", "bf16"];
export const LAYOUTS: readonly Layout[] = ["channels-first", "channels-last"];

/** A tensor to normalise; `shape` has its channel second, whatever the layout of the case. */
export interface Shape {
  readonly name: string;
  readonly group: string;
  readonly shape: readonly number[];
  /** Whether it is one of the few that stand for their group. */
  readonly typical?: boolean;
}

/** One row of the benchmark's plan. */
export interface Case extends Shape {
  readonly layout: Layout;
  readonly dtype: Dtype;
  readonly operation: Operation;
}

function resnet(batch: number): Shape[] {
  const maps: [string, number, number][] = [
    ["stem", 64, 112],
    ["stage 1", 64, 56],
    ["stage 1 out", 256, 56],
    ["stage 2", 128, 28],
    ["stage 2 out", 512, 28],
    ["stage 3", 256, 14],
    ["stage 3 out", 1024, 14],
    ["stage 4", 512, 7],
    ["stage 4 out", 2048, 7],
  ];
  return maps.map(([name, channels, side]) => ({
    name: `ResNet-50 ${name}, batch ${batch}`,
    group: `resnet${batch}`,
    shape: [batch, channels, side, side],
    typical:
      (batch === 16 && ["stage 1", "stage 2 out", "stage 3 out", "stage 4 out"].includes(name)) ||
      (batch === 1 && name === "stage 4"),
  }));
}

/** The layers that the tables show. */
export const SHAPES: readonly Shape[] = [
  ...resnet(1),
  ...resnet(16),
  ...resnet(64),
  ...(
    [
      [32, 112],
      [96, 112],
      [144, 56],
      [192, 28],
      [384, 14],
      [576, 14],
      [960, 7],
      [1280, 7],
    ] as const
  ).map(([channels, side]) => ({
    name: `MobileNetV2 ${channels} x ${side}², batch 16`,
    group: "mobilenet",
    shape: [16, channels, side, side],
    typical: channels === 144,
  })),
  { name: "fully connected 256 x 512", group: "dense", shape: [256, 512], typical: true },
  { name: "fully connected 4096 x 1024", group: "dense", shape: [4096, 1024], typical: true },
  {
    name: "3-D, 32 channels of 16 x 32²",
    group: "volume",
    shape: [4, 32, 16, 32, 32],
    typical: true,
  },
  { name: "tiny: 8 x 16", group: "tiny", shape: [8, 16], typical: true },
  { name: "tiny: 2 x 8 x 4²", group: "tiny", shape: [2, 8, 4, 4] },
  { name: "tiny: 32 x 64", group: "tiny", shape: [32, 64] },
  { name: "tiny: 1 x 16 x 8²", group: "tiny", shape: [1, 16, 8, 8], typical: true },
];

/** 1 KB to 512 MB of f32 in steps of four, then two: how time grows with size, at 64 channels. */
export const SERIES: readonly Shape[] = [
  1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 131072, 262144, 524288,
].map((kilobytes) => {
  const values = kilobytes * 256;
  const channels = Math.min(64, values / 16);
  const perChannel = values / channels;
  const batch = Math.min(16, perChannel / 4);
  return {
    name: kilobytes < 1024 ? `${kilobytes} KB` : `${kilobytes / 1024} MB`,
    group: "series",
    shape: [batch, channels, perChannel / batch],
  };
});

/** The tensor's shape as it lies in memory. */
export function memoryShape({ shape, layout }: Pick<Case, "shape" | "layout">): number[] {
  const [batch, channels, ...rest] = shape as [number, number, ...number[]];
  return layout === "channels-last" ? [batch, ...rest, channels] : [...shape];
}

export function sizeOf({ shape }: Pick<Case, "shape">): number {
  return shape.reduce((a, b) => a * b, 1);
}

export function bytesOf(each: Pick<Case, "shape" | "dtype">): number {
  return sizeOf(each) * (each.dtype === "f32" ? 4 : 2);
}

/** (outer, channels, inner) of a case. */
export function extentsOf({
  shape,
  layout,
}: Pick<Case, "shape" | "layout">): [number, number, number] {
  const [batch, channels, ...rest] = shape as [number, number, ...number[]];
  const inner = rest.reduce((a, b) => a * b, 1);
  return layout === "channels-last" ? [batch * inner, channels, 1] : [batch, channels, inner];
}

/** Which passes keep a whole channel at hand, so that each value is read once. */
export interface Held {
  readonly forward?: boolean;
  readonly backward?: boolean;
}

/**
 * Bytes that an operation moves at least, in bytes of x: the streaming floors, or those of passes that
 * hold a channel. A copy moves 2.
 */
export function floorOf(operation: Operation, held: Held = {}): number {
  const forward = held.forward ? 2 : 3;
  const backward = held.backward ? 3 : 5;
  switch (operation) {
    case "inference":
      return 2;
    case "forward":
      return forward;
    case "backward":
      return backward;
    case "forward+backward":
      return forward + backward;
  }
}

/**
 * Shapes by what was asked for: `typical`, `all`, `series`, a group's name, or a shape such as `16x64x56x56`.
 */
export function selectShapes(wanted: readonly string[]): Shape[] {
  return wanted.flatMap((word): Shape[] => {
    if (/^\d+(x\d+)+$/.test(word)) {
      const known = SHAPES.find(({ shape }) => shape.join("x") === word);
      return [known ?? { name: word, group: "asked", shape: word.split("x").map(Number) }];
    }
    if (word === "all") return [...SHAPES];
    if (word === "typical") return SHAPES.filter((shape) => shape.typical === true);
    const found = [...SHAPES, ...SERIES].filter(
      (shape) => shape.group === word || shape.name === word,
    );
    if (found.length > 0) return found;
    const groups = [...new Set([...SHAPES, ...SERIES].map(({ group }) => group))].join(", ");
    throw new UsageError(
      `--shapes: typical, all, ${groups} or a shape such as 16x64x56x56, got ${word}`,
    );
  });
}

/** Every combination; fully connected layers in one layout only, for their two are the same bytes. */
export function casesOf(
  shapes: readonly Shape[],
  layouts: readonly Layout[],
  dtypes: readonly Dtype[],
  operations: readonly Operation[],
): Case[] {
  return shapes.flatMap((shape) =>
    (shape.shape.length === 2 ? layouts.slice(0, 1) : layouts).flatMap((layout) =>
      dtypes.flatMap((dtype) =>
        operations.map((operation) => ({ ...shape, layout, dtype, operation })),
      ),
    ),
  );
}

/** `[16, 64, 56, 56]`, as in memory. */
export function shapeText(each: Pick<Case, "shape" | "layout">): string {
  return `[${memoryShape(each).join(", ")}]`;
}
