/** A BatchNormalization layer of TensorFlow.js, or of Keras, as a module and back. */
import type * as tf from "@tensorflow/tfjs";
import { BatchNorm2d } from "webgpu-batchnorm";
import { fromKeras, toKeras } from "webgpu-batchnorm/files";

/** The part of a layer's configuration that a module needs. */
export interface KerasConfig {
  readonly epsilon: number;
  readonly momentum: number;
  /** Whether the layer has gamma. Default true. */
  readonly scale?: boolean;
  /** Whether the layer has beta. Default true. */
  readonly center?: boolean;
  /** The channel's dimension in [N, H, W, C] or [N, C, H, W]; tf.keras saves a list of it. Default -1, the last. */
  readonly axis?: number | readonly number[];
}

export async function fromLayer(
  device: GPUDevice,
  layer: tf.layers.Layer,
  config: KerasConfig,
): Promise<BatchNorm2d> {
  const { scale = true, center = true } = config;
  const axis = Number(config.axis ?? -1); // a list of one too
  if (![-1, 3, 1, -3].includes(axis)) throw new Error(`axis: -1, 3, 1 or -3, got ${axis}`);
  const weights = await Promise.all(layer.getWeights().map((each) => each.data()));
  const state = fromKeras(weights, { scale, center }); // gamma, beta, moving mean, moving variance
  const bn = new BatchNorm2d(device, state.running_mean.length, {
    affine: scale || center,
    layout: [1, -3].includes(axis) ? "channels-first" : "channels-last",
    eps: config.epsilon,
    momentum: 1 - config.momentum,
    runningVariance: "population",
    singleValue: "zero",
  });
  bn.loadStateDict({ ...state });
  return bn;
}

/**
 * The module's weights in the layer's order: `layer.setWeights(weights.map((each) => tf.tensor1d(each)))` takes
 * them.
 */
export async function weightsOf(
  bn: BatchNorm2d,
  { scale = true, center = true }: Partial<KerasConfig> = {},
): Promise<number[][]> {
  return toKeras(await bn.stateDict(), { scale, center }).map((each) => Array.from(each));
}
