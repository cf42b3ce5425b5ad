/** What docs/conventions.md says of TensorFlow.js and of this package, from the libraries themselves. */
import * as tf from "@tensorflow/tfjs";
import { beforeAll, expect, test } from "vitest";
import { forward } from "webgpu-batchnorm/reference";
import { resolveOptions } from "../../src/descriptor.js";
import "../support/allclose.js";

beforeAll(async () => {
  await tf.setBackend("cpu");
});

test("our defaults are PyTorch's", () => {
  expect(resolveOptions("test")).toMatchObject({
    eps: 1e-5,
    momentum: 0.1,
    runningVariance: "unbiased",
    singleValue: "error",
    layout: "channels-first",
  });
});

test("a layer of TensorFlow.js is the module that the page says", () => {
  const layer = tf.layers.batchNormalization({});
  const config = layer.getConfig() as { momentum: number; epsilon: number; axis: number };
  expect(config).toMatchObject({ momentum: 0.99, epsilon: 1e-3, axis: -1 });
  const x = [1, 4, 2, -1, 0, 3, 5, 5];
  const y = layer.apply(tf.tensor2d(x, [4, 2]), { training: true }) as tf.Tensor;
  const ours = forward(x, [4, 2], {
    eps: config.epsilon,
    momentum: 1 - config.momentum,
    runningVariance: "population",
    singleValue: "zero",
    state: { mean: [0, 0], variance: [1, 1], numBatchesTracked: 0 },
  });
  const names = layer.weights.map(({ originalName }) => originalName.replace(/.*\//, ""));
  expect(names).toEqual(["gamma", "beta", "moving_mean", "moving_variance"]);
  const [, , mean, variance] = layer.getWeights().map((each) => each.dataSync());
  // A dozen roundings of f32 of numbers up to 8.
  const atol = 12 * 2 ** -24 * 8;
  expect(y.dataSync()).toBeAllclose(ours.y, { atol });
  expect(mean).toBeAllclose(ours.state!.mean, { atol });
  expect(variance).toBeAllclose(ours.state!.variance, { atol });
});
