import {
  judgeAll,
  referenceCalls,
  type Inputs,
  type Outputs,
  type Verdict,
} from "../scripts/support/check.js";
import { median } from "../scripts/support/median.js";
import * as reference from "../src/reference.js";

/** What the worker is asked. */
export interface Question {
  readonly inputs: Inputs;
  /** What the GPU computed; null where there is none. */
  readonly outputs: Outputs | null;
  /** Which operations are wanted, in the order of `OPERATIONS`. */
  readonly wanted: readonly boolean[];
}

/** What it answers, after any number of `{ share }`. */
export interface Answer {
  readonly verdicts: readonly Verdict[];
  /** Times of the reference in ms, in the order of `OPERATIONS`; null where not wanted. */
  readonly times: readonly (number | null)[];
  /** The reference's y, where there is no GPU. */
  readonly y: Float32Array | null;
}

const ENOUGH_MS = 600;

function timeOf(call: () => unknown): number {
  const samples: number[] = [];
  for (let spent = 0; samples.length === 0 || (samples.length < 3 && spent < ENOUGH_MS);) {
    const start = performance.now();
    call();
    samples.push(performance.now() - start);
    spent += samples.at(-1)!;
  }
  return median(samples);
}

addEventListener("message", ({ data }: MessageEvent<Question>) => {
  const { inputs, outputs, wanted } = data;
  const steps = wanted.filter(Boolean).length + 1;
  let done = 0;
  const step = (): void => {
    postMessage({ share: ++done / steps });
  };
  const times = referenceCalls(inputs).map((call, i) => {
    if (!wanted[i]) return null;
    const ms = timeOf(call);
    step();
    return ms;
  });
  const verdicts = outputs ? judgeAll(inputs, outputs) : [];
  const y = outputs ? null : Float32Array.from(normalised(inputs, wanted[1] === true));
  step();
  postMessage({ verdicts, times, y } satisfies Answer);
});

function normalised(inputs: Inputs, inference: boolean): Float64Array {
  const { x, shape, layout, eps, gamma, beta, runningMean: mean, runningVar: variance } = inputs;
  const options = { layout, eps, gamma, beta };
  return inference
    ? reference.inference(x, shape, { ...options, mean, variance }).y
    : reference.forward(x, shape, options).y;
}
