/** The benchmark in Node on Dawn. */
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { describeAdapter, requestDevice } from "webgpu-batchnorm/node";
import { runCommand, type Options } from "./options.js";
import { printRow, printSummary, ProgressBar } from "./print.js";
import { fileNameOf, timingOf, type Results, type Row } from "./results.js";
import { appended, resultsIn, save } from "./save.js";
import { runSuite } from "./suite.js";
import { runSweep } from "./sweep.js";

/** As much as the adapter gives: it is asked for less until it agrees, since only its device tells its limits. */
async function bestDevice(adapter: Options["adapter"]): Promise<GPUDevice> {
  const GIGA = 2 ** 30;
  const sizes = [4 * GIGA - 4, 2 * GIGA - 4, GIGA, GIGA / 2, GIGA / 4];
  const teams = [1024, 512, 256];
  const attempts = teams.flatMap((invocations) =>
    sizes.map((bytes) => ({
      ...(bytes > GIGA / 4
        ? { maxBufferSize: bytes, maxStorageBufferBindingSize: Math.min(bytes, 2 * GIGA - 4) }
        : {}),
      ...(invocations > 256
        ? { maxComputeInvocationsPerWorkgroup: invocations, maxComputeWorkgroupSizeX: invocations }
        : {}),
    })),
  );
  for (const requiredFeatures of [
    ["timestamp-query", "subgroups"],
    ["timestamp-query"],
    [],
  ] as GPUFeatureName[][]) {
    for (const requiredLimits of attempts) {
      const device = await requestDevice({
        adapter,
        quiet: true,
        requiredLimits,
        requiredFeatures,
      }).catch(() => null);
      if (device) return device;
    }
  }
  return requestDevice({ adapter });
}

async function main(options: Options): Promise<void> {
  const device = await bestDevice(options.adapter);
  const adapter = describeAdapter(device);
  device.addEventListener("uncapturederror", (event) => {
    process.stderr.write(`  uncaptured: ${event.error.message.split("\n")[0]!}\n`);
  });
  process.stdout.write(`\n  ${adapter}, Node ${process.versions.node} on Dawn\n`);
  const head = {
    adapter,
    host: "node",
    runtime: `Node ${process.versions.node}, Dawn of webgpu ${await dawnVersion()}`,
    date: new Date().toISOString().slice(0, 10),
    timing: timingOf(device.features.has("timestamp-query")),
  } as const;
  const file = options.json ?? join("bench", "results", fileNameOf(head));
  const before = options.append ? await resultsIn(file, head) : null;
  const soFar: Row[] = [];
  const bar = new ProgressBar();
  const listener = {
    progress: (done: number, total: number, label: string) => {
      bar.draw(done, total, label);
    },
    rows: (rows: readonly Row[]) => {
      bar.clear();
      printRow(rows);
      soFar.push(...rows);
      // A run that is broken off leaves what it had.
      void save(`${file}.part`, { ...head, peers: [], rows: soFar, skipped: [] });
    },
    warn: (text: string) => {
      bar.clear();
      process.stderr.write(`  ${text}\n`);
    },
  };
  if (options.sweep) {
    await runSweep(device, options, listener);
    return;
  }
  const measured: Results = { ...head, ...(await runSuite(device, options, listener)) };
  const results = appended(before, measured);
  bar.clear();
  await save(file, results);
  await rm(`${file}.part`, { force: true });
  printSummary(results);
  process.stdout.write(`\n  written to ${file}\n`);
}

async function dawnVersion(): Promise<string> {
  const { createRequire } = await import("node:module");
  try {
    const path = createRequire(import.meta.url).resolve("webgpu/package.json");
    return (JSON.parse(await readFile(path, "utf8")) as { version: string }).version;
  } catch {
    return "";
  }
}

await runCommand(main);
