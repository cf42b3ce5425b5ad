/** BroadcastChannel between worker threads, and ranks of one process. */
import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { createBroadcastCommunicator, createLocalCommunicators, sum } from "webgpu-batchnorm/sync";
import { OptionError } from "../../../src/errors.js";
import { PeerTimeoutError } from "../../../src/sync/errors.js";
import { bundle } from "../../support/bundle.js";
import { join, joined, partOf } from "../../support/parts.js";
import { RankProcess } from "../../support/rank-process.js";

describe("worker threads over a BroadcastChannel", () => {
  const SIZE = 3;
  let program: string;
  let ranks: RankProcess[] = [];
  beforeAll(async () => {
    program = await bundle("rank.ts");
  }, 60_000);
  afterEach(async () => {
    await Promise.all(ranks.map((rank) => rank.end()));
  });

  async function meet(channel: string, timeout: number): Promise<void> {
    ranks = Array.from({ length: SIZE }, () => RankProcess.thread(program));
    const met = ranks.map((each, rank) =>
      each.tell({ do: "meet", channel, rank, size: SIZE, timeout }),
    );
    expect(await Promise.all(met)).toEqual(ranks.map(() => ({ values: null })));
  }

  test("get one another's parts in rank order", async () => {
    await meet("parts", 10_000);
    for (const round of [0, 1, 2]) {
      const answers = await Promise.all(
        ranks.map((each) => each.tell({ do: "reduce", round, length: 1000 })),
      );
      for (const answer of answers) expect(answer).toEqual({ values: joined(SIZE, round, 1000) });
    }
    const closed = await Promise.all(ranks.map((each) => each.tell({ do: "close" })));
    expect(closed).toEqual(ranks.map(() => ({ values: null })));
  });

  test("name one that is terminated", async () => {
    await meet("terminated", 1000);
    await ranks[1]!.end();
    const answers = await Promise.all(
      [0, 2].map((rank) => ranks[rank]!.tell({ do: "reduce", round: 0, length: 3 })),
    );
    for (const answer of answers)
      expect(answer).toMatchObject({ error: "PeerTimeoutError", ranks: [1] });
  });

  test("alone, a meeting fails within the limit", async () => {
    const start = performance.now();
    const alone = createBroadcastCommunicator({ channel: "alone", rank: 0, size: 2, timeout: 400 });
    await expect(alone).rejects.toThrow(PeerTimeoutError);
    expect(performance.now() - start).toBeLessThan(2000);
  });

  test("wrong options are errors that leave no channel open", async () => {
    let open = 0;
    vi.stubGlobal(
      "BroadcastChannel",
      class extends BroadcastChannel {
        constructor(name: string) {
          super(name);
          open += 1;
        }
        override close(): void {
          super.close();
          open -= 1;
        }
      },
    );
    try {
      for (const wrong of [
        { rank: 2, size: 2 },
        { rank: 0, size: 0 },
        { rank: 0, size: 2, timeout: 0 },
      ]) {
        const pending = createBroadcastCommunicator({ channel: "wrong", ...wrong });
        await expect(pending).rejects.toThrow(OptionError);
      }
      const signal = AbortSignal.abort(new Error("no more"));
      const given = { channel: "wrong", rank: 0, size: 2, signal };
      await expect(createBroadcastCommunicator(given)).rejects.toThrow("no more");
      expect(open).toBe(0);
    } finally {
      vi.unstubAllGlobals();
    }
  });
});

describe("ranks of one process", () => {
  test("get one another's parts, in calls that overlap", async () => {
    const members = createLocalCommunicators(4);
    const rounds = Array.from({ length: 50 }, (_, round) => round);
    await Promise.all(
      members.map(async (each) => {
        const got = await Promise.all(
          rounds.map((round) => each.allReduce(partOf(each.rank, round, 7), join)),
        );
        got.forEach((values, round) => expect([...values]).toEqual(joined(4, round, 7)));
      }),
    );
    await Promise.all(members.map((each) => each.close()));
  });

  test("one alone gets its own part, as a copy", async () => {
    const [only] = createLocalCommunicators(1);
    const part = Float32Array.of(1, NaN, -0);
    const got = await only!.allReduce(part, ([first]) => first!);
    expect(new Uint32Array(got.buffer)).toEqual(new Uint32Array(part.buffer));
    expect(got).not.toBe(part);
    await only!.close();
  });

  test("a part can be overwritten as soon as it is handed over", async () => {
    const [first, second] = createLocalCommunicators(2);
    const part = Float32Array.of(1, 2);
    const pending = first!.allReduce(part, sum);
    part.fill(99);
    const [a, b] = await Promise.all([pending, second!.allReduce(Float32Array.of(10, 20), sum)]);
    expect([...a]).toEqual([11, 22]);
    expect([...b]).toEqual([11, 22]);
  });

  test("a size that is none is an error", () => {
    for (const size of [0, -1, 1.5, NaN])
      expect(() => createLocalCommunicators(size)).toThrow(OptionError);
  });
});
