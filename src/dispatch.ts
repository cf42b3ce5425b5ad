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
  /** Bytes of neighbouring channels that a workgroup reads together where rows are short, a power of two. */
  readonly columnBytes: number;
  /** Values that a lane should have at least before a channel is cut further. */
  readonly minPerLane: number;
  /** Invocations to aim for: enough to fill the device. */
  readonly targetInvocations: number;
  /** Chunks of one channel at most: every team merges them all. */
  readonly maxChunks: number;
  /** Bytes for each element that all teams together may read to merge chunks; x and y take 12. */
  readonly mergedBytes: number;
  /** Values of a lane up to which a whole channel goes through one dispatch in any case. */
  readonly wholePerLane: number;
  /** Values of a lane at most before a channel is cut further. */
  readonly mostPerLane: number;
  /** Values that a lane may hold in registers, so that one dispatch reads each once. 0: none. */
  readonly maxHeld: number;
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
  columnBytes: 64, // a memory burst; wider columns have fewer lanes each, so more chunks that every team merges
  minPerLane: 8, // two blocks of four loads in flight
  targetInvocations: 131072, // 64 multiprocessors of 2048
  maxChunks: 512,
  mergedBytes: 1, // a twelfth of the rest, and mostly from a cache
  wholePerLane: 8,
  mostPerLane: 4096,
  maxHeld: 16, // 64 registers of four bytes; the backward holds half as many, of two kinds
  subgroup: 0, // saves log2(32) of 9 barriers; to be measured on a GPU before it is the default
  fence: true,
});

/** Software adapters: an invocation alone walks contiguous Values, and there is no barrier. */
export const SOFTWARE_TUNING: Tuning = Object.freeze({
  workgroupSize: 8, // two SIMD groups
  maxTeam: 1,
  columnBytes: 128, // the two cache lines that a CPU fetches together
  minPerLane: 64,
  targetInvocations: 64,
  maxChunks: 64,
  mergedBytes: 1, // few chunks, so it seldom matters
  wholePerLane: 256,
  mostPerLane: 8192,
  maxHeld: 0, // its registers are memory
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

/** Smallest power of two >= n. */
function powerOfTwo(n: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(1, n)));
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
  const { workgroupSize } = tuning;

  const lanesAdjacent = !columns && inner >= 8;
  const most = Math.min(tuning.maxTeam, workgroupSize);
  const columnSlots = tuning.columnBytes / (neighbours * (dtype === "f32" ? 4 : 2));
  const slotsWanted = lanesAdjacent ? 1 : Math.min(columnSlots, powerOfTwo(groups));
  const team = Math.max(
    1,
    Math.min(most, workgroupSize / Math.min(workgroupSize, slotsWanted), powerOfTwo(perGroup / 4)),
  );
  const slots = workgroupSize / team;

  const wanted = Math.max(
    Math.ceil(tuning.targetInvocations / Math.max(1, groups * team)),
    Math.ceil(perGroup / (team * tuning.mostPerLane)),
  );
  // Where nothing is merged, a chunk more costs little.
  const least = purpose === "reduce" ? tuning.minPerLane : Math.max(1, tuning.minPerLane / 4);
  const useful = Math.ceil(perGroup / (team * least));
  // Every chunk's team reads what all chunks left, 16 bytes each.
  const mergeable = Math.floor(Math.sqrt((extent.count * tuning.mergedBytes) / 16));
  const merged = Math.min(tuning.maxChunks, mergeable);
  const allowed = purpose === "reduce" ? merged : 65536;
  const held = powerOfTwo(Math.ceil(perGroup / team));
  const mayBeHeld = value !== "quad" && held <= (kinds === 1 ? tuning.maxHeld : tuning.maxHeld / 2);
  const small = mayBeHeld || perGroup <= team * tuning.wholePerLane;
  // Where channels share a word, a team needs the statistics of the next channel too.
  const mayBeWhole = purpose === "reduce" && !forbidWhole && value !== "half";
  const parts = Math.max(1, Math.min(wanted, useful, allowed));
  const whole = mayBeWhole && (small || parts === 1);
  const cut = whole ? 1 : parts;
  // A chunk is a whole number of what a team takes at once, or of rows that channels share: of four where all come so.
  const step = value === "quad" ? inner : team;
  const even = perGroup % (4 * step) === 0;
  const quantum = cut === 1 ? 1 : even ? 4 * step : step;
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
    even,
    grid: gridOf(Math.ceil((groups * chunks) / slots), limits),
  };
}
