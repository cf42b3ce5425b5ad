import type { Dtype, Extent } from "./descriptor.js";
import { channelsPerValue, elementsPerValue, type ValueKind } from "./kernels.js";

/**
 * What suits an adapter. Two sets are kept, each value with its reason; a descriptor's `tuning`
 * overrides any of them, for sweeps.
 */
export interface Tuning {
  /** Invocations of a workgroup, a power of two. */
  readonly workgroupSize: number;
  /** Lanes that share a chunk at most, a power of two <= workgroupSize. 1: no barrier anywhere. */
  readonly maxTeam: number;
  /** Bytes of neighbouring channels that a workgroup reads together where rows are short, a power of two; at most. */
  readonly columnBytes: number;
  /** Values of four numbers that a lane should have at least before a channel is cut further. */
  readonly minPerLane: number;
  /** Invocations to aim for: enough to fill the device. */
  readonly targetInvocations: number;
  /** Invocations that are enough for each channel to be taken whole. */
  readonly wholeInvocations: number;
  /** Invocations to aim for where nothing is merged. */
  readonly targetMapped: number;
  /** Chunks of one channel at most: every team merges them all. */
  readonly maxChunks: number;
  /** Bytes for each element that all teams together may read to merge chunks; x and y take 12. */
  readonly mergedBytes: number;
  /**
   * Bytes that a cache keeps between two dispatches: above, it pays to hold a channel with larger teams, and to merge
   * chunks by a dispatch of its own where teams would read a sixteenth of `mergedBytes`.
   */
  readonly cacheBytes: number;
  /** Values of a lane up to which a whole channel goes through one dispatch in any case. */
  readonly wholePerLane: number;
  /** Values of a lane at most before a channel is cut further. */
  readonly mostPerLane: number;
  /** Values that a lane may hold in registers, so that one dispatch reads each once. 0: none. */
  readonly maxHeld: number;
  /**
   * Lanes of a team at most where only so many can hold a channel: a power of two. The device must allow workgroups of
   * as many (`maxComputeInvocationsPerWorkgroup`, 256 unless more was asked for).
   */
  readonly maxHeldTeam: number;
  /**
   * Lanes whose merges are shuffles, a power of two and at most the adapter's `subgroupMinSize`; 0: none. The device
   * needs the feature `subgroups`. The results are the same to the bit.
   */
  readonly subgroup: number;
  /** Keep the order of additions by force (adapters whose compiler reassociates). */
  readonly fence: boolean;
}

/** GPUs: lanes read neighbours (coalesced), barriers are cheap, tens of thousands of invocations hide latency. */
export const GPU_TUNING: Tuning = Object.freeze({
  workgroupSize: 256,
  maxTeam: 256,
  columnBytes: 256, // what half a subgroup of 32 reads
  minPerLane: 16, // four blocks of four loads in flight
  targetInvocations: 1048576, // 128 multiprocessors of 2048, four times
  wholeInvocations: 131072, // half of them: two dispatches less their second start
  targetMapped: 2 ** 40, // four Values a lane, and the scheduler does the rest
  maxChunks: 4096,
  mergedBytes: 1, // a twelfth of the rest, and mostly from a cache
  cacheBytes: 2 ** 25,
  wholePerLane: 8,
  mostPerLane: 4096,
  maxHeld: 16, // 64 registers of four bytes; the backward holds half as many, of two kinds
  maxHeldTeam: 1024, // where a lane may hold 8, or the backward 4: a multiprocessor has 64 registers for each of 1024
  subgroup: 0, // saves log2(32) of 9 barriers, which are not what takes time: no faster on an H100
  fence: true,
});

/** Software adapters: an invocation alone walks contiguous Values, and there is no barrier. */
export const SOFTWARE_TUNING: Tuning = Object.freeze({
  workgroupSize: 8, // two SIMD groups
  maxTeam: 1,
  columnBytes: 128, // the two cache lines that a CPU fetches together
  minPerLane: 64,
  targetInvocations: 64,
  wholeInvocations: 64,
  targetMapped: 64,
  maxChunks: 64,
  mergedBytes: 1, // few chunks, so it seldom matters
  cacheBytes: 2 ** 40, // a dispatch more costs more than it gains
  wholePerLane: 256,
  mostPerLane: 8192,
  maxHeld: 0, // its registers are memory
  maxHeldTeam: 1,
  subgroup: 0, // its lanes are alone
  fence: false, // SwiftShader was measured to keep the order; any other adapter gets the fence
});

/** The limits of a device that matter here. */
export interface DispatchLimits {
  readonly maxComputeWorkgroupsPerDimension: number;
}

