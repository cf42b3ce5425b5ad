/** One rank as a process or a worker thread of its own, told what to do by messages: see RankProcess. */
import { parentPort } from "node:worker_threads";
import {
  createBroadcastCommunicator,
  type Communicator,
  type CommunicatorError,
} from "webgpu-batchnorm/sync";
import { createNatsCommunicator } from "webgpu-batchnorm/nats";
import { requestDevice } from "webgpu-batchnorm/node";
import { join, partOf } from "./parts.js";
import { bitsOf, drawInputs, startsOf, stepOfRank } from "./sync-shards.js";
import type { Call } from "./tolerance.js";

/** What a rank can be told. */
export type Order =
  | (Meeting & { do: "meet"; servers: string; group: string })
  | (Meeting & { do: "meet"; channel: string })
  | { do: "reduce"; round: number; length: number; tag?: string }
  | { do: "step"; call: Call; seed: number; sizes: readonly number[] }
  | { do: "burn"; ms: number }
  | { do: "close" };

interface Meeting {
  rank: number;
  size: number;
  timeout: number;
}

export type Answer =
  { values: number[] | null } | { error: string; message: string; ranks: number[] | null };

let communicator: Communicator | null = null;
let device: GPUDevice | null = null;
let me = 0;

function meet({ do: _, ...options }: Order & { do: "meet" }): Promise<Communicator> {
  return "channel" in options
    ? createBroadcastCommunicator(options)
    : createNatsCommunicator(options);
}

async function obey(order: Order): Promise<number[] | null> {
  switch (order.do) {
    case "meet":
      me = order.rank;
      communicator = await meet(order);
      return null;
    case "reduce": {
      const { round, length, tag = "" } = order;
      return [...(await communicator!.allReduce(partOf(me, round, length), join, { tag }))];
    }
    case "step": {
      const { call, seed, sizes } = order;
      device ??= await requestDevice({ adapter: "software", quiet: true });
      const [start, count] = [startsOf(sizes)[me]!, sizes[me]!];
      const inputs = drawInputs(call, seed);
      return bitsOf(await stepOfRank(device, communicator!, call, inputs, start, count));
    }
    case "burn":
      for (const end = performance.now() + order.ms; performance.now() < end;);
      return null;
    case "close":
      await communicator!.close();
      return null;
  }
}

const answerWith = (id: number, answer: Answer): void => {
  if (parentPort) parentPort.postMessage({ id, answer });
  else process.send!({ id, answer });
};

(parentPort ?? process).on("message", ({ id, order }: { id: number; order: Order }) => {
  void obey(order).then(
    (values) => answerWith(id, { values }),
    (error: CommunicatorError & { ranks?: number[]; rank?: number }) => {
      const ranks = error.ranks ?? (error.rank === undefined ? null : [error.rank]);
      answerWith(id, { error: error.name, message: error.message, ranks });
    },
  );
});
if (!parentPort) process.on("disconnect", () => process.exit());
