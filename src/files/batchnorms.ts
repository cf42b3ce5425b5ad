import { entriesOf, type Named } from "./entries.js";
import { quote, refuse } from "./error.js";
import type { OnnxFile, OnnxNode } from "./onnx.js";
import { FileTensor } from "./tensor.js";
import { requireFinite, requireVariance } from "./values.js";

/** Numbers, or what holds them as `data` with a shape: tensors of a file, of TensorFlow.js once read, of ONNX Runtime. */
export type NamedTensor =
  | ArrayLike<number>
  | ArrayLike<bigint>
  | number
  | bigint
  | {
      /** The numbers, row-major. */
      readonly data: ArrayLike<number> | ArrayLike<bigint>;
      /** Rank 1 unless given. */
      readonly shape?: readonly number[];
    };

/** A Batch Normalization's state as `loadStateDict` takes it, in the precision of its file. */
export interface FoundState {
  /** gamma, `[C]`. */
  weight?: ArrayLike<number>;
  /** beta, `[C]`. */
  bias?: ArrayLike<number>;
  /** `[C]`. */
  running_mean: ArrayLike<number>;
  /** `[C]`, as the framework of the file keeps it. */
  running_var: ArrayLike<number>;
  /** Batches seen in training. */
  num_batches_tracked?: bigint;
}

/** One Batch Normalization of a file. */
export interface FoundBatchNorm {
  /** What stands before the entries' names, "layer1.0.bn1."; of an ONNX node the node's name. */
  readonly prefix: string;
  /** C. */
  readonly channels: number;
  /** Whether it has gamma and beta: the module's option of that name. */
  readonly affine: boolean;
  /** What a module of that many channels loads. */
  readonly state: FoundState;
  /** From ONNX, where nodes say them; files of weights do not. */
  readonly eps?: number;
  /** From ONNX, in this package's direction: the weight of the new batch. */
  readonly momentum?: number;
  /** From ONNX: whether the node normalises with its batch's statistics. */
  readonly training?: boolean;
}

/** Names of gamma, beta, running mean, running variance and counter. */
const NAMINGS = [
  ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"],
  ["gamma", "beta", "moving_mean", "moving_variance"],
] as const;

/**
 * Every Batch Normalization of a file, in the file's order. In files of weights they are told by their names: PyTorch's
 * `running_mean` and `running_var` under one prefix with `weight`, `bias` and `num_batches_tracked` where they exist, or
 * Keras's `moving_mean` and `moving_variance` with `gamma` and `beta`, with or without TensorFlow's `:0` at the end (an
 * `InstanceNorm` that tracks statistics has the same names). One without running statistics cannot be told from a
 * LayerNorm by its names and is not found. In a model of ONNX they are its BatchNormalization nodes.
 *
 * Of gamma and beta, where only one exists (PyTorch's `bias=False`, Keras's `scale: false` or `center: false`), the other
 * is ones or zeros.
 *
 * @param file of `readSafetensors` or `readOnnx`, or any record or `Map` of tensors by name.
 * @throws FileError where there is none; where one lacks an entry, has entries of different lengths, a negative variance,
 * or (unless the file was read with `nonFinite: "keep"`) a NaN or infinite value.
 * @example
 * ```ts
 * import { BatchNorm2d } from "webgpu-batchnorm";
 * import { findBatchNorms, readSafetensors } from "webgpu-batchnorm/files";
 * declare const device: GPUDevice, bytes: ArrayBuffer; // resnet18.safetensors
 * const modules = findBatchNorms(readSafetensors(bytes)).map(({ channels, affine, state }) => {
 *   const bn = new BatchNorm2d(device, channels, { affine }).eval();
 *   bn.loadStateDict(state);
 *   return bn;
 * });
 * ```
 */
export function findBatchNorms(
  file: OnnxFile | ReadonlyMap<string, NamedTensor> | Readonly<Record<string, NamedTensor>>,
): FoundBatchNorm[] {
  const reader = new Reader();
  const found = isOnnx(file)
    ? file.nodes.map((node) => fromNode(node, reader))
    : byName(file, reader);
  if (found.length === 0) {
    const names = isOnnx(file) ? "BatchNormalization nodes" : "running_mean or moving_mean";
    refuse(
      "findBatchNorms",
      `a model with Batch Normalization (${names})`,
      isOnnx(file) ? "one without" : `none among ${entriesOf("", file).length} tensors`,
      isOnnx(file) && file.functions > 0
        ? "the model has functions of its own, which are not followed: inline them first (onnx.inliner)"
        : "an exporter may have folded it into the layers before; there is nothing to load then",
    );
  }
  return found;
}

function isOnnx(file: OnnxFile | Named<NamedTensor>): file is OnnxFile {
  return file instanceof Map && "nodes" in file;
}

/** What has been read of a file's tensors: nodes may share one, which is decoded and checked once. */
class Reader {
  readonly #numbers = new Map<NamedTensor, ArrayLike<number>>();
  readonly #variances = new Set<ArrayLike<number>>();

  /** Numbers of rank 1. */
  numbers(name: string, tensor: NamedTensor | undefined): ArrayLike<number> {
    if (!(tensor instanceof FileTensor)) return numbersOf(name, tensor);
    const known = this.#numbers.get(tensor) ?? numbersOf(name, tensor);
    this.#numbers.set(tensor, known);
    return known;
  }