/** How one operation maps to the device: what a Value is, how channels are cut, and the grid. */
export interface Dispatch {
  /**
   * `held`: one dispatch, a team per channel group that keeps it in registers; `whole`: one dispatch that
   * reads it twice; `split`: two dispatches, a team per chunk.
   */
  readonly path: "held" | "whole" | "split";
  /** Values that a lane holds in the `held` path, a power of two; 0 elsewhere. */
  readonly held: number;
  readonly value: ValueKind;
  readonly team: number;
  readonly lanesAdjacent: boolean;
  readonly workgroupSize: number;
  readonly groups: number;
  readonly inner: number;
  readonly perGroup: number;
  readonly chunk: number;
  readonly chunks: number;
  /** Whether there are so many chunks that a dispatch of its own has to merge them. */
  readonly apart: boolean;
  /** Whether every lane's Values of a chunk (`quad`: of a stretch) come in blocks of four, with none left over. */
  readonly even: boolean;
  readonly grid: readonly [number, number, number];
}

/**
 * Whether Values may be cut out of the rows of four channels as they lie: a lane alone takes all rows of a chunk.
 * It does not cut a row, and has much to do once a row: there must be rows enough, four to a lane where they need
 * not share words otherwise.
 */
function mayMix({ channels }: Extent, row: number, rows: number, dtype: Dtype, tuning: Tuning) {
  return (
    tuning.maxTeam === 1 &&
    channels % 4 === 0 &&
    row > 4 &&
    (rows * channels) / 4 >= 2 * tuning.workgroupSize &&
    (rows >= 4 || dtype !== "f32")
  );
}

/**
 * The widest Value that neither a row's end nor the last channel cuts through: of neighbours where their number
 * allows, else out of four rows.
 */
function valueOf(
  neighbours: number,
  rows: number,
  columns: boolean,
  dtype: Dtype,
  mixed: boolean,
): ValueKind {
  if (neighbours % 4 === 0) return columns ? "channels4" : "row4";
  if (mixed && !columns) return "quad";
  if (dtype === "f32") return rows % 4 === 0 ? "rows4" : "scalar";
  if (neighbours % 2 === 0) return columns ? "channels2" : "row2";
  return "half";
}

/** A memory burst: columns are not narrower, but where there are no more channels. */
const NARROW_BYTES = 64;

/** Smallest power of two >= n. */
function powerOfTwo(n: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(1, n)));
}

/** Values of each of `kinds` that a lane of a team may hold: those of 512 lanes fill half of the registers. */
function mostHeld(team: number, kinds: 1 | 2, { maxHeld }: Tuning): number {
  return Math.floor((maxHeld * Math.min(1, 512 / team)) / kinds);
}

/** A grid of at least `workgroups`, in as many dimensions as it takes. */
export function gridOf(
  workgroups: number,
  limits: DispatchLimits,
): readonly [number, number, number] {
  const most = limits.maxComputeWorkgroupsPerDimension;
  const rows = Math.ceil(workgroups / most) || 1;
  const height = Math.min(rows, most);
  return [Math.ceil(workgroups / rows), height, Math.ceil(rows / height)];
}

/** What else decides how an operation maps to the device. */
export interface DispatchOptions {
  /** No dispatch alone. */
  forbidWhole?: boolean;
  /** Whether chunks may be merged by a dispatch of their own; `always`: they are in any case. */
  apart?: boolean | "always";
  /** Values that a lane would hold per element it reads: x; or dz and xHat. */
  kinds?: 1 | 2;
  /** Keeps a part of a tensor to the Values of the whole. */
  value?: ValueKind;
  /** Whether a Value may have numbers of several channels of a row. */
  mixed?: boolean;
}

/**
 * Chooses path and grid. Pure: the same for the same arguments, on any machine.
 *
 * `purpose` is `reduce` where chunks have to be merged afterwards, and `map` where they do not.
 */
