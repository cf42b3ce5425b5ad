/** How shapes map to lanes, on paper: `chooseDispatch` and the formulas of `shaders/lib/chunk.wgsl` and `walk_rows.wgsl`. */
import { describe, expect, test } from "vitest";
import { type Dtype, type Extent, extentOf, type Layout } from "../../src/descriptor.js";
import {
  chooseDispatch,
  type Dispatch,
  type DispatchLimits,
  GPU_TUNING,
  SOFTWARE_TUNING,
  type Tuning,
} from "../../src/dispatch/choose.js";
import { gridOf } from "../../src/dispatch/dispatch.js";
import { channelsPerValue, elementsPerValue } from "../../src/kernels.js";
import { dispatchTable } from "../../scripts/support/dispatch-table.js";
import { createRandom } from "../support/random.js";
import readme from "../../shaders/README.md?raw";

const LIMITS: DispatchLimits = { maxComputeWorkgroupsPerDimension: 65535 };
const DTYPES: readonly Dtype[] = ["f32", "f16", "bf16"];
const LAYOUTS: readonly Layout[] = ["channels-first", "channels-last"];

interface Purpose {
  readonly purpose: "reduce" | "map";
  readonly forbidWhole: boolean;
  readonly kinds: 1 | 2;
  readonly apart?: boolean | "always";
}
const PURPOSES: readonly Purpose[] = [
  { purpose: "map", forbidWhole: false, kinds: 1 },
  { purpose: "reduce", forbidWhole: false, kinds: 1 },
  { purpose: "reduce", forbidWhole: false, kinds: 2 },
  { purpose: "reduce", forbidWhole: true, kinds: 1 },
  { purpose: "reduce", forbidWhole: false, kinds: 1, apart: true },
  { purpose: "reduce", forbidWhole: true, kinds: 2, apart: "always" },
];

const TUNINGS: Readonly<Record<string, Tuning>> = { gpu: GPU_TUNING, software: SOFTWARE_TUNING };
/** Tunings that nobody ships, to reach every path with few elements. */
const ODD_TUNINGS: Readonly<Record<string, Tuning>> = {
  ...TUNINGS,
  "small teams": {
    ...GPU_TUNING,
    workgroupSize: 16,
    maxTeam: 4,
    columnBytes: 64,
    minPerLane: 1,
    wholePerLane: 1,
    maxHeld: 0,
  },
  "many chunks": {
    ...GPU_TUNING,
    workgroupSize: 8,
    maxTeam: 8,
    columnBytes: 32,
    mergedBytes: 2 ** 40,
    minPerLane: 4,
    wholePerLane: 0,
    maxHeld: 0,
    targetInvocations: 2 ** 30,
  },
  "lanes alone": {
    ...SOFTWARE_TUNING,
    minPerLane: 1,
    wholePerLane: 0,
    targetInvocations: 4096,
    columnBytes: 16,
    mergedBytes: 2 ** 40,
  },
  "held by few": { ...GPU_TUNING, workgroupSize: 4, maxTeam: 2, maxHeld: 64 },
};

function gridSize(grid: readonly number[]): number {
  return grid.reduce((a, b) => a * b, 1);
}

function choose(
  extent: Extent,
  dtype: Dtype,
  tuning: Tuning,
  given: Purpose,
  limits = LIMITS,
): Dispatch {
  const { purpose, ...options } = given;
  return chooseDispatch(extent, dtype, purpose, tuning, limits, options);
}

