/**
 * `npm start`: Batch Normalization of 10,000 handwritten digits on whatever adapter there is, checked against
 * float64, timed against a plain copy. Exit status 1 where a check fails.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { extentOf } from "../src/descriptor.js";
import { tensor, type BatchNorm } from "../src/index.js";
import { describeAdapter, requestDevice } from "../src/node.js";
import * as reference from "../src/reference.js";
import {
  judge,
  judgeAll,
  OPERATIONS,
  referenceCalls,
  runningTolerance,
  type Inputs,
  type Verdict,
} from "./support/check.js";
import { PIXELS, SIDE, takeDigits, type Digits } from "./support/digits.js";
import { moduleFor, runOnDevice } from "./support/experiment.js";
import {
  byteText,
  digits3,
  grouped,
  percent,
  scientific,
  shapeText,
  times,
} from "./support/format.js";
import { channelOf, histogram, summarise, type Histogram } from "./support/histogram.js";
import { loadDigits } from "./support/load-digits.js";
import { trainBriefly, type BriefTraining } from "./support/brief-training.js";
import { median } from "./support/median.js";
import { openNodeEngine } from "./support/node-engine.js";
import { paint } from "./support/paint.js";
import { pictureOf, type Panel } from "./support/picture.js";
import { Progress } from "./support/progress.js";
import { normals, uniforms } from "./support/random.js";
import { table, type Column } from "./support/table.js";
import {
  COPY_COMMAND,
  COPY_KERNEL,
  createPrograms,
  measure,
  type Timing,
} from "./support/timing.js";

const BATCH = 128;
const EPS = 1e-5;
const MOMENTUM = 0.1;
const PICTURE = join("build", "batchnorm.svg");

const started = performance.now();
let failures = 0;

const say = (line = ""): void => {
  process.stdout.write(`${line}\n`);
};
const heading = (title: string, rest = ""): void => {
  say();
  say(`  ${paint.bold(title)}${rest ? `  ${paint.dim(rest)}` : ""}`);
};
const printTable = (columns: readonly Column[], rows: readonly (readonly string[])[]): void => {
  for (const line of table(columns, rows, { style: paint.dim })) say(line);
};
const passOrFail = (pass: boolean): string => {
  if (!pass) failures += 1;
  return pass ? paint.green("pass") : paint.red("FAIL");
};
const right = (title: string): Column => ({ title, align: "right" });

/** The adapter in words; where it is a software one, none of hardware was found. */
function adapterName(device: GPUDevice): string {
  const name = describeAdapter(device);
  return name.includes("(software)") ? `${name}: no GPU was found` : name;
}

async function readDigits(): Promise<Digits> {
  const progress = new Progress("reading", 10);
  const digits = await loadDigits(() => {
    progress.tick();
  });
  progress.end();
  return digits;
}

/** What one epoch left behind. */
interface Epoch {
  /** Running statistics of the module with momentum 0.1, and those of the same epoch in float64. */
  readonly learned: { mean: Float32Array; variance: Float32Array };
  readonly expected: { mean: Float64Array; variance: Float64Array };
  readonly tolerance: { mean: Float64Array; variance: Float64Array };
  /** Of the module that averages all batches alike (momentum null). */
  readonly averaged: { mean: Float32Array; variance: Float32Array };
  readonly before: Histogram[];
  readonly after: Histogram[];
  readonly output: { mean: number; deviation: number };
  /** Values of channels that were constant within their batch, and how many of them were not beta. */
  readonly constant: { values: number; wrong: number };
}

/**
 * Normalises all digits once, batch by batch, with two modules: one as PyTorch has it by default, whose outputs are
 * drawn, and one with a gamma and a beta of its own and a cumulative average, whose constant channels are watched.
 */
