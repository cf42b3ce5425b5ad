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
import { measure, type Timing } from "./measure.js";
import { BufferMeter } from "./meter.js";
import type { Options } from "./options.js";
import { COPY_COMMAND, copyKernels, ours } from "./ours.js";
import { CPU } from "./peers/cpu.js";
import { jax } from "./peers/jax.js";
import { onnxruntime } from "./peers/onnxruntime.js";
import { tensorflow } from "./peers/tensorflow.js";
import type { Row, Skipped } from "./results.js";

/** What happens while the suite runs. */
export interface Listener {
  /** Cases done of all. */
  progress(done: number, total: number, label: string): void;
  rows(rows: readonly Row[]): void;
  warn(text: string): void;
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
  const errors = await Promise.all([device.popErrorScope(), device.popErrorScope(), device.popErrorScope()]);
  const first = errors.find((error) => error !== null);
  if (failure !== undefined || first) throw failure ?? new Error(first!.message);
  return result as T;
}

/** Everything about one case: prepared, checked, timed, disposed of. */
export async function runCase(
  device: GPUDevice,
  meter: BufferMeter,
  each: Case,
  candidates: readonly Candidate[],
  options: Pick<Options, "rounds" | "sampleMs" | "memory">,
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
  const chosen = candidates.filter((candidate) => {
    const refusal = candidate.refuses(each);
    const needed = candidate.holds(each) * bytes;
    if (refusal !== null) skip(candidate.name, refusal);
    else if (needed > budget) {
      skip(candidate.name, `does not fit: needs about ${candidate.holds(each)} times x beside the others`);
    } else {
      budget -= needed;
      return true;
    }
    return false;
  });
  const inputs = inputsOf(each);
  const expected = expectedOf(each, inputs);
  const ready: { candidate: Candidate; prepared: Prepared; extra: Partial<Row> }[] = [];
  for (const candidate of chosen) {
    let prepared: Prepared | undefined;
    try {
      meter.mark();
      const right = await guarded(device, async () => {
        prepared = await candidate.prepare(device, each, inputs);
        // Twice: whatever is kept for reuse is there the second time.
        await prepared.run(1);
        await prepared.run(1);
        const held = meter.most;
        const outputs = await prepared.outputs();
        return { held, verdict: outputs && judge(each, expected, outputs) };
      });
      const { verdict, held } = right;
      ready.push({
        candidate,
        prepared: prepared!,
        extra: {
          ...(candidate.kind === "cpu" ? {} : { held: held / bytes }),
          ...(verdict ? { right: verdict.pass, error: Number.isNaN(verdict.worst) ? null : verdict.worst } : {}),
          ...(prepared!.note !== undefined || (verdict && !verdict.pass)
            ? { note: [prepared!.note, verdict && !verdict.pass ? `wrong ${verdict.where}` : ""].filter(Boolean).join(", ") }
            : {}),
        },
      });
    } catch (error) {
      prepared?.dispose();
      skip(candidate.name, messageOf(error));
    }
  }
  let timings: Timing[];
  try {
    timings = await measure(
      ready.map(({ prepared }) => prepared),
      { rounds: options.rounds, sampleMs: options.sampleMs, mostRepeats: 1024 },
    );
  } finally {
    for (const { prepared } of ready) prepared.dispose();
  }
  const copies = timings.filter((_, i) => ready[i]!.candidate.kind === "copy");
  const copyWall = Math.min(...copies.map(({ wall }) => wall.ms));
  const copyDevice = Math.min(...copies.map(({ device: spread }) => spread?.ms ?? Infinity));
  const rows = ready.map(({ candidate, prepared, extra }, i): Row => {
    const { wall, device: spread } = timings[i]!;
    const moved = candidate.kind === "copy" || candidate.kind === "command" ? 2 : floorOf(operation, prepared.resident);
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
      ...(byDevice ? { deviceCopies: spread.ms / copyDevice } : {}),
      floors: (2 * ratio) / moved,
      gbps: (moved * bytes) / (byDevice ? spread.ms : wall.ms) / 1e6,
      ...extra,
    };
  });
  return { rows, skipped };
}

/** Runs everything that was asked for. */
export async function runSuite(device: GPUDevice, options: Options, listener: Listener): Promise<SuiteResults> {
  const cost = options.hostCost ? await hostCost(device) : undefined;
  const meter = new BufferMeter(device);
  const peers = await loadPeers(device, options.peers, listener.warn);
  const candidates = [...copyKernels(), COPY_COMMAND, ours(undefined, options.tuning ?? undefined), ...peers];
  const cases = casesOf(selectShapes(options.shapes), options.layouts, options.dtypes, options.operations);
  const rows: Row[] = [];
  const skipped: Skipped[] = [];
  for (const [index, each] of cases.entries()) {
    listener.progress(index, cases.length, `${each.operation} ${shapeText(each)} ${each.dtype}`);
    try {
      const result = await runCase(device, meter, each, candidates, options);
      rows.push(...result.rows);
      skipped.push(...result.skipped);
      listener.rows(result.rows);
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
