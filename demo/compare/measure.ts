import type { Candidate } from "../../bench/candidate.js";
import { bytesOf, memoryShape, SERIES, type Case } from "../../bench/cases.js";
import { inputsOf } from "../../bench/data.js";
import { measure, time } from "../../bench/measure.js";
import { BufferMeter } from "../../bench/meter.js";
import { COPY_COMMAND, copyKernels, ours } from "../../bench/ours.js";
import { CPU } from "../../bench/peers/cpu.js";
import { loadPeers, runCase, type Paces } from "../../bench/suite.js";
import { DROP_IN, type Row, type Skipped } from "../../bench/results.js";
import { endedBy } from "../shell/trouble.js";
import type { Job } from "../shell/work.js";
import type { Text } from "../shell/language.js";

/** Who is compared, by the names that the address has. */
export const CANDIDATES = ["ours", "cpu", "tensorflow", "drop-in", "onnxruntime", "jax"] as const;
export type CandidateName = (typeof CANDIDATES)[number];

/** Their names in results. */
export const PROGRAMS: Readonly<Record<CandidateName, string>> = {
  ours: "webgpu-batchnorm",
  cpu: CPU.name,
  tensorflow: "TensorFlow.js",
  "drop-in": DROP_IN,
  onnxruntime: "ONNX Runtime Web",
  jax: "jax-js",
};

export interface Comparison {
  readonly rows: readonly Row[];
  readonly skipped: readonly Skipped[];
}

export interface Effort {
  readonly rounds: number;
  readonly sampleMs: number;
  /** Seconds that one run of one candidate may take. */
  readonly patience: number;
}

/** Candidates, or the reason why one could not be loaded. */
export type Loaded = readonly (readonly [CandidateName, Candidate | string])[];

const MEMORY = 2 ** 31;

/** Candidates on one device. Libraries load at their first use and stay. */
export class Bench {
  readonly #meter: BufferMeter;
  readonly #loaded = new Map<CandidateName, Candidate>();
  readonly #paces: Paces = new Map();

  constructor(readonly device: GPUDevice) {
    this.#meter = new BufferMeter(device);
  }

  /** Those that are asked for, or why they did not load; they are tried again the next time. */
  async load(names: readonly CandidateName[], job: Job): Promise<Loaded> {
    const found: [CandidateName, Candidate | string][] = [];
    for (const name of names) {
      let candidate: Candidate | string | undefined =
        name === "ours" ? ours() : this.#loaded.get(name);
      if (!candidate) {
        const program = PROGRAMS[name];
        job.progress(0, { en: `Loading ${program} …`, ko: `${program} 불러오는 중 …` });
        await job.breathe();
        let why = "";
        const [peer] = await job.wait(
          loadPeers(this.device, [name], (text) => {
            why = text;
          }),
        );
        if (peer) this.#loaded.set(name, peer);
        candidate = peer ?? why;
      }
      found.push([name, candidate]);
    }
    return found;
  }

  /** Checks and times one case. Those that did not load, refuse or compute something else are among the skipped. */
  async compare(
    each: Case,
    loaded: Loaded,
    { rounds, sampleMs, patience }: Effort,
    job: Job,
    span: readonly [from: number, to: number] = [0, 1],
  ): Promise<Comparison> {
    const found: Candidate[] = [...copyKernels(), COPY_COMMAND];
    const failed: Skipped[] = [];
    for (const [name, candidate] of loaded) {
      if (typeof candidate === "string") failed.push(without(each, name, candidate));
      else found.push(candidate);
    }
    // Each is paused for twice to be prepared and calibrated, and once a round.
    const pauses = found.length * (rounds + 3);
    let paused = 0;
    let doing: Text = { en: "Checking against float64 …", ko: "float64와 대조하는 중 …" };
    const pause = async (): Promise<void> => {
      const share = Math.min(1, paused++ / pauses);
      if (paused > found.length)
        doing = { en: "Timing, in turns …", ko: "번갈아 시간을 재는 중 …" };
      job.progress(span[0] + share * (span[1] - span[0]), doing);
      await job.breathe();
    };
    const options = { rounds, sampleMs, patience, memory: MEMORY, pause };
    const result = await runCase(this.device, this.#meter, each, found, options, this.#paces);
    // Where not even a copy ran, it may be the device that failed all of them.
    if (result.rows.length === 0 && (await endedBy(job.signal))) job.signal.throwIfAborted();
    return { rows: result.rows, skipped: [...failed, ...result.skipped] };
  }
}

function without(
  { name, layout, dtype, operation }: Case,
  left: CandidateName,
  reason: string,
): Skipped {
  return { name, layout, dtype, operation, candidate: PROGRAMS[left], reason };
}

/** The reference alone, where there is no device. */
export async function compareOnCpu(
  each: Case,
  names: readonly CandidateName[],
  { rounds, sampleMs }: Effort,
  job: Job,
): Promise<Comparison> {
  const skipped = names
    .filter((name) => name !== "cpu")
    .map((name) => without(each, name, "needs WebGPU"));
  const refusal = CPU.refuses(each);
  if (refusal !== null) return { rows: [], skipped: [without(each, "cpu", refusal), ...skipped] };
  const { name, group, layout, dtype, operation } = each;
  // It has no use for a device.
  const prepared = await CPU.prepare(null as unknown as GPUDevice, each, inputsOf(each));
  const onceMs = await time(prepared, 1);
  let paused = 0;
  const [timing] = await measure([{ prepared, onceMs }], {
    rounds,
    sampleMs,
    mostRepeats: 1024,
    patienceMs: 10_000,
    pause: async () => {
      job.progress(Math.min(1, paused++ / (rounds + 2)), {
        en: "Timing …",
        ko: "시간을 재는 중 …",
      });
      await job.breathe();
    },
  });
  const row: Row = {
    name,
    group,
    layout,
    dtype,
    operation,
    shape: memoryShape(each),
    bytes: bytesOf(each),
    candidate: CPU.name,
    kind: "cpu",
    wall: timing!.wall,
    copies: NaN,
    bestCopies: NaN,
  };
  return { rows: [row], skipped };
}

/** The sizes of the chart over size, up to so many bytes. */
export function sizesUpTo(bytes: number): typeof SERIES {
  return SERIES.filter((shape) => bytesOf({ ...shape, dtype: "f32" }) <= bytes);
}
