import type { Candidate, Prepared } from "./candidate.js";
import {
  bytesOf,
  casesOf,
  floorOf,
  memoryShape,
  selectShapes,
  shapeText,
  type Case,
} from "./cases.js";
import { expectedOf, judge } from "./check.js";
import { inputsOf } from "./data.js";
import { hostCost, type HostCost } from "./host-cost.js";
import { measure, time, type MeasureOptions, type Timing } from "./measure.js";
import { BufferMeter } from "./meter.js";
import type { Options } from "./options.js";
import { COPY_COMMAND, copyKernels, isSoftware, ours } from "./ours.js";
import { CPU } from "./peers/cpu.js";
import { jax } from "./peers/jax.js";
import { onnxruntime } from "./peers/onnxruntime.js";
import { dropIn, tensorflow } from "./peers/tensorflow.js";
import { WRONG, type Row, type Skipped } from "./results.js";

/** What happens while the suite runs. */
export interface Listener {
  /** Cases done of all. */
  progress(done: number, total: number, label: string): void;
  rows(rows: readonly Row[]): void;
  warn: (text: string) => void;
}

export interface SuiteResults {
  readonly rows: Row[];
  readonly skipped: Skipped[];
  readonly peers: string[];
  readonly hostCost?: HostCost;
}

/** Loads the peers that were asked for; one that does not load here is a warning. */
export async function loadPeers(
  device: GPUDevice,
  names: readonly string[],
  warn: (text: string) => void,
): Promise<Candidate[]> {
  const loaders: Record<string, (device: GPUDevice) => Promise<Candidate>> = {
    tensorflow,
    "drop-in": dropIn,
    jax,
    onnxruntime,
    cpu: () => Promise.resolve(CPU),
  };
  const peers: Candidate[] = [];
  for (const name of names) {
    try {
      peers.push(await loaders[name]!(device));
    } catch (error) {
      warn(`${name} does not run here: ${messageOf(error)}`);
    }
  }
  return peers;
}

export function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0]!.slice(0, 200);
}

/** Runs `work`; what WebGPU had against it is thrown. */
async function guarded<T>(device: GPUDevice, work: () => Promise<T>): Promise<T> {
  device.pushErrorScope("out-of-memory");
  device.pushErrorScope("internal");
  device.pushErrorScope("validation");
  let result: T | undefined;
  let failure: unknown;
  try {
    result = await work();
  } catch (error) {
    failure = error;
  }
  const errors = await Promise.all([
    device.popErrorScope(),
    device.popErrorScope(),
    device.popErrorScope(),
  ]);
  const first = errors.find((error) => error !== null);
  if (failure !== undefined)
    throw failure instanceof Error ? failure : new Error(messageOf(failure));
  if (first) throw new Error(first.message);
  return result as T;
}

/** Milliseconds per byte of x that a candidate took last, by candidate, operation and layout; 0: not known yet. */
export type Paces = Map<string, number>;

/** Milliseconds of a sample at most, however long one run of ours takes, unless more was asked for. */
const LONGEST_SAMPLE = 250;

/** Milliseconds of work that a GPU gets before it is timed. */
const WARM_MS = 200;

