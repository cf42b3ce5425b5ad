import type { Rank, Tensor, Tensor2D, Tensor4D, Variable } from "@tensorflow/tfjs-core";
import { readSafetensors, writeSafetensors } from "webgpu-batchnorm/files";
import { foldIntoConv } from "webgpu-batchnorm/fold";
import { PIXELS, SIDE } from "../../scripts/support/digits.js";
import { normals } from "../../scripts/support/random.js";
import { EPS, type Engine } from "./engine.js";

/** Convolutions of 3 × 3 with stride 2: 28 × 28 becomes 14 × 14, then 7 × 7. */
export const LAYERS = [
  { name: "1", from: 1, to: 8, side: 14 },
  { name: "2", from: 8, to: 16, side: 7 },
] as const;
const FEATURES = 7 * 7 * 16;
const CLASSES = 10;

/** Whose statistics a forward uses: what training has kept, the batch's own, or none any more. */
export const MODES = ["running", "batch", "folded"] as const;
export type Mode = (typeof MODES)[number];

interface Block {
  readonly weight: Variable;
  /** Without Batch Normalization; with it beta does the same. */
  readonly bias: Variable | null;
  readonly gamma: Variable | null;
  readonly beta: Variable | null;
  readonly mean: Variable | null;
  readonly variance: Variable | null;
}

/** What passes a Batch Normalization: before is null where it is folded away. */
export interface Seen {
  readonly before: Tensor | null;
  readonly after: Tensor;
  readonly mean?: Tensor;
  readonly variance?: Tensor;
}

export interface CnnOptions {
  readonly batchNorm: boolean;
  readonly seed: number;
}

export interface Statistics {
  readonly mean: Float32Array;
  readonly variance: Float32Array;
}

/** Digits to ten logits: twice convolution, Batch Normalization and ReLU, then a fully connected layer. */
export class Cnn {
  readonly #blocks: Block[];
  readonly #head: { weight: Variable; bias: Variable };
  readonly #velocities = new Map<string, Variable>();
  #folded: { weight: Tensor4D; bias: Tensor }[] | null = null;