/** What must hold for any shape; the name of what does not, or null. */
function fault(
  extent: Extent,
  dtype: Dtype,
  tuning: Tuning,
  given: Purpose,
  limits = LIMITS,
): string | null {
  const d = choose(extent, dtype, tuning, given, limits);
  const slots = d.workgroupSize / d.team;
  const most = limits.maxComputeWorkgroupsPerDimension;
  const perValue = elementsPerValue(d.value);
  const power = (n: number): boolean => n >= 1 && Number.isInteger(Math.log2(n));
  const faults: [string, boolean][] = [
    [
      "counts are whole",
      [d.groups, d.inner, d.perGroup, d.chunk, d.chunks, d.team, slots].every(Number.isSafeInteger),
    ],
    [
      "the workgroup is the tuning's, or a larger team that has a channel",
      d.workgroupSize === tuning.workgroupSize ||
        (d.path !== "split" && d.workgroupSize === d.team && d.team <= tuning.maxHeldTeam),
    ],
    ["team and slots are powers of two", power(d.team) && power(slots)],
    ["team * slots = workgroup", d.team * slots === d.workgroupSize],
    [
      "the team keeps its limit",
      d.team <=
        (d.path === "split" ? tuning.maxTeam : Math.max(tuning.maxTeam, tuning.maxHeldTeam)),
    ],
    ["Values cover the tensor", d.groups * d.perGroup * perValue === extent.size],
    ["a Value spans whole channels", d.groups * channelsPerValue(d.value) === extent.channels],
    ["at least one chunk of at least one Value", d.chunk >= 1 && d.chunks >= 1],
    ["chunks cover a group", d.chunk * d.chunks >= d.perGroup],
    ["no chunk is empty", extent.size === 0 || d.chunk * (d.chunks - 1) < d.perGroup],
    ["no more chunks than are merged", given.purpose === "map" || d.chunks <= tuning.maxChunks],
    [
      "merging reads no more bytes than the tuning allows",
      given.purpose === "map" ||
        d.chunks === 1 ||
        d.apart ||
        16 * d.chunks ** 2 <= extent.count * tuning.mergedBytes,
    ],
    ["the grid keeps the limits", d.grid.every((n) => Number.isInteger(n) && n >= 1 && n <= most)],
    ["the grid holds every chunk", gridSize(d.grid) * slots >= d.groups * d.chunks],
    ["16 bits are not stored by one invocation per half", dtype === "f32" || d.value !== "scalar"],
    ["a dispatch alone has one chunk", d.path === "split" || d.chunks === 1],
    [
      "teams share Values between channels only of 16 bits where they reduce",
      d.value !== "quad" || d.team === 1 || dtype !== "f32" || given.purpose === "map",
    ],
    [
      "lanes without a place of a row are fewer than half",
      d.value !== "quad" || d.team === 1 || d.team < 2 * d.inner || given.purpose === "reduce",
    ],
    ["chunks of shared Values are rows", d.value !== "quad" || d.chunk % d.inner === 0],
    ["words shared by channels are never whole", d.value !== "half" || d.path === "split"],
    [
      "even: blocks of four alone",
      d.even === (d.perGroup % (4 * (d.value === "quad" ? d.inner * rowsAtOnce(d) : d.team)) === 0),
    ],
    ["held is held", (d.path === "held") === d.held > 0],
    ["a lane holds all its Values", d.path !== "held" || d.held === Math.ceil(d.perGroup / d.team)],
    ["a lane holds what its registers take", d.held <= tuning.maxHeld],
    ["a team holds what the registers take", d.held * d.team <= 512 * tuning.maxHeld + d.team],
    ["16-bit numbers are not held", d.path !== "held" || dtype === "f32"],
    ["chunks are merged apart only where that is offered", !d.apart || Boolean(given.apart)],
    [
      "split where one dispatch is not offered",
      (given.purpose === "reduce" && !given.forbidWhole) || d.path === "split",
    ],
  ];
  // Statistics: count, shift, delta, m2; a Channel is one f32 per channel of a Value, and so is the count of some.
  const channelBytes = 4 * channelsPerValue(d.value);
  const countBytes = d.value === "quad" ? channelBytes : 4;
  const memory = d.team === 1 ? 0 : d.workgroupSize * (countBytes + 3 * channelBytes);
  faults.push(["workgroup memory is within 16 KiB", memory <= 16384]);
  const found = faults.find(([, ok]) => !ok);
  return found ? `${found[0]}: ${JSON.stringify({ extent, dtype, given, d })}` : null;
}

/** Elements of a tensor without the rank: `(outer, channels, inner)`. */
function extent(outer: number, channels: number, inner: number): Extent {
  const count = outer * inner;
  return { outer, channels, inner, count, size: count * channels };
}

