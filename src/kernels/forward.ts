import { forwardFragments, teamFragments } from "../fragments.js";
import {
  affineOf,
  baseOf,
  channelsPerValue,
  mapOf,
  normalizingOf,
  only,
  read,
  residualOf,
  walkOf,
  write,
  type KernelSource,
  type KernelSpec,
  type Variant,
} from "../kernels.js";

/** A file of the same name in `shaders/forward/`. */
export type ForwardKernel = "statistics" | "normalize" | "finish" | "apply" | "whole" | "held";

/** Lanes side by side at most that plain sums merge: more would round too often for the bound of y. */
const MOST_SUMMED = 64;

/**
 * How the lanes of a team merge their statistics.
 *
 * @param plainly whether plain sums may do it: the first lane is sure to have some, which all are compared with, and those of
 * the lanes have not been merged before.
 */
export function mergingStatistics(v: Variant, plainly = true): string[] {
  if (v.team === 1) return ["forward/lib/merge_lane_statistics"];
  const summed = plainly && !v.lanesAdjacent && v.team <= MOST_SUMMED;
  const through = summed ? "columns" : v.subgroup > 0 ? "subgroup" : "shared";
  return ["forward/lib/shared_statistics", `forward/lib/merge_${through}_statistics`];
}

/** How the statistics of a chunk are gathered. */
export function gatheringStatistics(v: Variant): string[] {
  return ["forward/lib/statistics_along", `forward/lib/statistics_${walkOf(v)}`];
}

/** How the batch counter in `state` is bound. */
export function counterOf(v: Variant): string {
  return `forward/lib/counter_${channelsPerValue(v.value) > 1 ? "vector" : "word"}`;
}

function specOf(kernel: ForwardKernel, v: Variant): KernelSpec {
  const merging = mergingStatistics(v, kernel !== "normalize");
  const base = [...baseOf(v), `forward/${kernel}`, ...merging];
  const running = v.running ? ["forward/lib/running", counterOf(v)] : ["forward/lib/running_none"];
  const state = only(v.running, write("state"));
  if (kernel === "statistics") {
    return {
      fragments: [...base, ...gatheringStatistics(v), ...running],
      bindings: [read("x"), write("partials"), ...state],
    };
  }
  if (kernel === "apply") return applying(v);
  const learning = [...running, ...normalizingOf(v), "lib/saved", "forward/lib/finish"];
  const mapNormalized = mapOf(v, "lib/normalize");
  const walks = {
    normalize: ["forward/lib/partials", ...mapNormalized],
    finish: ["forward/lib/partials"],
    whole: [...gatheringStatistics(v), ...mapNormalized],
    held: ["team/held"],
  };
  return {
    fragments: [...base, ...learning, ...walks[kernel]],
    bindings: [
      ...only(kernel !== "finish" && !v.inPlace, read("x")),
      ...only(kernel === "normalize" || kernel === "finish", read("partials")),
      ...affineOf(v),
      ...residualOf(v),
      ...only(kernel !== "finish", write("y")),
      write("saved"),
      ...state,
    ],
  };
}

/** y from what is saved, gamma and beta included. */
export function applying(v: Variant): KernelSpec {
  return {
    fragments: [
      ...baseOf(v),
      "forward/apply",
      ...normalizingOf({ ...v, affine: false }),
      ...mapOf(v, "lib/normalize"),
    ],
    bindings: [...only(!v.inPlace, read("x")), read("saved"), ...residualOf(v), write("y")],
  };
}

/** A kernel of training's forward. */
export function forwardKernel(kernel: ForwardKernel): KernelSource {
  return {
    name: `forward/${kernel}`,
    specOf: (variant) => specOf(kernel, variant),
    fragments: () => ({ ...forwardFragments, ...teamFragments }),
  };
}
