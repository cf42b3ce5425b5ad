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
// As our own: every channel cut, statistics in one dispatch and the rest in the next.
const tuning = { targetInvocations: 2 * channels, wholePerLane: 0, maxHeld: 0 };
const cut = await createForward(device, { shape, tuning });
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
  "forward: the core's, cut into two dispatches": (encoder) =>
    cut.encode(encoder, { ...forward, saved: coreSaved }),
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
  for (const [name, run] of Object.entries(candidates)) {
    const ms = await timed(run);
    if (round >= 0) times.get(name)!.push(ms);
  }
  progress.tick();
}
progress.end();
// The best of many rounds: what else the machine does only ever adds.
const best = (name: string): number => Math.min(...times.get(name)!);
const names = Object.keys(candidates);
console.log(
  [
    `[${shape.join(", ")}], f32, ms, best of ${ROUNDS} rounds of ${REPEAT}; ${describeAdapter(device)}.`,
    "",
    "| | ms | of the core's |",
    "| --- | --: | --: |",
    ...names.map((name) => {
      const base = names[name.startsWith("backward") ? 5 : 0]!;
      const share = `${((100 * best(name)) / best(base)).toFixed(1)} %`;
      return `| ${name} | ${best(name).toFixed(3)} | ${share} |`;
    }),
  ].join("\n"),
);
device.destroy();