const LARGE: readonly Extent[] = [
  extent(2 ** 15, 2 ** 8, 2 ** 10), // 2^33 elements
  extent(1, 2, 2 ** 32),
  extent(2 ** 25, 2 ** 8, 1),
  extent(2 ** 28, 1, 1),
  extent(1, 1, 2 ** 28),
  extent(4, 1, 2 ** 26),
  extent(2 ** 28 + 1, 1, 1),
  extent(2, 2 ** 20, 1),
  extent(1, 2 ** 20, 2),
  extent(1, 2 ** 20, 1),
  extent(2, 2 ** 20 + 7, 1),
  extent(4, 1_000_000, 1),
  extent(4, 65535, 1),
  extent(4, 65536, 1),
  extent(4, 65537, 9),
  extent(1, 70_000, 2 ** 12),
  extent(1, 131_072, 32), // a lane of 16 bits has less than it might
  extent(1, 131_072, 64),
  extent(2, 262_144, 49),
  extent(3, 300_001, 1),
  extent(1, 4_194_301, 3),
  extent(30_000, 1000, 1),
  extent(200_000, 3, 1),
  extent(2_147_483_647, 1, 1),
  extent(65_521, 251, 1),
  extent(65_521, 3, 251),
  extent(256, 2048, 49),
  extent(64, 2048, 289),
  extent(32, 64, 3136),
  extent(1, 32, 128 ** 3),
];

const SMALL_SIZES = [0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 31, 49, 64];
const SMALL_CHANNELS = [1, 2, 3, 4, 5, 6, 7, 8, 16, 31, 64, 65];

function* small(): Generator<Extent> {
  for (const outer of SMALL_SIZES)
    for (const channels of SMALL_CHANNELS)
      for (const inner of SMALL_SIZES)
        if (outer * channels * inner <= 20_000) yield extent(outer, channels, inner);
}

describe.each(Object.entries(ODD_TUNINGS))("%s", (_name, tuning) => {
  test("large shapes keep every rule", () => {
    for (const each of LARGE)
      for (const dtype of DTYPES)
        for (const given of PURPOSES) expect(fault(each, dtype, tuning, given)).toBeNull();
  });

  test("small and empty shapes keep every rule", () => {
    for (const each of small()) {
      if (each.size === 0) continue;
      for (const dtype of DTYPES)
        for (const given of PURPOSES) {
          const found = fault(each, dtype, tuning, given);
          if (found !== null) expect.fail(found);
        }
    }
  });

  test("random shapes of every rank and layout keep every rule", () => {
    const random = createRandom(99);
    for (let i = 0; i < 4000; i++) {
      const rank = random.integer(2, 5);
      const shape = Array.from({ length: rank }, () =>
        Math.floor(2 ** (random.uniform() * (36 / rank))),
      );
      const layout = random.pick(LAYOUTS);
      const found = fault(
        extentOf("t", shape, layout),
        random.pick(DTYPES),
        tuning,
        random.pick(PURPOSES),
      );
      if (found !== null) expect.fail(found);
    }
  });

  test("an empty tensor has whole counts and a grid within limits", () => {
    for (const each of [extent(0, 3, 1), extent(4, 3, 0), extent(0, 1, 1), extent(0, 70_000, 4)])
      for (const dtype of DTYPES)
        for (const given of PURPOSES) {
          const d = choose(each, dtype, tuning, given);
          expect(
            [d.groups, d.chunk, d.chunks, d.team, ...d.grid].every(
              (n) => Number.isInteger(n) && n >= 1,
            ),
          ).toBe(true);
          expect(d.perGroup).toBe(0);
          expect(d.grid.every((n) => n <= 65535)).toBe(true);
        }
  });
});

/** `params` of a plan whose region is the whole tensor, as `src/plan.ts` writes them. */
function paramsOf(d: Dispatch) {
  const [gridWidth, gridHeight = 1, gridDepth = 1] = d.grid as readonly number[];
  const stepInner = d.team % d.inner;
  const rowGroups = d.value === "rows4" ? 4 * d.groups : d.groups;
  return {
    gridWidth: gridWidth!,
    gridHeight,
    gridDepth,
    items: d.groups * d.chunks,
    stepInner,
    stepIndex: Math.floor(d.team / d.inner) * rowGroups * d.inner + stepInner,
    wrapIndex: (rowGroups - 1) * d.inner,
    rowGroups,
    valueStride: d.groups * d.inner,
  };
}