async function runEpoch(
  device: GPUDevice,
  digits: Digits,
  sample: readonly number[],
  label: string,
  range: readonly [number, number],
): Promise<Epoch> {
  const { channels } = extentOf("epoch", [2, ...sample], "channels-first");
  const plain = moduleFor(device, [BATCH, ...sample], { eps: EPS, momentum: MOMENTUM });
  const averaging = moduleFor(device, [BATCH, ...sample], { eps: EPS, momentum: null });
  const beta = uniforms(channels, 3, -1, 1);
  averaging.gamma!.write(uniforms(channels, 2, 0.5, 1.5));
  averaging.beta!.write(beta);

  let state: reference.UpdatedState = {
    mean: new Float64Array(channels),
    variance: new Float64Array(channels).fill(1),
    numBatchesTracked: 0n,
  };
  const tolerance = { mean: new Float64Array(channels), variance: new Float64Array(channels) };
  const before: Histogram[] = [];
  const after: Histogram[] = [];
  const constant = { values: 0, wrong: 0 };
  let sum = 0;
  let squares = 0;
  const batches = Math.ceil(digits.count / BATCH);
  const progress = new Progress(label, batches);
  for (let batch = 0; batch < batches; batch++) {
    const from = batch * BATCH;
    const size = Math.min(BATCH, digits.count - from);
    const values = takeDigits(digits, from, from + size);
    const shape = [size, ...sample];
    const x = tensor(device, values, shape);
    const y = plain.forward(x);
    const z = averaging.forward(x);
    const [normalised, shifted] = await Promise.all([y.read(), z.read()]);
    for (const each of [x, y, z]) each.destroy();

    const result = reference.forward(values, shape, { eps: EPS, momentum: MOMENTUM, state });
    for (let c = 0; c < channels; c++) {
      const [mean, varBiased] = [result.mean[c]!, result.varBiased[c]!];
      // Older errors fade as the statistics themselves do.
      tolerance.mean[c] =
        (1 - MOMENTUM) * tolerance.mean[c]! +
        runningTolerance.mean(MOMENTUM, state.mean[c]!, mean, varBiased);
      tolerance.variance[c] =
        (1 - MOMENTUM) * tolerance.variance[c]! +
        runningTolerance.variance(MOMENTUM, state.variance[c]!, varBiased);
      if (varBiased > 0) continue;
      const extent = extentOf("epoch", shape, "channels-first");
      for (const value of channelOf(shifted, extent, c)) {
        constant.values += 1;
        if (!(value === beta[c]!)) constant.wrong += 1;
      }
    }
    state = result.state!;
    before.push(histogram(values, 32, 0, 256));
    after.push(histogram(normalised, 32, range[0], range[1]));
    for (const value of normalised) {
      sum += value;
      squares += value * value;
    }
    progress.tick();
  }
  progress.end();
  const statistics = async (
    bn: BatchNorm,
  ): Promise<{ mean: Float32Array; variance: Float32Array }> => ({
    mean: await bn.runningMean!.read(),
    variance: await bn.runningVar!.read(),
  });
  const total = digits.count * PIXELS;
  const epoch = {
    learned: await statistics(plain),
    averaged: await statistics(averaging),
    expected: state,
    tolerance,
    before,
    after,
    output: { mean: sum / total, deviation: Math.sqrt(squares / total - (sum / total) ** 2) },
    constant,
  };
  plain.destroy();
  averaging.destroy();
  return epoch;
}

/** Mean and standard deviation of each pixel over all digits. */
function pixelStatistics(digits: Digits): { mean: Float64Array; deviation: Float64Array } {
  const mean = new Float64Array(PIXELS);
  const deviation = new Float64Array(PIXELS);
  for (let i = 0; i < digits.pixels.length; i++) {
    const pixel = i % PIXELS;
    mean[pixel] = mean[pixel]! + digits.pixels[i]! / digits.count;
  }
  for (let i = 0; i < digits.pixels.length; i++) {
    const pixel = i % PIXELS;
    deviation[pixel] = deviation[pixel]! + (digits.pixels[i]! - mean[pixel]!) ** 2 / digits.count;
  }
  return { mean, deviation: deviation.map(Math.sqrt) };
}