export function chooseDispatch(
  extent: Extent,
  dtype: Dtype,
  purpose: "reduce" | "map",
  tuning: Tuning,
  limits: DispatchLimits,
  options: DispatchOptions = {},
): Dispatch {
  const { forbidWhole = false, kinds = 1, mixed = true } = options;
  const reduces = purpose === "reduce";
  const single = extent.channels === 1;
  const columns = extent.inner === 1 && !single;
  const innerElements = single ? extent.count : extent.inner;
  const outer = single ? 1 : extent.outer;
  const value =
    options.value ??
    valueOf(
      columns ? extent.channels : innerElements,
      outer,
      columns,
      dtype,
      mixed && mayMix(extent, innerElements, outer, dtype, tuning),
    );
  const groups = extent.channels / channelsPerValue(value);
  const elements = elementsPerValue(value);
  const neighbours = value === "rows4" ? 1 : elements;
  const inner = columns || value === "quad" ? innerElements : innerElements / neighbours;
  const perGroup = extent.size / groups / elements;

  const lanesAdjacent = !columns && inner >= 8;
  const most = Math.min(tuning.maxTeam, tuning.workgroupSize);
  const numberBytes = dtype === "f32" ? 4 : 2;
  const bytes = extent.size * numberBytes;
  // What a lane sets up costs as much as a few Values, or tens of those of one number.
  const lanesWanted = powerOfTwo(perGroup / (value === "half" ? 48 : 4));
  const teamOf = (slots: number): number =>
    Math.max(1, Math.min(most, tuning.workgroupSize / slots, lanesWanted));
  // Where channels share a word, a team needs the statistics of the next channel too.
  const mayBeWhole = reduces && !forbidWhole && value !== "half";
  const holds = (team: number): boolean =>
    mayBeWhole &&
    // 16-bit numbers would take as many registers as f32, for half of the bytes.
    dtype === "f32" &&
    value !== "quad" &&
    perGroup <= team * mostHeld(team, kinds, tuning);
  // Every chunk's team reads what all chunks left, 16 bytes each, unless a dispatch of its own does it for all.
  const mergeable = Math.floor(Math.sqrt((extent.count * tuning.mergedBytes) / 16));
  // Where nothing is merged, a chunk more costs little.
  const least = (tuning.minPerLane * 4) / elements / (reduces ? 1 : dtype === "f32" ? 4 : 2);
  const usefulOf = (team: number): number => Math.ceil(perGroup / (team * Math.max(1, least)));

  const mayCrowd = options.apart === true && bytes >= tuning.cacheBytes;

  let team: number;
  if (lanesAdjacent) {
    team = teamOf(1);
    // A larger one where, and only where, it can hold a channel that does not stay in the cache.
    let larger = team;
    while (larger <= tuning.maxHeldTeam && !holds(larger)) larger *= 2;
    if (larger <= tuning.maxHeldTeam && kinds * bytes >= tuning.cacheBytes) team = larger;
  } else {
    // Columns as wide as allowed, unless narrower ones, of more lanes each, hold a channel or give work to more.
    let slots = Math.min(tuning.columnBytes / (neighbours * numberBytes), powerOfTwo(groups));
    slots = Math.min(slots, tuning.workgroupSize);
    const narrow = Math.min(slots, NARROW_BYTES / (neighbours * numberBytes));
    const wide = slots;
    while (reduces && slots > narrow && !holds(teamOf(slots))) slots /= 2;
    if (!holds(teamOf(slots))) {
      slots = wide;
      const narrower = reduces && !mayCrowd;
      const busy = (): number =>
        groups * teamOf(slots) * Math.min(mergeable, usefulOf(teamOf(slots)));
      while (narrower && slots > narrow && 16 * busy() < tuning.targetInvocations) slots /= 2;
    }
    team = teamOf(slots);
  }
  const workgroupSize = Math.max(tuning.workgroupSize, team);
  const slots = workgroupSize / team;

  // Teams of columns leave four channels' partial results each: half as many.
  const reducing = tuning.targetInvocations / (columns && team > 1 ? 2 : 1);
  const target = reduces ? reducing : tuning.targetMapped;
  const lanes = Math.max(1, groups * team);
  const wanted = Math.max(
    reduces && lanes >= tuning.wholeInvocations ? 1 : Math.ceil(target / lanes),
    Math.ceil(perGroup / (team * tuning.mostPerLane)),
  );
  const useful = Math.min(
    usefulOf(team),
    reduces ? tuning.maxChunks : Math.floor(2 ** 32 / Math.max(1, groups)),
  );
  const crowded = mayCrowd && 4 * Math.min(wanted, useful) > mergeable;
  const mayBeApart = reduces && (options.apart === "always" || crowded);
  const allowed = reduces && !mayBeApart ? mergeable : Infinity;
  const held = powerOfTwo(Math.ceil(perGroup / team));
  const mayBeHeld = holds(team);
  const small = mayBeHeld || perGroup <= team * tuning.wholePerLane;
  const parts = Math.max(1, Math.min(wanted, useful, allowed));
  const whole = mayBeWhole && (small || parts === 1);
  const cut = whole ? 1 : parts;
  // A chunk is a whole number of what a team takes at once, or of rows that channels share: of four where all come so.
  const step = value === "quad" ? inner : team;
  const even = perGroup % (4 * step) === 0;
  const quantum = cut === 1 ? 1 : even || !reduces ? 4 * step : step;
  const chunk = Math.max(1, Math.ceil(perGroup / cut / quantum) * quantum);
  const chunks = Math.max(1, Math.ceil(perGroup / chunk));
  return {
    path: !whole ? "split" : mayBeHeld ? "held" : "whole",
    held: whole && mayBeHeld ? held : 0,
    value,
    team,
    lanesAdjacent,
    workgroupSize,
    groups,
    inner,
    perGroup,
    chunk,
    chunks,
    apart: mayBeApart && !whole && chunks > 1,
    even,
    grid: gridOf(Math.ceil((groups * chunks) / slots), limits),
  };
}