/** Walks every lane of the grid as chunk.wgsl and walk_rows.wgsl do, and tells what was visited. */
function walk(d: Dispatch, visit: (index: number, group: number, lane: number) => void): void {
  const p = paramsOf(d);
  const slots = d.workgroupSize / d.team;
  const laneStride = d.lanesAdjacent ? 1 : slots;
  const slotStride = d.lanesAdjacent ? d.team : 1;
  for (let z = 0; z < p.gridDepth; z++)
    for (let y = 0; y < p.gridHeight; y++)
      for (let x = 0; x < p.gridWidth; x++)
        for (let local = 0; local < d.workgroupSize; local++) {
          const slot = Math.floor(local / slotStride) % slots;
          const lane = Math.floor(local / laneStride) % d.team;
          const item = ((z * p.gridHeight + y) * p.gridWidth + x) * slots + slot;
          if (item >= p.items) continue;
          const chunk = Math.floor(item / d.groups);
          const group = item % d.groups;
          const begin = chunk * d.chunk;
          const end = Math.min(begin + d.chunk, d.perGroup);
          const first = begin + lane;
          let inner = first % d.inner;
          let index = (Math.floor(first / d.inner) * p.rowGroups + group) * d.inner + inner;
          if (d.even) {
            const atOnce = d.value === "quad" ? d.inner * rowsAtOnce(d) : d.team;
            const steps = (end - begin) / atOnce;
            expect(steps % 4, "Values of a lane, or rows of a stretch, by four").toBe(0);
          }
          if (d.value === "quad") {
            const rows = (end - begin) / d.inner;
            walkStretches(d, index, lane, rows, (each) => visit(each, group, lane));
            continue;
          }
          for (let at = first; at < end; at += d.team) {
            visit(index, group, lane);
            inner += p.stepInner;
            index += p.stepIndex;
            if (inner >= d.inner) {
              inner -= d.inner;
              index += p.wrapIndex;
            }
          }
        }
}

/** Rows that a team takes at once where four channels share them. */
function rowsAtOnce({ team, inner }: Dispatch): number {
  return Math.max(1, Math.floor(team / inner));
}

/** As `lib/value_quad.wgsl` walks: the numbers of a stretch are of the same channels at each of its Values. */
function walkStretches(
  d: Dispatch,
  index: number,
  lane: number,
  rows: number,
  visit: (index: number) => void,
): void {
  const channelsAt = (p: number): string =>
    [0, 1, 2, 3].map((i) => Math.floor((4 * p + i) / d.inner)).join();
  const together = rowsAtOnce(d);
  if (lane >= together * d.inner && lane >= d.inner) return;
  const first = lane % d.inner;
  const offset = Math.floor(lane / d.inner);
  const own = Math.floor((rows + together - 1 - offset) / together);
  for (let begin = first; begin < d.inner;) {
    const channel = Math.floor((4 * begin) / d.inner);
    const border = Math.floor(((channel + 1) * d.inner) / 4);
    const size = Math.ceil((Math.max(border, begin + 1) - begin) / d.team);
    const wrapIndex = together * d.groups * d.inner - size * d.team;

    let at = index + begin - first;
    for (let inner = 0, left = own * size; left > 0; left--) {
      expect(channelsAt(begin + inner * d.team)).toBe(channelsAt(begin));
      visit(at);
      const wraps = inner + 1 >= size;
      at += d.team + (wraps ? wrapIndex : 0);
      inner = wraps ? 0 : inner + 1;
    }
    begin += size * d.team;
  }
}

