import { kindOf, shown } from "./arguments.js";
import { complain, OptionError, ShapeError, SingleValueError } from "./errors.js";

/** How values of x, y, dy, dx and residual are stored. Parameters and statistics are always f32. */
export type Dtype = "f32" | "f16" | "bf16";

/** `channels-first`: `[N,C]`, `[N,C,L]`, `[N,C,H,W]`, `[N,C,D,H,W]`. `channels-last`: the channel is the last dimension. */
export type Layout = "channels-first" | "channels-last";

/** The function applied after scale and shift (and the residual's addition). */
export type ActivationName =
  | "none"
  | "relu"
  | "relu6"
  | "leaky-relu"
  | "elu"
  | "tanh"
  | "sigmoid"
  | "silu"
  | "gelu"
  | "hard-swish";

/** Divisor of the variance that running statistics keep: M-1 (PyTorch, TensorFlow's fused op) or M (ONNX, Keras, Flax). */
export type RunningVariance = "unbiased" | "population";

/** What training does where a channel has one value: an error (PyTorch), or xHat = 0 (Keras). */
export type SingleValue = "error" | "zero";

const DTYPES: readonly Dtype[] = ["f32", "f16", "bf16"];

/** @throws OptionError where a dtype is none that there is. */
export function requireDtype(subject: string, dtype: Dtype): Dtype {
  requireChoices(subject, { dtype }, { dtype: DTYPES });
  return dtype;
}

/** The options of Batch Normalization, those of a module and of a plan alike. */
export interface BatchNormOptions {
  /** Added to the variance before the root; finite as an f32, >= 0. Default 1e-5. */
  eps?: number | undefined;
  /** Weight of the new batch in the running statistics, in [0, 1] (PyTorch's direction); null: cumulative average. Default 0.1. */
  momentum?: number | null | undefined;
  /** Whether gamma and beta exist; without them 1 and 0. Default true. */
  affine?: boolean | undefined;
  /** Whether running statistics exist; without them evaluation uses the batch's. Default true. */
  trackRunningStats?: boolean | undefined;
  /** Default "unbiased". */
  runningVariance?: RunningVariance | undefined;
  /** Default "error". */
  singleValue?: SingleValue | undefined;
  /** Default "channels-first". */
  layout?: Layout | undefined;
  /** Default "none". */
  activation?: ActivationName | undefined;
  /** Slope of leaky-relu for z < 0 (default 0.01), or alpha of elu (default 1); finite as an f32. */
  slope?: number | undefined;
  /**
   * Writes y over x, and lets the backward recover what it needs from y: a layer then keeps one tensor
   * alive, not two. Takes `none`, `leaky-relu` and `elu`, no residual; see {@link GAMMA_FLOOR}. In training use f32: what
   * is recovered is as far off as y was rounded, over |gamma|, which 16 bits make plain to see. Default false.
   */
  inPlace?: boolean | undefined;
}

/** Every option with its value. */
export type ResolvedOptions = {
  readonly [Name in keyof BatchNormOptions]-?: Exclude<BatchNormOptions[Name], undefined>;
};

/** What the values of some options are chosen from; null where something else is checked. */
export type Choices = Readonly<Record<string, readonly unknown[] | null>>;

/** The choice of a switch. */
export const SWITCH: readonly boolean[] = [true, false];

/** The options that take one of a few values. */
const CHOICES = {
  affine: SWITCH,
  trackRunningStats: SWITCH,
  inPlace: SWITCH,
  runningVariance: ["unbiased", "population"],
  singleValue: ["error", "zero"],
  layout: ["channels-first", "channels-last"],
  activation: [
    "none",
    "relu",
    "relu6",
    "leaky-relu",
    "elu",
    "tanh",
    "sigmoid",
    "silu",
    "gelu",
    "hard-swish",
  ],
} satisfies { [Name in keyof BatchNormOptions]?: readonly BatchNormOptions[Name][] };

const DEFAULTS: Omit<ResolvedOptions, "slope"> = {
  eps: 1e-5,
  momentum: 0.1,
  affine: true,
  trackRunningStats: true,
  runningVariance: "unbiased",
  singleValue: "error",
  layout: "channels-first",
  activation: "none",
  inPlace: false,
};

/** The names of all options of Batch Normalization. */
export const OPTIONS = [...Object.keys(DEFAULTS), "slope"] as readonly (keyof BatchNormOptions)[];

/**
 * Refuses what is not among the choices; what is not given may be left out.
 *
 * @throws OptionError
 */
export function requireChoices(subject: string, given: object, choices: Choices): void {
  for (const [name, allowed] of Object.entries(choices)) {
    const value = (given as Readonly<Record<string, unknown>>)[name] ?? null;
    if (value === null || !allowed || allowed.includes(value)) continue;
    const list = allowed.map(shown).join(" or ");
    throw new OptionError(complain(`${subject}: ${name}`, list, shown(value), "pass one of these"));
  }
}

/** Whether a number is finite as the kernels have it. */
export function isF32(value: unknown): boolean {
  return typeof value === "number" && Number.isFinite(Math.fround(value));
}

/**
 * Fills in defaults and checks every option.
 *
 * @throws OptionError where a value is outside its range.
 */
