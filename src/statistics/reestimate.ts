import { BatchNorm } from "../batchnorm.js";
import { complain, OptionError } from "../errors.js";
import type { Tensor } from "../tensor.js";
import { StatisticsAccumulator } from "./accumulator.js";
import { readStatistics } from "./read.js";
import type { ExtendedForwardOptions } from "./extended.js";

/** Options of {@link reestimate}. */
export interface ReestimateOptions {
  /** Called after each batch with the number of batches done. */
  onProgress?: (done: number) => void;
  /** Aborts between two batches; statistics are then as they were. */
  signal?: AbortSignal;
}

/** Takes a module's statistics while somebody runs it. */
interface Watch {
  readonly module: BatchNorm;
  readonly all: StatisticsAccumulator;
  readonly training: boolean;
  readonly before: Awaited<ReturnType<BatchNorm["stateDict"]>>;
}

/**
 * Replaces running statistics by the true ones of a data set: every value counts the same, whichever batch it came in,
 * where a moving average counts the last batches most (precise Batch Normalization). On unlabeled data of another
 * domain the same is AdaBN.
 *
 * The modules run in training mode meanwhile, so that each sees its input normalised by batch statistics, as in
 * training. Statistics are taken and merged on the device. Afterwards modes and batch counters are as before, gamma and
 * beta were never touched; where a batch fails or the signal aborts, running statistics too.
 *
 * @param modules whose `forward` `run` calls.
 * @param batches anything to iterate over, asynchronous too.
 * @param run the network's forward over one batch; what it returns is awaited.
 * @returns the number of values per channel that each module has seen.
 * Rejects with OptionError where a module has no running statistics or saw no value, with what `run` rejects with, and
 * with the signal's reason.
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
  const list = modules instanceof BatchNorm ? [modules] : modules;
  for (const module of list) {
    if (!module.options.trackRunningStats) {
      throw new OptionError(
        complain(subject, "modules with running statistics", "one without", "leave it out"),
      );
    }
  }
  const watches = await Promise.all(list.map(watch));
  let kept = false;
  try {
    let done = 0;
    options.signal?.throwIfAborted();
    for await (const batch of batches) {
      options.signal?.throwIfAborted();
      await run(batch, done);
      done += 1;
      options.onProgress?.(done);
    }
    options.signal?.throwIfAborted();
    const counts: number[] = [];
    const learned: { mean: Float64Array; variance: Float64Array }[] = [];
    for (const { module, all } of watches) {
      const [whole] = await readStatistics(module.device, all.total(), {
        channels: module.channels,
      });
      const count = whole!.count[0]!;
      if (count === 0) {
        throw new OptionError(
          complain(subject, "a value for every module", "none", "run each module on some batch"),
        );
      }
      const unbiased = module.options.runningVariance === "unbiased" && count > 1;
      const factor = unbiased ? count / (count - 1) : 1;
      learned.push({ mean: whole!.mean, variance: whole!.varBiased.map((each) => each * factor) });
      counts.push(count);
    }
    watches.forEach(({ module, before }, i) => {
      const { mean, variance } = learned[i]!;
      module.loadStateDict({ ...before, running_mean: mean, running_var: variance });
    });
    kept = true;
    return counts;
  } finally {
    for (const each of watches) unwatch(each, kept);
  }
}

async function watch(module: BatchNorm): Promise<Watch> {
  const before = await module.stateDict();
  const { training, device, channels, options } = module;
  const all = new StatisticsAccumulator(device, channels, options);
  // An own property in front of the class's method, for as long as this lasts.
  const forward = module.forward.bind(module);
  module.forward = (x: Tensor, given: ExtendedForwardOptions = {}): Tensor => {
    // Before the forward, which may write over x.
    all.add(x, { mask: given.mask, encoder: given.encoder });
    return forward(x, given);
  };
  module.train();
  return { module, all, training, before };
}

function unwatch({ module, all, training, before }: Watch, kept: boolean): void {
  delete (module as Partial<BatchNorm>).forward;
  if (!training) module.eval();
  if (!kept) module.loadStateDict(before);
  all.destroy();
}
