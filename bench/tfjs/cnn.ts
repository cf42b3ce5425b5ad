import { SIDE, takeDigits, type Digits } from "../../scripts/support/digits.js";

type TF = typeof import("@tensorflow/tfjs");
type Model = import("@tensorflow/tfjs").Sequential;
type Tensor = import("@tensorflow/tfjs").Tensor;

/** How large the network is. */
export interface Size {
  /** Pixels along a side of its images: 28, or 14 where they are halved. */
  readonly side: 28 | 14;
  /** Of the first convolution; the second has twice as many. */
  readonly filters: number;
}

/** A small network for digits: convolution, normalisation, ReLU, twice, and a dense layer. The same on every run. */
export function createCnn(tf: TF, { side, filters }: Size): Model {
  const { layers, initializers } = tf;
  const seeded = (seed: number) => initializers.glorotNormal({ seed });
  const model = tf.sequential();
  model.add(
    layers.conv2d({
      filters,
      kernelSize: 3,
      padding: "same",
      useBias: false,
      kernelInitializer: seeded(1),
      inputShape: [side, side, 1],
    }),
  );
  model.add(layers.batchNormalization());
  model.add(layers.reLU());
  model.add(
    layers.conv2d({
      filters: 2 * filters,
      kernelSize: 3,
      strides: 2,
      padding: "same",
      useBias: false,
      kernelInitializer: seeded(2),
    }),
  );
  model.add(layers.batchNormalization());
  model.add(layers.reLU());
  model.add(layers.flatten());
  model.add(layers.dense({ units: 10, activation: "softmax", kernelInitializer: seeded(3) }));
  model.compile({ optimizer: tf.train.sgd(0.02), loss: "categoricalCrossentropy" });
  return model;
}

/** Digits `from` to `from + count` as x `[count, side, side, 1]` in 0 to 1, and their classes. */
export function takeBatch(
  tf: TF,
  digits: Digits,
  from: number,
  count: number,
  side: Size["side"],
): [Tensor, Tensor] {
  const full = takeDigits(digits, from, from + count).map((value) => value / 255);
  const step = SIDE / side;
  const pixels = new Float32Array(count * side * side);
  for (let i = 0; i < full.length; i++) {
    const column = Math.floor((i % SIDE) / step);
    const row = Math.floor(Math.floor(i / SIDE) / step);
    pixels[row * side + column]! += full[i]! / (step * step);
  }
  const classes = new Float32Array(count * 10);
  for (let i = 0; i < count; i++) classes[i * 10 + digits.labels[from + i]!] = 1;
  return [tf.tensor4d(pixels, [count, side, side, 1]), tf.tensor2d(classes, [count, 10])];
}

/** One step of SGD. */
export async function trainStep(tf: TF, model: Model, batch: readonly Tensor[]): Promise<number> {
  return (await model.trainOnBatch(batch[0]!, batch[1]!)) as number;
}
