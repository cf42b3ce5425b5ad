/**
 * A small network on the CPU whose Batch Normalizations run on the device: 784, twice (dense, Batch Normalization,
 * ReLU), dense, softmax. A step takes any number of micro-batches, layer after layer.
 */
import { PIXELS } from "../support/digits.js";
import { normals } from "../support/random.js";

/** Numbers of each micro-batch, rows one after another. */
export type Micro = Float32Array[];

/** One normalised layer: micro-batches in, micro-batches out. Includes the ReLU. */
export interface Norm {
  forward(h: Micro): Promise<Micro>;
  backward(dy: Micro): Promise<Micro>;
  /** gamma's and beta's gradients of the last backward, one after another. */
  gradients(): Promise<Float32Array>;
  parameters(): Float32Array;
  setParameters(values: Float32Array): void;
  /** By the running statistics. */
  evaluate(h: Float32Array): Promise<Float32Array>;
}

const HIDDEN = 64;
export const CLASSES = 10;
const WIDTHS = [PIXELS, HIDDEN, HIDDEN, CLASSES];
export const NORM_WIDTHS = [HIDDEN, HIDDEN];

/** a [rows, from] times w [from, to]. */
function multiply(a: Float32Array, w: Float32Array, from: number, to: number): Float32Array {
  const rows = a.length / from;
  const product = new Float32Array(rows * to);
  for (let i = 0; i < rows; i++) {
    for (let l = 0; l < from; l++) {
      const left = a[i * from + l]!;
      if (left === 0) continue;
      for (let j = 0; j < to; j++) product[i * to + j]! += left * w[l * to + j]!;
    }
  }
  return product;
}

/** dh [rows, to] times w [from, to], transposed. */
function back(dh: Float32Array, w: Float32Array, from: number, to: number): Float32Array {
  const rows = dh.length / to;
  const da = new Float32Array(rows * from);
  for (let i = 0; i < rows; i++) {
    for (let l = 0; l < from; l++) {
      let sum = 0;
      for (let j = 0; j < to; j++) sum += dh[i * to + j]! * w[l * to + j]!;
      da[i * from + l] = sum;
    }
  }
  return da;
}

/** Adds a's transpose times dh to dw [from, to]. */
function addGradient(
  dw: Float32Array,
  a: Float32Array,
  dh: Float32Array,
  from: number,
  to: number,
) {
  const rows = dh.length / to;
  for (let i = 0; i < rows; i++) {
    for (let l = 0; l < from; l++) {
      const left = a[i * from + l]!;
      if (left === 0) continue;
      for (let j = 0; j < to; j++) dw[l * to + j]! += left * dh[i * to + j]!;
    }
  }
}

/** Joins the gradients of a step over ranks; without ranks they stay. */
export type Reduce = (gradients: Float32Array) => Promise<Float32Array>;

const MOMENTUM = 0.9;

export class Network {
  readonly #weights: Float32Array[];
  #velocity: Float32Array | null = null;

  constructor(
    readonly norms: readonly Norm[],
    seed: number,
  ) {
    this.#weights = WIDTHS.slice(1).map((to, i) =>
      normals(WIDTHS[i]! * to, seed + i, 0, Math.sqrt(2 / WIDTHS[i]!)),
    );
  }

  /** One step of gradient descent with momentum over all micro-batches; the loss is their mean. */
  async step(
    xs: Micro,
    labels: readonly Uint8Array[],
    rate: number,
    reduce: Reduce,
  ): Promise<void> {
    const count = labels.reduce((sum, each) => sum + each.length, 0);
    const inputs: Micro[] = [xs];
    for (const [i, norm] of this.norms.entries()) {
      inputs.push(await norm.forward(this.#dense(i, inputs[i]!)));
    }
    const last = this.norms.length;
    let dh = this.#dense(last, inputs[last]!).map((logits, m) => {
      for (const [row, label] of labels[m]!.entries()) {
        const own = logits.subarray(row * CLASSES, (row + 1) * CLASSES);
        const most = Math.max(...own);
        const total = own.reduce((sum, logit) => sum + Math.exp(logit - most), 0);
        own.forEach((logit, j) => {
          own[j] = (Math.exp(logit - most) / total - Number(j === label)) / count;
        });
      }
      return logits;
    });
    const dWeights = this.#weights.map((weights) => new Float32Array(weights.length));
    const dNorms: Float32Array[] = [];
    for (let i = last; i >= 0; i--) {
      const [from, to] = [WIDTHS[i]!, WIDTHS[i + 1]!];
      dh.forEach((each, m) => addGradient(dWeights[i]!, inputs[i]![m]!, each, from, to));
      if (i === 0) break;
      const norm = this.norms[i - 1]!;
      dh = await norm.backward(dh.map((each) => back(each, this.#weights[i]!, from, to)));
      dNorms.unshift(await norm.gradients());
    }
    const parameters = [...this.#weights, ...this.norms.map((norm) => norm.parameters())];
    const flat = join([...dWeights, ...dNorms]);
    const gradients = await reduce(flat);
    this.#velocity ??= new Float32Array(flat.length);
    let at = 0;
    for (const values of parameters) {
      for (let k = 0; k < values.length; k++, at++) {
        const velocity = MOMENTUM * this.#velocity[at]! + gradients[at]!;
        this.#velocity[at] = velocity;
        values[k]! -= rate * velocity;
      }
    }
    this.norms.forEach((norm, i) => norm.setParameters(parameters[this.#weights.length + i]!));
  }

  /** Logits by `through`, which a layer's h goes through: evaluation, or a re-estimating forward. */
  async logits(
    x: Float32Array,
    through: (norm: Norm, h: Float32Array) => Promise<Float32Array> = (norm, h) => norm.evaluate(h),
  ): Promise<Float32Array> {
    let a = x;
    for (const [i, norm] of this.norms.entries()) a = await through(norm, this.#dense(i, [a])[0]!);
    return this.#dense(this.norms.length, [a])[0]!;
  }

  /** Share of digits that are told right. */
  async accuracy(x: Float32Array, labels: Uint8Array): Promise<number> {
    const logits = await this.logits(x);
    const right = labels.filter((label, i) => {
      const row = logits.subarray(i * CLASSES, (i + 1) * CLASSES);
      return row.indexOf(Math.max(...row)) === label;
    });
    return right.length / labels.length;
  }

  #dense(layer: number, a: Micro): Micro {
    return a.map((each) =>
      multiply(each, this.#weights[layer]!, WIDTHS[layer]!, WIDTHS[layer + 1]!),
    );
  }
}

function join(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
