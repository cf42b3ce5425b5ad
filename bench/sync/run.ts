/**
 * What synchronisation costs over NATS on this machine: `npm run bench:sync`. Starts a nats-server and 1, 2 and 4
 * processes, and prints a Markdown table.
 */
import { spawn } from "node:child_process";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { Progress } from "../../scripts/support/progress.js";
import { NatsServer } from "../../test/support/nats-server.js";
import type { Measured, Task } from "./task.js";

const SHAPES: readonly Task["shape"][] = [
  [4, 64, 56, 56],
  [4, 512, 7, 7],
];
const SIZES = [1, 2, 4];
const STEPS = 15;

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

function rank(task: Task): Promise<string> {
  const child = spawn(
    process.execPath,
    [here("../../scripts/run.mjs"), here("rank.ts"), JSON.stringify(task)],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  let text = "";
  child.stdout.on("data", (more: Buffer) => (text += more.toString()));
  return new Promise((resolve, reject) => {
    child.once("exit", (code) =>
      code === 0 ? resolve(text) : reject(new Error(`rank ${task.rank} ended with ${code}`)),
    );
  });
}

const ms = (value: number): string => (value < 10 ? value.toFixed(2) : value.toFixed(1));
const server = await NatsServer.start();
const progress = new Progress("synchronised over NATS", SHAPES.length * SIZES.length);
const rows: string[] = [];
let adapter = "";
try {
  for (const shape of SHAPES) {
    for (const size of SIZES) {
      const task = {
        servers: server.url,
        group: `bench-${rows.length}`,
        size,
        shape,
        steps: STEPS,
      };
      const all = Array.from({ length: size }, (_, each) => rank({ ...task, rank: each }));
      const [first] = await Promise.all(all);
      const got = JSON.parse(first!) as Measured;
      ({ adapter } = got);
      const share = `${((100 * got.roundsMs) / got.synchronisedMs).toFixed(1)} %`;
      rows.push(
        `| [${shape.join(", ")}] | ${size} | ${[got.plainMs, got.synchronisedMs, got.waitedMs, got.roundsMs].map(ms).join(" | ")} | ${share} |`,
      );
      progress.tick();
    }
  }
} finally {
  progress.end();
  await server.stop();
}
console.log(
  [
    `Forward and backward of one layer, medians of ${STEPS} steps in ms; ${adapter}, ${cpus().length} cores, Node ${process.versions.node}`,
    "",
    "| shard of each rank | ranks | no sync | synchronised | of it waiting | the 2 rounds alone | their share |",
    "| --- | --: | --: | --: | --: | --: | --: |",
    ...rows,
  ].join("\n"),
);
