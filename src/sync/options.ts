import { shown } from "../arguments.js";
import { complain, OptionError } from "../errors.js";

/** What every communicator is made with. */
export interface GroupOptions {
  /** This rank, 0 to `size - 1`; each taken once. */
  rank: number;
  /** Ranks of the group, the same on all of them. */
  size: number;
  /** Milliseconds until a meeting or a round that misses somebody is given up. Default 30 000. */
  timeout?: number | undefined;
  /** Gives up the meeting. */
  signal?: AbortSignal | undefined;
}

/** The names of {@link GroupOptions}. */
export const GROUP_OPTIONS = ["rank", "size", "timeout", "signal"];

/** @throws OptionError where these are no numbers of a group. */
export function requireGroup(rank: number, size: number, timeout = 1): void {
  const whole = (value: number, least: number): boolean =>
    Number.isSafeInteger(value) && value >= least && value < 2 ** 31;
  if (!whole(size, 1) || !whole(rank, 0) || rank >= size) {
    throw new OptionError(
      complain(
        "communicator",
        "size >= 1 and 0 <= rank < size",
        `rank ${rank} of ${size}`,
        "count ranks from 0",
      ),
    );
  }
  // A string would be written behind the time that it is added to.
  if (!(typeof timeout === "number" && timeout > 0 && timeout < 2 ** 31)) {
    throw new OptionError(
      complain("communicator: timeout", "milliseconds > 0", shown(timeout), "30000 is usual"),
    );
  }
}
