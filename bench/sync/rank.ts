/** One rank of `npm run bench:sync`, a process of its own; rank 0 prints what it measured as JSON. */
import { BatchNorm2d, tensor } from "webgpu-batchnorm";
import { createNatsCommunicator } from "webgpu-batchnorm/nats";
import { requestDevice } from "webgpu-batchnorm/node";
import { gather, SyncBatchNorm, type Communicator } from "webgpu-batchnorm/sync";
import { median } from "../../scripts/support/median.js";
import type { Measured, Task } from "./task.js";

const task = JSON.parse(process.argv[2]!) as Task;
const { shape, steps, ...options } = task;
const channels = shape[1];

/** Adds up the milliseconds from a rank's part to the merged result. */
class Stopwatch implements Communicator {
  waited = 0;
  readonly rank;
  readonly size;
  readonly failure = null;

  constructor(private readonly inner: Communicator) {
    ({ rank: this.rank, size: this.size } = inner);
  }

  async allReduce(...[part, ...rest]: Parameters<Communicator["allReduce"]>) {
    let start = 0;
    const begun = Promise.resolve(part).then((values) => {
      start = performance.now();
      return values;
    });
    const merged = await this.inner.allReduce(begun, ...rest);
    this.waited += performance.now() - start;
    return merged;
  }

  close(): Promise<void> {
    return this.inner.close();
  }
}

const communicator = await createNatsCommunicator({ ...options, timeout: 120_000 });
const stopwatch = new Stopwatch(communicator);
const device = await requestDevice({ quiet: true });
const module = new BatchNorm2d(device, channels);
const layer = new SyncBatchNorm(module, stopwatch);
const values = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) =>
  Math.sin(i),
);
const put = () => tensor(device, values, shape);
const [x, dy, y, dx] = [put(), put(), put(), put()];

const together = (): Promise<unknown> => communicator.allReduce(new Float32Array(0), gather);

/** Medians of several steps, begun by all ranks together. */
async function timed(step: () => Promise<void>): Promise<{ ms: number; waited: number }> {
  const times: number[] = [];
  const waits: number[] = [];
  for (let at = -2; at < steps; at += 1) {
    await together();
    stopwatch.waited = 0;
    const start = performance.now();
    await step();
    if (at < 0) continue; // warming up
    times.push(performance.now() - start);
    waits.push(stopwatch.waited);
  }
  return { ms: median(times), waited: median(waits) };
}

await module.prepare(shape);
await layer.prepare(shape);
const plain = await timed(async () => {
  module.forward(x, { out: y });
  module.backward(dy, { out: dx });
  await device.queue.onSubmittedWorkDone();
});
const synchronised = await timed(async () => {
  await layer.forward(x, { out: y });
  await layer.backward(dy, { out: dx });
  await device.queue.onSubmittedWorkDone();
});
const [statistics, sums] = [new Float32Array(4 * channels), new Float32Array(2 * channels)];
const rounds = await timed(async () => {
  await stopwatch.allReduce(statistics, gather);
  await stopwatch.allReduce(sums, gather);
});

if (task.rank === 0) {
  const { vendor, architecture } = device.adapterInfo;
  const measured: Measured = {
    adapter: [vendor, architecture].filter(Boolean).join(" "),
    plainMs: plain.ms,
    synchronisedMs: synchronised.ms,
    waitedMs: synchronised.waited,
    roundsMs: rounds.ms,
  };
  console.log(JSON.stringify(measured));
}
await communicator.close();
device.destroy();
