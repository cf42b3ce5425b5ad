/**
 * TensorFlow.js, on its CPU backend: training's Batch Normalization composed from its own operations, differentiated by
 * its own gradients.
 */
import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-core/dist/register_all_gradients.js";
import "@tensorflow/tfjs-backend-cpu";
import { beforeAll, expect, test } from "vitest";
import { extentOf, type BatchNormOptions } from "../../src/descriptor.js";
import { openDevice } from "../support/device.js";
import { createRandom } from "../support/random.js";
import {
  channelsOf,
  comparisons,
  runOnce,
  TUNINGS,
  ulp,
  type Call,
  type Inputs,
} from "../support/tolerance.js";
import "../support/allclose.js";

let device: GPUDevice;
beforeAll(async () => {
  device = await openDevice();
  // No advice to install its native backend.
  tf.env().set("IS_NODE", false);
  await tf.setBackend("cpu");
  await tf.ready();
});

const CASES: readonly (readonly [readonly number[], BatchNormOptions])[] = [
  [[7, 5], {}],
  [[4, 8], { eps: 1e-3 }],
  [[4, 3, 9], {}],
  [[3, 4, 5, 6], { eps: 1e-3 }],
  [[3, 5, 6, 4], { layout: "channels-last" }],
  [[2, 3, 5, 7, 3], { layout: "channels-last", eps: 0.1 }],
  [[6, 2, 8, 8], { activation: "relu" }],
  [[5, 4, 3, 7], { activation: "sigmoid", layout: "channels-last" }],
];

/**
 * TensorFlow.js computes in f32, with plain sums of M <= 384 values and a mean of one f32, so its own error is what is
 * bounded here: a chain of M additions is off by M·2^-24 of the magnitudes, 2.3e-5 at most; where x is of the size of
 * its deviation, y is off by about that much of max(1,|xHat|), a gradient by that for each of the sums in it. 1e-4 of
 * each scale has room for a handful of such sums, and a wrong formula is off by all of it.
 */
const SHARE = 1e-4;

test.each(CASES)("%j %j", async (shape, options) => {
  const { layout = "channels-first", eps = 1e-5, activation = "none" } = options;
  const { channels } = extentOf("test", shape, layout);
  const random = createRandom(shape.length + channels);
  const size = shape.reduce((a, b) => a * b, 1);
  const inputs = {
    x: random.normals(size, 0.5, 1.5),
    dy: random.normals(size, 0.2),
    gamma: random.normals(channels, 0.5, 1),
    beta: random.normals(channels),
  };

  const last = layout === "channels-last" || shape.length === 2;
  const axes = shape.map((_, i) => i).filter((i) => i !== (last ? shape.length - 1 : 1));
  const perChannel = shape.map((length, i) => (axes.includes(i) ? 1 : length));
  const normalise = (x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor): tf.Tensor => {
    const { mean, variance } = tf.moments(x, axes, true);
    const xHat = tf.div(tf.sub(x, mean), tf.sqrt(tf.add(variance, eps)));
    const z = tf.add(tf.mul(xHat, tf.reshape(gamma, perChannel)), tf.reshape(beta, perChannel));
    if (activation === "relu") return tf.relu(z);
    return activation === "sigmoid" ? tf.sigmoid(z) : z;
  };
  const x = tf.tensor(inputs.x, [...shape]);
  const gamma = tf.tensor1d(inputs.gamma);
  const beta = tf.tensor1d(inputs.beta);
  const y = normalise(x, gamma, beta);
  const gradients = tf.grads(normalise)([x, gamma, beta], tf.tensor(inputs.dy, [...shape]));
  const [dx, dGamma, dBeta] = await Promise.all(gradients.map((each) => each.data()));
  const theirs = { y: await y.data(), dx: dx!, dGamma: dGamma!, dBeta: dBeta! };
  expect(dx!.some((value) => Math.abs(value) > 1e-3)).toBe(true);

  for (const tuning of [{}, TUNINGS.gpu]) {
    const call: Call = { shape, options, tuning };
    const outputs = await runOnce(device, call, inputs satisfies Inputs);
    const found = comparisons(call, inputs, outputs, theirs);
    // Ours within the bound of the truth, theirs within its own share of the same scales.
    const channel = channelsOf(call);
    for (const { name, actual, expected, atol } of found) {
      const wider = atol.map((bound, i) => {
        if (name !== "y") return (SHARE / 1e-5) * bound;
        const scale = Math.max(1, Math.abs(inputs.gamma[channel(i)]!));
        return bound + SHARE * scale + ulp(expected[i]!);
      });
      expect(actual, name).toBeAllclose(expected, { atol: wider });
    }
    expect(found.map(({ name }) => name)).toEqual(["y", "dx", "dGamma", "dBeta"]);
  }
  tf.dispose([x, gamma, beta, y, ...gradients]);
});
