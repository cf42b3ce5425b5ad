import { kindOf, requireKnown } from "../arguments.js";
import { remedyFor } from "../remedy.js";
import { entriesOf, type Named } from "./entries.js";
import { refuse } from "./error.js";
import { requireFinite, requireVariance } from "./values.js";

/** Which of its weights a Keras layer has. */
export interface KerasOptions {
  /** The layer's `scale`: whether it has gamma. Default true. */
  scale?: boolean | undefined;
  /** The layer's `center`: whether it has beta. Default true. */
  center?: boolean | undefined;
}

/** PyTorch's names for the weights of a Keras layer. */
export interface KerasState {
  /** gamma, `[C]`. */
  weight?: ArrayLike<number>;
  /** beta, `[C]`. */
  bias?: ArrayLike<number>;
  /** The moving mean, `[C]`. */
  running_mean: ArrayLike<number>;
  /** The moving variance, `[C]`. */
  running_var: ArrayLike<number>;
}

/**
 * The weights of a `BatchNormalization` layer of Keras or TensorFlow.js, in the order of its `getWeights()` (gamma, beta,
 * moving mean, moving variance; without gamma where `scale` is false, without beta where `center` is), as `loadStateDict`
 * takes them. Where the layer has one of gamma and beta, the other becomes ones or zeros, which changes nothing.
 *
 * The layer's other conventions are options of the module: `{ eps: layer.epsilon, momentum: 1 - layer.momentum,
 * runningVariance: "population", singleValue: "zero", layout: "channels-last" }` (with `axis: 1` "channels-first").
 *
 * @param weights read: `await Promise.all(layer.getWeights().map((each) => each.data()))` in TensorFlow.js.
 * @throws FileError where the number of weights or their lengths do not fit, a value is NaN or infinite, or a variance
 * negative.
 * @example
 * ```ts
 * import { fromKeras } from "webgpu-batchnorm/files";
 * fromKeras([[2, 2], [0, 1], [5, 6], [1, 4]]); // { weight: [2, 2], bias: [0, 1], running_mean: [5, 6], running_var: [1, 4] }
 * ```
 * @see https://keras.io/api/layers/normalization_layers/batch_normalization/
 */
export function fromKeras(
  weights: readonly ArrayLike<number>[],
  options: KerasOptions = {},
): KerasState {
  requireKnown("fromKeras", options, KERAS_OPTIONS);
  const { scale = true, center = true } = options;
  const names = namesOf(scale, center);
  if (kindOf(weights) !== "an Array") {
    const asked = "a list of arrays";
    refuse("fromKeras: weights", asked, kindOf(weights), remedyFor(weights, READ));
  }
  if (weights.length !== names.length) {
    refuse(
      "fromKeras: weights",
      `${names.length} (${names.join(", ")})`,
      `${weights.length}`,
      "say { scale: false } or { center: false } as the layer does",
    );
  }
  weights.forEach((values, index) => {
    if (typeof (values as ArrayLike<number> | undefined)?.length === "number") return;
    refuse(`fromKeras: ${names[index]}`, "an array of numbers", kindOf(values), READ);
  });
  const channels = weights.at(-1)!.length;
  const remedy = "pass the weights of one layer, in the order of its getWeights()";
  weights.forEach((values, index) => {
    const subject = `fromKeras: ${names[index]}`;
    if (values.length !== channels) {
      refuse(subject, `${channels} values, as moving_variance has`, String(values.length), remedy);
    }
    requireFinite(subject, values);
  });
  requireVariance("fromKeras: moving_variance", weights.at(-1)!, remedy);
  const at = (name: KerasName): ArrayLike<number> | undefined => weights[names.indexOf(name)];
  return {
    ...(scale || center
      ? {
          weight: at("gamma") ?? new Float32Array(channels).fill(1),
          bias: at("beta") ?? new Float32Array(channels),
        }
      : {}),
    running_mean: at("moving_mean")!,
    running_var: at("moving_variance")!,
  };
}

/**
 * A state dictionary in the order that `setWeights` of a Keras or TensorFlow.js layer takes: gamma, beta, moving mean,
 * moving variance, each where the layer has it.
 *
 * @param state of a module, awaited: a record or a `Map`.
 * @throws FileError where the dictionary lacks one of them, or holds a gamma or beta that the layer cannot: one that is
 * not all ones or all zeros.
 * @example
 * ```ts
 * import { toKeras } from "webgpu-batchnorm/files";
 * toKeras({ running_mean: [5, 6], running_var: [1, 4] }, { scale: false, center: false }); // [[5, 6], [1, 4]]
 * ```
 */
export function toKeras(
  state: Partial<KerasState> | ReadonlyMap<string, ArrayLike<number>>,
  options: KerasOptions = {},
): ArrayLike<number>[] {
  requireKnown("toKeras", options, KERAS_OPTIONS);
  const { scale = true, center = true } = options;
  const given: Partial<KerasState> = Object.fromEntries(
    entriesOf("toKeras", state as Named<ArrayLike<number>>),
  );
  for (const [kept, name, neutral, option] of [
    [scale, "weight", 1, "scale"],
    [center, "bias", 0, "center"],
  ] as const) {
    if (kept || !given[name] || Array.prototype.every.call(given[name], (v) => v === neutral))
      continue;
    refuse(
      `toKeras: ${name}`,
      `nothing but ${neutral} (${option} is false)`,
      "other values",
      `use a layer with ${option}: true`,
    );
  }
  const own = {
    gamma: "weight",
    beta: "bias",
    moving_mean: "running_mean",
    moving_variance: "running_var",
  } as const;
  return namesOf(scale, center).map((name) => {
    const values = given[own[name]];
    return (
      values ??
      refuse(
        `toKeras: ${own[name]}`,
        `values for ${name}`,
        "none",
        "say { scale: false, center: false } for a module with affine: false",
      )
    );
  });
}

const KERAS_OPTIONS = ["scale", "center"];
const READ = "pass await Promise.all(layer.getWeights().map((each) => each.data()))";

type KerasName = "gamma" | "beta" | "moving_mean" | "moving_variance";

function namesOf(scale: boolean, center: boolean): KerasName[] {
  return [
    ...(scale ? (["gamma"] as const) : []),
    ...(center ? (["beta"] as const) : []),
    "moving_mean",
    "moving_variance",
  ];
}
