import { kindOf, requireKnown } from "../arguments.js";
import { complain, OptionError } from "../errors.js";
import type { Communicator } from "./communicator.js";
import { meet } from "./group.js";
import { GROUP_OPTIONS, type GroupOptions } from "./options.js";
import type { Transport } from "./transport.js";

/** Options of {@link createBroadcastCommunicator}. */
export interface BroadcastOptions extends GroupOptions {
  /** The group's name. */
  channel: string;
}

/**
 * A group whose ranks are tabs, frames and workers of one browser and one origin, or worker threads of one
 * Node process, over a `BroadcastChannel`. Browsers slow the timers of hidden tabs: raise `timeout` for them.
 *
 * @returns once all ranks have met. Rejects as `createCommunicator`, with OptionError where an option is unknown or wrong.
 * @example
 * ```ts
 * const communicator = await createBroadcastCommunicator({ channel: "training", rank: 0, size: 2 });
 * ```
 */
export async function createBroadcastCommunicator(
  options: BroadcastOptions,
): Promise<Communicator> {
  const subject = "createBroadcastCommunicator";
  requireKnown(subject, options, ["channel", ...GROUP_OPTIONS]);
  if (typeof options.channel !== "string") {
    throw new OptionError(
      complain(
        `${subject}: channel`,
        "the group's name",
        kindOf(options.channel),
        "pass the same string on all ranks",
      ),
    );
  }
  return await meet(overChannel(options.channel), options);
}

function overChannel(name: string): Transport {
  let channel: BroadcastChannel | null = null;
  return {
    maxBytes: Infinity,
    // Not before the group has found its options right: an open channel keeps a Node process alive.
    open(events) {
      channel = new BroadcastChannel(`webgpu-batchnorm/${name}`);
      channel.onmessage = ({ data }: { data: unknown }) => {
        if (data instanceof Uint8Array) events.message(data);
      };
    },
    send(message) {
      channel?.postMessage(message);
    },
    async close() {
      channel?.close();
    },
  };
}
