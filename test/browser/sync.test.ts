/** Ranks in a page, its workers and Node: BroadcastChannel, and NATS over its WebSocket. */
import { wsconnect } from "@nats-io/nats-core";
import { describe, expect, inject, test } from "vitest";
import { createNatsCommunicator } from "../../src/nats/index.js";
import {
  createBroadcastCommunicator,
  PeerTimeoutError,
  TransportError,
} from "../../src/sync/index.js";
import { join, joined, partOf } from "../support/parts.js";
import type { PartnerRequest } from "../support/nats-partner.js";
import type { Task } from "./support/rank.worker.js";

describe("BroadcastChannel", () => {
  const start = (task: Task): { results: Promise<number[][]>; worker: Worker } => {
    const worker = new Worker(new URL("./support/rank.worker.ts", import.meta.url), {
      type: "module",
    });
    const results = new Promise<number[][]>((resolve, reject) => {
      worker.onmessage = ({ data }: MessageEvent<number[][]>) => resolve(data);
      worker.onerror = (event) => reject(new Error(event.message));
    });
    worker.postMessage(task);
    return { results, worker };
  };

  test("a page and two workers get one another's parts in rank order", async () => {
    const options = { channel: "page", size: 3, timeout: 30_000 };
    const workers = [1, 2].map((rank) => start({ ...options, rank, rounds: 5, length: 1000 }));
    const communicator = await createBroadcastCommunicator({ ...options, rank: 0 });
    const expected = Array.from({ length: 5 }, (_, round) => joined(3, round, 1000));
    for (const [round, values] of expected.entries()) {
      expect([...(await communicator.allReduce(partOf(0, round, 1000), join))]).toEqual(values);
    }
    for (const { results } of workers) expect(await results).toEqual(expected);
    await communicator.close();
    for (const { worker } of workers) worker.terminate();
  });

  test("a worker that is terminated is named within the limit", async () => {
    const options = { channel: "terminated", size: 2, timeout: 1500 };
    const { worker } = start({ ...options, rank: 1, rounds: 1000, length: 3, timeout: 30_000 });
    const communicator = await createBroadcastCommunicator({ ...options, rank: 0 });
    await communicator.allReduce(partOf(0, 0, 3), join);
    worker.terminate();
    const failed = await (async () => {
      // It may have sent a part more before it ended.
      for (let round = 1; ; round += 1) await communicator.allReduce(partOf(0, round, 3), join);
    })().catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(PeerTimeoutError);
    expect((failed as PeerTimeoutError).ranks).toEqual([1]);
    await communicator.close();
  });
});

const url = inject("natsWebSocket");

describe.skipIf(url === null)("NATS over WebSocket", () => {
  test("a page and a Node process get one another's parts", async () => {
    const request: PartnerRequest = { group: "page", rank: 1, size: 2, rounds: 4, length: 3000 };
    const connection = await wsconnect({ servers: url! });
    connection.publish("partner", JSON.stringify(request));
    const { group, size } = request;
    const options = { servers: url!, group, rank: 0, size, timeout: 30_000 };
    const communicator = await createNatsCommunicator(options);
    for (let round = 0; round < request.rounds; round += 1) {
      const got = await communicator.allReduce(partOf(0, round, request.length), join);
      expect([...got]).toEqual(joined(2, round, request.length));
    }
    await communicator.close();
    await connection.close();
  });

  test("a server that does not answer is an error that names it", async () => {
    const options = { servers: "ws://127.0.0.1:1", group: "none", rank: 0, size: 1, timeout: 3000 };
    const error = await createNatsCommunicator(options).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(TransportError);
    expect(String(error)).toMatch(/ws:\/\/127\.0\.0\.1:1/);
  });
});
