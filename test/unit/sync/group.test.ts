/** The protocol on a network that loses, repeats, delays and reorders messages, in simulated time. */
import { getEventListeners } from "node:events";
import { setImmediate } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { OptionError } from "../../../src/errors.js";
import { decode, encode, hashOf, HEADER_BYTES, Kind } from "../../../src/sync/message.js";
import { createCommunicator, MOST_PENDING } from "../../../src/sync/group.js";
import {
  CommunicatorClosedError,
  CommunicatorError,
  GroupError,
  PartMismatchError,
  PeerLostError,
  PeerTimeoutError,
  TransportError,
} from "../../../src/sync/errors.js";
import { sum } from "../../../src/sync/sum.js";
import { Network, type Endpoint } from "../../support/network.js";

/** What tells rank and round apart in every number, so that a mix-up shows. */
const partOf = (rank: number, round: number, length: number): Float32Array<ArrayBuffer> =>
  Float32Array.from({ length }, (_, i) => 1e4 * round + 100 * rank + i);

const join = (parts: readonly Float32Array[]): Float32Array<ArrayBuffer> =>
  Float32Array.from(parts.flatMap((part) => [...part]));

const expected = (size: number, round: number, length: number): number[] => [
  ...join(Array.from({ length: size }, (_, rank) => partOf(rank, round, length))),
];

const meet = (network: Network, members: readonly Endpoint[]): Promise<unknown> =>
  network.until(Promise.all(members.map(({ group }) => group.met)));

/** Every rank's call of one round, settled. */
function callAll(members: readonly Endpoint[], round: number, length = 3) {
  return Promise.allSettled(
    members.map(({ group, rank }) => group.allReduce(partOf(rank, round, length), join)),
  );
}

const reasons = (settled: readonly PromiseSettledResult<unknown>[]): unknown[] =>
  settled.map((each) => (each.status === "rejected" ? (each.reason as unknown) : "resolved"));

describe("whatever the network does", () => {
  test("all ranks get all parts in rank order, or a typed error in time", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          seed: fc.integer(),
          size: fc.integer({ min: 1, max: 5 }),
          rounds: fc.integer({ min: 1, max: 6 }),
          length: fc.integer({ min: 0, max: 150 }),
          loss: fc.double({ min: 0, max: 0.4, noNaN: true }),
          twice: fc.double({ min: 0, max: 0.6, noNaN: true }),
          delay: fc.constantFrom(0, 20, 100, 800),
          maxBytes: fc.constantFrom(200, 300, 1000),
          overlap: fc.boolean(),
        }),
        async ({ seed, size, rounds, length, overlap, ...weather }) => {
          // A rank that is done goes at once, as long as it can tell silence from bad luck.
          const mild = weather.loss <= 0.2 && weather.delay <= 100;
          const network = new Network(seed, weather);
          // Where two messages of five are lost and the others late, a minute may be too short.
          const members = network.group(size, { timeout: mild ? 60_000 : 600_000 });
          await meet(network, members);
          const run = async ({ group, rank }: Endpoint): Promise<void> => {
            const call = async (round: number): Promise<void> => {
              const got = await group.allReduce(partOf(rank, round, length), join);
              expect([...got]).toEqual(expected(size, round, length));
            };
            const all = Array.from({ length: rounds }, (_, round) => round);
            if (overlap) await Promise.all(all.map(call));
            else for (const round of all) await call(round);
            if (mild) await group.close();
          };
          await network.until(Promise.all(members.map(run)));
        },
      ),
      {
        numRuns: 200,
        examples: [
          [
            {
              ...{ seed: -339448316, size: 5, rounds: 2, length: 141, overlap: false },
              ...{ loss: 0.39986026240512734, twice: 0, delay: 800, maxBytes: 200 },
            },
          ],
        ],
      },
    );
  });

  test("a rank that dies anywhere is named, and no result is wrong", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          seed: fc.integer(),
          size: fc.integer({ min: 2, max: 5 }),
          victim: fc.nat(4),
          at: fc.integer({ min: 0, max: 3000 }),
          loss: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 0.2, noNaN: true })),
        }),
        async ({ seed, size, victim, at, loss }) => {
          const network = new Network(seed, { loss, delay: 200 });
          const members = network.group(size, { timeout: 5000 });
          const dead = members[victim % size]!;
          network.later(at, () => dead.kill());
          const survivors = members.filter((each) => each !== dead);
          const run = async ({ group, rank }: Endpoint): Promise<unknown> => {
            try {
              await group.met;
              for (let round = 0; ; round += 1) {
                const got = await group.allReduce(partOf(rank, round, 5), join);
                expect([...got]).toEqual(expected(size, round, 5));
                if (round === 1000) return "endless";
              }
            } catch (error) {
              return error;
            }
          };
          void run(dead);
          const ends = await network.until(Promise.all(survivors.map(run)));
          for (const end of ends) expect(end).toBeInstanceOf(PeerTimeoutError);
          // Where the message of the first that gave up is lost, another may miss that one instead.
          const named = ends.map((end) => (end as PeerTimeoutError).ranks.includes(dead.rank));
          expect(named).toContain(true);
          if (loss === 0) expect(named).not.toContain(false);
          // The limit, a last tick, and a message that tells it.
          expect(network.now).toBeLessThanOrEqual(at + 2 * 5000 + 1000);
        },
      ),
      {
        numRuns: 60,
        // Five seconds of retries that had grown to two seconds each did not get a living rank's part through.
        examples: [[{ seed: 1222343346, size: 5, victim: 2, at: 2039, loss: 0.19658426567912105 }]],
      },
    );
  });

  test("messages of an earlier run change nothing in a later one", async () => {
    const network = new Network(1);
    const first = network.group(3);
    await meet(network, first);
    for (const round of [0, 1, 2]) await network.until(callAll(first, 100 + round));
    const old = network.sent.splice(0);
    for (const each of first) each.kill();

    const second = network.group(3);
    await meet(network, second);
    for (const round of [0, 1, 2, 3]) {
      for (const { bytes, to } of old) network.deliver(bytes, to);
      const got = await network.until(callAll(second, round));
      for (const each of got) {
        expect(each).toMatchObject({ status: "fulfilled" });
        expect([...(each as { value: Float32Array }).value]).toEqual(expected(3, round, 3));
      }
      await network.pass(3000); // an old hello is no reason to give a living rank up
    }
    expect(second.map(({ group }) => group.failure)).toEqual([null, null, null]);
  });

  test.each<[string, number, "close" | "abandon"]>([
    ["of one that closed", 3, "close"],
    ["of one that failed", 3, "abandon"],
    ["of one of another size", 4, "close"],
    ["of one that never met", 3, "abandon"],
  ])("messages of an earlier run, %s, change nothing in a meeting", async (what, size, end) => {
    for (let seed = 0; seed < 20; seed += 1) {
      const network = new Network(seed, { delay: 100 });
      const first = network.group(size);
      if (what === "of one that never met") await network.pass(seed * 5);
      else await meet(network, first);
      for (const { group } of first) void group[end](new Error("enough"));
      await network.pass(seed * 10);
      for (const each of first) each.kill();
      const old = network.sent.splice(0);

      const second = network.group(3);
      // All of it to all: to those who now have the rank of the sender too.
      for (const { bytes } of old) network.deliver(bytes, null);
      await meet(network, second);
      for (const each of await network.until(callAll(second, 0)))
        expect([...(each as { value: Float32Array }).value]).toEqual(expected(3, 0, 3));
      expect(network.now).toBeLessThan(5000);
    }
  });

  test("a garbled part is asked for again", async () => {
    const network = new Network(2);
    const members = network.group(2);
    await meet(network, members);
    let garbled = 0;
    network.tamper = (bytes) => {
      if (decode(bytes)?.kind === Kind.part && garbled++ < 3) bytes[HEADER_BYTES + 2]! ^= 1;
      return bytes;
    };
    const got = await network.until(callAll(members, 7));
    expect(garbled).toBeGreaterThan(3);
    for (const each of got)
      expect([...(each as { value: Float32Array }).value]).toEqual(expected(2, 7, 3));
  });

  test("what is none of our messages is ignored", async () => {
    const network = new Network(3);
    const members = network.group(2);
    await meet(network, members);
    void callAll([members[0]!], 0);
    const { bytes } = network.sent.find((each) => decode(each.bytes)?.kind === Kind.part)!;
    const real = decode(bytes)!;
    // Right but for one thing each; were it taken, the true part would contradict it.
    const payload = real.payload.map((byte) => byte ^ 1);
    const forged = [{ session: real.session ^ 1n }, { id: real.id ^ 1n }, { to: 7 }].map((change) =>
      encode({ ...real, ...change }, { ...real, payload, hash: hashOf(payload) }),
    );
    const foreign = [new Uint8Array(0), new Uint8Array(500), bytes.slice(0, 60), bytes.slice(1)];
    for (const each of [...forged, ...foreign]) network.deliver(each, 1);
    await network.pass(50);
    const got = await network.until(callAll([members[1]!], 0));
    expect([...(got[0] as { value: Float32Array }).value]).toEqual(expected(2, 0, 3));
    expect(members.map(({ group }) => group.failure)).toEqual([null, null]);
  });
});