  requireVariance(name: string, values: ArrayLike<number>): void {
    if (this.#variances.has(values)) return;
    const remedy = "the file is damaged, or the name stands for something else";
    requireVariance(quote(name), values, remedy);
    this.#variances.add(values);
  }
}

function byName(file: Named<NamedTensor>, reader: Reader): FoundBatchNorm[] {
  // Null is none, as it is in loadStateDict.
  const given = entriesOf<NamedTensor | null | undefined>("findBatchNorms", file);
  // TensorFlow ends a variable's name with ":0" where it is a tensor's.
  const entries = new Map(
    given.filter(isThere).map(([name, tensor]) => [name.replace(/:0$/, ""), tensor]),
  );
  const found: FoundBatchNorm[] = [];
  for (const name of entries.keys()) {
    for (const naming of NAMINGS) {
      const [gamma, beta, mean, variance, counter] = naming;
      const last = [mean, variance].find((each) => name.endsWith(each));
      if (last === undefined) continue;
      const prefix = name.slice(0, -last.length);
      // Found once, at its mean, or at a variance whose mean is missing. "my_moving_mean" is another name.
      if (/[A-Za-z0-9_]$/.test(prefix) || (last === variance && entries.has(prefix + mean)))
        continue;
      const at = (each: string): [string, NamedTensor | undefined] => [
        prefix + each,
        entries.get(prefix + each),
      ];
      found.push({
        prefix,
        ...stateOf(reader, at(gamma), at(beta), at(mean), at(variance)),
      });
      const state = found.at(-1)!.state;
      const count = counter && entries.get(prefix + counter);
      if (count !== undefined) state.num_batches_tracked = counterOf(prefix + counter!, count);
    }
  }
  return found;
}

function isThere<V>(entry: [string, V | null | undefined]): entry is [string, V] {
  return entry[1] !== null && entry[1] !== undefined;
}

function fromNode(node: OnnxNode, reader: Reader): FoundBatchNorm {
  const { name, eps, momentum, training, parameters } = node;
  const [gamma, beta, mean, variance] = parameters.map((each): [string, FileTensor | undefined] => [
    each.name,
    each.tensor,
  ]);
  const missing = parameters.find(({ tensor }) => !tensor)?.name;
  if (!gamma || !beta || !mean || !variance || missing !== undefined) {
    return refuse(
      `findBatchNorms: ${quote(name)}`,
      "scale, B, mean and var that the file holds",
      missing === undefined
        ? `${parameters.length} of them`
        : `${quote(missing)}, which it does not`,
      "they are inputs or computed by the model: take them from where it gets them",
    );
  }
  return { prefix: name, ...stateOf(reader, gamma, beta, mean, variance), eps, momentum, training };
}

type Entry = readonly [name: string, tensor: NamedTensor | undefined];

function stateOf(
  reader: Reader,
  gamma: Entry,
  beta: Entry,
  mean: Entry,
  variance: Entry,
): Pick<FoundBatchNorm, "channels" | "affine" | "state"> {
  const running_mean = reader.numbers(...mean);
  const running_var = reader.numbers(...variance);
  const channels = running_mean.length;
  const affine = gamma[1] !== undefined || beta[1] !== undefined;
  const state: FoundState = affine
    ? {
        weight:
          gamma[1] === undefined ? new Float32Array(channels).fill(1) : reader.numbers(...gamma),
        bias: beta[1] === undefined ? new Float32Array(channels) : reader.numbers(...beta),
        running_mean,
        running_var,
      }
    : { running_mean, running_var };
  for (const [[name], values] of [
    [gamma, state.weight],
    [beta, state.bias],
    [variance, running_var],
  ] as const) {
    if (values && values.length !== channels) {
      refuse(
        quote(name),
        `${channels} values, as ${quote(mean[0])} has`,
        `${values.length}`,
        "the file is damaged",
      );
    }
  }
  reader.requireVariance(variance[0], running_var);
  return { channels, affine, state };
}

/** Numbers of rank 1. */
function numbersOf(name: string, tensor: NamedTensor | undefined): ArrayLike<number> {
  const holder = typeof tensor === "object" && "data" in tensor ? tensor : { data: tensor };
  const { data } = holder;
  if (typeof data === "function") {
    const remedy = "read it first: { data: await tensor.data(), shape: tensor.shape }";
    return refuse(`findBatchNorms: ${quote(name)}`, "values", "a tensor not yet read", remedy);
  }
  const shape = "shape" in holder ? holder.shape : undefined;
  if (typeof data !== "object" || data.length === 0 || (shape && shape.length !== 1)) {
    return refuse(
      `findBatchNorms: ${quote(name)}`,
      "one value per channel",
      tensor === undefined ? "nothing" : shape ? `[${shape.join(", ")}]` : "no such list",
      "the file is damaged, or this is no Batch Normalization",
    );
  }
  if (typeof data[0] !== "number") {
    return refuse(
      `findBatchNorms: ${quote(name)}`,
      "numbers",
      `values of type ${typeof data[0]}`,
      "the file is damaged, or this is no Batch Normalization",
    );
  }
  // A tensor of a file has its reader's say about that.
  if (!(tensor instanceof FileTensor)) requireFinite(quote(name), data);
  return data as ArrayLike<number>;
}

function counterOf(name: string, tensor: NamedTensor): bigint {
  const data = typeof tensor === "object" && "data" in tensor ? tensor.data : tensor;
  const value = typeof data === "object" ? data[0] : data;
  if (typeof value === "bigint" && value >= 0n) return value;
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return BigInt(value);
  return refuse(
    `findBatchNorms: ${quote(name)}`,
    "a count >= 0",
    String(value),
    "the file is damaged",
  );
}
