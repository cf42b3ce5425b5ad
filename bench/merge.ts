/**
 * npm run bench:merge: what it costs that statistics are merged. Forwards of one layer, in turns: the core's, one
 * whose own statistics go through a part, one of 4 parts that a dispatch of its own merges first, and that merge
 * alone; then backwards alike. The best of many rounds, each of several forwards in one submit.
 */
import { byteSizes, createBackward, createForward, Tensor, tensor } from "webgpu-batchnorm";
import { describeAdapter, requestDevice } from "webgpu-batchnorm/node";
import {
  createMergeStatistics,
  createMergeSums,
  createStatistics,
  createStatisticsBackward,
  createStatisticsForward,
  createSums,
  statisticsByteSizes,
  type StatisticsPlanDescriptor,
} from "webgpu-batchnorm/statistics";
import { median } from "../scripts/support/median.js";
import { Progress } from "../scripts/support/progress.js";
import { normals } from "../scripts/support/random.js";

const shape = [16, 64, 56, 56];
const PARTS = 4;
const ROUNDS = 40;
const REPEAT = 4;
const device = await requestDevice({ quiet: true });
const [channels] = [shape[1]!];
const descriptor: StatisticsPlanDescriptor = { shape };
const size = shape.reduce((a, b) => a * b);
const bytes = statisticsByteSizes({ shape, parts: PARTS });
const room = (count: number): Tensor => Tensor.empty(device, [count]);
const x = tensor(device, normals(size, 1, 3, 2), shape);
const dy = tensor(device, normals(size, 2), shape);
const [y, dx] = [Tensor.empty(device, shape), Tensor.empty(device, shape)];
const gamma = tensor(device, new Float32Array(channels).fill(1), [channels]);
const [beta, dGamma, dBeta] = [0, 1, 2].map(() => room(channels)) as [Tensor, Tensor, Tensor];
const state = room(byteSizes({ shape }).state / 4);
const [coreSaved, saved] = [room(byteSizes({ shape }).saved / 4), room(bytes.saved / 4)];
const [parts, sumParts] = [room(bytes.statistics / 4), room(bytes.sums / 4)];
const [one, oneSum] = [room(4 * channels), room(2 * channels)];

const core = await createForward(device, descriptor);
const coreBack = await createBackward(device, descriptor);
const own = await createStatisticsForward(device, descriptor);
const ownBack = await createStatisticsBackward(device, descriptor);
const look = await createStatistics(device, { shape, parts: PARTS });
const merge = await createMergeStatistics(device, { channels, parts: PARTS });
const given = await createStatisticsForward(device, { shape, statistics: "given" });
const sum = await createSums(device, { shape, parts: PARTS });
const mergeSums = await createMergeSums(device, { channels, parts: PARTS });
const givenBack = await createStatisticsBackward(device, { shape, sums: "given" });

type Run = (encoder: GPUCommandEncoder) => void;
const forward = { x, y, gamma, beta, state };
const back = { x, dy, dx, dGamma, dBeta };
const candidates: Readonly<Record<string, Run>> = {
  "forward: the core's": (encoder) => core.encode(encoder, { ...forward, saved: coreSaved }),
  "forward: own statistics as a part": (encoder) => own.encode(encoder, { ...forward, saved }),
  "forward: statistics, merge of 4 parts, rest": (encoder) => {
    look.encode(encoder, { x, statistics: parts });
    merge.encode(encoder, { parts, statistics: one });
    given.encode(encoder, { ...forward, statistics: one, saved });
  },
  "merge of 4 parts alone": (encoder) => merge.encode(encoder, { parts, statistics: one }),
  "backward: the core's": (encoder) => coreBack.encode(encoder, { ...back, saved: coreSaved }),
  "backward: own sums": (encoder) => ownBack.encode(encoder, { ...back, saved }),
  "backward: sums, merge of 4 parts, rest": (encoder) => {
    sum.encode(encoder, { x, dy, saved, sums: sumParts });
    mergeSums.encode(encoder, { parts: sumParts, sums: oneSum });
    givenBack.encode(encoder, { ...back, saved, sums: oneSum });
  },
};

async function timed(run: Run): Promise<number> {
  const start = performance.now();
  const encoder = device.createCommandEncoder();
  for (let i = 0; i < REPEAT; i++) run(encoder);
  device.queue.submit([encoder.finish()]);
  await device.queue.onSubmittedWorkDone();
  return (performance.now() - start) / REPEAT;
}

const times = new Map(Object.keys(candidates).map((name) => [name, [] as number[]]));
const progress = new Progress("cost of merging", ROUNDS + 1);
for (let round = -1; round < ROUNDS; round++) {
  const order = Object.entries(candidates);
  order.push(...order.splice(0, (round + 1) % order.length));
  for (const [name, run] of order) {
    // Once untimed: otherwise each would find in the caches what the one before it has left there.
    await timed(run);
    const ms = await timed(run);
    if (round >= 0) times.get(name)!.push(ms);
  }
  progress.tick();
}
progress.end();
/** The share of the core's in the same round: medians and quartiles, for other work comes and goes. */
function shareOf(name: string, base: string): string {
  const shares = times
    .get(name)!
    .map((ms, round) => (100 * ms) / times.get(base)![round]!)
    .sort((a, b) => a - b);
  const at = (part: number): string => shares[Math.floor(part * (shares.length - 1))]!.toFixed(1);
  return name === base ? "100 %" : `${at(0.5)} % (${at(0.25)} to ${at(0.75)})`;
}
const names = Object.keys(candidates);
console.log(
  [
    `[${shape.join(", ")}], f32, medians of ${ROUNDS} rounds of ${REPEAT}, of the core's in the same round (quartiles); ${describeAdapter(device)}.`,
    "",
    "| | ms | of the core's |",
    "| --- | --: | --: |",
    ...names.map((name) => {
      const base = name.startsWith("backward") ? "backward: the core's" : "forward: the core's";
      return `| ${name} | ${median(times.get(name)!).toFixed(3)} | ${shareOf(name, base)} |`;
    }),
  ].join("\n"),
);
device.destroy();
