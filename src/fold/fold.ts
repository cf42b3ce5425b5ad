import { kindOf, requireKnown } from "../arguments.js";
import { GAMMA_FLOOR } from "../descriptor.js";
import { complain, OptionError, ShapeError } from "../errors.js";
import { remedyFor } from "../remedy.js";
import { indexing, type ConvLayout, type Indexing, type LinearLayout } from "./indexing.js";

export type { ConvLayout, LinearLayout };

/** Weights with their shape, row-major: a tensor of a file is one. */
export interface WeightTensor {
  /** Row-major. */
  readonly data: ArrayLike<number> | ArrayLike<bigint>;
  /** Of the dimensions that the layout names. */
  readonly shape: readonly number[];
}

/** A layer's weights and bias. */
export interface LayerWeights {
  /** In the layer's layout. */
  readonly weight: WeightTensor;
  /** One value per output channel; none counts as zeros. */
  readonly bias?: ArrayLike<number> | null | undefined;
}

/** A convolution of any rank, transposed or not, depthwise or in groups. */
export interface ConvWeights extends LayerWeights {
  /** What the weight's dimensions are, see {@link ConvLayout}. */
  readonly layout: ConvLayout;
  /** Groups of channels. Default 1; a depthwise layout has none. */
  readonly groups?: number | undefined;
}

/** A fully connected layer. */
export interface LinearWeights extends LayerWeights {
  /** "OI" is PyTorch's `[out, in]`; "IO" is Keras's and TensorFlow.js's `[in, out]`. */
  readonly layout: LinearLayout;
}

/** A Batch Normalization in evaluation: a state dictionary and its eps, which no file of weights holds. */
export interface FoldState {
  /** gamma, `[C]`; ones where there is none. */
  readonly weight?: ArrayLike<number> | null | undefined;
  /** beta, `[C]`; zeros where there is none. */
  readonly bias?: ArrayLike<number> | null | undefined;
  /** `[C]`; what is not there is an error. */
  readonly running_mean?: ArrayLike<number> | null | undefined;
  /** `[C]`; what is not there is an error. */
  readonly running_var?: ArrayLike<number> | null | undefined;
  /** Not looked at. */
  readonly num_batches_tracked?: unknown;
  /** Of batch renormalization: in evaluation it has no effect. */
  readonly renorm_mean?: unknown;
  /** As renorm_mean. */
  readonly renorm_stddev?: unknown;
  /** 1e-5 in PyTorch and ONNX, 1e-3 in Keras, unless the model says otherwise. */
  readonly eps: number;
  /** Whether it is a module that works `inPlace`: such a one counts |gamma| as {@link GAMMA_FLOOR} at least. Default false. */
  readonly inPlace?: boolean | undefined;
}

/** Where the Batch Normalization stands. */
export interface FoldOptions {
  /** "after" the layer (the default) or "before" it. */
  position?: "after" | "before" | undefined;
  /**
   * Whether the convolution pads its input with zeros. Before a layer only `false` can be folded: padding comes after the
   * normalisation, and the zeros of the folded layer would come before it. Must be said where `position` is "before".
   */
  padded?: boolean | undefined;
}

/** The layer that does both: weights in their own shape and layout, and a bias. */
export interface Folded {
  /** In the layout that was given. */
  readonly weight: {
    /** Row-major; a Float64Array where one was given. */
    readonly data: Float32Array<ArrayBuffer> | Float64Array<ArrayBuffer>;
    /** That of the weight that was given. */
    readonly shape: readonly number[];
  };
  /** One value per output channel. */
  readonly bias: Float32Array<ArrayBuffer> | Float64Array<ArrayBuffer>;
}

