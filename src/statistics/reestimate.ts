import { kindOf, requireKnown } from "../arguments.js";
import { BatchNorm, type StateDict } from "../batchnorm.js";
import { complain, OptionError } from "../errors.js";
import { remedyFor } from "../remedy.js";
import { requireTensor, type Tensor } from "../tensor.js";
import { StatisticsAccumulator } from "./accumulator.js";
import { readStatistics } from "./read.js";
import { ExtendedBatchNorm, type ExtendedForwardOptions } from "./extended.js";

/** Options of {@link reestimate}. */
export interface ReestimateOptions {
  /** Called after each batch with the number of batches done. */
  onProgress?: ((done: number) => void) | undefined;
  /** Aborts between two batches; statistics are then as they were. */
  signal?: AbortSignal | undefined;
}

/** Takes a module's statistics while somebody runs it. */
interface Watch {
  readonly module: BatchNorm;
  /** One after another, each as full as it could be. */
  readonly all: StatisticsAccumulator[];
  /** The mode that it is in, or would be in if it were not frozen. */
  readonly training: boolean;
  readonly before: StateDict;
  /** What it had in front of its class's methods. */
  readonly own: Map<(typeof REPLACED)[number], PropertyDescriptor | undefined>;
}

/** Methods that are replaced meanwhile. */
const REPLACED = ["forward", "requireInput"] as const;

/** Modules that are watched now: another one's statistics would be taken from under it. */
const watched = new WeakSet<BatchNorm>();

/**
 * Replaces running statistics by the true ones of a data set: every value counts the same, whichever batch it came in,
 * where a moving average counts the last batches most (precise Batch Normalization). On unlabeled data of another
 * domain the same is AdaBN.
 *
 * The modules run in training mode meanwhile, so that each sees its input normalised by batch statistics, as in
 * training. Statistics are taken and merged on the device. Afterwards modes and batch counters are as before, gamma and
 * beta were never touched; where a batch fails or the signal aborts, running statistics too.
 *
 * A frozen module keeps using its running statistics meanwhile. One under a `SyncBatchNorm` is run by itself: `run` calls
 * `layer.module.forward`, and each rank learns the statistics of the batches that it runs.
 *
 * A batch of one value per channel, such as the last one of a data set, is a SingleValueError as in training, and
 * `eval()` is no remedy here: leave that batch out, or make the modules with `singleValue: "zero"`.
 *
 * @param modules whose `forward` `run` calls.
 * @param batches anything to iterate over, asynchronous too.
 * @param run the network's forward over one batch; what it returns is awaited.
 * @returns the number of values per channel that each module has seen.
 * Rejects with OptionError where there is no batch, an argument is of another kind, a module has no running statistics or
 * saw no value; with what `run` rejects with; and with the signal's reason.
 * @see Wu and Johnson 2021, https://arxiv.org/abs/2105.07576, section 3; Li et al. 2016, https://arxiv.org/abs/1603.04779.
 * @example
 * ```ts
 * await reestimate([bn1, bn2], batches, async (x) => { network(x).destroy(); });
 * ```
 */
export async function reestimate<B>(
  modules: BatchNorm | readonly BatchNorm[],
  batches: Iterable<B> | AsyncIterable<B>,
  run: (batch: B, index: number) => unknown,
  options: ReestimateOptions = {},
): Promise<number[]> {
  const subject = "reestimate";
  requireKnown(subject, options, ["onProgress", "signal"]);
  const order = "pass modules, batches, then the forward over one";
  const requireKind = (fits: boolean, name: string, expected: string, given: unknown): void => {
    if (fits) return;
    const remedy = remedyFor(given, order);
    throw new OptionError(complain(`${subject}: ${name}`, expected, kindOf(given), remedy));
  };
  const list = modules instanceof BatchNorm ? [modules] : modules;
  requireKind(Array.isArray(list), "modules", "a BatchNorm or a list of them", modules);
  for (const [i, each] of list.entries()) {
    requireKind(each instanceof BatchNorm, `modules[${i}]`, "a BatchNorm", each);
  }
  const iterable = [Symbol.asyncIterator, Symbol.iterator].some((way) => way in Object(batches));
  requireKind(iterable, "batches", "an iterable of batches", batches);
  requireKind(typeof run === "function", "run", "a function of a batch", run);
  const { onProgress } = options;
  const callable = onProgress === undefined || typeof onProgress === "function";
  requireKind(callable, "onProgress", "a function", onProgress);
  for (const module of list) {
    if (!module.options.trackRunningStats) {
      throw new OptionError(
        complain(subject, "modules with running statistics", "one without", "leave it out"),
      );
    }
  }
  const taken = list.findIndex((module) => watched.has(module));
  if (taken >= 0) {
    throw new OptionError(
      complain(
        `${subject}: modules[${taken}]`,
        "one that no other reestimate() watches",
        "one that is watched",
        "await the other first",
      ),
    );
  }
  const watches: Watch[] = [];
  let counts: number[];
  list.forEach((module) => watched.add(module));
  try {
    const before = await Promise.all(list.map((module) => module.stateDict()));
    for (const [i, module] of list.entries()) watches.push(watchOf(module, before[i]!));
    watches.forEach(patch);
    await runAll(subject, batches, run, options);
    counts = await learn(subject, watches);
  } catch (error) {
    // What fails here as well follows from the first failure.
    unwatch(watches, false);
    throw error;
  } finally {
    list.forEach((module) => watched.delete(module));
  }
  const [failure] = unwatch(watches, true);
  if (failure) throw failure.error;
  return counts;
}

