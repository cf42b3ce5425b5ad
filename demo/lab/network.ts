import type {
  GradSaveFunc,
  Scalar,
  Tensor,
  Tensor1D,
  Tensor2D,
  Variable,
} from "@tensorflow/tfjs-core";
import { normals } from "../../scripts/support/random.js";
import type { Engine, Normalised } from "../engine/engine.js";

export const ACTIVATIONS = ["tanh", "sigmoid", "relu", "leaky-relu", "elu"] as const;
export type Activation = (typeof ACTIVATIONS)[number];
export const INITIALISATIONS = ["small", "large", "xavier", "he"] as const;
export type Initialisation = (typeof INITIALISATIONS)[number];
export type Order = "before" | "after";

export interface NetworkOptions {
  readonly inputs: number;
  readonly depth: number;
  readonly width: number;
  readonly activation: Activation;
  readonly initialisation: Initialisation;
  readonly batchNorm: boolean;
  /** Where it stands: before the activation, as usual, or after it. */
  readonly order: Order;
  readonly seed: number;
  /** How a batch is normalised in training; with its own statistics unless said otherwise. */
  readonly method?: Method;
}

/** A way to normalise a batch in training, given the running statistics too. */
export type Method = (
  engine: Engine,
  x: Tensor,
  gamma: Tensor,
  beta: Tensor,
  running: { readonly mean: Tensor; readonly variance: Tensor },
) => Normalised;

/** Standard deviation of a layer's first weights. */
export function deviationOf(initialisation: Initialisation, fanIn: number): number {
  switch (initialisation) {
    case "small":
      return 0.01;
    case "large":
      return 1;
    case "xavier":
      return 1 / Math.sqrt(fanIn);
    case "he":
      return Math.sqrt(2 / fanIn);
  }
}

/** Slope of the activation at a value of its output, as a share of its largest slope. */
export function slopeAt(activation: Activation, y: number): number {
  switch (activation) {
    case "tanh":
      return 1 - y * y;
    case "sigmoid":
      return 4 * y * (1 - y);
    case "relu":
      return y > 0 ? 1 : 0;
    case "leaky-relu":
      return y > 0 ? 1 : 0.01;
    case "elu":
      return y > 0 ? 1 : 1 + y;
  }
}

/** A unit counts as saturated where less than so much of the largest slope is left. */
export const FLAT = 0.05;

export function saturatedShare(activation: Activation, values: ArrayLike<number>): number {
  let flat = 0;
  for (let i = 0; i < values.length; i++) if (slopeAt(activation, values[i]!) < FLAT) flat += 1;
  return flat / values.length;
}

interface Layer {
  readonly weight: Variable;
  /** Without Batch Normalization; with it beta does the same. */
  readonly bias: Variable | null;
  readonly gamma: Variable | null;
  readonly beta: Variable | null;
  readonly runningMean: Variable | null;
  readonly runningVar: Variable | null;
}

export interface StepOptions {
  readonly rate: number;
  /** Whether the norms of the gradients are wanted too. */
  readonly norms?: boolean;
  /** Weight of the batch in the running statistics; null leaves them alone. */
  readonly momentum?: number | null;
}

export interface Step {
  readonly loss: number;
  readonly accuracy: number;
  /** Of the weights' gradients, layer by layer; empty unless asked for. */
  readonly norms: readonly number[];
}

const CLASSES = 10;
/** Below it two terms of tanh's and ELU's series leave less than f32 can tell beside what 1 − exp(…) rounds away. */
const SMALL = 0.03;

/** A fully connected network: depth times (linear, Batch Normalization, activation), then ten logits. */
export class Network {
  readonly layers: readonly Layer[];
  readonly #head: { weight: Variable; bias: Variable };