/**
 * Folds a Batch Normalization into a convolution. After it, with `scale = gamma / √(running_var + eps)`:
 * `weight' = weight · scale[out]`, `bias' = (bias − running_mean) · scale + beta`. Before it, without padding:
 * `weight' = weight · scale[in]`, `bias' = bias + Σ weight · (beta − running_mean · scale)[in]`.
 *
 * Computed in float64 and rounded once, to f32 (a Float64Array stays one). In exact arithmetic on the rounded weights an
 * output differs from the two layers' by at most `2^-24 · (Σ|weight'·x| + |bias'|)`, away from subnormal weights. An
 * activation that was fused into the Batch Normalization follows the folded layer.
 *
 * @returns new arrays that the caller owns; the weight's layout and shape stay.
 * @throws ShapeError where lengths do not fit; OptionError on an unknown layout or name, a negative or non-finite statistic, a
 * folded value that is no finite number, or a Batch Normalization before a layer that cannot take it (padded or
 * transposed).
 * @example
 * ```ts
 * import { foldIntoConv } from "webgpu-batchnorm/fold";
 * const weight = { data: [1, 2, 3, 4], shape: [2, 2, 1, 1] };
 * const bn = { weight: [2, 2], bias: [0, 1], running_mean: [1, 1], running_var: [4, 1], eps: 0 };
 * foldIntoConv({ weight, layout: "OIHW" }, bn); // weight [1, 2, 6, 8], bias [-1, -1]
 * ```
 * @see Jacob et al. 2018, https://arxiv.org/abs/1712.05877, section 3.2.
 */
export function foldIntoConv(conv: ConvWeights, bn: FoldState, options: FoldOptions = {}): Folded {
  const subject = "foldIntoConv";
  requireKnown(subject, options, ["position", "padded"]);
  requireWeight(subject, conv);
  requireKnown(subject, conv, ["weight", "bias", "layout", "groups"]);
  const { shape } = conv.weight;
  return fold(subject, conv, indexing(subject, shape, conv.layout, conv.groups ?? 1), bn, options);
}

/**
 * Folds a Batch Normalization of `[N, C]` into a fully connected layer; {@link foldIntoConv} says how.
 *
 * @returns new arrays that the caller owns; the weight's layout and shape stay.
 * @throws ShapeError, OptionError.
 * @example
 * ```ts
 * import { foldIntoLinear } from "webgpu-batchnorm/fold";
 * const weight = { data: [1, 2, 3, 4], shape: [2, 2] };
 * const bn = { running_mean: [1, 1], running_var: [4, 1], eps: 0 };
 * foldIntoLinear({ weight, bias: [1, 0], layout: "OI" }, bn); // weight [0.5, 1, 3, 4], bias [0, -1]
 * ```
 */
export function foldIntoLinear(
  linear: LinearWeights,
  bn: FoldState,
  options: Pick<FoldOptions, "position"> = {},
): Folded {
  const subject = "foldIntoLinear";
  requireKnown(subject, options, ["position"]);
  requireWeight(subject, linear);
  requireKnown(subject, linear, ["weight", "bias", "layout"]);
  const { layout, weight } = linear;
  const index = indexing(subject, weight.shape, layout, 1);
  return fold(subject, linear, index, bn, { ...options, padded: false });
}

function fold(
  subject: string,
  layer: LayerWeights,
  index: Indexing,
  bn: FoldState,
  { position = "after", padded = true }: FoldOptions,
): Folded {
  const { data, shape } = layer.weight;
  requireLength(subject, "weight", data, index.size);
  if (position !== "after" && position !== "before") {
    throw new OptionError(
      complain(
        `${subject}: position`,
        '"after" or "before"',
        String(position),
        "pass one of these",
      ),
    );
  }
  const before = position === "before";
  const { scale, shift } = affineOf(subject, bn, before ? index.inputs : index.outputs);
  if (before && (padded || index.transposed) && shift.some((each) => each !== 0)) {
    throw new OptionError(
      complain(
        `${subject}: position`,
        "a layer that adds up all of its weights at every position",
        index.transposed ? "a transposed convolution" : "one that may be padded with zeros",
        "say { padded: false } if it is not padded, or keep the Batch Normalization",
      ),
    );
  }
  const weight = new Float64Array(index.size);
  const bias = new Float64Array(index.outputs);
  if (layer.bias) {
    requireLength(subject, "bias", layer.bias, index.outputs);
    bias.set(layer.bias);
  }
  if (!before) for (let o = 0; o < bias.length; o += 1) bias[o] = bias[o]! * scale[o]! + shift[o]!;
  for (let k = 0; k < weight.length; k += 1) {
    const value = Number(data[k]);
    const channel = before ? index.input(k) : index.output(k);
    weight[k] = value * scale[channel]!;
    if (before) bias[index.output(k)]! += value * shift[channel]!;
  }
  const Rounded = data instanceof Float64Array ? Float64Array : Float32Array;
  const folded = { weight: new Rounded(weight), bias: new Rounded(bias) };
  for (const [name, values] of Object.entries(folded)) requireFinite(`${subject}: ${name}`, values);
  return { weight: { data: folded.weight, shape: [...shape] }, bias: folded.bias };
}

