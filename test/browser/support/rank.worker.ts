/** A rank in a worker of the page: takes part in so many rounds, or stays silent. */
import { createBroadcastCommunicator } from "../../../src/sync/index.js";
import { join, partOf } from "../../support/parts.js";

export interface Task {
  channel: string;
  rank: number;
  size: number;
  rounds: number;
  length: number;
  timeout: number;
}

self.onmessage = ({ data: task }: MessageEvent<Task>) => {
  void (async () => {
    const { rounds, length, ...options } = task;
    const communicator = await createBroadcastCommunicator(options);
    const results: number[][] = [];
    for (let round = 0; round < rounds; round += 1) {
      results.push([...(await communicator.allReduce(partOf(task.rank, round, length), join))]);
    }
    self.postMessage(results);
    await communicator.close();
  })();
};
