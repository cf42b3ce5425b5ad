/** A real nats-server and ranks in processes of their own; what is killed here is killed for real. */
import { getEventListeners } from "node:events";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { connect } from "@nats-io/transport-node";
import { createNatsCommunicator } from "webgpu-batchnorm/nats";
import { OptionError } from "../../../src/errors.js";
import { TransportError } from "../../../src/sync/errors.js";
import { bundle } from "../../support/bundle.js";
import { haveNatsServer, NatsServer } from "../../support/nats-server.js";
import { join, joined, partOf } from "../../support/parts.js";
import { RankProcess } from "../../support/rank-process.js";
import type { Answer } from "../../support/rank.js";

const SIZE = 4;
const here = haveNatsServer();

describe.skipIf(!here)("over a real nats-server", () => {
  let server: NatsServer;
  let program: string;
  let ranks: RankProcess[] = [];
  let count = 0;

  beforeAll(async () => {
    // Small enough that a part of a few thousand numbers takes several messages.
    server = await NatsServer.start({ maxPayload: 8192 });
    program = await bundle("rank.ts");
  }, 60_000);
  afterEach(async () => {
    await Promise.all(ranks.map((rank) => rank.end()));
    ranks = [];
  });
  afterAll(() => server?.stop());

  const meeting = (rank: number, timeout: number) =>
    ({
      do: "meet",
      servers: server.url,
      group: `test-${count}`,
      rank,
      size: SIZE,
      timeout,
    }) as const;

  async function meet(timeout = 20_000): Promise<void> {
    count += 1;
    ranks = Array.from({ length: SIZE }, () => RankProcess.process(program));
    const met = await Promise.all(ranks.map((rank, index) => rank.tell(meeting(index, timeout))));
    expect(met).toEqual(ranks.map(() => ({ values: null })));
  }

  const reduce = (round: number, length = 5): Promise<Answer[]> =>
    Promise.all(ranks.map((rank) => rank.tell({ do: "reduce", round, length })));

  async function expectRound(answers: Promise<Answer[]>, round: number, length = 5): Promise<void> {
    for (const answer of await answers)
      expect(answer).toEqual({ values: joined(SIZE, round, length) });
  }

  test("4 processes get one another's parts, also above the server's max_payload", async () => {
    await meet();
    for (const round of [0, 1, 2]) await expectRound(reduce(round), round);
    await expectRound(reduce(3, 20_000), 3, 20_000); // 80 kB in messages of 8 kB
    await expectRound(
      Promise.all(ranks.map((rank) => rank.tell({ do: "reduce", round: 4, length: 0 }))),
      4,
      0,
    );
    const closed = await Promise.all(ranks.map((rank) => rank.tell({ do: "close" })));
    expect(closed).toEqual(ranks.map(() => ({ values: null })));
  });

  test("a process that is killed is named on all others within the limit", async () => {
    await meet(5000);
    await expectRound(reduce(0), 0);
    ranks[2]!.signal("SIGKILL");
    const start = performance.now();
    const survivors = [0, 1, 3].map((rank) =>
      ranks[rank]!.tell({ do: "reduce", round: 1, length: 5 }),
    );
    for (const answer of await Promise.all(survivors)) {
      expect(answer).toMatchObject({ error: "PeerTimeoutError", ranks: [2] });
    }
    expect(performance.now() - start).toBeLessThan(5000 + 4000);
    // Broken for good, and at once.
    const again = await ranks[0]!.tell({ do: "reduce", round: 2, length: 5 });
    expect(again).toMatchObject({ error: "PeerTimeoutError", ranks: [2] });
  });

  test("a process that is stopped for a while is waited for", async () => {
    await meet();
    await expectRound(reduce(0), 0);
    ranks[1]!.signal("SIGSTOP");
    const pending = reduce(1);
    await new Promise((resolve) => setTimeout(resolve, 2500));
    ranks[1]!.signal("SIGCONT");
    await expectRound(pending, 1);
    await expectRound(reduce(2), 2);
  });

  test("a process that is stopped for too long ends all, itself included", async () => {
    await meet(4000);
    ranks[1]!.signal("SIGSTOP");
    const pending = [0, 2, 3].map((rank) =>
      ranks[rank]!.tell({ do: "reduce", round: 0, length: 5 }),
    );
    for (const answer of await Promise.all(pending)) {
      expect(answer).toMatchObject({ error: "PeerTimeoutError", ranks: [1] });
    }
    ranks[1]!.signal("SIGCONT");
    // The round that the others had sent their parts of, and the next.
    await ranks[1]!.tell({ do: "reduce", round: 0, length: 5 });
    const late = await ranks[1]!.tell({ do: "reduce", round: 1, length: 5 });
    expect(late).toMatchObject({ error: "PeerTimeoutError", ranks: [1] });
  });

  test("a process that computes for long without a pause is waited for", async () => {
    await meet();
    const burning = ranks[3]!.tell({ do: "burn", ms: 2000 });
    await expectRound(reduce(0), 0);
    await burning;
  });

  test("a server that restarts between rounds and during one is waited for", async () => {
    await meet();
    await expectRound(reduce(0), 0);
    await server.kill();
    await server.start();
    await expectRound(reduce(1), 1);

    // Three are in the round when the server goes; the fourth joins while it is away.
    const pending = [0, 1, 2].map((rank) =>
      ranks[rank]!.tell({ do: "reduce", round: 2, length: 4000 }),
    );
    await new Promise((resolve) => setTimeout(resolve, 20));
    await server.kill();
    const last = ranks[3]!.tell({ do: "reduce", round: 2, length: 4000 });
    await new Promise((resolve) => setTimeout(resolve, 700));
    await server.start();
    await expectRound(Promise.all([...pending, last]), 2, 4000);
    for (const round of [3, 4]) await expectRound(reduce(round), round);
  });

  test("a server that stays away is an error within the limit", async () => {
    await meet(2000);
    await server.kill();
    const start = performance.now();
    try {
      for (const answer of await reduce(0))
        expect(answer).toMatchObject({ error: "PeerTimeoutError" });
      expect(performance.now() - start).toBeLessThan(2000 + 4000);
    } finally {
      await server.start();
    }
  });

  test("a process that is restarted is told from the one that it was", async () => {
    await meet(12_000);
    await expectRound(reduce(0), 0);
    ranks[0]!.signal("SIGKILL");
    const again = RankProcess.process(program);
    const start = performance.now();
    const returned = again.tell(meeting(0, 2000));
    const survivors = [1, 2, 3].map((rank) =>
      ranks[rank]!.tell({ do: "reduce", round: 1, length: 5 }),
    );
    for (const answer of await Promise.all(survivors)) {
      expect(answer).toMatchObject({ error: "PeerLostError", ranks: [0] });
    }
    expect(performance.now() - start).toBeLessThan(11_000);
    expect(await returned).toMatchObject({ error: "PeerTimeoutError", ranks: [1, 2, 3] });
    await again.end();
  });

  test("two processes of one rank, and parts of different lengths, are errors on all", async () => {
    await meet();
    const stranger = RankProcess.process(program);
    expect(await stranger.tell(meeting(1, 5000))).toMatchObject({ error: "GroupError" });
    await stranger.end();
    await expectRound(reduce(0), 0);
    const answers = ranks.map((rank, i) =>
      rank.tell({ do: "reduce", round: 1, length: i === 2 ? 6 : 5 }),
    );
    for (const answer of await Promise.all(answers)) {
      expect(answer).toMatchObject({ error: "PartMismatchError" });
    }
  });

  test("every message twice changes nothing", async () => {
    const connection = await connect({ servers: server.url });
    const group = "twice";
    // What a bridge or a careless subscriber might do: all that is said on the group's subjects is said again.
    const seen = new Set<string>();
    connection.subscribe(`webgpu-batchnorm.${group}.>`, {
      callback: (_, { subject, data }) => {
        const key = `${subject} ${Buffer.from(data).toString("base64")}`;
        if (!seen.delete(key)) {
          seen.add(key);
          connection.publish(subject, data);
        }
      },
    });
    await connection.flush();
    const members = await Promise.all(
      [0, 1, 2].map((rank) =>
        createNatsCommunicator({ servers: server.url, group, rank, size: 3, timeout: 5000 }),
      ),
    );
    for (let round = 0; round < 20; round += 1) {
      const got = await Promise.all(
        members.map((each) => each.allReduce(partOf(each.rank, round, 3000), join)),
      );
      for (const each of got) expect([...each]).toEqual(joined(3, round, 3000));
    }
    await Promise.all(members.map((each) => each.close()));
    await connection.close();
  });

  test("shares a connection of the caller's and leaves it open", async () => {
    const connection = await connect({ servers: server.url });
    const options = { connection, group: "shared", size: 2, timeout: 5000 };
    const members = await Promise.all(
      [0, 1].map((rank) => createNatsCommunicator({ ...options, rank })),
    );
    const got = await Promise.all(
      members.map((each) => each.allReduce(partOf(each.rank, 0, 3), join)),
    );
    for (const each of got) expect([...each]).toEqual(joined(2, 0, 3));
    await Promise.all(members.map((each) => each.close()));
    expect(connection.isClosed()).toBe(false);

    // A connection that the caller closes takes the communicator with it.
    const again = await Promise.all(
      [0, 1].map((rank) => createNatsCommunicator({ ...options, rank })),
    );
    await connection.close();
    await expect(again[0]!.allReduce(partOf(0, 0, 3), join)).rejects.toThrow(TransportError);
    await Promise.all(again.map((each) => each.close()));
  });

  test("leaves nothing on a connection or a signal of the caller's", async () => {
    const connection = await connect({ servers: server.url });
    const { listeners } = (connection as unknown as { protocol: { listeners: unknown[] } })
      .protocol;
    const before = listeners.length;
    const controller = new AbortController();
    const { signal } = controller;
    const one = { group: "leaves", rank: 0, size: 1, signal } as const;
    for (const from of [{ connection }, { servers: server.url }]) {
      const communicator = await createNatsCommunicator({ ...one, ...from });
      expect(listeners.length).toBe(before + (from.connection ? 1 : 0));
      expect(getEventListeners(signal, "abort")).toEqual([]);
      await communicator.close();
      expect(listeners.length).toBe(before);
    }
    await connection.close();
  });

  test.each<[string, () => void | Promise<void>, () => void | Promise<void>]>([
    ["is gone", () => server.kill(), () => server.start()],
    ["stands still", () => server.pause(), () => server.resume()],
  ])("close() does not wait for a server that %s", async (_, away, back) => {
    const connection = await connect({ servers: server.url, reconnectTimeWait: 50 });
    const options = { group: "away", size: 2, timeout: 20_000 };
    const members = await Promise.all([
      createNatsCommunicator({ ...options, rank: 0, connection }),
      createNatsCommunicator({ ...options, rank: 1, servers: server.url }),
    ]);
    await away();
    try {
      const start = performance.now();
      await Promise.all(members.map((each) => each.close()));
      // No round was begun, so that nobody waits for a last part: the half second of the flush, and room.
      expect(performance.now() - start).toBeLessThan(500 + 1500);
      expect(connection.isClosed()).toBe(false);
    } finally {
      await back();
    }
    await connection.close();
  });

  test("an abort ends the wait for the others and for the server", async () => {
    const controller = new AbortController();
    const options = {
      servers: server.url,
      group: "alone",
      rank: 0,
      size: 2,
      signal: controller.signal,
    };
    const waiting = createNatsCommunicator(options);
    setTimeout(() => controller.abort(new Error("enough")), 200);
    await expect(waiting).rejects.toThrow("enough");
    await expect(createNatsCommunicator(options)).rejects.toThrow("enough");
  });
});

describe("without a server", () => {
  test("an address where none answers is an error that names it", async () => {
    const options = {
      servers: "nats://127.0.0.1:1",
      group: "none",
      rank: 0,
      size: 1,
      timeout: 2000,
    };
    await expect(createNatsCommunicator(options)).rejects.toThrow(TransportError);
    await expect(createNatsCommunicator(options)).rejects.toThrow(/nats:\/\/127\.0\.0\.1:1/);
  });

  test("wrong options are errors", async () => {
    const options = { rank: 0, size: 1 };
    await expect(
      createNatsCommunicator({ ...options, group: "a.b", servers: "nats://x" }),
    ).rejects.toThrow(/letters, digits/);
    await expect(createNatsCommunicator({ ...options, group: "ab" })).rejects.toThrow(OptionError);
  });
});