  constructor(
    readonly engine: Engine,
    readonly options: NetworkOptions,
  ) {
    const { tf } = engine;
    const { inputs, depth, width, initialisation, batchNorm, seed } = options;
    const weights = (rows: number, columns: number, deviation: number, index: number): Variable => {
      const values = normals(rows * columns, seed + index, 0, deviation);
      const tensor = tf.tensor2d(values, [rows, columns]);
      const variable = tf.variable(tensor);
      tensor.dispose();
      return variable;
    };
    const filled = (value: number, trainable = true): Variable => {
      const tensor = tf.fill([width], value);
      const variable = tf.variable(tensor, trainable);
      tensor.dispose();
      return variable;
    };
    this.layers = Array.from({ length: depth }, (_, i) => {
      const fanIn = i === 0 ? inputs : width;
      return {
        weight: weights(fanIn, width, deviationOf(initialisation, fanIn), i),
        bias: batchNorm ? null : filled(0),
        gamma: batchNorm ? filled(1) : null,
        beta: batchNorm ? filled(0) : null,
        runningMean: batchNorm ? filled(0, false) : null,
        runningVar: batchNorm ? filled(1, false) : null,
      };
    });
    // The last layer starts alike whatever the others do, so that only they are compared.
    const zeros = tf.zeros([CLASSES]);
    this.#head = {
      weight: weights(width, CLASSES, deviationOf("xavier", width), depth),
      bias: tf.variable(zeros),
    };
    zeros.dispose();
  }

  /** An activation that TensorFlow.js's WebGPU kernel rounds to 0 near 0, where its series is taken instead. */
  #nearZero(
    x: Tensor,
    activate: (x: Tensor) => Tensor,
    series: (x: Tensor) => Tensor,
    slope: (y: Tensor) => Tensor,
  ): Tensor {
    const { tf } = this.engine;
    return tf.customGrad((...of) => {
      const [input, save] = of as unknown as [Tensor, GradSaveFunc];
      const y = tf.where(tf.less(tf.abs(input), SMALL), series(input), activate(input));
      save([y]);
      return { value: y, gradFunc: (dy: Tensor, [saved]: Tensor[]) => tf.mul(dy, slope(saved!)) };
    })(x);
  }

  #activate(x: Tensor): Tensor {
    const { tf } = this.engine;
    switch (this.options.activation) {
      case "tanh":
        return this.#nearZero(
          x,
          tf.tanh,
          (a) => tf.mul(a, tf.sub(1, tf.div(tf.square(a), 3))),
          (y) => tf.sub(1, tf.square(y)),
        );
      case "sigmoid":
        return tf.sigmoid(x);
      case "relu":
        return tf.relu(x);
      case "leaky-relu":
        return tf.leakyRelu(x, 0.01);
      case "elu":
        return this.#nearZero(
          x,
          tf.elu,
          (a) => tf.add(a, tf.div(tf.square(tf.minimum(a, 0)), 2)),
          (y) => tf.add(1, tf.minimum(y, 0)),
        );
    }
  }

  /** Through all hidden layers; `see` is shown what each activation gives, what the layer does, and its statistics. */
  #hidden(
    x: Tensor,
    training: boolean,
    see?: (
      layer: number,
      seen: { activated: Tensor; output: Tensor; mean?: Tensor; variance?: Tensor },
    ) => void,
  ): Tensor {
    const { tf } = this.engine;
    let h = x;
    for (const [
      i,
      { weight, bias, gamma, beta, runningMean, runningVar },
    ] of this.layers.entries()) {
      const product = tf.matMul(h, weight);
      const linear = bias ? tf.add(product, bias) : product;
      let statistics: { mean?: Tensor; variance?: Tensor } = {};
      const normalise = (value: Tensor): Tensor => {
        if (!gamma || !beta) return value;
        if (!training) return this.engine.infer(value, gamma, beta, runningMean!, runningVar!);
        const { method } = this.options;
        const { y, mean, variance } = method
          ? method(this.engine, value, gamma, beta, { mean: runningMean!, variance: runningVar! })
          : this.engine.train(value, gamma, beta);
        statistics = { mean, variance };
        return y;
      };
      const before = this.options.order === "before";
      const activated = this.#activate(before ? normalise(linear) : linear);
      h = before ? activated : normalise(activated);
      see?.(i, { activated, output: h, ...statistics });
    }
    return h;
  }

  #logits(hidden: Tensor): Tensor {
    const { tf } = this.engine;
    return tf.add(
      tf.matMul(hidden as Tensor2D, this.#head.weight as unknown as Tensor2D),
      this.#head.bias,
    );
  }

  /**
   * What each layer gives out, with the batch's own statistics, and what its activation does; that is the same unless it
   * is normalised after it. `each` is called in order.
   */
  async activations(
    x: Float32Array,
    count: number,
    each: (layer: number, values: Float32Array, activated: Float32Array) => Promise<void>,
  ): Promise<void> {
    const { tf } = this.engine;
    const kept: (readonly [output: Tensor, activated: Tensor])[] = [];
    tf.tidy(() => {
      this.#hidden(
        tf.tensor2d(x, [count, this.options.inputs]),
        true,
        (_, { output, activated }) => {
          kept.push([tf.keep(output), tf.keep(activated)]);
        },
      );
    });
    try {
      for (const [i, [output, activated]] of kept.entries()) {
        const values = (await output.data()) as Float32Array;
        await each(
          i,
          values,
          activated === output ? values : ((await activated.data()) as Float32Array),
        );
      }
    } finally {
      tf.dispose(kept.flat());
    }
  }

  /** What the first layer's Batch Normalization is given. */
  async firstLinear(x: Float32Array, count: number): Promise<Float32Array> {
    const { tf } = this.engine;
    const linear = tf.tidy(() =>
      tf.matMul(
        tf.tensor2d(x, [count, this.options.inputs]),
        this.layers[0]!.weight as unknown as Tensor2D,
      ),
    );
    const values = (await linear.data()) as Float32Array;
    linear.dispose();
    return values;
  }

  /** One step of plain gradient descent. */
  async step(
    x: Float32Array,
    labels: Uint8Array,
    { rate, norms = false, momentum = null }: StepOptions,
  ): Promise<Step> {
    const { tf } = this.engine;
    const count = labels.length;
    const kept: { mean: Tensor; variance: Tensor }[] = [];
    const summary = tf.tidy(() => {
      const input = tf.tensor2d(x, [count, this.options.inputs]);
      const wanted = tf.oneHot(tf.tensor1d(Int32Array.from(labels), "int32"), CLASSES);
      let right: Scalar | null = null;
      const { value, grads } = tf.variableGrads(() => {
        const hidden = this.#hidden(input, true, (_, { mean, variance }) => {
          if (mean && variance && momentum !== null)
            kept.push({ mean: tf.keep(mean), variance: tf.keep(variance) });
        });
        const logits = this.#logits(hidden);
        right = tf.keep(
          tf.mean(tf.cast(tf.equal(tf.argMax(logits, 1), tf.argMax(wanted, 1)), "float32")),
        );
        return tf.losses.softmaxCrossEntropy(wanted, logits);
      }, this.#trainable());
      const found: Tensor[] = [value, right!];
      if (norms) {
        for (const { weight } of this.layers)
          found.push(tf.sqrt(tf.sum(tf.square(grads[weight.name]!))));
      }
      for (const variable of this.#trainable()) {
        variable.assign(tf.sub(variable, tf.mul(grads[variable.name]!, rate)));
      }
      if (momentum !== null) this.#track(kept, momentum, count);
      const all = tf.stack(found.map((each) => tf.reshape(each, [])));
      tf.dispose([right!, ...kept.flatMap(({ mean, variance }) => [mean, variance])]);
      return all;
    });
    const [loss, accuracy, ...rest] = (await summary.data()) as Float32Array;
    summary.dispose();
    return { loss: loss!, accuracy: accuracy!, norms: rest };
  }

  #track(
    batch: readonly { mean: Tensor; variance: Tensor }[],
    momentum: number,
    count: number,
  ): void {
    const { tf } = this.engine;
    const unbiased = count > 1 ? count / (count - 1) : 1;
    batch.forEach(({ mean, variance }, i) => {
      const { runningMean, runningVar } = this.layers[i]!;
      runningMean!.assign(tf.add(tf.mul(runningMean!, 1 - momentum), tf.mul(mean, momentum)));
      runningVar!.assign(
        tf.add(tf.mul(runningVar!, 1 - momentum), tf.mul(variance, momentum * unbiased)),
      );
    });
  }

  #trainable(): Variable[] {
    const all = this.layers.flatMap(({ weight, bias, gamma, beta }) => [weight, bias, gamma, beta]);
    return [...all.filter((each) => each !== null), this.#head.weight, this.#head.bias];
  }

  /** Share that is read right, with running statistics, or with each batch's own. */
  async accuracy(
    x: Float32Array,
    labels: Uint8Array,
    { training = false, batch = labels.length }: { training?: boolean; batch?: number } = {},
  ): Promise<number> {
    const { tf } = this.engine;
    const { inputs } = this.options;
    let right = 0;
    let seen = 0;
    for (let at = 0; at + batch <= labels.length; at += batch) {
      const guesses = tf.tidy(() => {
        const part = tf.tensor2d(x.subarray(at * inputs, (at + batch) * inputs), [batch, inputs]);
        return tf.argMax<Tensor1D>(this.#logits(this.#hidden(part, training)), 1);
      });
      const values = await guesses.data();
      guesses.dispose();
      for (let i = 0; i < batch; i++) if (values[i] === labels[at + i]) right += 1;
      seen += batch;
    }
    return right / seen;
  }

  /** What a layer has learned and what it has seen. */
  async learned(layer: number): Promise<{
    gamma: Float32Array;
    beta: Float32Array;
    mean: Float32Array;
    variance: Float32Array;
  }> {
    const { gamma, beta, runningMean, runningVar } = this.layers[layer]!;
    const [g, b, m, v] = (await Promise.all(
      [gamma!, beta!, runningMean!, runningVar!].map((each) => each.data()),
    )) as Float32Array[];
    return { gamma: g!, beta: b!, mean: m!, variance: v! };
  }

  dispose(): void {
    const { tf } = this.engine;
    tf.dispose(
      this.layers.flatMap((layer) =>
        Object.values(layer as unknown as Record<string, Variable | null>).filter(
          (each) => each !== null,
        ),
      ),
    );
    tf.dispose([this.#head.weight, this.#head.bias]);
  }
}
