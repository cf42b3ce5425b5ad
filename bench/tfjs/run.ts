/**
 * `npm run bench:tfjs [-- --write]`: TensorFlow.js on its WebGPU backend before and after `register(tf)`, in Node on
 * Dawn, as Markdown; with --write into docs/tensorflow.md.
 */
import { readFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { describeAdapter, requestDevice } from "webgpu-batchnorm/node";
import { register, unregister } from "webgpu-batchnorm/tfjs";
import { packDigits, type Digits } from "../../scripts/support/digits.js";
import { seeded } from "../../scripts/support/random.js";
import type { Case } from "../cases.js";
import { inputsOf } from "../data.js";
import { shareDevice } from "../../src/share.js";
import { quantile } from "../measure.js";
import { BufferMeter } from "../meter.js";
import { copyKernels } from "../ours.js";
import { digits3 } from "../print.js";
import { createCnn, takeBatch, trainStep } from "./cnn.js";

type TF = typeof import("@tensorflow/tfjs");
type Tensor = import("@tensorflow/tfjs").Tensor;

const SHAPES = [
  [16, 56, 56, 64],
  [32, 14, 14, 256],
] as const;
const ROUNDS = 5;
const CNN = { side: 28, filters: 16 } as const;
const BATCH = 16;

interface Backend {
  commandEncoder: GPUCommandEncoder | null;
  endComputePassEncoder(): void;
  submitQueue(): void;
}

async function settle(tf: TF, device: GPUDevice): Promise<void> {
  const backend = tf.backend() as unknown as Backend;
  backend.endComputePassEncoder();
  if (backend.commandEncoder) backend.submitQueue();
  await device.queue.onSubmittedWorkDone();
}

const median = (values: readonly number[]): number => quantile(values, 0.5);
const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Milliseconds of a plain copy of x, the better of two kernels. */
async function timeCopy(device: GPUDevice, shape: readonly number[]): Promise<number> {
  const [batch, height, width, channels] = shape as [number, number, number, number];
  const each: Case = {
    name: "",
    group: "",
    shape: [batch, channels, height, width],
    layout: "channels-last",
    dtype: "f32",
    operation: "forward+backward",
  };
  const times: number[] = [];
  for (const copy of copyKernels()) {
    const prepared = await copy.prepare(device, each, inputsOf(each));
    await prepared.run(3);
    const samples: number[] = [];
    for (let i = 0; i < ROUNDS; i++) {
      const start = performance.now();
      await prepared.run(10);
      samples.push((performance.now() - start) / 10);
    }
    times.push(median(samples));
    prepared.dispose();
  }
  return Math.min(...times);
}

interface Measured {
  readonly stock: number;
  readonly ours: number;
  readonly stockHeld: number;
  readonly oursHeld: number;
  readonly copy: number;
}

/** A layer's training step, forward and gradients of x, gamma and beta, by the same program before and after. */
async function measureLayer(
  tf: TF,
  device: GPUDevice,
  meter: BufferMeter,
  shape: readonly number[],
): Promise<Measured> {
  const layer = tf.layers.batchNormalization({ inputShape: shape.slice(1) });
  layer.build([null, ...shape.slice(1)]);
  const [gamma, beta] = layer.trainableWeights.map((weight) => weight.read()) as [Tensor, Tensor];
  const next = seeded(5);
  const random = (): Tensor =>
    tf.tensor(
      Float32Array.from({ length: sizeOf(shape) }, () => 2 * next() - 0.5),
      [...shape],
    );
  const [x, dy] = [random(), random()];
  const differentiate = tf.valueAndGrads(
    (of: Tensor) => layer.apply(of, { training: true }) as Tensor,
  );
  const step = (): Tensor[] => {
    const { value, grads } = differentiate([x, gamma, beta], dy);
    return [value, ...grads];
  };
  const once = async (): Promise<number> => {
    const start = performance.now();
    tf.dispose(step());
    await settle(tf, device);
    return performance.now() - start;
  };
  const read = async (): Promise<Float32Array[]> => {
    const results = step();
    const values = await Promise.all(results.map((each) => each.data()));
    tf.dispose(results);
    return values as Float32Array[];
  };
  const held: Record<"stock" | "ours", number> = { stock: 0, ours: 0 };
  const values: Record<string, Float32Array[]> = {};
  const times: Record<"stock" | "ours", number[]> = { stock: [], ours: [] };
  for (const which of ["stock", "ours"] as const) {
    if (which === "ours") await register(tf);
    values[which] = await read();
    await once();
    // With plans anew, so that every buffer is bound where the meter sees it.
    if (which === "ours") await register(tf);
    meter.mark();
    await once();
    held[which] = meter.most / (4 * sizeOf(shape));
  }
  for (const [i, expected] of values["stock"]!.entries()) {
    const scale = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-30);
    const found = values["ours"]![i]!;
    // Plain f32 sums of stock TensorFlow.js: see SHARE in test/support/tfjs.ts.
    const fits = found.every((value, k) => Math.abs(value - expected[k]!) <= 1e-3 * scale);
    if (!fits) throw new Error(`output ${i} differs from stock TensorFlow.js`);
  }
  for (let round = 0; round < ROUNDS; round++) {
    unregister(tf);
    times.stock.push(await once());
    await register(tf);
    await once();
    times.ours.push(await once());
  }
  unregister(tf);
  tf.dispose([x, dy]);
  tf.dispose(layer.weights.map((weight) => weight.read()));
  await settle(tf, device);
  return {
    stock: median(times.stock),
    ours: median(times.ours),
    stockHeld: held.stock,
    oursHeld: held.ours,
    copy: await timeCopy(device, shape),
  };
}

