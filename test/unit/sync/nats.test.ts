/** A real nats-server and ranks in processes of their own; what is killed here is killed for real. */
import { getEventListeners } from "node:events";
import { connect as dial, createServer, type AddressInfo } from "node:net";
import { inspect } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { connect } from "@nats-io/transport-node";
import { createNatsCommunicator } from "webgpu-batchnorm/nats";
import { OptionError } from "../../../src/errors.js";
import { PeerTimeoutError, TransportError } from "../../../src/sync/errors.js";
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

describe.skipIf(!here)("a server with rules", () => {
  let server: NatsServer;
  beforeAll(async () => {
    const deny = (what: string): string =>
      `permissions: { ${what}: { deny: "webgpu-batchnorm.>" } }`;
    const users = ["publish", "subscribe"].map((w) => `{ user: ${w}, password: x, ${deny(w)} }`);
    const all = "{ user: all, password: x }";
    const config = `authorization { users = [ ${users.join(", ")}, ${all} ] }`;
    server = await NatsServer.start({ config });
  });
  afterAll(() => server?.stop());

  test.each(["publish", "subscribe"])("that denies to %s: an error at once", async (user) => {
    const options = { servers: server.url, group: "denied", rank: 0, size: 2, timeout: 20_000 };
    const start = performance.now();
    const failing = createNatsCommunicator({ ...options, connect: { user, pass: "x" } });
    await expect(failing).rejects.toThrow(TransportError);
    expect(performance.now() - start).toBeLessThan(10_000);
  });

  test("gets the options of the connection, and another's denied subject changes nothing", async () => {
    const options = { servers: server.url, group: "allowed", rank: 0, size: 1, timeout: 5000 };
    await expect(createNatsCommunicator(options)).rejects.toThrow(TransportError);
    const connection = await connect({ servers: server.url, user: "publish", pass: "x" });
    const other = createNatsCommunicator({ ...options, connection, size: 2, timeout: 1000 });
    await expect(other).rejects.toThrow(/denied|Permissions Violation/i);
    await connection.close();
    const allowed = await createNatsCommunicator({
      ...options,
      connect: { user: "all", pass: "x" },
    });
    await allowed.close();
  });
});

describe.skipIf(!here)("a connection", () => {
  let server: NatsServer;
  beforeAll(async () => {
    server = await NatsServer.start();
  });
  afterAll(() => server?.stop());

  test.each(["close", "drain"] as const)("after its %s() is an error", async (end) => {
    const connection = await connect({ servers: server.url });
    void connection[end]();
    const { signal } = new AbortController();
    const options = { connection, group: "ended", rank: 0, size: 1, signal };
    const error: unknown = await createNatsCommunicator(options).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(TransportError);
    expect((error as Error).cause).toBeInstanceOf(Error);
    expect(getEventListeners(signal, "abort")).toEqual([]);
    await connection.closed();
  });

  test("of its own does not echo, and is closed where the ranks do not meet", async () => {
    let [said, heard] = ["", ""];
    let close = (): void => undefined;
    const closed = new Promise<void>((resolve) => (close = resolve));
    const proxy = createServer((socket) => {
      const upstream = dial(Number(new URL(server.url).port), "127.0.0.1");
      socket.on("data", (bytes) => (said += bytes.toString("latin1"))).pipe(upstream);
      upstream.on("data", (bytes) => (heard += bytes.toString("latin1"))).pipe(socket);
      socket.on("close", close).on("error", () => upstream.destroy());
      upstream.on("error", () => socket.destroy());
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    const { port } = proxy.address() as AddressInfo;
    const options = { servers: `nats://127.0.0.1:${port}`, group: "echo", rank: 0, size: 2 };
    await expect(createNatsCommunicator({ ...options, timeout: 500 })).rejects.toThrow(
      PeerTimeoutError,
    );
    await closed;
    proxy.close();
    expect(said).toContain("PUB webgpu-batchnorm.echo.all");
    expect(heard).not.toContain("MSG ");
  });
});

test.skipIf(!here)(
  "a server that comes back with a smaller max_payload gets smaller messages",
  async () => {
    const server = await NatsServer.start();
    const options = { servers: server.url, group: "smaller", size: 2, timeout: 20_000 };
    const members = await Promise.all(
      [0, 1].map((rank) => createNatsCommunicator({ ...options, rank })),
    );
    const call = (rank: number, round: number) =>
      members[rank]!.allReduce(partOf(rank, round, 20_000), join);
    // One part is sent before the server goes, one while it is away, and both of the next round when it is back.
    const early = call(0, 0);
    await new Promise((resolve) => setTimeout(resolve, 100));
    await server.kill();
    await new Promise((resolve) => setTimeout(resolve, 300));
    const late = call(1, 0);
    await server.configure({ maxPayload: 8192 });
    await server.start();
    for (const each of await Promise.all([early, late]))
      expect([...each]).toEqual(joined(2, 0, 20_000));
    for (const each of await Promise.all([call(0, 1), call(1, 1)]))
      expect([...each]).toEqual(joined(2, 1, 20_000));
    await Promise.all(members.map((each) => each.close()));
    await server.stop();
  },
);

describe("a server that is silent", () => {
  const silent = createServer(() => undefined);
  let address: string;
  beforeAll(async () => {
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    address = `127.0.0.1:${(silent.address() as AddressInfo).port}`;
  });
  afterAll(() => {
    silent.close();
  });
  const options = { group: "silent", rank: 0, size: 1 };

  test("is an error after timeout, whatever the client does", async () => {
    /** As a WebSocket that never opens: its close() is never told either. */
    const wsFactory = async () => ({
      socket: { close: () => undefined } as unknown as WebSocket,
      encrypted: false,
    });
    for (const more of [
      { servers: `nats://${address}` },
      { servers: `ws://${address}`, connect: { wsFactory } },
    ]) {
      const start = performance.now();
      const failing = createNatsCommunicator({ ...options, ...more, timeout: 300 });
      await expect(failing).rejects.toThrow(TransportError);
      expect(performance.now() - start).toBeLessThan(5000);
    }
  });

  test.each([0, 100])("an abort after %d ms is heard", async (ms) => {
    const controller = new AbortController();
    const { signal } = controller;
    const reason = new Error("enough");
    const pending = createNatsCommunicator({ ...options, servers: `nats://${address}`, signal });
    if (ms === 0) controller.abort(reason);
    else setTimeout(() => controller.abort(reason), ms);
    const start = performance.now();
    await expect(pending).rejects.toBe(reason);
    expect(performance.now() - start).toBeLessThan(5000);
  });
});

describe("without a server", () => {
  test("a WebSocket that there is not is an error at once", async () => {
    vi.stubGlobal("WebSocket", undefined);
    const options = { servers: "ws://127.0.0.1:1", group: "none", rank: 0, size: 1 };
    await expect(createNatsCommunicator(options)).rejects.toThrow(
      /servers: a WebSocket for ws:\/\/, got none here; run Node 22/,
    );
    vi.unstubAllGlobals();
  });

  test.each(["secret", "se/cret", "s@cret"])(
    "an address is named without its password %s",
    async (password) => {
      const servers = `nats://me:${password}@127.0.0.1:1`;
      const options = { servers, group: "none", rank: 0, size: 1 };
      const error = await createNatsCommunicator(options).catch((reason: unknown) =>
        inspect(reason),
      );
      expect(error).toMatch(/a NATS server at nats:\/\/127\.0\.0\.1:1,/);
      expect(error).not.toMatch(/me:|ret/);
    },
  );

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
