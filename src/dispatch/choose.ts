import type { Dtype, Extent } from "../descriptor.js";
import {
  dispatchFor,
  type Dispatch,
  type DispatchLimits,
  type DispatchOptions,
} from "./dispatch.js";
import { map } from "./map.js";
import { reduce } from "./reduce.js";
import type { Tuning } from "./tuning.js";

export type { Dispatch, DispatchLimits, DispatchOptions } from "./dispatch.js";
export { GPU_TUNING, SOFTWARE_TUNING, type Tuning } from "./tuning.js";

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
  return dispatchFor({ reduce, map }[purpose], extent, dtype, tuning, limits, options);
}