export function resolveOptions(subject: string, options: BatchNormOptions = {}): ResolvedOptions {
  const given = OPTIONS.map((name) => [name, options[name]] as const).filter(
    ([name, value]) => value !== undefined && (value !== null || name === "momentum"),
  );
  const resolved: ResolvedOptions = {
    ...DEFAULTS,
    slope: options.activation === "elu" ? 1 : 0.01,
    ...Object.fromEntries(given),
  };
  const { eps, slope, momentum } = resolved;
  if (!(isF32(eps) && eps >= 0)) {
    throw new OptionError(
      complain(`${subject}: eps`, "a finite f32 >= 0", shown(eps), "1e-5 is usual"),
    );
  }
  if (momentum !== null && !(typeof momentum === "number" && momentum >= 0 && momentum <= 1)) {
    throw new OptionError(
      complain(
        `${subject}: momentum`,
        "a number in [0, 1], or null for the cumulative average",
        shown(momentum),
        "it weighs the new batch: Keras's momentum is 1 minus this",
      ),
    );
  }
  if (!isF32(slope)) {
    throw new OptionError(
      complain(`${subject}: slope`, "a finite f32", shown(slope), "0.01 is usual"),
    );
  }
  requireChoices(subject, resolved, CHOICES);
  return Object.freeze(resolved);
}

/** @throws ShapeError where a shape is no list of whole numbers >= 0. */
export function requireShape(subject: string, shape: readonly number[], remedy = "check it"): void {
  const isList = Array.isArray(shape);
  if (isList && shape.every((size) => Number.isSafeInteger(size) && size >= 0)) return;
  throw new ShapeError(
    complain(
      `${subject}: shape`,
      "whole numbers >= 0",
      isList ? `[${shape.join(", ")}]` : kindOf(shape),
      remedy,
    ),
  );
}

/** Any shape as the kernels see it: `(outer, channels, inner)`; M = outer * inner values per channel. */
export interface Extent {
  /** Rows of a channel. */
  readonly outer: number;
  /** C. */
  readonly channels: number;
  /** Values of a channel's row, side by side in memory. */
  readonly inner: number;
  /** M: values per channel. */
  readonly count: number;
  /** outer * channels * inner. */
  readonly size: number;
}

/**
 * Views a shape of rank 2 to 5 as (outer, channels, inner). `[N,C]` and channels-last have inner = 1.
 *
 * @throws ShapeError on a wrong rank or a dimension that is no whole number >= 0.
 */
export function extentOf(subject: string, shape: readonly number[], layout: Layout): Extent {
  requireShape(subject, shape);
  if (shape.length < 2 || shape.length > 5) {
    throw new ShapeError(
      complain(`${subject}: shape`, "rank 2 to 5", `[${shape.join(", ")}]`, "reshape it first"),
    );
  }
  const product = (sizes: readonly number[]): number => sizes.reduce((a, b) => a * b, 1);
  const last = layout === "channels-last" || shape.length === 2;
  const outer = last ? product(shape.slice(0, -1)) : shape[0]!;
  const channels = last ? shape[shape.length - 1]! : shape[1]!;
  const inner = last ? 1 : product(shape.slice(2));
  if (channels === 0) {
    throw new ShapeError(
      complain(
        `${subject}: shape`,
        "at least one channel",
        `[${shape.join(", ")}]`,
        "check the layout",
      ),
    );
  }
  const count = outer * inner;
  return Object.freeze({ outer, channels, inner, count, size: count * channels });
}

/**
 * Training needs two values per channel unless `singleValue` is `"zero"`.
 *
 * @throws SingleValueError where M = 1.
 */
export function requireTrainable(subject: string, extent: Extent, singleValue: SingleValue): void {
  if (extent.count === 1 && singleValue === "error") {
    throw new SingleValueError(
      complain(
        `${subject}: x`,
        "more than one value per channel in training",
        "1",
        'use a larger batch, eval(), or singleValue: "zero"',
      ),
    );
  }
}

/**
 * The least |gamma| of a forward whose backward recovers xHat from y: smaller ones count as this, with
 * their sign. 2^-7: what recovering loses is then at most seven bits.
 *
 * @see Rota Bulo, Porzi and Kontschieder 2018, https://arxiv.org/abs/1712.02616, section 3.1.
 */
export const GAMMA_FLOOR = 2 ** -7;

/**
 * Recovering xHat from y needs an activation with an inverse and no residual.
 *
 * @throws OptionError otherwise.
 */
export function requireInvertible(
  subject: string,
  options: ResolvedOptions,
  residual: boolean,
): void {
  const { activation, slope } = options;
  const has =
    activation === "none" ||
    // As the shader has it: an f32, and none that an adapter takes for 0.
    ((activation === "leaky-relu" || activation === "elu") && Math.fround(slope) >= 2 ** -126);
  if (!has) {
    throw new OptionError(
      complain(
        `${subject}: activation`,
        "one with an inverse (none, leaky-relu or elu with slope > 0)",
        `${activation} (slope ${slope})`,
        "choose one of these, or do without inPlace",
      ),
    );
  }
  if (residual) {
    throw new OptionError(
      complain(
        `${subject}: residual`,
        "none where x is to be recovered from y",
        "one",
        "do without inPlace",
      ),
    );
  }
}
