import type { Dtype, Extent } from "../descriptor.js";
import { channelsPerValue, elementsPerValue, type ValueKind } from "../kernels.js";
import type { Tuning } from "./tuning.js";

/** The limits of a device that matter here. */
export interface DispatchLimits {
  /** Of the device, 65535 unless more was asked for. */
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
  /** What one load or store moves. */
  readonly value: ValueKind;
  /** Lanes that share a chunk. */
  readonly team: number;
  /** Whether the lanes of a team are neighbours in a workgroup. */
  readonly lanesAdjacent: boolean;
  /** Invocations of a workgroup. */
  readonly workgroupSize: number;
  /** Channel groups: as many as a Value has channels form one. */
  readonly groups: number;
  /** Values of a row. */
  readonly inner: number;
  /** Values of a channel group. */
  readonly perGroup: number;
  /** Values of a chunk; the last has what is left. */
  readonly chunk: number;
  /** Chunks of a channel group. */
  readonly chunks: number;
  /** Whether there are so many chunks that a dispatch of its own has to merge them. */
  readonly apart: boolean;
  /** Whether every lane's Values of a chunk (`quad`: of a stretch) come in blocks of four, with none left over. */
  readonly even: boolean;
  /** Workgroups in x, y and z. */
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

/** Smallest power of two >= n; at least 1. */
export function powerOfTwo(n: number): number {
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
export interface Asked {
  readonly extent: Extent;
  readonly dtype: Dtype;
  readonly reduces: boolean;
  readonly tuning: Tuning;
  readonly kinds: 1 | 2;
  readonly bytes: number;
  /** Whether many chunks of a large tensor may be merged by a dispatch of their own. */
  readonly mayCrowd: boolean;
  /** Whether a dispatch of its own merges the chunks in any case. */
  readonly mustMerge: boolean;
  /** Whether a channel may be one chunk. */
  readonly mayBeWhole: boolean;
  readonly value: ValueKind;
  /** Whether rows are one number long, so that neighbours are of other channels. */
  readonly columns: boolean;
  /** Whether the lanes of a team are neighbours in a row. */
  readonly lanesAdjacent: boolean;
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
  const inner = columns || value === "quad" ? row : row / neighbours;
  return {
    extent,
    dtype,
    reduces,
    tuning,
    kinds: options.kinds ?? 1,
    bytes,
    mayCrowd: options.apart === true && bytes >= tuning.cacheBytes,
    mustMerge: options.apart === "always",
    // Where channels share a word, a team needs the statistics of the next channel too.
    mayBeWhole: reduces && options.forbidWhole !== true && value !== "half",
    value,
    columns,
    lanesAdjacent: !columns && (inner >= 8 || value === "quad"),
    width: neighbours * numberBytes,
    groups,
    inner,
    perGroup: extent.size / groups / elements,
  };
}

/** The largest team where so many share a workgroup. */
export function teamBeside(asked: Asked, slots: number): number {
  const { reduces, value, inner, perGroup, tuning } = asked;
  const { maxTeam, workgroupSize } = tuning;
  // What a lane sets up costs as much as a few Values, or tens of those of one number.
  const busy = powerOfTwo(perGroup / (value === "half" ? 48 : 4));
  // Lanes take places of a row; where sums are merged, several rows at once.
  const places = value === "quad" && (!reduces || maxTeam === 1) ? powerOfTwo(inner) : Infinity;
  return Math.max(1, Math.min(maxTeam, workgroupSize / slots, busy, places));
}

/** Teams that share a workgroup where each takes neighbouring columns: as many as are to be read together. */
export function slotsOf({ width, groups, tuning }: Asked): number {
  return Math.min(tuning.columnBytes / width, powerOfTwo(groups), tuning.workgroupSize);
}

/** Chunks that leave each lane enough to do; where nothing is merged, one more costs little. */
export function useful({ reduces, dtype, value, perGroup, tuning }: Asked, team: number): number {
  const least = (tuning.minPerLane * 4) / elementsPerValue(value);
  const cheaper = reduces ? 1 : dtype === "f32" ? 4 : 2;
  return Math.ceil(perGroup / (team * Math.max(1, least / cheaper)));
}

/** Into how many chunks a channel is cut: as many as wanted, at most `most`, where lanes have neither too little nor too much. */
export function partsOf(asked: Asked, team: number, wanted: number, most: number): number {
  const least = Math.ceil(asked.perGroup / (team * asked.tuning.mostPerLane));
  return Math.max(1, Math.min(Math.max(wanted, least), useful(asked, team), most));
}

/** How a channel is shared out. */
export interface Share {
  readonly path: Dispatch["path"];
  readonly team: number;
  /** Into how many chunks it is cut. */
  readonly parts: number;
  /** Whether a dispatch of its own merges them. */
  readonly apart: boolean;
}

/** What a dispatch is for: `reduce` or `map`. */
export interface Purpose {
  /** Whether chunks have to be merged afterwards. */
  readonly reduces: boolean;
  share(asked: Asked): Share;
}

/** Path and grid for a purpose. Pure: the same for the same arguments, on any machine. */
export function dispatchFor(
  purpose: Purpose,
  extent: Extent,
  dtype: Dtype,
  tuning: Tuning,
  limits: DispatchLimits,
  options: DispatchOptions = {},
): Dispatch {
  const { reduces } = purpose;
  const asked = ask(extent, dtype, reduces, tuning, options);
  const { value, lanesAdjacent, groups, inner, perGroup } = asked;
  const { path, team, parts, apart } = purpose.share(asked);
  const workgroupSize = Math.max(tuning.workgroupSize, team);
  // A chunk is a whole number of what a team takes at once, or of rows that channels share: of four where all come so.
  const step = value === "quad" ? inner * Math.max(1, Math.floor(team / inner)) : team;
  const even = perGroup % (4 * step) === 0;
  const quantum = parts === 1 ? 1 : even || !reduces ? 4 * step : step;
  const chunk = Math.max(1, Math.ceil(perGroup / parts / quantum) * quantum);
  const chunks = Math.max(1, Math.ceil(perGroup / chunk));
  return {
    path,
    held: path === "held" ? Math.ceil(perGroup / team) : 0,
    value,
    team,
    lanesAdjacent,
    workgroupSize,
    groups,
    inner,
    perGroup,
    chunk,
    chunks,
    apart: apart && chunks > 1,
    even,
    grid: gridOf(Math.ceil((groups * chunks * team) / workgroupSize), limits),
  };
}