function coverage(
  each: Extent,
  dtype: Dtype,
  tuning: Tuning,
  given: Purpose,
  limits = LIMITS,
): string | null {
  const d = choose(each, dtype, tuning, given, limits);
  const perValue = elementsPerValue(d.value);
  const { valueStride } = paramsOf(d);
  const seen = new Uint8Array(each.size);
  const perLane = new Map<number, number>();
  let outside = 0;
  let foreign = 0;
  walk(d, (index, group, lane) => {
    for (let i = 0; i < perValue; i++) {
      const element = d.value === "rows4" ? index + i * valueStride : index * perValue + i;
      if (!(element >= 0 && element < each.size)) outside += 1;
      else seen[element] = Math.min(255, seen[element]! + 1);
      const channel =
        Math.floor(element / (each.channels === 1 ? each.count : each.inner)) % each.channels;
      const within = (index % d.inner) * 4 + i;
      const offset = d.value.startsWith("channels")
        ? i
        : d.value === "quad"
          ? Math.floor(within / d.inner)
          : 0;
      if (channel !== group * channelsPerValue(d.value) + offset) foreign += 1;
    }
    if (d.held > 0) {
      const key = group * d.team + lane;
      perLane.set(key, (perLane.get(key) ?? 0) + 1);
    }
  });
  const missed = seen.reduce((sum, count) => sum + (count === 0 ? 1 : 0), 0);
  const repeated = seen.reduce((sum, count) => sum + (count > 1 ? 1 : 0), 0);
  const tooMany = [...perLane.values()].filter((count) => count > d.held).length;
  if (outside + foreign + missed + repeated + tooMany === 0) return null;
  return JSON.stringify({ each, dtype, given, outside, foreign, missed, repeated, tooMany, d });
}

describe("every element is visited once, by a lane of its own channel", () => {
  test.each(Object.entries(ODD_TUNINGS))("tuning: %s", (_name, tuning) => {
    const random = createRandom(5);
    let paths = 0;
    for (const each of small()) {
      if (each.size === 0) continue;
      // All of the tiny ones, and a part of the others.
      if (each.size > 300 && random.uniform() > 0.12) continue;
      for (const dtype of ["f32", "f16"] as const) {
        const given = random.pick(PURPOSES);
        const found = coverage(each, dtype, tuning, given);
        if (found !== null) expect.fail(found);
        paths += 1;
      }
    }
    expect(paths).toBeGreaterThan(1000);
  });

  test.each([1, 2, 3, 7, 64])("grids of at most %i workgroups along a dimension", (most) => {
    const limits = { maxComputeWorkgroupsPerDimension: most };
    const tuning = ODD_TUNINGS["many chunks"]!;
    for (const each of [extent(5, 7, 9), extent(3, 61, 1), extent(2, 4, 16), extent(40, 1, 3)]) {
      const d = choose(each, "f32", tuning, PURPOSES[3]!, limits);
      // Two dimensions hold most^2, three most^3: more cannot be asked for.
      if (gridSize(d.grid) * (d.workgroupSize / d.team) < d.groups * d.chunks) continue;
      if (!d.grid.every((n) => n <= most)) {
        expect(Math.ceil((d.groups * d.chunks) / (d.workgroupSize / d.team))).toBeGreaterThan(
          most ** d.grid.length,
        );
        continue;
      }
      expect(coverage(each, "f32", tuning, PURPOSES[3]!, limits)).toBeNull();
    }
  });

  test("an empty tensor visits nothing", () => {
    for (const each of [extent(0, 3, 5), extent(0, 8, 1)]) {
      let visits = 0;
      walk(choose(each, "f32", GPU_TUNING, PURPOSES[0]!), () => (visits += 1));
      expect(visits).toBe(0);
    }
  });
});

test.each([
  [0, 65535],
  [1, 65535],
  [65535, 65535],
  [65536, 65535],
  [131071, 65535],
  [2 ** 31, 65535],
  [2 ** 32 - 1, 65535],
  [7, 3],
])("a grid of %i workgroups with at most %i along a dimension", (workgroups, most) => {
  const grid: readonly number[] = gridOf(workgroups, { maxComputeWorkgroupsPerDimension: most });
  expect(gridSize(grid)).toBeGreaterThanOrEqual(workgroups);
  expect(grid.every((n) => Number.isInteger(n) && n >= 0 && n <= most)).toBe(true);
  // No more than one row too many, or one plane where it takes three dimensions.
  expect(gridSize(grid)).toBeLessThan(
    workgroups + most + 1 + (workgroups > most ** 2 ? most ** 2 : 0),
  );
});

