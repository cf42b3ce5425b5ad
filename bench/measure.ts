import type { Prepared } from "./candidate.js";

/** Milliseconds of one repeat: the median of the samples, and the tenth and the ninetieth in a hundred. */
export interface Spread {
  readonly ms: number;
  readonly p10: number;
  readonly p90: number;
  readonly samples: number;
  readonly repeats: number;
}

/** Times of one candidate: as seen from outside, and by the adapter's clock where it was asked. */
export interface Timing {
  readonly wall: Spread;
  readonly device?: Spread;
}

export interface MeasureOptions {
  readonly rounds: number;
  /** A sample repeats its work for about so long, so that the wait's own grain (2 ms in Chromium) counts little. */
  readonly sampleMs: number;
  readonly mostRepeats: number;
  /** What took longer than this once is not run again: that once is its sample. */
  readonly patienceMs: number;
  /** Milliseconds of work before the first sample: a GPU that had nothing to do lowers its clocks, and takes its time. */
  readonly warmMs?: number;
  /** Called before each sample, outside of its time: a page lives on, and what it throws ends the measurement. */
  readonly pause?: () => Promise<void>;
}

export function quantile(values: readonly number[], at: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const place = at * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.min(sorted.length - 1, below + 1);
  return sorted[below]! + (place - below) * (sorted[above]! - sorted[below]!);
}

function spreadOf(samples: readonly number[], repeats: number): Spread {
  return {
    ms: quantile(samples, 0.5),
    p10: quantile(samples, 0.1),
    p90: quantile(samples, 0.9),
    samples: samples.length,
    repeats,
  };
}

/** Milliseconds of one repeat, once. */
export async function time(prepared: Prepared, repeats: number): Promise<number> {
  const start = performance.now();
  await prepared.run(repeats);
  return (performance.now() - start) / repeats;
}

/** What {@link measure} takes: something to time, and what one run of it took, compiled and warm. */
export interface Subject {
  readonly prepared: Prepared;
  readonly onceMs: number;
}

/** How often to repeat so that a sample takes about `sampleMs`. */
async function calibrate(
  { prepared, onceMs }: Subject,
  { sampleMs, mostRepeats, pause }: MeasureOptions,
): Promise<number> {
  // The better of two: a stall of the machine would otherwise pass for slowness, and end with one repeat a sample.
  const quicker = async (count: number): Promise<number> => {
    await pause?.();
    return Math.min(await time(prepared, count), await time(prepared, count));
  };
  let repeats = 1;
  let each = onceMs < 4 * sampleMs ? Math.min(onceMs, await quicker(1)) : onceMs;
  while (each * repeats < sampleMs && repeats < mostRepeats) {
    const wanted = Math.ceil((1.2 * sampleMs) / Math.max(each, 1e-4));
    repeats = Math.min(mostRepeats, 8 * repeats, Math.max(repeats + 1, wanted));
    each = await quicker(repeats);
  }
  return repeats;
}

/**
 * Times all in turns, so that a slow moment of the machine meets all of them alike, each round beginning with another.
 * What takes longer than twenty samples is sampled three times only; where one run is beyond the patience, it has to do.
 */
export async function measure(
  subjects: readonly Subject[],
  options: MeasureOptions,
): Promise<Timing[]> {
  const plan: {
    prepared: Prepared;
    repeats: number;
    rounds: number;
    wall: number[];
    device: number[];
  }[] = [];
  for (const subject of subjects) {
    const repeats = await calibrate(subject, options);
    const rounds =
      subject.onceMs > 20 * options.sampleMs ? Math.min(3, options.rounds) : options.rounds;
    const impatient = subject.onceMs > options.patienceMs;
    plan.push({
      prepared: subject.prepared,
      repeats,
      rounds: impatient ? 0 : rounds,
      wall: impatient ? [subject.onceMs] : [],
      device: [],
    });
  }
  const warm = performance.now() + (options.warmMs ?? 0);
  for (let turn = 0; plan.length > 0 && performance.now() < warm; turn++) {
    const { prepared, repeats } = plan[turn % plan.length]!;
    await prepared.run(repeats);
  }
  for (let round = 0; round < options.rounds; round++) {
    for (let turn = 0; turn < plan.length; turn++) {
      const { prepared, repeats, rounds, wall, device } = plan[(round + turn) % plan.length]!;
      if (round >= rounds) continue;
      await options.pause?.();
      wall.push(await time(prepared, repeats));
      // Every other round: they are no other work, and half as many will do.
      if (prepared.timestamped && round % 2 === 0)
        device.push((await prepared.timestamped(repeats)) / repeats / 1e6);
    }
  }
  return plan.map(({ repeats, wall, device }) => ({
    wall: spreadOf(wall, repeats),
    // A clock that is coarse or broken shows as zeros.
    ...(device.length > 0 && quantile(device, 0.1) > 0
      ? { device: spreadOf(device, repeats) }
      : {}),
  }));
}