/** @throws OptionError where a folded value is no finite number. */
function requireFinite(subject: string, values: Float32Array | Float64Array): void {
  const index = values.findIndex((each) => !Number.isFinite(each));
  if (index < 0) return;
  throw new OptionError(
    complain(
      `${subject} ${index}`,
      "a finite number when folded",
      String(values[index]),
      "check the training that made the layers; of a Float64Array nothing is rounded to f32",
    ),
  );
}

const STATE = [
  ...["weight", "bias", "running_mean", "running_var"],
  ...["num_batches_tracked", "renorm_mean", "renorm_stddev", "eps", "inPlace"],
];

/** Keras's names. */
const HINTS = {
  gamma: "call it weight",
  beta: "call it bias",
  moving_mean: "call it running_mean",
  moving_variance: "call it running_var",
};

/** A Batch Normalization in evaluation as `scale · x + shift`. */
function affineOf(
  subject: string,
  bn: FoldState,
  channels: number,
): { scale: Float64Array; shift: Float64Array } {
  if (Object(bn) !== bn || remedyFor(bn, "") !== "") {
    const remedy = remedyFor(bn, "pass { ...state, eps: 1e-5 } after the layer");
    throw new OptionError(
      complain(`${subject}: bn`, "a state dictionary and its eps", kindOf(bn), remedy),
    );
  }
  requireKnown(`${subject}: bn`, bn, STATE, HINTS);
  const { eps, weight: gamma, bias: beta } = bn;
  const [mean, variance] = [bn.running_mean ?? [], bn.running_var ?? []];
  if (!(eps >= 0 && eps < Infinity)) {
    throw new OptionError(
      complain(
        `${subject}: eps`,
        "a finite number >= 0",
        String(eps),
        "say what the model was trained with: 1e-5 in PyTorch, 1e-3 in Keras",
      ),
    );
  }
  for (const [name, values] of Object.entries({ gamma, beta, mean, variance })) {
    if (values) requireLength(subject, name, values, channels);
  }
  const floored = (value: number): number =>
    !bn.inPlace || Math.abs(value) >= GAMMA_FLOOR ? value : value < 0 ? -GAMMA_FLOOR : GAMMA_FLOOR;
  const scale = new Float64Array(channels);
  const shift = new Float64Array(channels);
  for (let c = 0; c < channels; c += 1) {
    const sum = variance[c]! + eps;
    // As everywhere in this package: 1 / √0 is 0.
    scale[c] = sum === 0 ? 0 : floored(gamma?.[c] ?? 1) / Math.sqrt(sum);
    shift[c] = (beta?.[c] ?? 0) - mean[c]! * scale[c]!;
    if (variance[c]! >= 0 && Number.isFinite(scale[c]) && Number.isFinite(shift[c])) continue;
    throw new OptionError(
      complain(
        `${subject}: channel ${c}`,
        "finite numbers, and a variance >= 0",
        `variance ${variance[c]}, mean ${mean[c]}, gamma ${gamma?.[c] ?? 1}, beta ${beta?.[c] ?? 0}`,
        "check the training that made them",
      ),
    );
  }
  return { scale, shift };
}

/** @throws OptionError where the layer's weight is none with its shape. */
function requireWeight(subject: string, layer: LayerWeights): void {
  const weight = (layer as Partial<LayerWeights> | undefined)?.weight as
    Partial<WeightTensor> | undefined;
  if (Object(weight) === weight && "data" in weight! && Array.isArray(weight.shape)) return;
  throw new OptionError(
    complain(
      `${subject}: weight`,
      "{ data, shape }",
      kindOf(weight),
      "say the shape, as in { data, shape: [out, in] }",
    ),
  );
}

function requireLength(
  subject: string,
  name: string,
  values: { readonly length: number } | undefined,
  length: number,
): void {
  if (values instanceof Uint16Array) {
    const remedy = "widen 16-bit floats first, as tensors of files do with their data";
    throw new ShapeError(
      complain(`${subject}: ${name}`, `${length} numbers`, kindOf(values), remedy),
    );
  }
  if (values?.length === length) return;
  throw new ShapeError(
    complain(
      `${subject}: ${name}`,
      `${length} values`,
      `${values?.length ?? kindOf(values)}`,
      "check the layout and the groups, and that the layers belong together",
    ),
  );
}