describe("the device is filled", () => {
  /** Lanes that have work. */
  function busy(d: Dispatch): number {
    return d.groups * d.chunks * Math.min(d.team, d.chunk);
  }

  test.each(Object.entries(TUNINGS))(
    "by any large enough tensor, few channels or few values: %s",
    (_name, tuning) => {
      for (const each of LARGE)
        for (const dtype of DTYPES)
          for (const given of PURPOSES) {
            const d = choose(each, dtype, tuning, given);
            const values = d.groups * d.perGroup;
            const lane =
              d.path === "split"
                ? tuning.minPerLane
                : Math.max(tuning.wholePerLane, tuning.maxHeld);
            const merged = Math.floor(Math.sqrt((each.count * tuning.mergedBytes) / 16));
            const allowed =
              given.purpose === "map" ? 65536 : Math.max(1, Math.min(merged, tuning.maxChunks));
            // A channel is not cut for more where an eighth is busy.
            const possible = Math.min(
              tuning.targetInvocations / 2,
              values / lane,
              d.groups * d.team * allowed,
            );
            // A chunk is rounded up to whole blocks: up to twice too long.
            expect(busy(d), JSON.stringify({ each, dtype, given, d })).toBeGreaterThanOrEqual(
              possible / 4,
            );
          }
    },
  );

  test("C = 1 with M = 2^28, C = 2^20 with M = 2, and what lies between", () => {
    for (let log = 0; log <= 20; log++) {
      const channels = 2 ** log;
      for (const each of [
        extent(2 ** (28 - log), channels, 1),
        extent(1, channels, 2 ** (28 - log)),
      ]) {
        for (const given of PURPOSES) {
          expect(
            busy(choose(each, "f32", GPU_TUNING, given)),
            JSON.stringify({ each, given }),
          ).toBeGreaterThanOrEqual(65536);
          expect(busy(choose(each, "f32", SOFTWARE_TUNING, given))).toBeGreaterThanOrEqual(32);
        }
      }
    }
    for (const given of PURPOSES) {
      expect(busy(choose(extent(2, 2 ** 20, 1), "f32", GPU_TUNING, given))).toBeGreaterThanOrEqual(
        131072,
      );
    }
  });

  test("by small tensors as far as they reach: no lane walks far while others idle", () => {
    for (const each of [
      extent(1, 1, 100_000),
      extent(100_000, 1, 1),
      extent(100_000, 3, 1),
      extent(2, 3, 50_000),
      extent(64, 8, 49),
    ])
      for (const given of PURPOSES) {
        const d = choose(each, "f32", GPU_TUNING, given);
        const walked = Math.ceil(d.chunk / d.team);
        expect(walked, JSON.stringify({ each, given, d })).toBeLessThanOrEqual(
          Math.max(
            4 * GPU_TUNING.minPerLane,
            GPU_TUNING.wholePerLane,
            GPU_TUNING.maxHeld,
            (4 * d.groups * d.perGroup) / GPU_TUNING.targetInvocations,
          ),
        );
      }
  });
});

