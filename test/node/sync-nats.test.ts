/** Synchronised batch normalization in 4 processes over a real nats-server, a device each, beside one process. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createLocalCommunicators } from "../../src/sync/index.js";
import { bundle } from "../support/bundle.js";
import { openDevice } from "../support/device.js";
import { haveNatsServer, NatsServer } from "../support/nats-server.js";
import { RankProcess } from "../support/rank-process.js";
import { bitsOf, drawInputs, startsOf, stepOfRank } from "../support/sync-shards.js";
import type { Call } from "../support/tolerance.js";

describe.skipIf(!haveNatsServer())("4 processes", () => {
  const SIZE = 4;
  let device: GPUDevice;
  let server: NatsServer;
  let ranks: RankProcess[] = [];

  beforeAll(async () => {
    device = await openDevice();
    server = await NatsServer.start();
    const program = await bundle("rank.ts");
    ranks = Array.from({ length: SIZE }, () => RankProcess.process(program));
    const rest = { servers: server.url, group: "processes", size: SIZE, timeout: 60_000 };
    await Promise.all(ranks.map((each, rank) => each.tell({ do: "meet", ...rest, rank })));
  });
  afterAll(async () => {
    await Promise.all(ranks.map((each) => each.end()));
    await server?.stop();
  });

  test.each([
    [[16, 4, 5, 3], [4, 4, 4, 4], 1],
    [[16, 4, 5, 3], [9, 0, 1, 6], 2],
  ])("give the bits of one process: %j as %j", async (shape, sizes, seed) => {
    const call: Call = { shape };
    const inputs = drawInputs(call, seed);
    const communicators = createLocalCommunicators(SIZE);
    const starts = startsOf(sizes);
    const alone = await Promise.all(
      communicators.map((each, rank) =>
        stepOfRank(device, each, call, inputs, starts[rank]!, sizes[rank]!),
      ),
    );
    await Promise.all(communicators.map((each) => each.close()));
    const answers = await Promise.all(
      ranks.map((each) => each.tell({ do: "step", call, seed, sizes })),
    );
    answers.forEach((answer, rank) => expect(answer).toEqual({ values: bitsOf(alone[rank]!) }));
  });

  test("a server that restarts within a step changes no bit", async () => {
    const call: Call = { shape: [8, 3, 4, 4] };
    const order = { do: "step", call, seed: 5, sizes: [2, 2, 2, 2] } as const;
    const step = () => Promise.all(ranks.map((each) => each.tell(order)));
    const undisturbed = await step();
    let steps = 0;
    let back = false;
    const training = (async () => {
      for (; !back || steps < 8; steps += 1) expect(await step()).toEqual(undisturbed);
    })();
    await new Promise((resolve) => setTimeout(resolve, 30));
    const before = steps;
    await server.kill();
    await server.start();
    back = true;
    await training;
    expect(steps).toBeGreaterThan(before);
  });
});
