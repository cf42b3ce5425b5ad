/**
 * npm run train:small-batches: test accuracy on real digits over the batch size, for every way of choosing whose
 * statistics to use; then accuracy on corrupted digits before and after re-estimation. Writes docs/small-batches.json
 * and docs/small-batches.svg, and prints their tables.
 *
 *   npm run train:small-batches -- --methods plain,ghost --sizes 2,4 --seeds 1,2,3
 *
 * trains a part anew and keeps the rest of the file.
 */
import { spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { describeAdapter, requestDevice } from "webgpu-batchnorm/node";
import { reestimate } from "webgpu-batchnorm/statistics";
import { NatsServer } from "../test/support/nats-server.js";
import { chartOf } from "./small-batches/chart.js";
import { CORRUPTIONS } from "./small-batches/corruptions.js";
import { METHODS, SAMPLES, TEST, TRAIN, WHOLE, type Method } from "./small-batches/norms.js";
import {
  inputsOf,
  loadDigits,
  RANKS,
  testDigits,
  train,
  type Task,
} from "./small-batches/train.js";
import { Progress } from "./support/progress.js";

interface Result {
  method: Method;
  size: number;
  seed: number;
  accuracy: number;
}

interface Results {
  adapter: string;
  trained: Result[];
  corrupted: { seed: number; name: string; before: number; after: number }[];
}

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const FILE = here("../docs/small-batches.json");
const { values } = parseArgs({
  args: process.argv.slice(2),
  options: {
    methods: { type: "string", default: METHODS.join() },
    sizes: { type: "string", default: "2,4,8,16,64" },
    seeds: { type: "string", default: "1,2,3" },
    corruptions: { type: "boolean", default: true },
  },
  allowNegative: true,
});
const methods = values.methods.split(",") as Method[];
const unknown = methods.find((each) => each && !METHODS.includes(each));
if (unknown) throw new Error(`methods: one of ${METHODS.join(", ")}, got ${unknown}`);
const sizes = values.sizes.split(",").map(Number);
const seeds = values.seeds.split(",").map(Number);

const device = await requestDevice({ quiet: true });
const digits = await loadDigits();
const test = testDigits(digits);
const results: Results = existsSync(FILE)
  ? (JSON.parse(readFileSync(FILE, "utf8")) as Results)
  : { adapter: "", trained: [], corrupted: [] };
results.adapter = describeAdapter(device);

/** Synchronised training is done by processes of their own; every rank ends with the same network. */
async function ranksOf(task: Task, servers: string): Promise<number> {
  const group = [task.method, task.size, task.seed, process.pid].join("-");
  const ends = Array.from({ length: RANKS }, (_, rank) => {
    const own = JSON.stringify({ ...task, ranks: { servers, group, rank } });
    const script = [here("run.mjs"), here("small-batches/rank.ts"), own];
    const child = spawn(process.execPath, script, { stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    child.stdout.on("data", (more: Buffer) => (text += more.toString()));
    return new Promise<number>((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", (code) => {
        if (code === 0) resolve(Number(text));
        else reject(new Error(`rank ${rank} ended with ${code}`));
      });
    });
  });
  const [first, second] = await Promise.all(ends);
  if (first !== second) throw new Error(`ranks disagree: ${first} and ${second}`);
  return first!;
}

function save(): void {
  results.trained.sort(
    (a, b) =>
      METHODS.indexOf(a.method) - METHODS.indexOf(b.method) || a.size - b.size || a.seed - b.seed,
  );
  const lines = (all: readonly object[]): string =>
    all.map((each) => `    ${JSON.stringify(each)}`).join(",\n");
  writeFileSync(
    FILE,
    `{\n  "adapter": ${JSON.stringify(results.adapter)},\n  "trained": [\n${lines(results.trained)}\n  ],\n` +
      `  "corrupted": [\n${lines(results.corrupted)}\n  ]\n}\n`,
  );
}

let server: NatsServer | null = null;
try {
  for (const method of methods.filter(Boolean)) {
    for (const size of sizes) {
      for (const seed of seeds) {
        const task = { method, size, seed };
        const progress = new Progress(`${method}, ${size} digits, start ${seed}`, 1000);
        let accuracy: number;
        if (method === "synchronised") {
          server ??= await NatsServer.start();
          accuracy = await ranksOf(task, server.url);
        } else {
          let shown = 0;
          const { network, norms } = await train(device, digits, task, (share) => {
            progress.tick(Math.floor(share * 1000) - shown);
            shown = Math.floor(share * 1000);
          });
          accuracy = await network.accuracy(test.x, test.labels);
          for (const norm of norms) norm.module.destroy();
        }
        progress.end();
        const same = (each: Result): boolean =>
          each.method === method && each.size === size && each.seed === seed;
        results.trained = [
          ...results.trained.filter((each) => !same(each)),
          { method, size, seed, accuracy },
        ];
        save();
      }
    }
  }
} finally {
  await server?.stop();
}

if (values.corruptions) {
  results.corrupted = [];
  const unlabeled = inputsOf(
    digits,
    Array.from({ length: 1000 }, (_, i) => TRAIN + TEST + i),
  );
  for (const seed of seeds) {
    const progress = new Progress(`corrupted digits, start ${seed}`, 2000);
    let shown = 0;
    const { network, norms } = await train(
      device,
      digits,
      { method: "plain", size: WHOLE, seed },
      (share) => {
        progress.tick(Math.floor(share * 1000) - shown);
        shown = Math.floor(share * 1000);
      },
    );
    const modules = norms.map((norm) => norm.module);
    const learned = await Promise.all(modules.map((module) => module.stateDict()));
    for (const [name, corrupt] of Object.entries(CORRUPTIONS)) {
      modules.forEach((module, i) => module.loadStateDict(learned[i]!));
      const x = corrupt(test.x);
      const before = await network.accuracy(x, test.labels);
      // New data of the same kind, without labels.
      const fresh = corrupt(unlabeled);
      const batch = (fresh.length / 1000) * 100;
      const batches = Array.from({ length: 10 }, (_, i) =>
        fresh.subarray(i * batch, (i + 1) * batch),
      );
      await reestimate(modules, batches, (each) =>
        network.logits(each, (norm, h) => (norm as (typeof norms)[number]).through(h)),
      );
      const after = await network.accuracy(x, test.labels);
      results.corrupted.push({ seed, name, before, after });
      progress.tick(200);
    }
    progress.end();
    for (const module of modules) module.destroy();
  }
  save();
}
device.destroy();

const percent = (all: readonly number[]): string => {
  if (all.length === 0) return "";
  const mean = all.reduce((a, b) => a + b, 0) / all.length;
  const spread = Math.max(...all) - Math.min(...all);
  return `${(100 * mean).toFixed(1)} ± ${(50 * spread).toFixed(1)}`;
};
const of = (method: Method, size: number): number[] =>
  results.trained
    .filter((each) => each.method === method && each.size === size)
    .map(({ accuracy }) => accuracy);
const shown = [...new Set(results.trained.map(({ size }) => size))].sort((a, b) => a - b);
const starts = Math.max(
  ...shown.flatMap((size) => METHODS.map((method) => of(method, size).length)),
);
console.log(
  [
    `Test accuracy in % on ${TEST} digits after ${SAMPLES} training digits: mean of ${starts} starts ± half their spread; ${results.adapter}.`,
    "",
    `| batch size | ${shown.join(" | ")} |`,
    `| --- |${" --: |".repeat(shown.length)}`,
    ...METHODS.map(
      (method) => `| ${method} | ${shown.map((size) => percent(of(method, size))).join(" | ")} |`,
    ),
    "",
    "| digits | as trained | after re-estimation |",
    "| --- | --: | --: |",
    ...Object.keys(CORRUPTIONS).map((name) => {
      const rows = results.corrupted.filter((each) => each.name === name);
      return `| ${name} | ${percent(rows.map((row) => row.before))} | ${percent(rows.map((row) => row.after))} |`;
    }),
  ].join("\n"),
);
const mean = (all: readonly number[]): number => all.reduce((a, b) => a + b, 0) / all.length;
writeFileSync(
  here("../docs/small-batches.svg"),
  chartOf(
    "Test accuracy on digits",
    "digits per batch, per ghost, per micro-batch, per process",
    METHODS.map((method) => ({
      name: method,
      points: shown
        .filter((size) => of(method, size).length > 0)
        .map((size) => [size, 100 * mean(of(method, size))] as const),
    })).filter(({ points }) => points.length > 0),
  ),
);