  constructor(
    readonly engine: Engine,
    { batchNorm, seed }: CnnOptions,
  ) {
    const { tf } = engine;
    const variable = (values: Float32Array, shape: number[], trainable = true): Variable => {
      const tensor = tf.tensor(values, shape, "float32");
      const made = tf.variable(tensor, trainable);
      tensor.dispose();
      return made;
    };
    const filled = (count: number, value: number, trainable = true): Variable =>
      variable(new Float32Array(count).fill(value), [count], trainable);
    this.#blocks = LAYERS.map(({ from, to }, i) => ({
      weight: variable(normals(9 * from * to, seed + i, 0, Math.sqrt(2 / (9 * from))), [
        3,
        3,
        from,
        to,
      ]),
      bias: batchNorm ? null : filled(to, 0),
      gamma: batchNorm ? filled(to, 1) : null,
      beta: batchNorm ? filled(to, 0) : null,
      mean: batchNorm ? filled(to, 0, false) : null,
      variance: batchNorm ? filled(to, 1, false) : null,
    }));
    this.#head = {
      weight: variable(normals(FEATURES * CLASSES, seed + 9, 0, Math.sqrt(1 / FEATURES)), [
        FEATURES,
        CLASSES,
      ]),
      bias: filled(CLASSES, 0),
    };
  }

  /** Logits of `[N, 28, 28, 1]`; `see` is shown what goes through each Batch Normalization. Within a tidy. */
  forward(x: Tensor4D, mode: Mode, see?: (layer: number, seen: Seen) => void): Tensor2D {
    const { engine } = this;
    const { tf } = engine;
    let h = x;
    for (const [i, { weight, bias, gamma, beta, mean, variance }] of this.#blocks.entries()) {
      let after: Tensor;
      if (gamma && beta && mean && variance) {
        if (mode === "folded") {
          const folded = this.#folded![i]!;
          after = tf.add(tf.conv2d(h, folded.weight, 2, "same"), folded.bias);
          see?.(i, { before: null, after });
        } else {
          const before = tf.conv2d(h, weight as unknown as Tensor4D, 2, "same");
          if (mode === "batch") {
            const normalised = engine.train(before, gamma, beta);
            after = normalised.y;
            see?.(i, { before, after, mean: normalised.mean, variance: normalised.variance });
          } else {
            after = engine.infer(before, gamma, beta, mean, variance);
            see?.(i, { before, after });
          }
        }
      } else {
        after = tf.add(tf.conv2d(h, weight as unknown as Tensor4D, 2, "same"), bias!);
      }
      h = tf.relu(after) as Tensor4D;
    }
    const flat = tf.reshape<Rank.R2>(h, [h.shape[0], FEATURES]);
    return tf.add(tf.matMul(flat, this.#head.weight as unknown as Tensor2D), this.#head.bias);
  }

  /** One step of gradient descent with momentum 0.9; running statistics take a tenth of the batch's. */
  async step(
    x: Float32Array,
    labels: Uint8Array,
    rate: number,
  ): Promise<{ loss: number; accuracy: number }> {
    const { tf } = this.engine;
    const count = labels.length;
    const summary = tf.tidy(() => {
      const input = tf.tensor4d(x, [count, SIDE, SIDE, 1]);
      const wanted = tf.oneHot(tf.tensor1d(Int32Array.from(labels), "int32"), CLASSES);
      const kept: { mean: Tensor; variance: Tensor }[] = [];
      const right: Tensor[] = [];
      const { value, grads } = tf.variableGrads(() => {
        const logits = this.forward(input, "batch", (_, { mean, variance }) => {
          kept.push({ mean: tf.keep(mean!), variance: tf.keep(variance!) });
        });
        right.push(
          tf.keep(
            tf.mean(tf.cast(tf.equal(tf.argMax(logits, 1), tf.argMax(wanted, 1)), "float32")),
          ),
        );
        return tf.losses.softmaxCrossEntropy(wanted, logits);
      }, this.#trainable());
      for (const variable of this.#trainable())
        this.#descend(variable, grads[variable.name]!, rate);
      kept.forEach(({ mean, variance }, i) => {
        const block = this.#blocks[i]!;
        const values = count * LAYERS[i]!.side ** 2;
        block.mean!.assign(tf.add(tf.mul(block.mean!, 0.9), tf.mul(mean, 0.1)));
        block.variance!.assign(
          tf.add(tf.mul(block.variance!, 0.9), tf.mul(variance, (0.1 * values) / (values - 1))),
        );
      });
      const all = tf.stack([value, tf.reshape(right[0]!, [])]);
      tf.dispose([right, kept.flatMap(({ mean, variance }) => [mean, variance])]);
      return all;
    });
    const [loss, accuracy] = await summary.data<"float32">();
    summary.dispose();
    return { loss: loss!, accuracy: accuracy! };
  }

  #descend(variable: Variable, gradient: Tensor, rate: number): void {
    const { tf } = this.engine;
    let velocity = this.#velocities.get(variable.name);
    if (!velocity) {
      velocity = tf.variable(tf.zerosLike(variable), false);
      this.#velocities.set(variable.name, velocity);
    }
    velocity.assign(tf.add(tf.mul(velocity, 0.9), gradient));
    variable.assign(tf.sub(variable, tf.mul(velocity, rate)));
  }

  #trainable(): Variable[] {
    return [
      ...this.#blocks.flatMap(({ weight, bias, gamma, beta }) => [weight, bias, gamma, beta]),
      this.#head.weight,
      this.#head.bias,
    ].filter((each) => each !== null);
  }

  /** The likeliest digit of each sample. `pause` is called between batches. */
  async predict(
    x: Float32Array,
    mode: Mode,
    { batch = 200, pause }: { batch?: number; pause?: (share: number) => Promise<void> } = {},
  ): Promise<Uint8Array> {
    const { tf } = this.engine;
    const count = x.length / PIXELS;
    const found = new Uint8Array(count);
    for (let at = 0; at < count; at += batch) {
      await pause?.(at / count);
      const size = Math.min(batch, count - at);
      const guesses = tf.tidy(() =>
        tf.argMax(
          this.forward(
            tf.tensor4d(x.subarray(at * PIXELS, (at + size) * PIXELS), [size, SIDE, SIDE, 1]),
            mode,
          ),
          1,
        ),
      );
      found.set(await guesses.data<"int32">(), at);
      guesses.dispose();
    }
    return found;
  }

  /** Statistics of all of x under each Batch Normalization, batches weighted alike: no labels, no moving average. */
  async estimate(
    x: Float32Array,
    { batch = 200, pause }: { batch?: number; pause?: (share: number) => Promise<void> } = {},
  ): Promise<Statistics[]> {
    const { tf } = this.engine;
    const count = Math.floor(x.length / PIXELS / batch) * batch;
    const parts: Statistics[][] = LAYERS.map(() => []);
    for (let at = 0; at < count; at += batch) {
      await pause?.(at / count);
      const kept: Tensor[] = [];
      tf.tidy(() => {
        this.forward(
          tf.tensor4d(x.subarray(at * PIXELS, (at + batch) * PIXELS), [batch, SIDE, SIDE, 1]),
          "batch",
          (_, seen) => {
            kept.push(tf.keep(seen.mean!), tf.keep(seen.variance!));
          },
        );
      });
      const values = await Promise.all(kept.map((each) => each.data<"float32">()));
      tf.dispose(kept);
      LAYERS.forEach((_, i) =>
        parts[i]!.push({ mean: values[2 * i]!, variance: values[2 * i + 1]! }),
      );
    }
    return parts.map(merge);
  }

  /** The running statistics. */
  async statistics(): Promise<Statistics[]> {
    return Promise.all(
      this.#blocks.map(async ({ mean, variance }) => ({
        mean: await mean!.data<"float32">(),
        variance: await variance!.data<"float32">(),
      })),
    );
  }

  async setStatistics(statistics: readonly Statistics[]): Promise<void> {
    const { tf } = this.engine;
    statistics.forEach(({ mean, variance }, i) => {
      tf.tidy(() => {
        this.#blocks[i]!.mean!.assign(tf.tensor1d(mean));
        this.#blocks[i]!.variance!.assign(tf.tensor1d(variance));
      });
    });
    await this.fold();
  }

  /** Works each Batch Normalization into the convolution before it, for the mode "folded". */
  async fold(): Promise<void> {
    const { tf } = this.engine;
    const folded = await Promise.all(
      this.#blocks.map(async ({ weight, gamma, beta, mean, variance }) => {
        const [data, scale, shift, runningMean, runningVar] = await Promise.all(
          [weight, gamma!, beta!, mean!, variance!].map((each) => each.data<"float32">()),
        );
        return foldIntoConv(
          { weight: { data: data!, shape: weight.shape }, layout: "HWIO" },
          {
            weight: scale!,
            bias: shift!,
            running_mean: runningMean!,
            running_var: runningVar!,
            eps: EPS,
          },
        );
      }),
    );
    tf.dispose(this.#folded?.flatMap(({ weight, bias }) => [weight, bias]) ?? []);
    this.#folded = folded.map(({ weight, bias }) => ({
      weight: tf.tensor4d(
        Float32Array.from(weight.data),
        weight.shape as [number, number, number, number],
      ),
      bias: tf.tensor1d(Float32Array.from(bias)),
    }));
  }

  /** A safetensors file: PyTorch's names, convolutions as HWIO, the last layer as (inputs, outputs). */
  async save(metadata: Readonly<Record<string, string>>): Promise<Uint8Array<ArrayBuffer>> {
    const tensors: Record<string, { data: Float32Array; shape: number[] }> = {};
    for (const [name, variable] of this.#named()) {
      tensors[name] = { data: await variable.data<"float32">(), shape: variable.shape };
    }
    return writeSafetensors(tensors, { format: "tfjs", convolution: "HWIO", ...metadata });
  }

  /** @throws FileError where the file is damaged; Error where it is another network's. */
  async load(bytes: ArrayBuffer | Uint8Array): Promise<void> {
    const { tf } = this.engine;
    const file = readSafetensors(bytes);
    for (const [name, variable] of this.#named()) {
      const found = file.get(name);
      if (found?.shape.join() !== variable.shape.join()) {
        throw new Error(
          `weights: ${name}: expected [${variable.shape.join(", ")}], got ${found ? `[${found.shape.join(", ")}]` : "nothing"}; run npm run train:digits`,
        );
      }
      tf.tidy(() => {
        variable.assign(tf.tensor(Float32Array.from(found.data as Float32Array), variable.shape));
      });
    }
    if (this.#blocks[0]!.gamma) await this.fold();
  }

  #named(): [string, Variable][] {
    const names = (["weight", "bias", "gamma", "beta", "mean", "variance"] as const).map(
      (key) =>
        [
          key,
          {
            weight: "conv#.weight",
            bias: "conv#.bias",
            gamma: "bn#.weight",
            beta: "bn#.bias",
            mean: "bn#.running_mean",
            variance: "bn#.running_var",
          }[key],
        ] as const,
    );
    return [
      ...this.#blocks.flatMap((block, i) =>
        names.flatMap(([key, name]): [string, Variable][] => {
          const variable = block[key];
          return variable ? [[name.replace("#", LAYERS[i]!.name), variable]] : [];
        }),
      ),
      ["fc.weight", this.#head.weight],
      ["fc.bias", this.#head.bias],
    ];
  }

  dispose(): void {
    const { tf } = this.engine;
    tf.dispose(this.#named().map(([, variable]) => variable));
    tf.dispose([...this.#velocities.values()]);
    tf.dispose(this.#folded?.flatMap(({ weight, bias }) => [weight, bias]) ?? []);
  }
}

/** Parts of one size as one: the mean of means, and the variance within plus that between. Exact, in float64. */
function merge(parts: readonly Statistics[]): Statistics {
  const channels = parts[0]!.mean.length;
  const mean = Float64Array.from(
    { length: channels },
    (_, c) => parts.reduce((sum, part) => sum + part.mean[c]!, 0) / parts.length,
  );
  const variance = Float64Array.from(
    { length: channels },
    (_, c) =>
      parts.reduce((sum, part) => sum + part.variance[c]! + (part.mean[c]! - mean[c]!) ** 2, 0) /
      parts.length,
  );
  return { mean: Float32Array.from(mean), variance: Float32Array.from(variance) };
}

/** Share of guesses that are right. */
export function shareRight(guesses: ArrayLike<number>, labels: ArrayLike<number>): number {
  let right = 0;
  for (let i = 0; i < labels.length; i++) if (guesses[i] === labels[i]) right += 1;
  return right / labels.length;
}