function reportImages(digits: Digits, epoch: Epoch): void {
  const data = summarise(digits.pixels);
  heading("As images", `BatchNorm2d(1), ${shapeText([BATCH, 1, SIDE, SIDE])}`);
  printTable(
    [{ title: "" }, right("the data"), right("momentum 0.1"), right("momentum null")],
    [
      ["mean", data.mean, epoch.learned.mean[0]!, epoch.averaged.mean[0]!] as const,
      [
        "standard deviation",
        data.deviation,
        Math.sqrt(epoch.learned.variance[0]!),
        Math.sqrt(epoch.averaged.variance[0]!),
      ] as const,
    ].map(([name, ...values]) => [name, ...values.map((value) => value.toFixed(2))]),
  );
}

function reportFeatures(digits: Digits, epoch: Epoch): void {
  const data = pixelStatistics(digits);
  const place = (pixel: number): string =>
    `row ${Math.floor(pixel / SIDE)}, column ${pixel % SIDE}`;
  heading("As features", `BatchNorm1d(784), ${shapeText([BATCH, PIXELS])}, one channel per pixel`);
  const roots = (values: Float32Array): Float64Array => Float64Array.from(values, Math.sqrt);
  const row = (
    name: string,
    truth: Float64Array,
    learned: Float64Array,
    averaged: Float64Array,
  ): string[] => {
    const off = Array.from(truth, (value, c) => Math.abs(learned[c]! - value));
    const worst = off.indexOf(Math.max(...off));
    const values = [truth[worst]!, learned[worst]!, averaged[worst]!];
    return [name, ...values.map((value) => value.toFixed(2)), place(worst), median(off).toFixed(2)];
  };
  const { learned, averaged } = epoch;
  printTable(
    [
      { title: "the pixel that differs most" },
      right("the data"),
      right("momentum 0.1"),
      right("momentum null"),
      { title: "its place" },
      right("median difference"),
    ],
    [
      row("mean", data.mean, Float64Array.from(learned.mean), Float64Array.from(averaged.mean)),
      row("standard deviation", data.deviation, roots(learned.variance), roots(averaged.variance)),
    ],
  );
  say(
    "  With momentum 0.1 the last batches weigh most, the very last a tenth, and it has 16 digits; null averages all.",
  );
  const constant = data.deviation.reduce((count, each) => count + (each === 0 ? 1 : 0), 0);
  const { values, wrong } = epoch.constant;
  say(
    `  ${constant} of ${PIXELS} pixels never vary. Of ${grouped(values)} outputs of pixels that did not vary in their`,
  );
  say(
    `  batch, ${grouped(values - wrong)} are beta to the last bit: ${passOrFail(wrong === 0 && values > 0)}`,
  );
}

function epochVerdicts(name: string, epoch: Epoch): Verdict[] {
  const { learned, expected, tolerance } = epoch;
  return [
    judge(name, "running mean", learned.mean, expected.mean, (c) => tolerance.mean[c]!),
    judge(
      name,
      "running variance",
      learned.variance,
      expected.variance,
      (c) => tolerance.variance[c]!,
    ),
  ];
}

/** 1,000 digits; gradients, gamma and beta at random, the same on every run. */
function digitInputs(digits: Digits, sample: readonly number[], epoch: Epoch): Inputs {
  const count = 1000;
  const shape = [count, ...sample];
  const { channels } = extentOf("inputs", shape, "channels-first");
  return {
    shape,
    layout: "channels-first",
    eps: EPS,
    momentum: MOMENTUM,
    x: takeDigits(digits, 0, count),
    dy: normals(count * PIXELS, 1),
    gamma: uniforms(channels, 2, 0.5, 1.5),
    beta: uniforms(channels, 3, -1, 1),
    runningMean: Float32Array.from(epoch.learned.mean),
    runningVar: Float32Array.from(epoch.learned.variance),
  };
}

/** Random numbers of a layer's shape, to be timed. */
function layerInputs(shape: readonly number[]): Inputs {
  const { channels, size } = extentOf("inputs", shape, "channels-first");
  return {
    shape,
    layout: "channels-first",
    eps: EPS,
    momentum: MOMENTUM,
    x: normals(size, 1, 1, 2),
    dy: normals(size, 2),
    gamma: uniforms(channels, 3, 0.5, 1.5),
    beta: uniforms(channels, 4, -1, 1),
    runningMean: new Float32Array(channels),
    runningVar: new Float32Array(channels).fill(1),
  };
}

