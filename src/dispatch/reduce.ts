import {
  partsOf,
  slotsOf,
  teamBeside,
  useful,
  type Asked,
  type Purpose,
  type Share,
} from "./dispatch.js";
import type { Tuning } from "./tuning.js";

/** A memory burst: columns are not narrower, but where there are no more channels. */
const NARROW_BYTES = 64;

/** Values that a lane of a team may have at most to be given another's, of a channel that is one chunk. */
const MOST_FLOATS = 12;
const MOST_HALVES = 32;

/** Values that a lane of a team may hold: those of 512 lanes fill half of the registers. */
function mostHeld(team: number, { maxHeld }: Tuning): number {
  return Math.floor(maxHeld * Math.min(1, 512 / team));
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

/** Whether each channel may be one chunk of its own with this team: enough of them fill the device, 16-bit ones half of it. */
function fills({ dtype, groups, perGroup, tuning }: Asked, team: number): boolean {
  const { wholeInvocations, mostPerLane } = tuning;
  const mayFillHalf = dtype !== "f32" && perGroup <= MOST_HALVES * team;
  const lanes = groups * team * (mayFillHalf ? 2 : 1);
  return lanes >= wholeInvocations && perGroup <= mostPerLane * team;
}

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
  while (team > 1 && team >= 2 * least && fills(asked, team / 2)) team /= 2;
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
  const { mayCrowd, width, groups, tuning } = asked;
  const wide = slotsOf(asked);
  const narrow = Math.min(wide, NARROW_BYTES / width);
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
    return 32 * groups * team * chunks >= tuning.targetInvocations;
  });
}

/** Into how many chunks a channel is cut, and whether a dispatch of its own merges them. */
function chunksOf(asked: Asked, team: number): Pick<Share, "parts" | "apart"> {
  const { columns, groups, kinds, tuning, mayCrowd, mustMerge } = asked;
  // Teams of columns leave four channels' partial results each: half as many.
  const target = tuning.targetInvocations / (columns && team > 1 ? 2 : 1);
  const filling = fills(asked, team) ? 1 : Math.ceil(target / Math.max(1, groups * team));
  const parts = partsOf(asked, team, filling, tuning.maxChunks);
  const apart = mustMerge || (mayCrowd && (6 / kinds) * parts > mergeable(asked));
  return { parts: apart ? parts : Math.max(1, Math.min(parts, mergeable(asked))), apart };
}

/** Chunks of a channel have to be merged afterwards, unless it is one. */
export const reduce: Purpose = {
  reduces: true,
  share(asked) {
    const { mayBeWhole, lanesAdjacent, perGroup, tuning } = asked;
    const team = lanesAdjacent ? teamOfRows(asked) : teamOfColumns(asked);
    const { parts, apart } = chunksOf(asked, team);
    const held = holds(asked, team);
    if (mayBeWhole && (held || perGroup <= team * tuning.wholePerLane || parts === 1)) {
      return { path: held ? "held" : "whole", team, parts: 1, apart: false };
    }
    return { path: "split", team, parts, apart };
  },
};
