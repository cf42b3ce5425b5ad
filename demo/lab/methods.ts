import type { Rank, Tensor2D } from "@tensorflow/tfjs-core";
import { EPS } from "../engine/engine.js";
import type { Method } from "./network.js";

/**
 * Ghost batches: every `size` rows are a batch of their own. They lie side by side as channels, so that one call does
 * all of them. The statistics that are kept are the whole batch's.
 */
export function ghosts(size: number): Method {
  return (engine, x, gamma, beta) => {
    const { tf } = engine;
    const [count, channels] = x.shape as [number, number];
    const groups = count / size;
    if (!Number.isInteger(groups))
      throw new Error(`ghosts: a batch that ${size} divides, got ${count}; change one of them`);
    const aside = tf.reshape(tf.transpose(tf.reshape(x, [groups, size, channels]), [1, 0, 2]), [
      size,
      groups * channels,
    ]);
    const { y, mean, variance } = engine.train(
      aside,
      tf.tile(gamma, [groups]),
      tf.tile(beta, [groups]),
    );
    const back = tf.reshape(tf.transpose(tf.reshape(y, [size, groups, channels]), [1, 0, 2]), [
      count,
      channels,
    ]);
    // Chan's formula for parts of one size: the mean of means, and within plus between.
    const means = tf.reshape<Rank.R2>(mean, [groups, channels]);
    const whole = tf.mean(means, 0);
    const within = tf.mean(tf.reshape(variance, [groups, channels]), 0);
    const between = tf.mean(tf.square(tf.sub(means, whole)), 0);
    return { y: back, mean: whole, variance: tf.add(within, between) };
  };
}

/**
 * Batch renormalization: xHat · r + d, where r and d lead from the batch's statistics to the running ones and count as
 * constants.
 *
 * @see Ioffe 2017, https://arxiv.org/abs/1702.03275
 */
export function renormalised(mostR: number, mostD: number): Method {
  return (engine, x, gamma, beta, running) => {
    const { tf } = engine;
    const ones = tf.onesLike(gamma);
    const { y: xHat, mean, variance } = engine.train(x, ones, tf.zerosLike(beta));
    const constant = tf.customGrad((...of) => ({
      value: (of[0] as Tensor2D).clone(),
      gradFunc: (dy) => tf.zerosLike(dy),
    }));
    const deviation = tf.sqrt(tf.add(running.variance, EPS));
    const r = constant(
      tf.clipByValue(tf.div(tf.sqrt(tf.add(variance, EPS)), deviation), 1 / mostR, mostR),
    );
    const d = constant(
      tf.clipByValue(tf.div(tf.sub(mean, running.mean), deviation), -mostD, mostD),
    );
    return { y: tf.add(tf.mul(tf.add(tf.mul(xHat, r), d), gamma), beta), mean, variance };
  };
}
