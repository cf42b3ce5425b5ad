/** The order of Keras's weights, against TensorFlow.js's own layer. */
import * as tf from "@tensorflow/tfjs";
import { beforeAll, describe, expect, test } from "vitest";
import { FileError, fromKeras, toKeras } from "webgpu-batchnorm/files";
import { inference } from "webgpu-batchnorm/reference";
import { createRandom } from "../support/random.js";
import "../support/allclose.js";

beforeAll(async () => {
  await tf.setBackend("cpu");
});

describe.each([
  { scale: true, center: true },
  { scale: true, center: false },
  { scale: false, center: true },
  { scale: false, center: false },
])("a layer of TensorFlow.js with %o", (options) => {
  const random = createRandom(5);
  const layer = tf.layers.batchNormalization({ ...options, epsilon: 0.01, inputShape: [3] });
  const weights = (): Float32Array[] =>
    layer.getWeights().map((each) => each.dataSync() as Float32Array);

  test("computes on its weights as the reference on ours, and takes ours back", () => {
    const input = tf.input({ shape: [3] });
    const model = tf.model({ inputs: input, outputs: layer.apply(input) as tf.SymbolicTensor });
    layer.setWeights(layer.getWeights().map(() => tf.tensor1d(random.uniforms(3, 0.5, 2))));
    const x = random.normals(12);
    const state = fromKeras(weights(), options);
    const { y, xHat } = inference(x, [4, 3], {
      eps: 0.01,
      ...(state.weight ? { gamma: state.weight, beta: state.bias! } : {}),
      mean: state.running_mean,
      variance: state.running_var,
    });
    const theirs = (model.predict(tf.tensor2d(x, [4, 3])) as tf.Tensor).dataSync() as Float32Array;
    // Eight roundings of f32 in terms of |xHat| <= 8, |gamma|, |beta| <= 2.
    const largest = xHat.reduce((a, b) => Math.max(a, Math.abs(b)), 1);
    expect(theirs).toBeAllclose(y, { atol: 8 * 2 ** -24 * (2 * largest + 2) });

    const before = weights();
    layer.setWeights(toKeras(state, options).map((each) => tf.tensor1d(Array.from(each))));
    expect(weights()).toEqual(before);
    expect(before).toHaveLength(2 + Number(options.scale) + Number(options.center));
  });
});

test.each<[string, () => unknown, RegExp]>([
  [
    "three weights of an unnamed kind",
    () => fromKeras([[1], [1], [1]]),
    /4 \(gamma, beta, moving_mean, moving_variance\), got 3/,
  ],
  ["none", () => fromKeras([]), /got 0/],
  ["different lengths", () => fromKeras([[1], [1, 2], [1], [1]]), /fromKeras: beta: 1 values/],
  [
    "a NaN",
    () => fromKeras([[1], [NaN], [1], [1]]),
    /fromKeras: beta: value 0: a finite number, got NaN/,
  ],
  [
    "infinity",
    () => fromKeras([[1, 1], [0, 0], Float32Array.of(1, -Infinity), [1, 1]]),
    /fromKeras: moving_mean: value 1: a finite number, got -Infinity/,
  ],
  [
    "a negative variance",
    () =>
      fromKeras(
        [
          [1, 2],
          [1, -4],
        ],
        { scale: false, center: false },
      ),
    /fromKeras: moving_variance: value 1: a variance >= 0, got -4/,
  ],
  [
    "a dictionary without gamma",
    () => toKeras({ running_mean: [1], running_var: [1] }),
    /toKeras: weight: values for gamma/,
  ],
  [
    "a gamma where the layer has none",
    () =>
      toKeras({ weight: [2], bias: [0], running_mean: [1], running_var: [1] }, { scale: false }),
    /nothing but 1 \(scale is false\)/,
  ],
])("refuses %s", (_, run, message) => {
  expect(run).toThrow(FileError);
  expect(run).toThrow(message);
});