async function runAll<B>(
  subject: string,
  batches: Iterable<B> | AsyncIterable<B>,
  run: (batch: B, index: number) => unknown,
  { signal, onProgress }: ReestimateOptions,
): Promise<void> {
  let done = 0;
  signal?.throwIfAborted();
  for await (const batch of batches) {
    signal?.throwIfAborted();
    await run(batch, done);
    done += 1;
    onProgress?.(done);
  }
  signal?.throwIfAborted();
  if (done > 0) return;
  throw new OptionError(
    complain(
      `${subject}: batches`,
      "one at least",
      "no batch",
      "pass some; an iterator gives its batches once",
    ),
  );
}

/** Loads what was seen; returns the values per channel of each module. */
async function learn(subject: string, watches: readonly Watch[]): Promise<number[]> {
  const counts: number[] = [];
  const learned: { running_mean: Float64Array; running_var: Float64Array }[] = [];
  for (const [i, { module, all }] of watches.entries()) {
    const { device, channels, options } = module;
    const parts = all.map((each) => readStatistics(device, each.total(), { channels }));
    const read: Whole[] = (await Promise.all(parts)).flat();
    const whole = read.reduce(together);
    const count = whole.count[0]!;
    if (count === 0) {
      throw new OptionError(
        complain(
          subject,
          "a value for every module",
          `none for modules[${i}]`,
          "call its forward in run",
        ),
      );
    }
    const unbiased = options.runningVariance === "unbiased" && count > 1;
    const factor = unbiased ? count / (count - 1) : 1;
    learned.push({
      running_mean: whole.mean,
      running_var: whole.varBiased.map((each) => each * factor),
    });
    counts.push(count);
  }
  // Parameters are as they are now: `run` may have written them.
  const now = await Promise.all(watches.map(({ module }) => module.stateDict()));
  watches.forEach(({ module, before }, i) => {
    const { weight, bias } = now[i]!;
    const parameters = { ...(weight && { weight }), ...(bias && { bias }) };
    module.loadStateDict({ ...before, ...parameters, ...learned[i] });
  });
  return counts;
}

/** On the host counts may pass 2^32. */
interface Whole {
  readonly count: ArrayLike<number>;
  readonly mean: Float64Array;
  readonly varBiased: Float64Array;
}

/** Statistics of both, as if their values had been one batch (Chan, Golub and LeVeque 1983). */
function together(a: Whole, b: Whole): Whole {
  const count = Float64Array.from(a.count, (each, c) => each + b.count[c]!);
  const mean = Float64Array.from(a.mean);
  const varBiased = Float64Array.from(a.varBiased);
  for (const [c, all] of count.entries()) {
    // What has no values has no mean either.
    if (b.count[c] === 0) continue;
    if (a.count[c] === 0) {
      mean[c] = b.mean[c]!;
      varBiased[c] = b.varBiased[c]!;
      continue;
    }
    const share = b.count[c]! / all;
    const apart = b.mean[c]! - a.mean[c]!;
    mean[c]! += apart * share;
    varBiased[c] =
      a.varBiased[c]! * (1 - share) + b.varBiased[c]! * share + apart ** 2 * share * (1 - share);
  }
  return { count, mean, varBiased };
}

function watchOf(module: BatchNorm, before: StateDict): Watch {
  const training = module instanceof ExtendedBatchNorm ? module.wantsTraining : module.training;
  return { module, all: [accumulatorOf(module)], training, before, own: new Map() };
}

function accumulatorOf({ device, channels, options }: BatchNorm): StatisticsAccumulator {
  return new StatisticsAccumulator(device, channels, options);
}

/** Puts own properties in front of the module's methods. */
function patch({ module, all, own }: Watch): void {
  for (const name of REPLACED) own.set(name, Object.getOwnPropertyDescriptor(module, name));
  module.train();
  const forward = module.forward.bind(module);
  module.forward = (x: Tensor, given: ExtendedForwardOptions = {}): Tensor => {
    requireTensor("forward: x", x);
    if (!all.at(-1)!.hasRoomFor(x.size / module.channels)) all.push(accumulatorOf(module));
    const last = all.at(-1)!;
    // Before the forward, which may write over x; where that fails the batch does not count.
    return last.attempt(() => {
      last.add(x, { mask: given.mask, encoder: given.encoder });
      return forward(x, given);
    });
  };
  // A SyncBatchNorm asks for this and then computes the forward by itself, past the one above.
  module.requireInput = () => {
    throw new OptionError(
      complain(
        "reestimate",
        "a call of the module's own forward",
        "one of a layer over it (SyncBatchNorm)",
        "call layer.module.forward(x) in run",
      ),
    );
  };
}

/** Leaves every module as it was, but for what it has learned; returns what could not be done. */
function unwatch(watches: readonly Watch[], kept: boolean): { error: unknown }[] {
  // Backwards: a module may stand in the list twice.
  return [...watches].reverse().flatMap(({ module, all, training, before, own }) => {
    all.forEach((each) => each.destroy());
    for (const [name, property] of own) {
      if (property) Object.defineProperty(module, name, property);
      else delete (module as Partial<BatchNorm>)[name];
    }
    try {
      if (training) module.train();
      else module.eval();
      if (!kept) module.loadStateDict(before);
      return [];
    } catch (error) {
      return [{ error }];
    }
  });
}