describe("a slow link", () => {
  test.each([
    ["in one piece", Infinity],
    ["in many", 20_000],
  ])("is not filled with what is under way already: %s", async (_, maxBytes) => {
    // A part takes 3 s: 3 MB at 1 MB/s; and rounds follow one another at once.
    const network = new Network(5, { bandwidth: 1000, maxBytes, delay: 20 });
    const members = network.group(2, { timeout: 30_000 });
    await meet(network, members);
    for (let round = 0; round < 6; round++) {
      const settled = await network.until(callAll(members, round, 750_000));
      expect(reasons(settled)).toEqual(["resolved", "resolved"]);
    }
    // Latency and one asking too many leave it at that.
    expect(network.now).toBeLessThan(6 * 3000 * 1.2);
    const sent = network.sent.reduce((sum, { bytes }) => sum + bytes.length, 0);
    expect(sent).toBeLessThan(1.1 * 2 * 6 * 3_000_000);
  });

  test("what gets lost on it is still asked for", async () => {
    const network = new Network(6, { bandwidth: 1000, maxBytes: 20_000, delay: 20, loss: 0.02 });
    const members = network.group(3, { timeout: 60_000 });
    await meet(network, members);
    for (let round = 0; round < 3; round++) {
      const settled = await network.until(callAll(members, round, 100_000));
      expect(reasons(settled)).toEqual(["resolved", "resolved", "resolved"]);
    }
  });
});

