import { Cnn, shareRight } from "../../demo/engine/cnn.js";
import { batches, samplesOf, trainingCount } from "../../demo/engine/digits.js";
import type { Engine } from "../../demo/engine/engine.js";
import type { Digits } from "./digits.js";
import { seeded } from "./random.js";

/** What a short training came to. */
export interface BriefTraining {
  readonly batchNorm: boolean;
  readonly firstLoss: number;
  /** Mean of the last ten steps. */
  readonly lastLoss: number;
  /** On held-out digits. */
  readonly accuracy: number;
  readonly msPerStep: number;
}

export interface BriefOptions {
  readonly steps: number;
  readonly batch: number;
  readonly rate: number;
  /** Held-out digits that are read at the end. */
  readonly held: number;
  readonly tick?: () => void;
}

/** The demo's small network for a few steps, with and without Batch Normalization: the same weights and batches. */
export async function trainBriefly(
  engine: Engine,
  digits: Digits,
  { steps, batch, rate, held, tick }: BriefOptions,
): Promise<BriefTraining[]> {
  const training = samplesOf(digits, 0, trainingCount(digits));
  const first = trainingCount(digits);
  const test = samplesOf(digits, first, first + held);
  const results: BriefTraining[] = [];
  for (const batchNorm of [false, true]) {
    const cnn = new Cnn(engine, { batchNorm, seed: 1 });
    const source = batches(training, batch, seeded(1));
    const losses: number[] = [];
    const start = performance.now();
    for (let step = 0; step < steps; step++) {
      const { x, labels } = source.next().value;
      losses.push((await cnn.step(x, labels, rate)).loss);
      tick?.();
    }
    const msPerStep = (performance.now() - start) / steps;
    const accuracy = shareRight(await cnn.predict(test.x, "running", { batch: 100 }), test.labels);
    cnn.dispose();
    const last = losses.slice(-10);
    results.push({
      batchNorm,
      firstLoss: losses[0]!,
      lastLoss: last.reduce((a, b) => a + b, 0) / last.length,
      accuracy,
      msPerStep,
    });
  }
  return results;
}
