/** How a tensor beyond one binding is cut, on paper: `regionsOf`, and `mapOnto` with its slots for partial results. */
import { reduce } from "../../src/dispatch/reduce.js";
import { describe, expect, test } from "vitest";
import type { Dtype, Extent } from "../../src/descriptor.js";
import { GPU_TUNING, SOFTWARE_TUNING } from "../../src/dispatch/choose.js";
import { mapOnto, resolveDescriptor } from "../../src/plan.js";
import { regionsOf, type Region } from "../../src/regions.js";

const MIB = 2 ** 20;
const box = (outer: number, channels: number, inner: number): Extent => {
  const count = outer * inner;
  return { outer, channels, inner, count, size: count * channels };
};

const HUGE: readonly Extent[] = [
  box(2 ** 15, 2 ** 8, 2 ** 10), // 2^33 elements
  box(1, 2, 2 ** 32),
  box(2 ** 25, 2 ** 8, 1),
  box(1, 1, 2 ** 28),
  box(2, 2 ** 20, 2 ** 7),
  box(3, 1000, 961 * 50),
  box(2, 3, 35_000_001),
  box(5, 7, 9_999_991),
  box(64, 2048, 49 * 64),
];
const SMALL: readonly Extent[] = [
  box(9, 3, 16),
  box(9, 3, 49),
  box(2, 40, 49),
  box(3, 41, 49),
  box(1, 1, 1152),
  box(2, 3, 961),
  box(2, 3, 1225),
  box(70, 12, 1),
  box(70, 13, 1),
  box(4, 5, 3),
];

/** What is wrong with a cut, or null. */
function fault(extent: Extent, bytes: 2 | 4, granularity: number, most: number): string | null {
  const regions = regionsOf(extent, bytes, granularity, most);
  const { channels, inner, size } = extent;
  let next = 0;
  for (const region of regions) {
    const say = (what: string): string => `${what}: ${JSON.stringify({ extent, bytes, region })}`;
    const { start, extent: own } = region;
    if (start !== next) return say(`begins at ${start}, not where the last one ended, ${next}`);
    if (region.size !== own.outer * own.channels * own.inner) return say("is not its box");
    if (region.size < 1) return say("is empty");
    if (region.outerIndex !== Math.floor(start / (channels * inner))) return say("outer index");
    if (region.firstChannel !== Math.floor(start / inner) % channels) return say("first channel");
    // The binding begins at a multiple of 256 bytes below, and ends at a word above.
    const from = Math.floor((start * bytes) / 256) * 256;
    const to = Math.ceil(((start + region.size) * bytes) / 4) * 4;
    if (regions.length > 1 && to - from > most) return say(`takes ${to - from} bytes`);
    // Two numbers of one channel's row that share a word are not parted.
    const end = start + region.size;
    if (bytes === 2 && end % 2 === 1 && end % inner !== 0)
      return say("ends within a word of a row");
    // A box of several rows holds whole rows of whole channels.
    if (own.outer > 1 && (own.channels !== channels || own.inner !== inner)) return say("no slab");
    if (own.channels > 1 && own.inner !== inner) return say("parts of several rows");
    next = end;
  }
  return next === size ? null : `ends at ${next}, not ${size}: ${JSON.stringify(extent)}`;
}

describe.each([
  ["a tensor of this size", HUGE, [128 * MIB, 256 * MIB, 2 ** 31]],
  ["a small one with small bindings", SMALL, [512, 513, 514, 515, 516, 1024, 2048]],
] as const)("%s", (_name, extents, limits) => {
  test("is cut into regions that cover it once, in order, each within a binding", () => {
    for (const extent of extents)
      for (const most of limits)
        for (const bytes of [2, 4] as const)
          for (const granularity of [1, 2, 4])
            if (extent.inner % granularity === 0 || granularity === 1)
              expect(fault(extent, bytes, granularity, most)).toBeNull();
  });
});

test("2^33 numbers of 4 bytes take 272 regions of at most 128 MiB, whole slices each", () => {
  const regions = regionsOf(box(2 ** 15, 2 ** 8, 2 ** 10), 4, 4, 128 * MIB);
  // A slice is 1 MiB; alignment leaves room for 127 of them.
  expect(regions.length).toBe(Math.ceil(2 ** 15 / 127));
});

describe("slots for partial results", () => {
  const deviceOf = (): GPUDevice =>
    ({
      limits: {
        maxComputeWorkgroupsPerDimension: 65535,
        maxStorageBufferBindingSize: 128 * MIB,
        maxBufferSize: Infinity,
      },
    }) as GPUDevice;
  const shapes = [
    [32768, 256, 32, 32],
    [2, 3, 5000, 7001],
    [5, 7, 9_999_991],
    [64, 2048, 56, 56],
    [300_000, 1000],
    [1, 1, 2 ** 28],
  ];

  test.each(shapes.flatMap((shape) => (["f32", "f16"] as const).map((dtype) => [dtype, shape])))(
    "%s %j: of one channel, no two regions share one",
    (dtype, shape) => {
      for (const tuning of [GPU_TUNING, SOFTWARE_TUNING]) {
        const resolved = resolveDescriptor("test", {
          shape: shape as number[],
          dtype: dtype as Dtype,
        });
        const mapping = mapOnto(deviceOf(), resolved, reduce, tuning);
        expect(mapping.regions.length).toBeGreaterThan(1);
        // A region's channels take its slots; those of others that hold any of them must lie elsewhere.
        const taken = new Map<number, [from: number, to: number][]>();
        for (const { region, dispatch, firstSlot } of mapping.regions) {
          const to = firstSlot + dispatch.chunks;
          expect(to).toBeLessThanOrEqual(mapping.slots);
          const list = taken.get(region.firstChannel) ?? [];
          const clash = list.find(([a, b]) => firstSlot < b && a < to);
          expect(clash, `${firstSlot} to ${to} of channel ${region.firstChannel}`).toBeUndefined();
          list.push([firstSlot, to]);
          taken.set(region.firstChannel, list);
        }
        expect(covered(mapping.regions.map(({ region }) => region))).toBe(resolved.extent.size);
      }
    },
  );

  const covered = (regions: readonly Region[]): number =>
    regions.reduce((sum, { size }) => sum + size, 0);
});
