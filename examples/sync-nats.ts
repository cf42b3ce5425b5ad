/**
 * Data-parallel training in several processes, on one machine or many: digits, a small network, and a batch
 * normalization whose statistics are those of all ranks together. With 4 digits a rank, that is what makes it work.
 *
 * Start a server (`nats-server`), then one process for each rank:
 *
 *   node scripts/run.mjs examples/sync-nats.ts nats://127.0.0.1:4222 0 2 &
 *   node scripts/run.mjs examples/sync-nats.ts nats://127.0.0.1:4222 1 2
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { BatchNorm1d, tensor } from "webgpu-batchnorm";
import { createNatsCommunicator } from "webgpu-batchnorm/nats";
import { requestDevice } from "webgpu-batchnorm/node";
import { CommunicatorError, gather, sum, SyncBatchNorm } from "webgpu-batchnorm/sync";

const [servers = "nats://127.0.0.1:4222", rank = 0, size = 1] = process.argv
  .slice(2)
  .map((word, i) => (i === 0 ? word : Number(word))) as [string?, number?, number?];
const [PIXELS, HIDDEN, DIGITS, BATCH, STEPS, RATE] = [784, 32, 10, 4, 150, 0.1];

// The same start on every rank: a generator with a fixed seed.
let state = 1;
const uniform = (): number => (state = (state * 48271) % 2147483647) / 2147483647;
const weights = (rows: number, columns: number): Float32Array =>
  Float32Array.from({ length: rows * columns }, () => (2 * uniform() - 1) * Math.sqrt(3 / rows));

/** a [m, k] times b [k, n]; either may be read transposed. */
function multiply(
  a: Float32Array,
  b: Float32Array,
  [m, k, n]: [number, number, number],
  { aT = false, bT = false } = {},
): Float32Array {
  const product = new Float32Array(m * n);
  for (let i = 0; i < m; i += 1) {
    for (let l = 0; l < k; l += 1) {
      const left = aT ? a[l * m + i]! : a[i * k + l]!;
      if (left === 0) continue;
      for (let j = 0; j < n; j += 1)
        product[i * n + j]! += left * (bT ? b[j * k + l]! : b[l * n + j]!);
    }
  }
  return product;
}

const folder = join(
  dirname(createRequire(import.meta.url).resolve("mnist/package.json")),
  "src/digits",
);
const files = Array.from({ length: DIGITS }, (_, digit) => {
  const { data } = JSON.parse(readFileSync(join(folder, `${digit}.json`), "utf8")) as {
    data: number[];
  };
  return data;
});
/** Digits `from`, `from + 1`, ...: 0 to 9 in turns, so that their labels are their numbers modulo 10. */
function digits(from: number, count: number): { x: Float32Array; labels: number[] } {
  const indices = Array.from({ length: count }, (_, i) => from + i);
  const image = (index: number): number[] => {
    const at = Math.floor(index / DIGITS) * PIXELS;
    return files[index % DIGITS]!.slice(at, at + PIXELS);
  };
  return { x: Float32Array.from(indices.flatMap(image)), labels: indices.map((i) => i % DIGITS) };
}

const device = await requestDevice({ quiet: true });
try {
  const communicator = await createNatsCommunicator({
    servers,
    group: "digits",
    rank,
    size,
    timeout: 30_000,
  });
  const module = new BatchNorm1d(device, HIDDEN, { activation: "relu" });
  const bn = new SyncBatchNorm(module, communicator, { name: "hidden" });
  await bn.prepare([BATCH, HIDDEN]);
  const [first, last] = [weights(PIXELS, HIDDEN), weights(HIDDEN, DIGITS)];

  for (let step = 0; step < STEPS; step += 1) {
    // Every rank takes its own digits of the step's batch.
    const { x, labels } = digits((step * size + rank) * BATCH, BATCH);
    const h = tensor(device, multiply(x, first, [BATCH, PIXELS, HIDDEN]), [BATCH, HIDDEN]);
    const y = await bn.forward(h);
    const active = await y.read();
    const dLogits = multiply(active, last, [BATCH, HIDDEN, DIGITS]);
    let loss = 0;
    for (const [i, label] of labels.entries()) {
      const row = dLogits.subarray(i * DIGITS, (i + 1) * DIGITS);
      const total = row.reduce((all, logit) => all + Math.exp(logit), 0);
      loss -= Math.log(Math.exp(row[label]!) / total);
      row.forEach(
        (logit, j) => (row[j] = (Math.exp(logit) / total - Number(j === label)) / (BATCH * size)),
      );
    }
    const dy = tensor(device, multiply(dLogits, last, [BATCH, DIGITS, HIDDEN], { bT: true }), [
      BATCH,
      HIDDEN,
    ]);
    const dh = await bn.backward(dy);

    // All gradients in one round: each is the sum of the ranks' shares.
    const shares = [
      multiply(x, await dh.read(), [PIXELS, BATCH, HIDDEN], { aT: true }),
      multiply(active, dLogits, [HIDDEN, BATCH, DIGITS], { aT: true }),
      await module.gammaGrad!.read(),
      await module.betaGrad!.read(),
      Float32Array.of(loss / (BATCH * size)),
    ];
    const whole = await communicator.allReduce(gather(shares), sum, { tag: "gradients" });
    let at = 0;
    const learn = (values: Float32Array): Float32Array =>
      values.map((value) => value - RATE * whole[at++]!);
    first.set(learn(first));
    last.set(learn(last));
    module.gamma!.write(learn(await module.gamma!.read()));
    module.beta!.write(learn(await module.beta!.read()));
    if (step % 50 === 49)
      console.log(`rank ${rank}, step ${step + 1}: loss ${whole[at]!.toFixed(6)}`);
    for (const each of [h, y, dy, dh]) each.destroy();
  }

  // Evaluation by the running statistics, which are the same on all ranks; digits that were not trained on.
  module.eval();
  const [from, count] = [6000, 1000];
  const { x, labels } = digits(from, count);
  const h = tensor(device, multiply(x, first, [count, PIXELS, HIDDEN]), [count, HIDDEN]);
  const y = module.forward(h);
  const logits = multiply(await y.read(), last, [count, HIDDEN, DIGITS]);
  const right = labels.filter((label, i) => {
    const row = logits.subarray(i * DIGITS, (i + 1) * DIGITS);
    return row.indexOf(Math.max(...row)) === label;
  });
  console.log(`rank ${rank}: ${right.length} of ${count} digits right`);
  await communicator.close();
  for (const each of [h, y, bn, module]) each.destroy();
} catch (error) {
  // A rank was lost, or the server is away for too long: start all ranks again, from a checkpoint.
  if (!(error instanceof CommunicatorError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
} finally {
  device.destroy();
}