describe("ranks that are late", () => {
  test("are waited for within the limit", async () => {
    const network = new Network(4);
    const [first, second] = network.group(2, { timeout: 5000 }) as [Endpoint, Endpoint];
    await meet(network, [first, second]);
    const early = first.group.allReduce(partOf(0, 0, 3), join);
    await network.pass(4500);
    const late = second.group.allReduce(partOf(1, 0, 3), join);
    const [a, b] = await network.until(Promise.all([early, late]));
    expect([...a]).toEqual(expected(2, 0, 3));
    expect([...b]).toEqual([...a]);
  });

  test("are told from dead ones in the message", async () => {
    const network = new Network(5);
    const members = network.group(3, { timeout: 5000 });
    await meet(network, members);
    members[2]!.kill();
    const pending = members[0]!.group.allReduce(partOf(0, 0, 3), join, { tag: "conv1" });
    const error = (await network.until(
      pending.catch((reason: unknown) => reason),
    )) as PeerTimeoutError;
    expect(error).toBeInstanceOf(PeerTimeoutError);
    expect(error.ranks).toEqual([1, 2]);
    expect(error.message).toMatch(
      /round 0 "conv1": expected a part|round 0 "conv1": a part of every rank within 5000 ms/,
    );
    expect(error.message).toMatch(/rank 1 \(heard [01]\.\d s ago, has taken part in 0 rounds\)/);
    expect(error.message).toMatch(/rank 2 \(heard [45]\.\d s ago/);
    // The one that was not even waiting knows as well, and does not start another round.
    await network.pass(100);
    await expect(members[1]!.group.allReduce(partOf(1, 0, 3), join)).rejects.toThrow(
      /rank 0 gave up/,
    );
  });

  test("were stopped for a while: they read what has come before they complain", async () => {
    const network = new Network(6);
    const [first, second] = network.group(2, { timeout: 5000 }) as [Endpoint, Endpoint];
    await meet(network, [first, second]);
    const stopped = second.group.allReduce(partOf(1, 0, 3), join);
    second.stop();
    await network.pass(4900);
    // The other one contributes while it stands still past its own limit.
    const running = first.group.allReduce(partOf(0, 0, 3), join);
    await network.pass(1000);
    second.go();
    const got = await network.until(Promise.all([stopped, running]));
    expect([...got[0]]).toEqual(expected(2, 0, 3));
    await network.until(callAll([first, second], 1));
    expect(first.group.failure).toBeNull();
  });

  test("stopped for too long are given up, and find that out when they go on", async () => {
    const network = new Network(7);
    const [first, second] = network.group(2, { timeout: 5000 }) as [Endpoint, Endpoint];
    await meet(network, [first, second]);
    second.stop();
    const [a] = await network.until(callAll([first], 0));
    expect(reasons([a!])[0]).toBeInstanceOf(PeerTimeoutError);
    second.go();
    // It may complete the round whose parts it has; it does not get into the next.
    const late = second.group.allReduce(partOf(1, 0, 3), join);
    expect([...(await network.until(late))]).toEqual(expected(2, 0, 3));
    const [b] = await network.until(callAll([second], 1));
    expect(reasons([b!])[0]).toBeInstanceOf(PeerTimeoutError);
    expect(reasons([b!])[0]).toMatchObject({ ranks: [1] });
  });
});

describe("a connection that comes back", () => {
  test.each([
    ["between two rounds", 50],
    ["during one", -1],
  ])("%s goes on", async (_, between) => {
    const network = new Network(8);
    const members = network.group(3, { timeout: 20_000 });
    await meet(network, members);
    await network.until(callAll(members, 0));
    if (between >= 0) await network.pass(between);
    const pending = between >= 0 ? null : callAll(members, 1);
    for (const each of members) each.cut();
    await network.pass(2000);
    for (const each of members) each.mend();
    const sentBefore = network.now;
    const got = await network.until(pending ?? callAll(members, 1));
    for (const each of got)
      expect([...(each as { value: Float32Array }).value]).toEqual(expected(3, 1, 3));
    // What is missing is asked for with the next tick, not when a doubled delay has passed.
    expect(network.now - sentBefore).toBeLessThan(200);
  });

  test("too late is an error that says so", async () => {
    const network = new Network(9);
    const members = network.group(2, { timeout: 3000 });
    await meet(network, members);
    for (const each of members) each.cut();
    const got = reasons(await network.until(callAll(members, 0)));
    for (const error of got) expect(error).toBeInstanceOf(PeerTimeoutError);
    expect(String(got[0])).toMatch(/connection is interrupted/);
  });
});

describe("a transport whose largest message changes", () => {
  test.each([
    [1000, 300],
    [300, 1000],
  ])("from %d to %d bytes has what was lost cut anew", async (before, after) => {
    for (let seed = 0; seed < 20; seed += 1) {
      const network = new Network(seed, { maxBytes: before });
      const members = network.group(3, { timeout: 20_000 });
      await meet(network, members);
      network.weather.loss = 0.5;
      const calls = callAll(members, 0, 1000);
      Object.assign(network.weather, { maxBytes: after, loss: 0.1 });
      for (const each of await network.until(calls))
        expect([...(each as { value: Float32Array }).value]).toEqual(expected(3, 0, 1000));
    }
  });

  test("to one that no piece of a part fits into ends the group, and the others are told", async () => {
    const network = new Network(9);
    const members = network.group(2);
    await meet(network, members);
    const tag = "a tag of 40 characters, as long as it is";
    const [, other] = members.map(({ group, rank }) => {
      network.weather.loss = 1 - rank;
      return group.allReduce(partOf(rank, 0, 100), join, { tag });
    });
    network.weather.maxBytes = 180;
    const [told] = reasons(await network.until(Promise.allSettled([other])));
    expect(members[0]!.group.failure).toBeInstanceOf(TransportError);
    expect(told).toBeInstanceOf(PeerLostError);
    expect(String(told)).toMatch(/rank 0 gave up: .* got "message too large"/);
    expect(network.now).toBeLessThan(1000);
  });
});

describe("meeting", () => {
  test("names who does not come", async () => {
    const network = new Network(10);
    const members = [0, 2].map((rank) => network.join({ rank, size: 4, timeout: 2000 }));
    const ends = reasons(
      await network.until(Promise.allSettled(members.map(({ group }) => group.met))),
    );
    for (const end of ends) {
      expect(end).toBeInstanceOf(PeerTimeoutError);
      expect((end as PeerTimeoutError).ranks).toEqual([1, 3]);
    }
    expect(String(ends[0])).toMatch(/rank 1 \(never heard\), rank 3/);
  });

  test("takes in a process that was restarted before all had met", async () => {
    const network = new Network(11);
    const first = network.join({ rank: 0, size: 3, timeout: 5000 });
    const early = network.join({ rank: 1, size: 3, timeout: 5000 });
    await network.pass(500);
    early.kill();
    const again = network.join({ rank: 1, size: 3, timeout: 5000 });
    await network.pass(500);
    const last = network.join({ rank: 2, size: 3, timeout: 5000 });
    await meet(network, [first, again, last]);
    const got = await network.until(callAll([first, again, last], 0));
    for (const each of got)
      expect([...(each as { value: Float32Array }).value]).toEqual(expected(3, 0, 3));
  });

  test("takes in a process that closed and was started again", async () => {
    const network = new Network(12);
    const first = network.join({ rank: 0, size: 2, timeout: 5000 });
    const early = network.join({ rank: 1, size: 2, timeout: 5000 });
    await early.group.close();
    await network.pass(50);
    const again = network.join({ rank: 1, size: 2, timeout: 5000 });
    await meet(network, [first, again]);
  });

  test("two processes of one rank: all are told", async () => {
    const network = new Network(13);
    const members = [0, 1, 1].map((rank) => network.join({ rank, size: 3, timeout: 2000 }));
    const ends = reasons(
      await network.until(Promise.allSettled(members.map(({ group }) => group.met))),
    );
    for (const end of ends) expect(end).toBeInstanceOf(GroupError);
    expect(String(ends[1])).toMatch(/one process with rank 1/);
    expect(network.now).toBeLessThan(1000);
  });

  test("ranks that disagree about the size: all are told", async () => {
    const network = new Network(14);
    const members = [
      network.join({ rank: 0, size: 2, timeout: 2000 }),
      network.join({ rank: 1, size: 3, timeout: 2000 }),
    ];
    const ends = reasons(
      await network.until(Promise.allSettled(members.map(({ group }) => group.met))),
    );
    for (const end of ends) expect(end).toBeInstanceOf(GroupError);
    expect(network.now).toBeLessThan(1000);
  });

  test("a rank of size 1 goes on by itself, and who expected it is told at once", async () => {
    const network = new Network(8);
    const alone = network.join({ rank: 0, size: 1, timeout: 4000 });
    await network.until(alone.group.met);
    const other = network.join({ rank: 1, size: 2, timeout: 4000 });
    await expect(network.until(other.group.met)).rejects.toThrow(
      /group: size 2, got rank 0 of 1; start every rank with the same size/,
    );
    expect(network.now).toBeLessThan(1000);
    expect(reasons(await network.until(callAll([alone], 0)))).toEqual(["resolved"]);
  });

  test("running groups of one name and other sizes leave each other alone", async () => {
    const network = new Network(8);
    const members = network.group(2, { timeout: 4000 });
    await meet(network, members);
    // Met while the network was cut, so that neither group ended the other.
    for (const each of members) each.cut();
    const alone = network.join({ rank: 0, size: 1, timeout: 4000 });
    await network.until(alone.group.met);
    await network.pass(100);
    for (const each of members) each.mend();
    network.sent.length = 0;
    const newcomer = network.join({ rank: 1, size: 2, timeout: 4000 });
    await expect(network.until(newcomer.group.met)).rejects.toThrow(GroupError);
    await network.pass(1000);
    expect(network.sent.length).toBeLessThan(20);
    for (const each of members) expect(each.group.failure).toBe(null);
    expect(reasons(await network.until(callAll([...members, alone], 0)))).toEqual([
      ...["resolved", "resolved", "resolved"],
    ]);
  });

  test("a stranger that claims a rank of a running group is refused, and the group goes on", async () => {
    const network = new Network(15);
    const members = network.group(2, { timeout: 4000 });
    await meet(network, members);
    const stranger = network.join({ rank: 1, size: 2, timeout: 4000 });
    await expect(network.until(stranger.group.met)).rejects.toThrow(GroupError);
    await network.pass(3000);
    await network.until(callAll(members, 0));
    expect(members.map(({ group }) => group.failure)).toEqual([null, null]);
  });

  test("a restarted process ends the session long before the limit", async () => {
    const network = new Network(16);
    const members = network.group(3, { timeout: 20_000 });
    await meet(network, members);
    members[1]!.kill();
    const start = network.now;
    network.join({ rank: 1, size: 3, timeout: 20_000 });
    const ends = reasons(await network.until(callAll([members[0]!, members[2]!], 0)));
    for (const end of ends) {
      expect(end).toBeInstanceOf(PeerLostError);
      expect((end as PeerLostError).rank).toBe(1);
    }
    expect(network.now - start).toBeLessThan(6000);
  });

  test("is called off where the signal was aborted beforehand", async () => {
    const network = new Network(17);
    const signal = AbortSignal.abort(new Error("never"));
    const { group } = network.join({ rank: 0, size: 2, signal });
    await expect(group.met).rejects.toThrow("never");
    expect(group.failure).toMatchObject({ cause: signal.reason as Error });
  });

  test("a rank that gives up is no reason for the others to wait", async () => {
    const network = new Network(17);
    const controller = new AbortController();
    const joined = [{ signal: controller.signal }, {}].map((more, rank) =>
      network.join({ rank, size: 3, timeout: 5000, ...more }),
    );
    network.later(500, () => controller.abort(new Error("enough")));
    await expect(network.until(joined[1]!.group.met)).rejects.toThrow(/rank 0 gave up/);
    expect(network.now).toBeLessThan(1000);
  });

  test("ends also for a rank that the others have met, and it not them, where one of these is restarted", async () => {
    const network = new Network(17);
    const [last, early, first] = [2, 1, 0].map((rank) =>
      network.join({ rank, size: 3, timeout: 20_000 }),
    ) as [Endpoint, Endpoint, Endpoint];
    // It says whom it has met, and hears nothing more.
    network.tamper = (bytes) => {
      const { kind, rank, session } = decode(bytes)!;
      if (kind === Kind.hello && rank === 2 && session !== 0n) last.cut();
      return bytes;
    };
    await meet(network, [first, early]);
    network.tamper = null;
    early.kill();
    network.join({ rank: 1, size: 3, timeout: 20_000 });
    last.mend();
    await expect(network.until(last.group.met)).rejects.toThrow(PeerLostError);
    expect(network.now).toBeLessThan(10_000);
  });

  test("can be called off", async () => {
    const network = new Network(17);
    const controller = new AbortController();
    const { group } = network.join({ rank: 0, size: 2, signal: controller.signal });
    network.later(100, () => controller.abort(new Error("enough")));
    await expect(network.until(group.met)).rejects.toThrow("enough");
    await expect(group.allReduce(partOf(0, 0, 1), join)).rejects.toThrow(CommunicatorError);
  });

  test("bad numbers are errors at once", () => {
    const network = new Network(18);
    const bad = [
      { rank: 2, size: 2 },
      { rank: -1, size: 2 },
      { rank: 0.5, size: 2 },
      { rank: 0, size: 0 },
      { rank: 0, size: NaN },
      { rank: 0, size: 2, timeout: 0 },
      { rank: 0, size: 2, timeout: Infinity },
      { rank: 0, size: 2, timeout: "30000" as never },
    ];
    for (const options of bad) expect(() => network.join(options)).toThrow(OptionError);
  });
});

describe("ranks that do not do the same", () => {
  test.each([
    [
      "another length",
      { length: 4 },
      /3 numbers as on rank 0, got 4 numbers on rank 1|4 numbers as on rank 1/,
    ],
    ["another tag", { tag: "conv2" }, /"conv1".*"conv2"|"conv2".*"conv1"/],
  ])(
    "%s is an error on all of them",
    async (_, { length = 3, tag = "conv1" }: { length?: number; tag?: string }, text) => {
      const network = new Network(19);
      const members = network.group(3);
      await meet(network, members);
      const ends = reasons(
        await network.until(
          Promise.allSettled(
            members.map(({ group, rank }) =>
              group.allReduce(partOf(rank, 0, rank === 1 ? length : 3), join, {
                tag: rank === 1 ? tag : "conv1",
              }),
            ),
          ),
        ),
      );
      for (const end of ends) expect(end).toBeInstanceOf(PartMismatchError);
      expect(ends.map(String).join()).toMatch(text);
    },
  );

  test("two parts of one rank that differ are an error, early or late", async () => {
    for (const late of [false, true]) {
      const network = new Network(20);
      const members = network.group(2);
      await meet(network, members);
      if (late) await network.until(callAll(members, 0));
      else void callAll([members[0]!], 0);
      await network.pass(50);
      const original = network.sent.find(
        ({ bytes, from }) => from === 0 && decode(bytes)?.kind === Kind.part,
      )!;
      const message = decode(original.bytes)!;
      network.deliver(encode(message, { ...message, hash: message.hash ^ 1 }), null);
      await network.pass(50);
      expect(members[1]!.group.failure).toBeInstanceOf(PartMismatchError);
      await network.pass(50);
      expect(members[0]!.group.failure).toBeInstanceOf(PartMismatchError);
    }
  });

  test("one that says goodbye early is no reason to wait for the limit", async () => {
    const network = new Network(21);
    const members = network.group(2, { timeout: 30_000 });
    await meet(network, members);
    await network.until(callAll(members, 0));
    await network.until(members[1]!.group.close());
    const start = network.now;
    const ends = reasons(await network.until(callAll([members[0]!], 1)));
    expect(ends[0]).toBeInstanceOf(PeerLostError);
    expect((ends[0] as PeerLostError).rank).toBe(1);
    expect(network.now - start).toBeLessThan(100);
  });
});

describe("parts that are promised", () => {
  test("keep the order of the calls, whichever is there first", async () => {
    const network = new Network(28);
    const members = network.group(2);
    await meet(network, members);
    const pending = members.map(({ group, rank }) => {
      const later = (ms: number, round: number): Promise<Float32Array> =>
        new Promise((resolve) => network.later(ms, () => resolve(partOf(rank, round, 3))));
      // The ranks differ in what is ready first.
      const slow = rank === 0 ? 3000 : 10;
      return Promise.all([
        group.allReduce(later(slow, 0), join, { tag: "a" }),
        group.allReduce(later(3010 - slow, 1), join, { tag: "b" }),
        group.allReduce(partOf(rank, 2, 3), join, { tag: "c" }),
      ]);
    });
    for (const results of await network.until(Promise.all(pending))) {
      results.forEach((values, round) => expect([...values]).toEqual(expected(2, round, 3)));
    }
  });

  test("count against the limit from when they are there", async () => {
    const network = new Network(29);
    const members = network.group(1, { timeout: 1000 });
    const { group } = members[0]!;
    await meet(network, members);
    const part = new Promise<Float32Array>((resolve) =>
      network.later(5000, () => resolve(partOf(0, 0, 3))),
    );
    expect([...(await network.until(group.allReduce(part, join)))]).toEqual(expected(1, 0, 3));
  });

  test("that fail end the group, and the others are told why", async () => {
    const network = new Network(30);
    const members = network.group(2);
    await meet(network, members);
    const reason = new Error("the device was lost");
    const failing = members[0]!.group.allReduce(Promise.reject(reason), join);
    const waiting = callAll([members[1]!], 0);
    await expect(network.until(failing)).rejects.toBe(reason);
    const [other] = reasons(await network.until(waiting));
    expect(other).toBeInstanceOf(PeerLostError);
    expect(String(other)).toMatch(/a part that failed in round 0/);
  });

  test("may fail unseen where their call was refused", async () => {
    const unseen: unknown[] = [];
    const note = (reason: unknown): number => unseen.push(reason);
    process.on("unhandledRejection", note);
    const network = new Network(31);
    const members = network.group(2);
    await meet(network, members);
    const { group } = members[0]!;
    const late = (name: string): Promise<never> =>
      new Promise((_, reject) => setTimeout(() => reject(new Error(name)), 1));
    const signal = AbortSignal.abort(new Error("no more"));
    await expect(group.allReduce(late("aborted"), join, { signal })).rejects.toThrow("no more");
    const many = Array.from({ length: MOST_PENDING }, (_, round) =>
      group.allReduce(partOf(0, round, 1), join),
    );
    await expect(group.allReduce(late("one too many"), join)).rejects.toThrow(OptionError);
    const closing = group.close();
    expect(reasons(await Promise.allSettled(many))).toHaveLength(MOST_PENDING);
    await expect(group.allReduce(late("closed"), join)).rejects.toThrow(CommunicatorClosedError);
    await network.until(closing);
    await new Promise((resolve) => setTimeout(resolve, 20));
    process.off("unhandledRejection", note);
    expect(unseen).toEqual([]);
  });
});

describe("a call", () => {
  const part = Float32Array.of(1, 2);
  test.each<[string, unknown[], RegExp]>([
    [
      "an array",
      [[1, 2], sum],
      /^allReduce: part: a Float32Array, or a promise of one, got an Array;/,
    ],
    ["float64", [new Float64Array(2), sum], /part: .* got a Float64Array;/],
    ["nothing", [undefined, sum], /part: .* got nothing;/],
    ["swapped arguments", [sum, part], /part: .* got a function;/],
    ["no merge", [part], /^allReduce: merge: a function, got nothing; pass sum, gather/],
    ["options as merge", [part, { tag: "a" }], /merge: a function, got an Object;/],
    ["an unknown option", [part, sum, { tags: "a" }], /tags: .* did you mean tag\?/],
    ["no options", [part, sum, null], /an object of options, got nothing;/],
    ["a tag that is no text", [part, sum, { tag: 5 }], /tag: a string, got a number;/],
  ])("with %s is refused, and changes nothing", async (_, given, message) => {
    const network = new Network(40);
    const members = network.group(2);
    await meet(network, members);
    const { group } = members[0]!;
    const call = (group.allReduce as (...of: unknown[]) => Promise<unknown>).apply(group, given);
    await expect(call).rejects.toThrow(OptionError);
    await expect(call).rejects.toThrow(message);
    expect(group.failure).toBe(null);
    for (const each of await network.until(callAll(members, 0)))
      expect(each).toMatchObject({ status: "fulfilled" });
  });

  test("with a promise of something else ends the group", async () => {
    const network = new Network(41);
    const members = network.group(2);
    await meet(network, members);
    const failing = members[0]!.group.allReduce(Promise.resolve([1, 2] as never), join);
    const waiting = callAll([members[1]!], 0);
    await expect(network.until(failing)).rejects.toThrow(/part: .* got an Array;/);
    const [other] = reasons(await network.until(waiting));
    expect(other).toBeInstanceOf(PeerLostError);
    expect(String(other)).toMatch(/a part of another kind in round 0/);
  });

  test.each<[string, (part: Float32Array) => Float32Array | Promise<Float32Array>]>([
    ["now", (part) => part],
    ["promised", (part) => Promise.resolve(part)],
  ])("with a part whose memory was given away, %s, ends the group", async (_, give) => {
    const network = new Network(44);
    const members = network.group(2);
    await meet(network, members);
    const part = Float32Array.of(1, 2, 3);
    structuredClone(part.buffer, { transfer: [part.buffer] });
    const failing = members[0]!.group.allReduce(give(part), join);
    const waiting = callAll([members[1]!], 0);
    await expect(network.until(failing)).rejects.toThrow(TypeError);
    const [other] = reasons(await network.until(waiting));
    expect(other).toBeInstanceOf(PeerLostError);
    expect(String(other)).toMatch(/a part that cannot be copied in round 0/);
  });

  test("with a tag too long for a message is refused, and changes nothing", async () => {
    const network = new Network(45, { maxBytes: 300 });
    const members = network.group(2);
    await meet(network, members);
    const call = members[0]!.group.allReduce(partOf(0, 0, 3), join, { tag: "層".repeat(50) });
    await expect(call).rejects.toThrow(
      /^allReduce: tag: a tag that leaves 64 bytes of 300, got one of 50 characters; shorten it/,
    );
    // As long as may be, in characters of 3 bytes.
    const tag = "層".repeat(49);
    const settled = await network.until(
      Promise.all(
        members.map(({ group, rank }) => group.allReduce(partOf(rank, 0, 40), join, { tag })),
      ),
    );
    for (const each of settled) expect([...each]).toEqual(expected(2, 0, 40));
  });

  test.each(["\uFEFFlayer", "half \uD83D of a pair", "層 \u{1F600}"])(
    "takes the tag %j",
    async (tag) => {
      const network = new Network(46);
      const members = network.group(2);
      await meet(network, members);
      const calls = members.map(({ group, rank }) =>
        group.allReduce(partOf(rank, 0, 3), join, { tag }),
      );
      for (const each of await network.until(Promise.all(calls)))
        expect([...each]).toEqual(expected(2, 0, 3));
    },
  );

  test("takes whatever can be awaited", async () => {
    const network = new Network(42);
    const members = network.group(1);
    await meet(network, members);
    const part = { then: (give: (values: Float32Array) => void) => give(partOf(0, 0, 3)) };
    const got = await network.until(members[0]!.group.allReduce(part as never, join));
    expect([...got]).toEqual(expected(1, 0, 3));
  });
});

describe("a message that cannot be taken", () => {
  test("a farewell of torn words is none", async () => {
    const network = new Network(9);
    const members = network.group(2);
    await meet(network, members);
    const calls = callAll(members, 0);
    const { bytes } = network.sent.findLast(({ bytes }) => decode(bytes)?.kind === Kind.part)!;
    const { id, session } = decode(bytes)!;
    const [rank, to] = [decode(bytes)!.rank, 1 - decode(bytes)!.rank];
    const header = { kind: Kind.leave, rank, to, id, session, round: 0, done: 0, next: 1 };
    network.deliver(encode(header, { code: 2, text: "torn", payload: Uint8Array.of(1) }), to);
    expect(reasons(await network.until(calls))).toEqual(["resolved", "resolved"]);
  });

  test.each<[string, object, number, RegExp | null]>([
    ["larger than any", { bytes: 2 ** 28 + 4 }, MOST_PENDING - 1, /got a part of 268435460 bytes/],
    ["of a round too far ahead", { bytes: 2 ** 28 + 4 }, MOST_PENDING, null],
    ["of a chunk beyond its end", { offset: 8 }, 0, /got a chunk beyond its part/],
  ])("a part %s", async (_, change, round, message) => {
    const network = new Network(12);
    const members = network.group(2);
    await meet(network, members);
    const { id, session } = decode(network.sent.findLast(({ from }) => from === 0)!.bytes)!;
    const header = { kind: Kind.part, rank: 0, to: 1, id, session, round, done: 0, next: 0 };
    const rest = { hash: 1, bytes: 12, payload: new Uint8Array(8), ...change };
    network.deliver(encode(header, rest), 1);
    await network.pass(50);
    const { failure } = members[1]!.group;
    if (message) expect(failure).toBeInstanceOf(PartMismatchError);
    expect(failure?.message ?? "").toMatch(message ?? /^$/);
  });

  test("a part of this rank's own that is larger than any ends the group", async () => {
    const network = new Network(13);
    const members = network.group(2);
    await meet(network, members);
    const part = Object.defineProperty(new Float32Array(1), "byteLength", { value: 2 ** 28 + 4 });
    const failing = members[0]!.group.allReduce(part, join);
    await expect(failing).rejects.toThrow(/at most 268435456 bytes, got 268435460; reduce in/);
    const [other] = reasons(await network.until(callAll([members[1]!], 0)));
    expect(String(other)).toMatch(/too large a part in round 0/);
  });

  test("a part that has no room ends the group, not the transport's loop", async () => {
    const network = new Network(10);
    const members = network.group(2);
    await meet(network, members);
    const calls = callAll(members, 0, 1000);
    const real = globalThis.Uint8Array;
    const failing = new Proxy(real, {
      construct(Type, given) {
        if (given[0] === 4000) throw new RangeError("Array buffer allocation failed");
        return new Type(...(given as [number]));
      },
    });
    // From here on nobody has room for the other's part.
    globalThis.Uint8Array = failing;
    const settled = await network.until(calls).finally(() => (globalThis.Uint8Array = real));
    for (const { group } of members) expect(group.failure).toBeInstanceOf(CommunicatorError);
    expect(reasons(settled).map((reason) => (reason as Error).name)).not.toContain("RangeError");
    expect(
      (members.find(({ group }) => group.failure?.cause)!.group.failure!.cause as Error).name,
    ).toBe("RangeError");
  });

  test("whoever cannot go on says so, and the others are told", async () => {
    const network = new Network(11);
    const members = network.group(2);
    await meet(network, members);
    await network.until(callAll(members, 0));
    const reason = new Error("no memory");
    members[0]!.group.abandon(reason);
    members[0]!.group.abandon(new Error("again"));
    const settled = await network.until(callAll(members, 1));
    const [own, other] = reasons(settled) as Error[];
    expect(own).toBeInstanceOf(CommunicatorError);
    expect(own!.cause).toBe(reason);
    expect(other).toBeInstanceOf(PeerLostError);
  });

  test.each([152, 200])("says what has room where messages are of %d bytes", async (maxBytes) => {
    const network = new Network(11, { maxBytes });
    const members = network.group(20);
    await meet(network, members);
    const waiting = members[1]!.group.allReduce(partOf(1, 0, 3), join);
    members[0]!.group.abandon(new Error("no memory"));
    const [other] = reasons(await network.until(Promise.allSettled([waiting])));
    expect(other).toBeInstanceOf(PeerLostError);
    expect(String(other)).toMatch(/rank 0 gave up: allReduce: a group that goes on/);
    expect(network.now).toBeLessThan(1000);

    const later = new Network(11, { maxBytes });
    const second = later.group(20);
    await meet(later, second);
    for (const each of second.slice(2)) each.kill();
    const [own] = reasons(await later.until(callAll(second.slice(0, 1), 0)));
    await later.pass(100);
    const told = second[1]!.group.failure as PeerTimeoutError;
    expect(told).toBeInstanceOf(PeerTimeoutError);
    // As many as have room.
    const { ranks } = own as PeerTimeoutError;
    expect(told.ranks).toEqual(ranks.slice(0, Math.floor((maxBytes - HEADER_BYTES) / 4)));
  });
});

describe("ends", () => {
  test("close rejects what is pending, is idempotent, and later calls reject with the same error", async () => {
    const network = new Network(22);
    const members = network.group(2);
    await meet(network, members);
    const { group } = members[0]!;
    const pending = callAll([members[0]!], 0);
    const closing = group.close();
    expect(group.close()).toBe(closing);
    const [end] = reasons(await network.until(pending));
    expect(end).toBeInstanceOf(CommunicatorClosedError);
    await network.until(closing);
    await expect(group.allReduce(partOf(0, 1, 1), join)).rejects.toBe(end);
    expect(group.failure).toBe(end);
  });

  test("a last part that got lost is still sent by a rank that is closing", async () => {
    const network = new Network(23);
    const members = network.group(2);
    await meet(network, members);
    const [first, second] = members as [Endpoint, Endpoint];
    // Nothing of the first's own sending arrives; it has the other's part and goes.
    let lost = 0;
    network.tamper = (bytes) => {
      const message = decode(bytes)!;
      if (message.kind === Kind.part && message.rank === 0 && lost++ < 2) return null;
      return bytes;
    };
    const a = first.group.allReduce(partOf(0, 0, 3), join).then(() => first.group.close());
    const b = second.group.allReduce(partOf(1, 0, 3), join);
    await network.until(Promise.all([a, b]));
    expect([...(await b)]).toEqual(expected(2, 0, 3));
    expect(lost).toBeGreaterThanOrEqual(2);
  });

  test.each<[string, (endpoints: readonly Endpoint[]) => void, (own: readonly Endpoint[]) => void]>(
    [
      [
        "connection is cut",
        (all) => all.forEach((each) => each.cut()),
        (all) => all.forEach((each) => each.mend()),
      ],
      ["process is stopped", ([first]) => first!.stop(), ([first]) => first!.go()],
    ],
  )("a last part that got lost is sent after a while in which the %s", async (_, away, back) => {
    const network = new Network(23);
    const members = network.group(2, { timeout: 10_000 });
    await meet(network, members);
    let lost = 0;
    network.tamper = (bytes) => {
      const { kind, rank } = decode(bytes)!;
      return kind === Kind.part && rank === 0 && lost++ < 2 ? null : bytes;
    };
    const calls = callAll(members, 0);
    await network.pass(50);
    const closing = members[0]!.group.close();
    away(members);
    await network.pass(4000);
    back(members);
    expect(reasons(await network.until(calls))).toEqual(["resolved", "resolved"]);
    await network.until(closing);
    expect(network.now).toBeLessThan(6000);
  });

  test("a last part is sent to its end over a slow link", async () => {
    const network = new Network(29, { maxBytes: 20_000, delay: 20 });
    const members = network.group(2, { timeout: 20_000 });
    await meet(network, members);
    const [first, second] = members as [Endpoint, Endpoint];
    const b = second.group.allReduce(partOf(1, 0, 750_000), join);
    // What the first sends takes 6 s; it has the other's part at once.
    network.weather.bandwidth = 500;
    const a = first.group.allReduce(partOf(0, 0, 750_000), join).then(() => first.group.close());
    await network.until(Promise.all([a, b]));
    expect(await b).toHaveLength(1_500_000);
    expect(network.now).toBeLessThan(8000);
  });

  test("a connection that is gone for good is no reason to stay", async () => {
    const network = new Network(23);
    const members = network.group(2, { timeout: 10_000 });
    await meet(network, members);
    const calls = callAll(members, 0);
    members[1]!.kill();
    await network.pass(50);
    const closing = members[0]!.group.close();
    members[0]!.cut();
    network.later(500, () => members[0]!.lose());
    await network.until(closing);
    expect(network.now).toBeLessThan(1000);
    void calls;
  });

  test("a signal ends the group, one that was aborted beforehand does not", async () => {
    const network = new Network(24);
    const members = network.group(2);
    await meet(network, members);
    const { group } = members[0]!;
    const reason = new Error("the user went away");
    await expect(
      group.allReduce(partOf(0, 0, 1), join, { signal: AbortSignal.abort(reason) }),
    ).rejects.toBe(reason);
    expect(group.failure).toBeNull();
    await network.until(callAll(members, 0));

    const controller = new AbortController();
    const pending = group.allReduce(partOf(0, 1, 1), join, { signal: controller.signal });
    controller.abort(reason);
    await expect(pending).rejects.toBe(reason);
    expect(group.failure).toMatchObject({ cause: reason });
    const [other] = reasons(await network.until(callAll([members[1]!], 1)));
    expect(other).toBeInstanceOf(PeerLostError);
    expect(String(other)).toMatch(/rank 0 gave up/);
  });

  test("a merge that throws ends the group", async () => {
    const network = new Network(25);
    const members = network.group(2);
    await meet(network, members);
    const bad = new Error("no memory");
    const failing = members[0]!.group.allReduce(partOf(0, 0, 1), () => {
      throw bad;
    });
    const other = members[1]!.group.allReduce(partOf(1, 0, 1), join);
    await expect(network.until(failing)).rejects.toBe(bad);
    await network.until(other);
    expect(members[0]!.group.failure).toMatchObject({ cause: bad });
    await network.pass(50);
    expect(members[1]!.group.failure).toBeInstanceOf(PeerLostError);
  });

  test("too many calls at a time are refused and harm nothing", async () => {
    const network = new Network(26);
    const members = network.group(2);
    await meet(network, members);
    const { group } = members[0]!;
    const many = Array.from({ length: MOST_PENDING }, (_, round) =>
      group.allReduce(partOf(0, round, 1), join),
    );
    await expect(group.allReduce(partOf(0, 0, 1), join)).rejects.toThrow(OptionError);
    const theirs = Array.from({ length: MOST_PENDING }, (_, round) =>
      members[1]!.group.allReduce(partOf(1, round, 1), join),
    );
    const got = await network.until(Promise.all([...many, ...theirs]));
    got.forEach((each, i) => expect([...each]).toEqual(expected(2, i % MOST_PENDING, 1)));
  });

  test("a transport that is gone for good is an error", async () => {
    const network = new Network(27, { maxBytes: 200 });
    const members = network.group(2);
    await meet(network, members);
    network.weather.maxBytes = 1; // the transport throws on every message
    const [end] = reasons(await network.until(callAll([members[0]!], 0)));
    expect(end).toBeInstanceOf(TransportError);
  });
});

test("a transport that cannot be opened is an error, and leaves nothing on the signal", async () => {
  const { signal } = new AbortController();
  const cause = new Error("closed");
  let sent = 0;
  const transport = {
    maxBytes: 1000,
    open: () => {
      throw cause;
    },
    send: () => {
      sent += 1;
    },
    close: async () => undefined,
  };
  const error: unknown = await createCommunicator(transport, { rank: 0, size: 2, signal }).catch(
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(TransportError);
  expect(error).toMatchObject({ cause });
  expect(sent).toBe(0);
  expect(getEventListeners(signal, "abort")).toEqual([]);
});

describe("a transport that is not as it should be", () => {
  const silent = {
    maxBytes: 1000,
    open: () => undefined,
    send: () => undefined,
    close: async () => undefined,
  };
  const options = { rank: 0, size: 2, timeout: 50 };

  test.each([NaN, 0, 151])("is refused where its messages are of %d bytes", async (maxBytes) => {
    const failing = createCommunicator({ ...silent, maxBytes }, options);
    await expect(failing).rejects.toThrow(OptionError);
    await expect(failing).rejects.toThrow(/maxBytes: 152 bytes at least, got/);
  });

  test.each(["open", "send"])("ends the group where its %s() rejects", async (name) => {
    const cause = new Error("the channel is closed");
    const failing = createCommunicator({ ...silent, [name]: () => Promise.reject(cause) }, options);
    await expect(failing).rejects.toThrow(TransportError);
    await expect(failing).rejects.toMatchObject({ cause });
  });

  test.each<[string, () => void | Promise<void>]>([
    ["nothing", () => undefined],
    ["an error", () => Promise.reject(new Error("closed twice"))],
    [
      "an error at once",
      () => {
        throw new Error("closed twice");
      },
    ],
  ])("changes no other error where its close() gives %s", async (_, close) => {
    const failing = createCommunicator({ ...silent, close }, options);
    await expect(failing).rejects.toThrow(PeerTimeoutError);
  });
});

test("sum adds in rank order and rounds once", () => {
  const parts = [2 ** 24, 1, 1, -(2 ** 24)].map((value) => Float32Array.of(value, value));
  expect([...sum(parts)]).toEqual([2, 2]);
});

test("hashing and adding take little more than a plain loop", () => {
  const values = Float32Array.from({ length: 2 ** 21 }, (_, i) => i);
  const bytes = new Uint8Array(values.buffer);
  const plain = (): number => {
    let hash = 0;
    for (let i = 0; i < bytes.length; i += 1) hash = Math.imul(hash ^ bytes[i]!, 3);
    return hash;
  };
  const timeOf = (run: () => unknown): number => {
    const start = performance.now();
    run();
    return performance.now() - start;
  };
  // The best of many, each measured beside the others: the machine is busy with other tests.
  const [loop, hashing, adding] = [plain, () => hashOf(bytes), () => sum([values, values])].map(
    (run) => Math.min(...Array.from({ length: 15 }, () => timeOf(run))),
  ) as [number, number, number];
  // The steps of an iterator, or a function called for each number, make it ten times as much and thirty.
  expect(hashing).toBeLessThan(5 * loop);
  expect(adding).toBeLessThan(5 * loop);
});

describe("own parts", () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const LENGTH = 2 ** 18;
  const ROUNDS = 32;

  test.each([1, 2])("are not kept once nobody can ask for them: %i ranks", async (size) => {
    const network = new Network(31, { maxBytes: 2 ** 21 });
    const members = network.group(size);
    await meet(network, members);
    const part = new Float32Array(LENGTH);
    const call = (): Promise<unknown> =>
      network.until(Promise.all(members.map(({ group }) => group.allReduce(part, sum))));
    await call();
    network.sent.length = 0;
    collect();
    const before = process.memoryUsage().arrayBuffers;
    for (let round = 0; round < ROUNDS; round += 1) await call();
    network.sent.length = 0;
    await network.pass(1000);
    // What is garbage is freed beside the program, some of it after the collection that found it.
    for (let i = 0; i < 5; i += 1) {
      collect();
      await setImmediate();
    }
    // Kept for ever they are 32 MiB a rank. The last round's may still be there: each rank's own, and all at each; and
    // what the runner itself holds comes and goes.
    const most = (size + 1) * size * part.byteLength + 8 * 2 ** 20;
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThanOrEqual(most);
    for (const { group } of members) void group.close();
  });
});