/** Medians of the reference's times in ms, in the order of OPERATIONS. */
function timeReference(inputs: Inputs, tick: () => void): number[] {
  const calls = referenceCalls(inputs);
  const samples: number[][] = calls.map(() => []);
  for (let round = 0; round < 3; round++) {
    for (const [i, call] of calls.entries()) {
      const start = performance.now();
      call();
      samples[i]!.push(performance.now() - start);
      tick();
    }
  }
  return samples.map(median);
}

async function reportTimes(
  device: GPUDevice,
  shapes: readonly (readonly number[])[],
): Promise<void> {
  const rows: string[][] = [];
  const progress = new Progress("timing", 100 * shapes.length);
  for (const shape of shapes) {
    const inputs = layerInputs(shape);
    const onCpu = timeReference(inputs, () => {
      progress.tick(5);
    });
    const { programs, destroy } = await createPrograms(device, inputs);
    let shown = 45;
    const timings = await measure(programs, {
      rounds: 7,
      onProgress: (share) => {
        const now = 45 + Math.floor(55 * share);
        progress.tick(now - shown);
        shown = now;
      },
    });
    destroy();
    const of = (name: string): Timing => timings.find((timing) => timing.name === name)!;
    const copy = of(COPY_KERNEL).ms;
    const bytes = byteText(inputs.x.byteLength);
    rows.push([`${shapeText(shape)}  ${paint.dim(bytes)}`, "", "", "", ""]);
    for (const name of [COPY_KERNEL, COPY_COMMAND]) {
      const { ms } = of(name);
      rows.push([`  ${name}`, digits3(ms), times(ms / copy), "", ""]);
    }
    for (const [i, name] of OPERATIONS.entries()) {
      const { ms } = of(name);
      rows.push([
        `  ${name}`,
        digits3(ms),
        times(ms / copy),
        digits3(onCpu[i]!),
        times(onCpu[i]! / ms),
      ]);
    }
  }
  progress.end();
  heading(
    "Times",
    "medians of interleaved runs; the copy moves as many bytes as x has, on the same adapter",
  );
  printTable(
    [
      { title: "" },
      right("GPU, ms"),
      right("÷ copy kernel"),
      right("CPU in float64, ms"),
      right("CPU ÷ GPU"),
    ],
    rows,
  );
}

/** Training with and without, by TensorFlow.js with the drop-in: the demo's network, few steps, the same batches. */
async function reportTraining(device: GPUDevice, digits: Digits): Promise<void> {
  const software = describeAdapter(device).includes("(software)");
  const engine = await openNodeEngine(device, software);
  const options = {
    steps: software ? 50 : 280,
    batch: 32,
    rate: 0.05,
    held: software ? 500 : 1000,
  };
  const progress = new Progress("training", 2 * options.steps);
  const results = await trainBriefly(engine, digits, {
    ...options,
    tick: () => {
      progress.tick();
    },
  });
  progress.end();
  heading(
    "Training",
    `two convolutions, ${options.steps} steps of ${options.batch} digits, TensorFlow.js with the drop-in`,
  );
  printTable(
    [
      { title: "" },
      right("first loss"),
      right("last ten"),
      right(`right of ${options.held} held out`),
      right("ms a step"),
    ],
    results.map(({ batchNorm, firstLoss, lastLoss, accuracy, msPerStep }) => [
      batchNorm ? "with Batch Normalization" : "without",
      firstLoss.toFixed(3),
      lastLoss.toFixed(3),
      `${(100 * accuracy).toFixed(1)} %`,
      digits3(msPerStep),
    ]),
  );
  const [without, withBn] = results as [BriefTraining, BriefTraining];
  const learns = withBn.lastLoss < 0.7 * withBn.firstLoss;
  say(
    `  held-out accuracy: ${(100 * withBn.accuracy).toFixed(1)} % with Batch Normalization, ${(100 * without.accuracy).toFixed(1)} % without; it learns: ${passOrFail(learns)}`,
  );
}