async function readDigits(): Promise<Digits> {
  const folder = dirname(createRequire(import.meta.url).resolve("mnist/package.json"));
  const files = Array.from({ length: 10 }, (_, digit) => {
    const text = readFileSync(join(folder, `src/digits/${digit}.json`), "utf8");
    return (JSON.parse(text) as { data: number[] }).data.slice(0, 784 * 50);
  });
  return packDigits(files);
}

/** Milliseconds of a training step of the network: with the stock kernels, and with ours. */
async function measureCnn(tf: TF, device: GPUDevice): Promise<{ stock: number; ours: number }> {
  const digits = await readDigits();
  const times: Record<"stock" | "ours", number[]> = { stock: [], ours: [] };
  const models = { stock: createCnn(tf, CNN), ours: createCnn(tf, CNN) };
  for (let i = 0; i < ROUNDS + 1; i++) {
    const batch = takeBatch(tf, digits, i * BATCH, BATCH, CNN.side);
    const losses: number[] = [];
    for (const which of ["stock", "ours"] as const) {
      if (which === "ours") await register(tf);
      else unregister(tf);
      const start = performance.now();
      losses.push(await trainStep(tf, models[which], batch));
      await settle(tf, device);
      if (i > 0) times[which].push(performance.now() - start);
    }
    if (!(Math.abs(losses[0]! - losses[1]!) < 1e-3)) throw new Error(`losses ${losses.join(", ")}`);
    tf.dispose(batch);
  }
  unregister(tf);
  for (const model of Object.values(models)) model.dispose();
  return { stock: median(times.stock), ours: median(times.ours) };
}

const ms = (value: number): string => `${digits3(value)} ms`;

async function main(): Promise<void> {
  const device = await requestDevice();
  const meter = new BufferMeter(device);
  shareDevice(device);
  const tf = await import("@tensorflow/tfjs");
  tf.env().set("IS_NODE", false);
  await import("@tensorflow/tfjs-backend-webgpu");
  await tf.setBackend("webgpu");
  const lines = [
    `${describeAdapter(device)}, Node ${process.versions.node} on Dawn, TensorFlow.js ${tf.version_core}, medians of ${ROUNDS}:`,
    "",
    "| a training step of | stock | with the drop-in | times as fast | stock, in copies of x | drop-in, in copies | live buffers, stock | drop-in |",
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
  ];
  for (const shape of SHAPES) {
    const each = await measureLayer(tf, device, meter, shape);
    const { stock, ours, copy, stockHeld, oursHeld } = each;
    lines.push(
      `| \`batchNormalization\`, [${shape.join(", ")}], forward + backward | ${ms(stock)} | ${ms(ours)} | ${digits3(stock / ours)} | ${digits3(stock / copy)} | ${digits3(ours / copy)} | ${digits3(stockHeld)} x | ${digits3(oursHeld)} x |`,
    );
    process.stdout.write(`  ${lines.at(-1)!}\n`);
  }
  const { stock, ours } = await measureCnn(tf, device);
  const { side, filters } = CNN;
  lines.push(
    `| conv ${filters}, BN, ReLU, conv ${2 * filters}, BN, ReLU, dense; ${BATCH} digits of ${side}×${side} | ${ms(stock)} | ${ms(ours)} | ${digits3(stock / ours)} | | | | |`,
  );
  const text = lines.join("\n");
  process.stdout.write(`\n${text}\n`);
  if (!process.argv.includes("--write")) return;
  const file = "docs/tensorflow.md";
  const page = await readFile(file, "utf8");
  const marked = /<!-- bench:tfjs -->[^]*<!-- \/bench:tfjs -->/;
  await writeFile(
    file,
    page.replace(marked, () => `<!-- bench:tfjs -->\n${text}\n<!-- /bench:tfjs -->`),
  );
}

await main();
// Dawn's worker threads outlive the last promise.
process.exit(0);
