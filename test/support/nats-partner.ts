import { connect } from "@nats-io/transport-node";
import type { TestProject } from "vitest/node";
import { createNatsCommunicator } from "../../src/nats/index.js";
import { haveNatsServer, NatsServer } from "./nats-server.js";
import { join, partOf } from "./parts.js";

declare module "vitest" {
  interface ProvidedContext {
    /** WebSocket address of a nats-server; null where there is none to be had. */
    natsWebSocket: string | null;
  }
}

/** What a page asks for: another rank, in Node, over TCP. */
export interface PartnerRequest {
  group: string;
  rank: number;
  size: number;
  rounds: number;
  length: number;
}

/** Gives browser tests a nats-server, and in Node a partner for whoever asks on the subject `partner`. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  if (!haveNatsServer()) {
    project.provide("natsWebSocket", null);
    return async () => undefined;
  }
  const server = await NatsServer.start();
  project.provide("natsWebSocket", server.webSocketUrl);
  const connection = await connect({ servers: server.url });
  connection.subscribe("partner", {
    callback: (_, message) => {
      const request = message.json<PartnerRequest>();
      const { group, rank, size, rounds, length } = request;
      void (async () => {
        const options = { connection, group, rank, size, timeout: 20_000 };
        const communicator = await createNatsCommunicator(options);
        for (let round = 0; round < rounds; round += 1) {
          await communicator.allReduce(partOf(rank, round, length), join);
        }
        await communicator.close();
      })().catch((error: unknown) => console.error(error));
    },
  });
  return async () => {
    await connection.close();
    await server.stop();
  };
}
