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
   * chunks by a dispatch of its own where teams would read a 36th of `mergedBytes`.
   */
  readonly cacheBytes: number;
  /** Values of a lane up to which a whole channel goes through one dispatch in any case. */
  readonly wholePerLane: number;
  /** Values of a lane at most before a channel is cut further. */
  readonly mostPerLane: number;
  /** Values that a lane may hold in registers, so that one dispatch does. 0: none. */
  readonly maxHeld: number;
  /**
   * Lanes of a team at most where only so many can hold a channel: a power of two. The device must allow workgroups of
   * as many (`maxComputeInvocationsPerWorkgroup`, 256 unless more was asked for).
   */
  readonly maxHeldTeam: number;
  /**
   * Lanes whose statistics merge by shuffles, a power of two and at most the adapter's `subgroupMinSize`; 0: none. The device
   * needs the feature `subgroups`, and subgroups of neighbouring invocations, which all known adapters have and WGSL does
   * not promise. The results are the same to the bit.
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
  maxHeld: 16, // 64 registers of four bytes
  maxHeldTeam: 1024, // where a lane may hold 8: a multiprocessor has 64 registers for each of 1024
  subgroup: 0, // saves log2(32) of 9 barriers, which are not what takes time: no faster on an H100 or H200
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
  /** Values that a lane holds in the `held` path; 0 elsewhere. */
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
 * Whether Values may be cut out of the rows of four channels as they lie. A chunk is whole rows then, so there must be
 * enough of them: for a lane alone, which has much to do once a row, four where it need not share words otherwise; for
 * teams, whose lanes have places of the row and take them in four rows or more, as many as fill a device, unless a lane has
 * few places. Teams that reduce do better with f32 whose Values are of a channel each.
 */
