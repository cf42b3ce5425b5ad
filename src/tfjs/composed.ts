import type { ActivationName } from "../descriptor.js";
import type { GradSaver, Tensor, TensorFlow } from "./peer.js";
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

type Unary = (x: Tensor) => Tensor;

/**
 * A function and its derivative, which can be differentiated again, and so on. TensorFlow.js's own gradients of `exp`,
 * `tanh`, `sigmoid`, `elu` save what the operation gave, which a second tape takes for a constant; those of `clipByValue`
 * and `leakyRelu` compare, and comparisons have no gradient.
 */
function withDerivative(tf: TensorFlow, value: Unary, derivative: Unary): Unary {
  return tf.customGrad((...given: (Tensor | GradSaver)[]) => {
    const [x, save] = given as [Tensor, GradSaver];
    save([x]);
    return {
      value: value(x),
      gradFunc: (dy: Tensor, saved: Tensor[]) => tf.mul(dy, derivative(saved[0]!)),
    };
  });
}

/** An activation out of operations whose gradients are right however often they are asked for. */
function activationOf(tf: TensorFlow, name: ActivationName, slope: number): Unary {
  const exp: Unary = withDerivative(
    tf,
    (z) => tf.exp(z),
    (z) => exp(z),
  );
  const tanh: Unary = withDerivative(
    tf,
    (z) => tf.tanh(z),
    (z) => tf.sub(1, square(tanh(z))),
  );
  const sigmoid: Unary = withDerivative(
    tf,
    (z) => tf.sigmoid(z),
    (z) => tf.mul(sigmoid(z), tf.sub(1, sigmoid(z))),
  );
  /** The normal distribution, and its density. */
  const normal: Unary = withDerivative(
    tf,
    (z) => tf.add(tf.mul(tf.erf(tf.mul(z, Math.SQRT1_2)), 0.5), 0.5),
    (z) => density(z),
  );
  const density: Unary = (z) => tf.div(exp(tf.mul(square(z), -0.5)), Math.sqrt(2 * Math.PI));
  const square: Unary = (z) => tf.mul(z, z);
  /** 1 where z is above; its own gradient is 0. */
  const above = (z: Tensor, least: number): Tensor => tf.step(tf.sub(z, least));
  const below = (z: Tensor, most: number): Tensor => tf.step(tf.sub(most, z));
  switch (name) {
    case "none":
      return (z) => z;
    case "relu":
      return (z) => tf.relu(z);
    case "relu6":
      return withDerivative(
        tf,
        (z) => tf.clipByValue(z, 0, 6),
        (z) => tf.mul(above(z, 0), below(z, 6)),
      );
    case "leaky-relu":
      return withDerivative(
        tf,
        (z) => tf.leakyRelu(z, slope),
        (z) => tf.add(tf.mul(above(z, 0), 1 - slope), slope),
      );
    case "elu": {
      const negative: Unary = (z) => tf.sub(z, tf.relu(z));
      return withDerivative(
        tf,
        // tf.elu has no alpha: z above 0, alpha * elu(z) below.
        (z) => tf.add(tf.relu(z), tf.mul(tf.elu(negative(z)), slope)),
        (z) => {
          const up = above(z, 0);
          return tf.add(up, tf.mul(tf.sub(1, up), tf.mul(exp(negative(z)), slope)));
        },
      );
    }
    case "tanh":
      return tanh;
    case "sigmoid":
      return sigmoid;
    case "silu":
      return (z) => tf.mul(z, sigmoid(z));
    case "gelu":
      return (z) => tf.mul(z, normal(z));
    case "hard-swish":
      return withDerivative(
        tf,
        (z) => tf.mul(z, tf.div(tf.clipByValue(tf.add(z, 3), 0, 6), 6)),
        (z) => {
          const rising = below(z, 3);
          const inside = tf.mul(tf.mul(above(z, -3), rising), tf.add(tf.div(z, 3), 0.5));
          return tf.add(inside, tf.sub(1, rising));
        },
      );
  }
}

/** 1 over the root, 0 of 0, and NaN below. */
function inverseRoot(tf: TensorFlow, value: Tensor): Tensor {
  const there = tf.add(tf.step(value), tf.step(tf.neg(value)));
  return tf.mul(tf.rsqrt(tf.add(value, tf.sub(1, there))), there);
}

/** The same from TensorFlow.js's own operations, on any of its backends, differentiable as often as one likes. */
export function composed(tf: TensorFlow, problem: Problem): Normalized {
  const { x, gamma, beta, residual, view, eps, activation, slope } = problem;
  const { outer, channels, inner } = view;
  return tf.tidy(() => {
    const { mean, variance } = tf.moments(tf.reshape(x, [outer, channels, inner]), [0, 2], true);
    const broadcast = (of: Tensor): Tensor => tf.reshape(of, [1, channels, 1]);
    const centred = tf.sub(tf.reshape(x, [outer, channels, inner]), mean);
    let z = tf.mul(centred, inverseRoot(tf, tf.add(variance, eps)));
    if (gamma) z = tf.mul(z, broadcast(gamma));
    if (beta) z = tf.add(z, broadcast(beta));
    z = tf.reshape(z, x.shape);
    if (residual) z = tf.add(z, residual);
    return {
      y: activationOf(tf, activation, slope)(z),
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
  // In copies: the tape that is running may have made dy out of the tensors themselves.
  const gradients = tf.grads(weighted)(named.map(([, tensor]) => tf.clone(tensor!)));
  return Object.fromEntries(named.map(([name], i) => [name, gradients[i]!]));
}

/**
 * Gradients of `tf.batchNorm`, which can be differentiated again: [dx, dScale, dOffset, dMean, dVariance]. The stock
 * ones exist along the last axis only. As (outer, channels, inner), since stock operations do not broadcast over
 * ranks beyond 4.
 */
export function composedInferenceGradients(
  tf: TensorFlow,
  dy: Tensor,
  [x, mean, variance, scale]: readonly [Tensor, Tensor, Tensor, Tensor | undefined],
  { outer, channels, inner }: View,
  eps: number,
): Tensor[] {
  const whole = (of: Tensor): Tensor => tf.reshape(of, [outer, channels, inner]);
  const broadcast = (of: Tensor): Tensor => tf.reshape(of, [1, channels, 1]);
  const weighted = (x: Tensor, ...of: Tensor[]): Tensor => {
    const [scale, offset, mean, variance] = of.map(broadcast);
    const inverse = inverseRoot(tf, tf.add(variance!, eps));
    const xHat = tf.mul(tf.sub(whole(x), mean!), inverse);
    return tf.sum(tf.mul(tf.add(tf.mul(xHat, scale!), offset!), whole(dy)));
  };
  const known = [x, scale ?? tf.onesLike(mean), tf.zerosLike(mean), mean, variance];
  // In copies, as above.
  return tf.grads(weighted)(known.map((tensor) => tf.clone(tensor)));
}