describe("a GPU", () => {
  const options = { kinds: 1, apart: true } as const;
  const pick = (each: Extent, given: object = options, dtype: Dtype = "f32"): Dispatch =>
    chooseDispatch(each, dtype, "reduce", GPU_TUNING, LIMITS, given);

  test("merges chunks apart in large tensors alone", () => {
    expect(pick(extent(64 * 112 * 112, 64, 1)).apart).toBe(true);
    expect(pick(extent(16 * 56 * 56, 64, 1)).apart).toBe(false);
    expect(pick(extent(64, 64, 112 * 112)).apart).toBe(true);
    // What a backward merges is half as much; and with teams of 256 few chunks fill the device.
    expect(pick(extent(64, 64, 112 * 112), { ...options, kinds: 2 }).apart).toBe(false);
    expect(pick(extent(64, 64, 56 * 56)).apart).toBe(false);
    expect(pick(extent(64 * 112 * 112, 64, 1), {}).apart).toBe(false);
  });

  test("holds with larger teams what does not stay in the cache, but not beside another tensor", () => {
    const holds = (each: Extent, kinds: number): object => {
      const { path, team, held } = pick(each, { kinds });
      return { path, team, held };
    };
    expect(holds(extent(64, 1024, 196), 2)).toEqual({ path: "held", team: 256, held: 13 });
    expect(holds(extent(64, 512, 400), 1)).toEqual({ path: "held", team: 512, held: 13 });
    expect(holds(extent(64, 512, 400), 2)).toEqual({ path: "whole", team: 256, held: 0 });
    expect(holds(extent(64, 64, 400), 1)).toEqual({ path: "split", team: 256, held: 0 });
  });

  test("gives a lane 24 to 32 Values of 16 bits where a channel is one chunk and there are enough", () => {
    const halves = (each: Extent, kinds = 1): object => {
      const { path, team } = pick(each, { kinds }, "f16");
      return { path, team };
    };
    expect(halves(extent(64, 1024, 196))).toEqual({ path: "whole", team: 128 });
    expect(halves(extent(64, 1024, 196), 2)).toEqual({ path: "whole", team: 256 });
    expect(halves(extent(64, 512, 784))).toEqual({ path: "whole", team: 512 });
    // Four channels to a team: 65536 lanes.
    expect(halves(extent(64, 2048, 49))).toEqual({ path: "whole", team: 128 });
    expect(halves(extent(64, 64, 784))).toEqual({ path: "split", team: 256 });
  });

  test("shares Values between channels in f32 where nothing is merged", () => {
    const map = (each: Extent): Dispatch => chooseDispatch(each, "f32", "map", GPU_TUNING, LIMITS);
    expect(map(extent(64, 2048, 49))).toMatchObject({ value: "quad", team: 64 });
    expect(pick(extent(64, 2048, 49))).toMatchObject({ value: "rows4", path: "held" });
  });

  test("takes wide columns where there are many, narrow ones where those hold a channel or give more work", () => {
    const slots = ({ workgroupSize, team }: Dispatch): number => workgroupSize / team;
    expect(slots(pick(extent(64 * 28 * 28, 512, 1)))).toBe(16);
    expect(slots(pick(extent(16 * 56 * 56, 64, 1)))).toBe(4);
    expect(pick(extent(16 * 49, 2048, 1))).toMatchObject({ path: "held", team: 64 });
  });
});

test("is pure: the same for the same, and arguments stay as they are", () => {
  const each = Object.freeze(extent(32, 64, 49));
  const tuning = Object.freeze({ ...GPU_TUNING });
  const first = choose(each, "f16", tuning, PURPOSES[1]!);
  expect(choose(each, "f16", tuning, PURPOSES[1]!)).toEqual(first);
  expect(Object.isFrozen(GPU_TUNING) && Object.isFrozen(SOFTWARE_TUNING)).toBe(true);
});

test("Values are as wide as rows and channels allow", () => {
  const value = (each: Extent, dtype: Dtype): string =>
    choose(each, dtype, GPU_TUNING, PURPOSES[0]!).value;
  expect(value(extent(2, 3, 8), "f32")).toBe("row4");
  expect(value(extent(2, 3, 6), "f32")).toBe("scalar");
  expect(value(extent(2, 3, 6), "f16")).toBe("row2");
  expect(value(extent(2, 3, 7), "f16")).toBe("half");
  expect(value(extent(2, 8, 1), "f32")).toBe("channels4");
  expect(value(extent(2, 6, 1), "f32")).toBe("scalar");
  expect(value(extent(2, 6, 1), "bf16")).toBe("channels2");
  expect(value(extent(2, 7, 1), "bf16")).toBe("half");
  // One channel is one row.
  expect(value(extent(4, 1, 3), "f32")).toBe("row4");
  expect(value(extent(5, 1, 3), "f16")).toBe("half");
});

test("the table in shaders/README.md is what is chosen", () => {
  expect(readme).toContain(`<!-- dispatch -->\n${dispatchTable()}\n<!-- /dispatch -->`);
});
