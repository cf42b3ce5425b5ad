import {
  BatchNorm1d,
  BatchNorm2d,
  tensor,
  type BatchNorm,
  type BatchNormOptions,
  type Tensor,
} from "webgpu-batchnorm";
import * as reference from "webgpu-batchnorm/reference";

/** Per channel. */
export interface Statistics {
  readonly mean: Float32Array;
  /** Biased: divided by the number of values. */
  readonly variance: Float32Array;
}

export interface Affine {
  readonly gamma: Float32Array;
  readonly beta: Float32Array;
}

/** One of our modules on the device, or the reference where there is none; channels first. */
export class Normaliser {
  readonly #bn: BatchNorm | null = null;
  readonly #x: Tensor | null = null;
  readonly #y: Tensor | null = null;
  #values: Float32Array;
  readonly #channels: number;

  constructor(
    device: GPUDevice | null,
    values: Float32Array,
    private readonly shape: readonly number[],
    private readonly options: Pick<BatchNormOptions, "eps" | "activation"> = {},
  ) {
    this.#values = values;
    this.#channels = shape[1]!;
    if (!device) return;
    const Kind = shape.length === 4 ? BatchNorm2d : BatchNorm1d;
    // With momentum 1 and the biased variance the running statistics are the last batch's own.
    this.#bn = new Kind(device, this.#channels, {
      ...options,
      momentum: 1,
      runningVariance: "population",
    });
    this.#x = tensor(device, values, shape);
    this.#y = tensor(device, new Float32Array(values.length), shape);
  }

  set(values: Float32Array): void {
    this.#values = values;
    this.#x?.write(values);
  }

  #plain(): Affine {
    return {
      gamma: new Float32Array(this.#channels).fill(1),
      beta: new Float32Array(this.#channels),
    };
  }

  /** With the batch's statistics, which come back too. */
  async train({ gamma, beta }: Affine = this.#plain()): Promise<Statistics & { y: Float32Array }> {
    if (!this.#bn) {
      const { y, mean, varBiased } = reference.forward(this.#values, this.shape, {
        ...this.options,
        gamma,
        beta,
      });
      return {
        y: Float32Array.from(y),
        mean: Float32Array.from(mean),
        variance: Float32Array.from(varBiased),
      };
    }
    this.#bn.train();
    this.#bn.gamma!.write(gamma);
    this.#bn.beta!.write(beta);
    this.#bn.forward(this.#x!, { out: this.#y! });
    const [y, mean, variance] = await Promise.all([
      this.#y!.read(),
      this.#bn.runningMean!.read(),
      this.#bn.runningVar!.read(),
    ]);
    return { y, mean, variance };
  }

  /** With statistics that are given. */
  async infer(
    { mean, variance }: Statistics,
    { gamma, beta }: Affine = this.#plain(),
  ): Promise<Float32Array> {
    if (!this.#bn) {
      const { y } = reference.inference(this.#values, this.shape, {
        ...this.options,
        gamma,
        beta,
        mean,
        variance,
      });
      return Float32Array.from(y);
    }
    this.#bn.eval();
    this.#bn.loadStateDict({
      weight: gamma,
      bias: beta,
      running_mean: mean,
      running_var: variance,
      num_batches_tracked: 1,
    });
    this.#bn.forward(this.#x!, { out: this.#y! });
    return this.#y!.read();
  }

  destroy(): void {
    for (const each of [this.#bn, this.#x, this.#y]) each?.destroy();
  }
}
