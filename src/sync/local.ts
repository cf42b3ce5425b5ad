import { requireKnown } from "../arguments.js";
import type { Communicator } from "./communicator.js";
import { Group } from "./group.js";
import { randomId } from "./message.js";
import { requireGroup, type GroupOptions } from "./options.js";
import type { Transport, TransportEvents } from "./transport.js";

/**
 * A group whose ranks live in one process, such as one for each of several devices.
 *
 * @returns a communicator for each rank, in order. The caller closes them all.
 * @throws OptionError where size is no whole number >= 1.
 * @example
 * ```ts
 * const [first, second] = createLocalCommunicators(2);
 * const both = await Promise.all([
 *   first!.allReduce(new Float32Array([1]), sum),
 *   second!.allReduce(new Float32Array([2]), sum),
 * ]); // twice Float32Array [3]
 * ```
 */
export function createLocalCommunicators(
  size: number,
  options: Pick<GroupOptions, "timeout"> = {},
): Communicator[] {
  requireKnown("createLocalCommunicators", options, ["timeout"]);
  const members = new Set<TransportEvents>();
  requireGroup(0, size);
  const ids = Array.from({ length: size }, randomId);
  return ids.map((_, rank) => {
    let own: TransportEvents | null = null;
    const transport: Transport = {
      maxBytes: Infinity,
      open(events) {
        own = events;
        members.add(events);
      },
      send(message) {
        for (const each of members) {
          if (each !== own) queueMicrotask(() => each.message(message));
        }
      },
      async close() {
        if (own) members.delete(own);
      },
    };
    return new Group(transport, { ...options, rank, size }, undefined, ids);
  });
}
