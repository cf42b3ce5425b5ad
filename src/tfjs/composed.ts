import type { ActivationName } from "../descriptor.js";
import type { Tensor, TensorFlow } from "./peer.js";
import type { View } from "./view.js";

/** Batch Normalization in training: what goes in, and how. */
export interface Problem {
  readonly x: Tensor;
  readonly gamma: Tensor | null;
  readonly beta: Tensor | null;
  readonly residual: Tensor | null;
  readonly view: View;
  readonly eps: number;
  readonly activation: ActivationName;
  readonly slope: number;
}

/** y, and the batch's mean and biased variance, `[C]`. */
export interface Normalized {
  y: Tensor;
  mean: Tensor;
  variance: Tensor;
}

function activate(tf: TensorFlow, z: Tensor, name: ActivationName, slope: number): Tensor {
  switch (name) {
    case "none":
      return z;
    case "relu":
      return tf.relu(z);
    case "relu6":
      return tf.clipByValue(z, 0, 6);
    case "leaky-relu":
      return tf.leakyRelu(z, slope);
    case "elu": {
      // tf.elu has no alpha: z above 0, alpha * elu(z) below.
      const above = tf.relu(z);
      return tf.add(above, tf.mul(tf.elu(tf.sub(z, above)), slope));
    }
    case "tanh":
      return tf.tanh(z);
    case "sigmoid":
      return tf.sigmoid(z);
    case "silu":
      return tf.mul(z, tf.sigmoid(z));
    case "gelu":
      return tf.mul(z, tf.add(tf.mul(tf.erf(tf.mul(z, Math.SQRT1_2)), 0.5), 0.5));
    case "hard-swish":
      return tf.mul(z, tf.div(tf.clipByValue(tf.add(z, 3), 0, 6), 6));
  }
}

/** The same from TensorFlow.js's own operations, on any of its backends, differentiable as often as they are. */
export function composed(tf: TensorFlow, problem: Problem): Normalized {
  const { x, gamma, beta, residual, view, eps, activation, slope } = problem;
  const { outer, channels, inner } = view;
  return tf.tidy(() => {
    const { mean, variance } = tf.moments(tf.reshape(x, [outer, channels, inner]), [0, 2], true);
    const broadcast = (of: Tensor): Tensor => tf.reshape(of, [1, channels, 1]);
    const centred = tf.sub(tf.reshape(x, [outer, channels, inner]), mean);
    let z = tf.mul(centred, tf.rsqrt(tf.add(variance, eps)));
    if (gamma) z = tf.mul(z, broadcast(gamma));
    if (beta) z = tf.add(z, broadcast(beta));
    z = tf.reshape(z, x.shape);
    if (residual) z = tf.add(z, residual);
    return {
      y: activate(tf, z, activation, slope),
      mean: tf.reshape(mean, [channels]),
      variance: tf.reshape(variance, [channels]),
    };
  });
}

/** Gradients of {@link composed}, which can be differentiated again. */
export function composedGradients(
  tf: TensorFlow,
  problem: Problem,
  [dy, dMean, dVariance]: readonly Tensor[],
): Record<string, Tensor> {
  const { x, gamma, beta, residual } = problem;
  const named = Object.entries({ x, gamma, beta, residual }).filter(([, tensor]) => tensor);
  const weighted = (...of: Tensor[]): Tensor => {
    const inputs = Object.fromEntries(named.map(([name], i) => [name, of[i]!]));
    const { y, mean, variance } = composed(tf, { ...problem, ...inputs });
    const parts = [tf.mul(y, dy!), tf.mul(mean, dMean!), tf.mul(variance, dVariance!)];
    return parts.map((each) => tf.sum(each)).reduce((a, b) => tf.add(a, b));
  };
  const gradients = tf.grads(weighted)(named.map(([, tensor]) => tensor!));
  return Object.fromEntries(named.map(([name], i) => [name, gradients[i]!]));
}