function mayMix(
  { channels }: Extent,
  row: number,
  rows: number,
  dtype: Dtype,
  reduces: boolean,
  tuning: Tuning,
) {
  const { maxTeam, workgroupSize, wholeInvocations } = tuning;
  if (channels % 4 !== 0 || row <= 4) return false;
  return maxTeam === 1
    ? (rows * channels) / 4 >= 2 * workgroupSize && (rows >= 4 || dtype !== "f32")
    : (dtype !== "f32" || !reduces) &&
        (row <= 4 * maxTeam || (channels / 4) * maxTeam * (rows / 4) >= wholeInvocations);
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

/** Values that a lane of a team may hold: those of 512 lanes fill half of the registers. */
function mostHeld(team: number, { maxHeld }: Tuning): number {
  return Math.floor(maxHeld * Math.min(1, 512 / team));
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
  forbidWhole?: boolean | undefined;
  /** Whether chunks may be merged by a dispatch of their own; `always`: they are in any case. */
  apart?: boolean | "always" | undefined;
  /** Tensors that are read: x; or dy besides. */
  kinds?: 1 | 2 | undefined;
  /** Keeps a part of a tensor to the Values of the whole. */
  value?: ValueKind | undefined;
  /** Whether a Value may have numbers of several channels of a row. */
  mixed?: boolean | undefined;
}

/** What a dispatch is chosen for, and the tensor seen as Values, before teams and chunks are chosen. */
interface Asked {
  readonly extent: Extent;
  readonly dtype: Dtype;
  /** Whether chunks have to be merged afterwards. */
  readonly reduces: boolean;
  readonly tuning: Tuning;
  readonly kinds: 1 | 2;
  readonly bytes: number;
  /** Whether many chunks of a large tensor may be merged by a dispatch of their own. */
  readonly mayCrowd: boolean;
  /** Whether a channel may be one chunk. */
  readonly mayBeWhole: boolean;
  readonly value: ValueKind;
  /** Whether rows are one number long, so that neighbours are of other channels. */
  readonly columns: boolean;
  /** Bytes of a Value that lie side by side. */
  readonly width: number;
  readonly groups: number;
  readonly inner: number;
  readonly perGroup: number;
}

function ask(
  extent: Extent,
  dtype: Dtype,
  reduces: boolean,
  tuning: Tuning,
  options: DispatchOptions,
): Asked {
  const { channels } = extent;
  const single = channels === 1;
  const columns = extent.inner === 1 && !single;
  const [rows, row] = single ? [1, extent.count] : [extent.outer, extent.inner];
  const mixes = options.mixed !== false && mayMix(extent, row, rows, dtype, reduces, tuning);
  const value = options.value ?? valueOf(columns ? channels : row, rows, columns, dtype, mixes);
  const groups = channels / channelsPerValue(value);
  const elements = elementsPerValue(value);
  const neighbours = value === "rows4" ? 1 : elements;
  const numberBytes = dtype === "f32" ? 4 : 2;
  const bytes = extent.size * numberBytes;
  return {
    extent,
    dtype,
    reduces,
    tuning,
    kinds: options.kinds ?? 1,
    bytes,
    mayCrowd: options.apart === true && bytes >= tuning.cacheBytes,
    // Where channels share a word, a team needs the statistics of the next channel too.
    mayBeWhole: reduces && options.forbidWhole !== true && value !== "half",
    value,
    columns,
    width: neighbours * numberBytes,
    groups,
    inner: columns || value === "quad" ? row : row / neighbours,
    perGroup: extent.size / groups / elements,
  };
}

/** Whether a team keeps a channel in registers: 16-bit numbers would take as many as f32, for half of the bytes. */
function holds(asked: Asked, team: number): boolean {
  const { mayBeWhole, dtype, value, perGroup, tuning } = asked;
  const most = team * mostHeld(team, tuning);
  return mayBeWhole && dtype === "f32" && value !== "quad" && perGroup <= most;
}

/** Chunks of a channel that teams can merge: each reads what all left, 16 bytes a chunk. */
function mergeable({ extent, tuning }: Asked): number {
  return Math.floor(Math.sqrt((extent.count * tuning.mergedBytes) / 16));
}

/** Chunks that leave each lane enough to do; where nothing is merged, one more costs little. */
function useful({ reduces, dtype, value, perGroup, tuning }: Asked, team: number): number {
  const least = (tuning.minPerLane * 4) / elementsPerValue(value);
  const cheaper = reduces ? 1 : dtype === "f32" ? 4 : 2;
  return Math.ceil(perGroup / (team * Math.max(1, least / cheaper)));
}

/** The largest team where so many share a workgroup. */
function teamBeside({ reduces, value, inner, perGroup, tuning }: Asked, slots: number): number {
  const { maxTeam, workgroupSize } = tuning;
  // What a lane sets up costs as much as a few Values, or tens of those of one number.
  const busy = powerOfTwo(perGroup / (value === "half" ? 48 : 4));
  // Lanes take places of a row; where sums are merged, several rows at once.
  const places = value === "quad" && (!reduces || maxTeam === 1) ? powerOfTwo(inner) : Infinity;
  return Math.max(1, Math.min(maxTeam, workgroupSize / slots, busy, places));
}

/** Whether each channel may be one chunk of its own with this team: enough of them fill the device, 16-bit ones half of it. */
function fills({ dtype, groups, perGroup, tuning }: Asked, team: number): boolean {
  const { wholeInvocations, mostPerLane } = tuning;
  const mayFillHalf = dtype !== "f32" && perGroup <= MOST_HALVES * team;
  const lanes = groups * team * (mayFillHalf ? 2 : 1);
  return lanes >= wholeInvocations && perGroup <= mostPerLane * team;
}

/** Values that a lane of a team may have at most to be given another's, of a channel that is one chunk. */
const MOST_FLOATS = 12;
const MOST_HALVES = 32;

/**
 * A team along a row. Where a channel is one chunk, one whose lanes have neither few Values, since merging takes as long as
 * reading some, nor many: 16 bits more, which take no longer to merge and half as long to read. Where channels share Values,
 * and lanes merge four at once, as small a one as has all places of a row. And a larger one of f32 where, and only where, it
 * holds a channel that does not stay in the cache, and reads no other tensor beside it.
 */
function teamOfRows(asked: Asked): number {
  const { mayBeWhole, dtype, value, bytes, kinds, inner, perGroup, tuning } = asked;
  const { maxTeam, maxHeldTeam, cacheBytes } = tuning;
  let team = teamBeside(asked, 1);
  if (!mayBeWhole || maxTeam === 1) return team;
  const most = dtype === "f32" ? MOST_FLOATS : MOST_HALVES;
  const least = value === "quad" ? inner : (kinds * perGroup) / most;
  while (team >= 2 * least && fills(asked, team / 2)) team /= 2;
  let larger = team;
  if (dtype !== "f32") {
    if (value !== "quad" && team < least && fills(asked, team)) larger *= 2;
  } else if (kinds === 1 && bytes >= cacheBytes) {
    while (larger <= maxHeldTeam && !holds(asked, larger)) larger *= 2;
  }
  return larger <= maxHeldTeam ? larger : team;
}

/** A team down columns as wide as allowed, unless narrower ones, of more lanes each, hold a channel or busy more. */
function teamOfColumns(asked: Asked): number {
  const { reduces, mayCrowd, width, groups, tuning } = asked;
  const { columnBytes, workgroupSize, targetInvocations } = tuning;
  const wide = Math.min(columnBytes / width, powerOfTwo(groups), workgroupSize);
  const narrow = reduces ? Math.min(wide, NARROW_BYTES / width) : wide;
  const widest = (suits: (team: number) => boolean): number => {
    let slots = wide;
    while (slots > narrow && !suits(teamBeside(asked, slots))) slots /= 2;
    return teamBeside(asked, slots);
  };
  const holding = widest((team) => holds(asked, team));
  if (holds(asked, holding)) return holding;
  if (mayCrowd) return teamBeside(asked, wide);
  return widest((team) => {
    const chunks = Math.min(mergeable(asked), useful(asked, team));
    return 32 * groups * team * chunks >= targetInvocations;
  });
}

/** Into how many chunks a channel is cut, and whether a dispatch of its own merges them. */
function partsOf(
  asked: Asked,
  team: number,
  always: boolean,
): { readonly parts: number; readonly apart: boolean } {
  const { reduces, columns, groups, perGroup, kinds, tuning, mayCrowd } = asked;
  // Teams of columns leave four channels' partial results each: half as many.
  const reducing = tuning.targetInvocations / (columns && team > 1 ? 2 : 1);
  const target = reduces ? reducing : tuning.targetMapped;
  const lanes = Math.max(1, groups * team);
  const filling = reduces && fills(asked, team) ? 1 : Math.ceil(target / lanes);
  const wanted = Math.max(filling, Math.ceil(perGroup / (team * tuning.mostPerLane)));
  const most = reduces ? tuning.maxChunks : Math.floor(2 ** 32 / Math.max(1, groups));
  const parts = Math.max(1, Math.min(wanted, useful(asked, team), most));
  const apart = reduces && (always || (mayCrowd && (6 / kinds) * parts > mergeable(asked)));
  return {
    parts: reduces && !apart ? Math.max(1, Math.min(parts, mergeable(asked))) : parts,
    apart,
  };
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
  const asked = ask(extent, dtype, purpose === "reduce", tuning, options);
  const { reduces, mayBeWhole, value, columns, groups, inner, perGroup } = asked;
  const lanesAdjacent = !columns && (inner >= 8 || value === "quad");
  const team = lanesAdjacent ? teamOfRows(asked) : teamOfColumns(asked);
  const workgroupSize = Math.max(tuning.workgroupSize, team);

  const { parts, apart } = partsOf(asked, team, options.apart === "always");
  const held = holds(asked, team);
  const whole = mayBeWhole && (held || perGroup <= team * tuning.wholePerLane || parts === 1);
  const cut = whole ? 1 : parts;
  // A chunk is a whole number of what a team takes at once, or of rows that channels share: of four where all come so.
  const step = value === "quad" ? inner * Math.max(1, Math.floor(team / inner)) : team;
  const even = perGroup % (4 * step) === 0;
  const quantum = cut === 1 ? 1 : even || !reduces ? 4 * step : step;
  const chunk = Math.max(1, Math.ceil(perGroup / cut / quantum) * quantum);
  const chunks = Math.max(1, Math.ceil(perGroup / chunk));
  return {
    path: !whole ? "split" : held ? "held" : "whole",
    held: held ? Math.ceil(perGroup / team) : 0,
    value,
    team,
    lanesAdjacent,
    workgroupSize,
    groups,
    inner,
    perGroup,
    chunk,
    chunks,
    apart: apart && !whole && chunks > 1,
    even,
    grid: gridOf(Math.ceil((groups * chunks * team) / workgroupSize), limits),
  };
}