async function drawPicture(digits: Digits, images: Epoch, features: Epoch): Promise<void> {
  const data = summarise(digits.pixels);
  const panels: Panel[] = [
    {
      title: "Before",
      subtitle: `mean ${data.mean.toFixed(1)}, deviation ${data.deviation.toFixed(1)}`,
      xLabel: "grey level",
      batches: images.before,
      ...data,
    },
    ...(
      [
        ["After, as images", "1 channel", images],
        ["After, as features", "784 channels", features],
      ] as const
    ).map(([title, channels, { after, output }]) => ({
      title,
      subtitle: `${channels}; mean ${Math.abs(output.mean).toFixed(2)}, deviation ${output.deviation.toFixed(2)}`,
      xLabel: "normalised value y, in standard deviations",
      batches: after,
      ...output,
    })),
  ];
  const notes = [
    `Share of values per bin, logarithmic. A thin line is one of ${images.before.length} batches of up to ${BATCH} digits, the strong one all of them.`,
    "Dashed: the mean; the bar on it: one standard deviation to either side. Pixels that never vary stay at 0.",
  ];
  await mkdir(dirname(PICTURE), { recursive: true });
  await writeFile(PICTURE, pictureOf(panels, notes));
}

say();
say(`  ${paint.bold("Batch Normalization on WebGPU")}`);
const device = await requestDevice({ quiet: true });
device.addEventListener("uncapturederror", ({ error }) => {
  failures += 1;
  say(`  ${paint.red("The device reported:")} ${error.message}`);
});
const digits = await readDigits();
say();
say(`  adapter   ${adapterName(device)}`);
say(`  data      ${grouped(digits.count)} MNIST digits of ${SIDE} × ${SIDE}, 0 to 255`);
say(
  `  epoch     ${Math.ceil(digits.count / BATCH)} batches of ${BATCH} (the last one ${digits.count % BATCH || BATCH}), momentum ${MOMENTUM}`,
);

const images = await runEpoch(device, digits, [1, SIDE, SIDE], "images  ", [-1, 4]);
reportImages(digits, images);
const features = await runEpoch(device, digits, [PIXELS], "features", [-4, 12]);
reportFeatures(digits, features);

const checks: readonly [string, readonly number[], Epoch][] = [
  ["images", [1, SIDE, SIDE], images],
  ["features", [PIXELS], features],
];
const rows: string[][] = [];
const checking = new Progress("checking", 2 * checks.length);
for (const [name, sample, epoch] of checks) {
  const inputs = digitInputs(digits, sample, epoch);
  const outputs = await runOnDevice(device, inputs, ["training", "inference", "backward"]);
  checking.tick();
  const verdicts = [...judgeAll(inputs, outputs), ...epochVerdicts("the epoch", epoch)];
  checking.tick();
  for (const [i, { operation, name: what, error, tolerance, used, pass }] of verdicts.entries()) {
    rows.push([
      i === 0 ? name : "",
      operation,
      what,
      scientific(error),
      scientific(tolerance),
      percent(used),
      passOrFail(pass),
    ]);
  }
}
checking.end();
heading("Against float64", "1,000 digits; of each, the value that is nearest to its tolerance");
printTable(
  [
    { title: "" },
    { title: "" },
    { title: "" },
    right("largest error"),
    right("tolerance"),
    right("used"),
    { title: "" },
  ],
  rows,
);

await reportTimes(device, [
  [10_000, PIXELS],
  [16, 64, 56, 56],
]);
await drawPicture(digits, images, features);
await reportTraining(device, digits);

say();
say(`  picture   ${relative(process.cwd(), PICTURE)}, histograms before and after`);
say(`  demo      npm run demo, the same in the browser`);
say(
  `  ${failures === 0 ? paint.green("all checks passed") : paint.red(`${failures} ${failures === 1 ? "check" : "checks"} FAILED`)} in ${((performance.now() - started) / 1000).toFixed(1)} s`,
);
say();
device.destroy();
process.exitCode = failures === 0 ? 0 : 1;
