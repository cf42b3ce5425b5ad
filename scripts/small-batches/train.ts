import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { createNatsCommunicator } from "webgpu-batchnorm/nats";
import { gather, sum, type Communicator } from "webgpu-batchnorm/sync";
import { packDigits, PIXELS, type Digits } from "../support/digits.js";
import { Network, NORM_WIDTHS } from "./network.js";
import { normOf, SAMPLES, TEST, TRAIN, WHOLE, type Method } from "./norms.js";

/** What is trained: by which method, how many digits at a time, from which start. */
export interface Task {
  readonly method: Method;
  readonly size: number;
  readonly seed: number;
  /** Synchronised: where the ranks meet, and which of them this is. */
  readonly ranks?: { readonly servers: string; readonly group: string; readonly rank: number };
}

export const RANKS = 2;

/** Learning rate of a step over 64 digits; it shrinks in proportion to smaller steps. */
const RATE = 0.05;

export async function loadDigits(): Promise<Digits> {
  const folder = dirname(createRequire(import.meta.url).resolve("mnist/package.json"));
  const files = await Promise.all(
    Array.from({ length: 10 }, async (_, digit) => {
      const text = await readFile(join(folder, "src", "digits", `${digit}.json`), "utf8");
      return (JSON.parse(text) as { data: number[] }).data;
    }),
  );
  return packDigits(files);
}

/** Digits as the network takes them, 0 to 1. */
export function inputsOf(digits: Digits, indices: readonly number[]): Float32Array {
  const x = new Float32Array(indices.length * PIXELS);
  indices.forEach((index, i) => {
    for (let k = 0; k < PIXELS; k++) x[i * PIXELS + k] = digits.pixels[index * PIXELS + k]! / 255;
  });
  return x;
}

const range = (from: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => from + i);

export const testDigits = (digits: Digits) => ({
  x: inputsOf(digits, range(TRAIN, TEST)),
  labels: digits.labels.slice(TRAIN, TRAIN + TEST),
});

/** Trains one network and returns it. */
export async function train(
  device: GPUDevice,
  digits: Digits,
  task: Task,
  onStep: (share: number) => void,
): Promise<{ network: Network; norms: ReturnType<typeof normOf>[] }> {
  const { method, size, seed, ranks } = task;
  let communicator: Communicator | null = null;
  if (ranks)
    communicator = await createNatsCommunicator({ ...ranks, size: RANKS, timeout: 60_000 });
  const norms = NORM_WIDTHS.map((width, i) =>
    normOf(
      method,
      device,
      width,
      size,
      communicator ? { communicator, name: `layer ${i}` } : undefined,
    ),
  );
  const network = new Network(norms, 1000 * seed);
  const summed = method === "ghost" || method === "accumulated";
  const parts = method === "accumulated" ? WHOLE / size : 1;
  const own = method === "ghost" ? WHOLE : size;
  const step = summed ? WHOLE : size * (ranks ? RANKS : 1);
  const first = ranks ? ranks.rank * size : 0;
  const reduce = async (gradients: Float32Array): Promise<Float32Array> => {
    if (!communicator) return gradients;
    const shares = gradients.map((value) => value / RANKS);
    return communicator.allReduce(gather([shares]), sum, { tag: "gradients" });
  };
  for (let seen = 0; seen + step <= SAMPLES; seen += step) {
    const cut = range(0, parts).map((part) =>
      range(seen + first + part * own, own).map((index) => (index + 17 * seed) % TRAIN),
    );
    await network.step(
      cut.map((indices) => inputsOf(digits, indices)),
      cut.map((indices) => Uint8Array.from(indices, (index) => digits.labels[index]!)),
      (RATE * step) / WHOLE,
      reduce,
    );
    onStep((seen + step) / SAMPLES);
  }
  await communicator?.close();
  return { network, norms };
}
