/**
 * Test-time adaptation by entropy minimization (TENT): a classifier meets digits of a kind that it was not trained on,
 * without labels. Batch Normalization uses the new batches' statistics, and gamma and beta, nothing else, follow the
 * gradient of the predictions' entropy.
 *
 *   node scripts/run.mjs examples/tent.ts
 *
 * Wang et al. 2021, "Tent: Fully Test-Time Adaptation by Entropy Minimization", https://arxiv.org/abs/2006.10726.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { BatchNorm1d, tensor, type Tensor } from "webgpu-batchnorm";
import { requestDevice } from "webgpu-batchnorm/node";

const [PIXELS, HIDDEN, CLASSES, BATCH] = [784, 64, 10, 100];

// Digits, 0 to 9 in turns: their labels are their numbers modulo 10.
const folder = dirname(createRequire(import.meta.url).resolve("mnist/package.json"));
const files = Array.from({ length: CLASSES }, (_, digit) => {
  const text = readFileSync(join(folder, "src", "digits", `${digit}.json`), "utf8");
  return (JSON.parse(text) as { data: number[] }).data;
});
const digits = (from: number, change = (pixel: number): number => pixel): Float32Array =>
  Float32Array.from(
    Array.from({ length: BATCH }, (_, i) => {
      const at = Math.floor((from + i) / CLASSES) * PIXELS;
      return files[(from + i) % CLASSES]!.slice(at, at + PIXELS);
    }).flat(),
    change,
  );

// Fixed seeds: the same numbers on every run.
let state = 5;
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
  for (let i = 0; i < m; i++) {
    for (let l = 0; l < k; l++) {
      const left = aT ? a[l * m + i]! : a[i * k + l]!;
      if (left === 0) continue;
      for (let j = 0; j < n; j++)
        product[i * n + j]! += left * (bT ? b[j * k + l]! : b[l * n + j]!);
    }
  }
  return product;
}

/** Probabilities of every row. */
function softmax(logits: Float32Array): Float32Array {
  const p = new Float32Array(logits.length);
  for (let at = 0; at < logits.length; at += CLASSES) {
    const row = logits.subarray(at, at + CLASSES);
    const most = Math.max(...row);
    const total = row.reduce((sum, logit) => sum + Math.exp(logit - most), 0);
    row.forEach((logit, j) => (p[at + j] = Math.exp(logit - most) / total));
  }
  return p;
}

/** Gradient of the mean cross entropy with the labels. */
const supervised = (p: Float32Array): Float32Array =>
  p.map((value, i) => (value - Number(i % CLASSES === Math.floor(i / CLASSES) % CLASSES)) / BATCH);

/** Gradient of the mean entropy H = -sum p log p: dH/dlogit = -p (log p + H). */
function entropyGradient(p: Float32Array): Float32Array {
  const gradient = new Float32Array(p.length);
  for (let at = 0; at < p.length; at += CLASSES) {
    const row = p.subarray(at, at + CLASSES);
    const entropy = -row.reduce((sum, value) => sum + value * Math.log(value + 1e-30), 0);
    row.forEach((value, j) => {
      gradient[at + j] = (-value * (Math.log(value + 1e-30) + entropy)) / BATCH;
    });
  }
  return gradient;
}

const rightOf = (p: Float32Array): number => {
  let right = 0;
  for (let i = 0; i < BATCH; i++) {
    const row = p.subarray(i * CLASSES, (i + 1) * CLASSES);
    if (row.indexOf(Math.max(...row)) === i % CLASSES) right += 1;
  }
  return right;
};

const device = await requestDevice({ quiet: true });
const bn = new BatchNorm1d(device, HIDDEN, { activation: "relu" });
const [first, last] = [weights(PIXELS, HIDDEN), weights(HIDDEN, CLASSES)];
const put = (h: Float32Array): Tensor => tensor(device, h, [BATCH, HIDDEN]);

/** Logits' probabilities of a batch in the mode that `bn` is in, and h, which a backward needs. */
async function predict(x: Float32Array) {
  const h = put(multiply(x, first, [BATCH, PIXELS, HIDDEN]));
  const y = bn.forward(h);
  const active = await y.read();
  y.destroy();
  return { h, active, p: softmax(multiply(active, last, [BATCH, HIDDEN, CLASSES])) };
}

/** Follows a gradient of the logits: gamma and beta, and the weights where they are given a rate. */
async function learn(
  x: Float32Array,
  { active, p }: Awaited<ReturnType<typeof predict>>,
  gradient: (p: Float32Array) => Float32Array,
  rates: { affine: number; weights: number },
): Promise<void> {
  const dLogits = gradient(p);
  const dy = put(multiply(dLogits, last, [BATCH, CLASSES, HIDDEN], { bT: true }));
  if (rates.weights > 0) {
    const dh = bn.backward(dy);
    const dFirst = multiply(x, await dh.read(), [PIXELS, BATCH, HIDDEN], { aT: true });
    const dLast = multiply(active, dLogits, [HIDDEN, BATCH, CLASSES], { aT: true });
    dFirst.forEach((value, i) => (first[i]! -= rates.weights * value));
    dLast.forEach((value, i) => (last[i]! -= rates.weights * value));
    dh.destroy();
  } else {
    bn.backward(dy, { wants: { x: false } });
  }
  for (const [parameter, grad] of [
    [bn.gamma!, bn.gammaGrad!],
    [bn.beta!, bn.betaGrad!],
  ] as const) {
    const [values, by] = await Promise.all([parameter.read(), grad.read()]);
    parameter.write(values.map((value, i) => value - rates.affine * by[i]!));
  }
  dy.destroy();
}

// Training, on clean digits.
for (let step = 0; step < 80; step++) {
  const x = digits((step % 40) * BATCH);
  const made = await predict(x);
  await learn(x, made, supervised, { affine: 0.2, weights: 0.2 });
  made.h.destroy();
}

// Digits nobody has seen, dim and noisy.
const dim = (pixel: number): number => 0.5 + 0.25 * (pixel - 0.5) + 0.3 * (uniform() - 0.5);
const fresh = Array.from({ length: 10 }, (_, i) => digits(4000 + i * BATCH, dim));
const count = fresh.length * BATCH;

bn.eval();
let before = 0;
for (const x of fresh) {
  const { h, p } = await predict(x);
  before += rightOf(p);
  h.destroy();
}

// New statistics alone, then new statistics and the entropy's gradient, some passes over the same unlabeled digits. A
// batch is predicted before it is learned from; the last pass counts.
const learned = await bn.stateDict();
async function adapt(rate: number): Promise<{ right: number; entropy: number }> {
  bn.loadStateDict(learned);
  bn.train();
  let right = 0;
  let entropy = 0;
  for (const x of fresh) {
    const made = await predict(x);
    right += rightOf(made.p);
    entropy -= made.p.reduce((sum, p) => sum + p * Math.log(p + 1e-30), 0) / count;
    if (rate > 0) await learn(x, made, entropyGradient, { affine: rate, weights: 0 });
    made.h.destroy();
  }
  return { right, entropy: Number(entropy.toFixed(3)) };
}
const statistics = await adapt(0);
const tent = await adapt(4);
console.log(
  JSON.stringify({ digits: count, before, withNewStatistics: statistics, withTent: tent }),
);
bn.destroy();
device.destroy();