/** Everything about one case: prepared, checked, timed, disposed of. */
export async function runCase(
  device: GPUDevice,
  meter: BufferMeter,
  each: Case,
  candidates: readonly Candidate[],
  options: Pick<Options, "rounds" | "sampleMs" | "memory" | "patience"> &
    Pick<MeasureOptions, "pause">,
  paces: Paces = new Map(),
): Promise<{ rows: Row[]; skipped: Skipped[] }> {
  const { name, group, layout, dtype, operation } = each;
  const bytes = bytesOf(each);
  const skipped: Skipped[] = [];
  const skip = (candidate: string, reason: string): void => {
    skipped.push({ name, layout, dtype, operation, candidate, reason });
  };
  const limit = device.limits.maxBufferSize;
  if (bytes > limit) {
    skip("all", `x needs ${bytes} bytes, the adapter's buffers hold ${limit}`);
    return { rows: [], skipped };
  }
  let budget = options.memory;
  const patienceMs = 1000 * options.patience;
  const chosen = candidates.filter((candidate) => {
    const refusal = candidate.refuses(each);
    const needed = candidate.holds(each) * bytes;
    const seconds = ((paces.get(paceKey(candidate, each)) ?? 0) * bytes) / 1000;
    if (refusal !== null) skip(candidate.name, refusal);
    else if (candidate.kind !== "ours" && seconds > options.patience)
      skip(candidate.name, `one run would take about ${Math.round(seconds)} s`);
    else if (needed > budget) {
      skip(
        candidate.name,
        `does not fit: needs about ${candidate.holds(each)} times x beside the others`,
      );
    } else {
      budget -= needed;
      return true;
    }
    return false;
  });
  const inputs = inputsOf(each);
  const expected = expectedOf(each, inputs);
  const ready: { candidate: Candidate; prepared: Prepared; onceMs: number; extra: Partial<Row> }[] =
    [];
  for (const candidate of chosen) {
    let prepared: Prepared | undefined;
    try {
      await options.pause?.();
    } catch (error) {
      for (const each of ready) each.prepared.dispose();
      throw error;
    }
    try {
      meter.mark();
      const right = await guarded(device, async () => {
        prepared = await candidate.prepare(device, each, inputs);
        // Twice: whatever is kept for reuse is there the second time. A candidate's very first run starts it, too.
        const firstMs = await time(prepared, 1);
        const hasStarted = paces.has(paceKey(candidate, each));
        const onceMs = hasStarted && firstMs > patienceMs ? firstMs : await time(prepared, 1);
        const held = meter.most;
        const outputs = await prepared.outputs();
        return { onceMs, held, verdict: outputs && judge(each, expected, outputs) };
      });
      const { verdict, held, onceMs } = right;
      // Of a small one most is fixed cost, which foretells nothing.
      const pace = paceKey(candidate, each);
      paces.set(pace, bytes >= 2 ** 20 ? onceMs / bytes : (paces.get(pace) ?? 0));
      if (verdict && !verdict.pass) {
        prepared!.dispose();
        prepared = undefined;
        const size = Number.isNaN(verdict.error) ? "not a number" : verdict.error.toPrecision(2);
        skip(candidate.name, `${WRONG} ${verdict.where}, error ${size}: not timed`);
        continue;
      }
      ready.push({
        candidate,
        prepared: prepared!,
        onceMs,
        extra: {
          ...(candidate.kind === "cpu" ? {} : { held: held / bytes }),
          ...(verdict ? { error: verdict.error } : {}),
          ...(prepared!.note ? { note: prepared!.note } : {}),
        },
      });
    } catch (error) {
      prepared?.dispose();
      skip(candidate.name, messageOf(error));
    }
  }
  let timings: Timing[];
  try {
    const { rounds, pause } = options;
    // On a busy machine a short sample may find a quiet moment and a long one does not: all get about the same length.
    const own = ready.filter(({ candidate }) => candidate.kind === "ours");
    const longest = Math.max(0, ...own.map(({ onceMs }) => onceMs));
    const sampleMs = Math.max(options.sampleMs, Math.min(LONGEST_SAMPLE, longest));
    timings = await measure(ready, {
      rounds,
      sampleMs,
      patienceMs,
      mostRepeats: 4096,
      warmMs: isSoftware(device) ? 0 : WARM_MS,
      ...(pause && { pause }),
    });
  } finally {
    for (const { prepared } of ready) prepared.dispose();
  }
  const copies = timings.filter((_, i) => ready[i]!.candidate.kind === "copy");
  const copyWall = Math.min(...copies.map(({ wall }) => wall.ms));
  const copyBest = Math.min(...copies.map(({ wall }) => wall.p10));
  const copyDevice = Math.min(...copies.map(({ device: spread }) => spread?.ms ?? Infinity));
  const rows = ready.map(({ candidate, prepared, extra }, i): Row => {
    const { wall, device: spread } = timings[i]!;
    const moved =
      candidate.kind === "copy" || candidate.kind === "command"
        ? 2
        : floorOf(operation, prepared.held);
    const byDevice = spread && Number.isFinite(copyDevice);
    const ratio = byDevice ? spread.ms / copyDevice : wall.ms / copyWall;
    return {
      name,
      group,
      shape: memoryShape(each),
      layout,
      dtype,
      operation,
      bytes,
      candidate: candidate.name,
      kind: candidate.kind,
      wall,
      ...(spread ? { device: spread } : {}),
      copies: wall.ms / copyWall,
      bestCopies: wall.p10 / copyBest,
      ...(byDevice ? { deviceCopies: spread.ms / copyDevice } : {}),
      floors: (2 * ratio) / moved,
      gbps: (moved * bytes) / wall.ms / 1e6,
      ...(byDevice ? { deviceGbps: (moved * bytes) / spread.ms / 1e6 } : {}),
      ...extra,
    };
  });
  return { rows, skipped };
}

function paceKey({ name }: Candidate, { operation, layout }: Case): string {
  return [name, operation, layout].join();
}

/** Runs everything that was asked for. */
export async function runSuite(
  device: GPUDevice,
  options: Options,
  listener: Listener,
): Promise<SuiteResults> {
  const cost = options.hostCost ? await hostCost(device) : undefined;
  const meter = new BufferMeter(device);
  const peers = await loadPeers(device, options.peers, listener.warn);
  const candidates = [
    ...copyKernels(),
    COPY_COMMAND,
    ours(undefined, options.tuning ?? undefined),
    ...peers,
  ];
  // Small ones first: what they take tells which large ones are worth waiting for.
  const cases = casesOf(
    selectShapes(options.shapes),
    options.layouts,
    options.dtypes,
    options.operations,
  ).sort((a, b) => bytesOf(a) - bytesOf(b));
  const rows: Row[] = [];
  const skipped: Skipped[] = [];
  const paces: Paces = new Map();
  const start = performance.now();
  for (const [index, each] of cases.entries()) {
    if (performance.now() - start > options.minutes * 60_000) {
      const { name, layout, dtype, operation } = each;
      const reason = `the run's ${options.minutes} minutes were over`;
      skipped.push({ name, layout, dtype, operation, candidate: "all", reason });
      continue;
    }
    listener.progress(index, cases.length, `${each.operation} ${shapeText(each)} ${each.dtype}`);
    try {
      const result = await runCase(device, meter, each, candidates, options, paces);
      rows.push(...result.rows);
      skipped.push(...result.skipped);
      listener.rows(result.rows);
      for (const { candidate, reason } of result.skipped)
        if (reason.startsWith(WRONG)) listener.warn(`  ${candidate}: ${reason}`);
    } catch (error) {
      listener.warn(`${each.operation} ${shapeText(each)}: ${messageOf(error)}`);
      const { name, layout, dtype, operation } = each;
      skipped.push({ name, layout, dtype, operation, candidate: "all", reason: messageOf(error) });
    }
  }
  listener.progress(cases.length, cases.length, "");
  return {
    rows,
    skipped,
    peers: peers.map(({ name, version }) => version ?? name),
    ...(cost ? { hostCost: cost } : {}),
  };
}
