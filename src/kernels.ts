import { compose, type Composed, type Fragments } from "./compose.js";
import type { ActivationName, Dtype } from "./descriptor.js";

/** One compute kernel, a file of the same name in `shaders/`. */
export type KernelName =
  | "forward_statistics"
  | "forward_normalize"
  | "forward_whole"
  | "forward_held"
  | "inference"
  | "backward_sums"
  | "backward_input"
  | "backward_parameters"
  | "backward_whole"
  | "backward_held"
  | "backward_scale";

/** What one element of a buffer spans: see `shaders/lib/value_*.wgsl`. */
export type ValueKind = "scalar" | "row2" | "row4" | "rows4" | "channels2" | "channels4" | "half";

/** Everything that makes one compiled variant differ from another. Shapes do not. */
export interface Variant {
  readonly kernel: KernelName;
  readonly dtype: Dtype;
  readonly value: ValueKind;
  readonly workgroupSize: number;
  /** Lanes of a team; workgroupSize / team teams share a workgroup. */
  readonly team: number;
  /** Whether neighbouring invocations are lanes of one team, or the same lane of neighbouring teams. */
  readonly lanesAdjacent: boolean;
  /** Lanes whose last merges are shuffles within a subgroup, a power of two <= team; 0: all through workgroup memory. */
  readonly subgroup: number;
  /** Values that a lane of a `held` kernel keeps in registers; 0 elsewhere. */
  readonly held: number;
  /** Keeps the order of additions by force. */
  readonly fence: boolean;
  readonly activation: ActivationName;
  readonly affine: boolean;
  readonly residual: boolean;
  readonly running: boolean;
  /** Inference: whether it leaves what a backward needs. */
  readonly save: boolean;
  /** backward_sums: whether it writes dx itself (evaluation). */
  readonly evaluation: boolean;
  readonly dGamma: boolean;
  readonly dBeta: boolean;
  readonly dResidual: boolean;
  /** The output stands where the input was: y over x, dx over dy. */
  readonly inPlace: boolean;
  /** gamma is kept away from 0, so that xHat can be recovered from y. */
  readonly floored: boolean;
  /** Backward: the tensor bound as x holds y, from which z and xHat are recovered. */
  readonly recovers: boolean;
  /** Inputs bound as read_write, where they share a buffer with an output. */
  readonly shared: boolean;
  /** A kernel from outside this table, in the place of `kernel`. */
  readonly extension?: Extension;
}

/** A kernel that another entry of the package brings with it, so that the core need not carry it. */
export interface Extension {
  /** Tells it from any other: pipelines are kept by it. */
  readonly name: string;
  specOf(variant: Variant): KernelSpec;
  /** Fragments besides the core's; a method, so that it is no part of a pipeline's key. */
  fragments(): Fragments;
}

/** Names of what a caller binds; `partials` is the plan's own. */
export type BindingName = CoreBindingName | ExtensionBindingName;

/** What only kernels from outside the core bind. */
export type ExtensionBindingName =
  | "parts"
  | "statistics"
  | "sums"
  | "mask"
  | "renorm"
  | "mean"
  | "variance"
  | "dMean"
  | "dVariance"
  | "newMean"
  | "newVariance";

/** What the core's kernels bind. */
export type CoreBindingName =
  | "x"
  | "y"
  | "dy"
  | "dx"
  | "residual"
  | "dResidual"
  | "gamma"
  | "beta"
  | "dGamma"
  | "dBeta"
  | "saved"
  | "state"
  | "partials";

export interface BindingSpec {
  readonly name: BindingName;
  readonly write: boolean;
  /** WGSL type of an element, where the table of bindings does not say it. */
  readonly element?: string;
}

/** A kernel's fragments and bindings under one variant. Binding 0 is always the uniform `params`. */
export interface KernelSpec {
  readonly fragments: readonly string[];
  readonly bindings: readonly BindingSpec[];
  /** Constants that the fragments take, in WGSL. */
  readonly constants?: readonly string[];
}

const read = (name: BindingName): BindingSpec => ({ name, write: false });
const write = (name: BindingName): BindingSpec => ({ name, write: true });
const only = <T>(condition: boolean, ...items: T[]): T[] => (condition ? items : []);

/** Kinds of Values that look alike once they are loaded. */
const SHAPED: Readonly<Partial<Record<ValueKind, ValueKind>>> = { half: "scalar", rows4: "row4" };

/** Fragments that turn what is stored into Values and back. */
function packing({ dtype, value }: Variant): string[] {
  if (dtype === "f32") return [value === "rows4" ? "lib/pack_rows" : "lib/pack_f32"];
  const words =
    value === "half" ? "half" : value === "row2" || value === "channels2" ? "word1" : "word2";
  return [`lib/bits_${dtype}`, `lib/pack_${words}`];
}

/** What every kernel is made of: values, chunks, the arithmetic of statistics. */
export function baseOf(v: Variant): string[] {
  return [
    "lib/params",
    "lib/chunk",
    `lib/value_${SHAPED[v.value] ?? v.value}`,
    `lib/words_${v.value === "half" ? "pair" : "value"}`,
    ...packing(v),
    v.fence ? "lib/fence_integer" : "lib/fence_none",
    ...only(v.team === 1, "lib/runs"),
    "lib/statistics",
  ];
}

/** How the lanes of a team merge. */
export function mergingOf(v: Variant, what: "statistics" | "sums"): string[] {
  if (v.team === 1) return [`lib/merge_lane_${what}`];
  return [`lib/shared_${what}`, `lib/merge_${v.subgroup > 0 ? "subgroup" : "shared"}_${what}`];
}

/** The table of kernels: which fragments and which bindings each of them has. */
export function specOf(v: Variant): KernelSpec {
  if (v.extension) return v.extension.specOf(v);
  const activation = v.activation.replaceAll("-", "_");
  const walk = v.team === 1 ? "lane" : "team";
  const stored = v.value === "half" ? "pair" : "value";
  const base = [...baseOf(v), v.kernel];
  const statistics = mergingOf(v, "statistics");
  const sums = ["lib/sums", ...mergingOf(v, "sums")];
  const laneSums = ["lib/long_sum", `lib/sums_${walk}`];
  const shaping = [
    v.residual ? "lib/residual" : "lib/residual_none",
    `lib/activation_${activation}`,
  ];
  const counter = v.value.startsWith("channels") ? "lib/counter_vector" : "lib/counter_word";
  const running = v.running ? ["lib/running", counter] : ["lib/running_none"];
  const normalize = [
    "lib/normalize",
    v.affine ? (v.floored ? "lib/affine_floored" : "lib/affine") : "lib/affine_none",
    ...shaping,
  ];
  const map = `lib/map_${walk}`;
  const normalizeChunk = [map, `lib/normalize_${stored}`];
  const learning = [...normalize, "lib/saved", "lib/finish"];
  const gradient = v.recovers
    ? ["lib/saved_read", "lib/gradient_recovered", `lib/invert_${activation}`]
    : ["lib/saved_read", "lib/gradient", ...shaping];
  const inputGradientChunk = [map, `lib/input_gradient_${stored}`];
  const parameters = [
    "lib/parameter_gradients",
    v.dGamma ? "lib/store_gamma" : "lib/store_gamma_none",
    v.dBeta ? "lib/store_beta" : "lib/store_beta_none",
  ];
  const visit =
    "lib/visit" +
    (v.evaluation ? "_input" : "") +
    (v.dResidual ? "_residual" : "") +
    (stored === "pair" ? "_pair" : "");
  const x = only(!v.inPlace, read("x"));
  const dy = only(!v.inPlace, read("dy"));
  const affine = only(v.affine, read("gamma"), read("beta"));
  const residual = only(v.residual, read("residual"));
  const grads = [...only(v.dGamma, write("dGamma")), ...only(v.dBeta, write("dBeta"))];
  const state = only(v.running, write("state"));
  const forwardOutputs = [write("y"), write("saved"), ...state];
  const held = v.held > 0;
  switch (v.kernel) {
    case "forward_statistics":
      return {
        fragments: [...base, `lib/statistics_${walk}`, ...statistics, ...running],
        bindings: [read("x"), write("partials"), ...state],
      };
    case "forward_normalize":
      return {
        fragments: [...base, ...statistics, ...running, ...learning, ...normalizeChunk],
        bindings: [...x, read("partials"), ...affine, ...residual, ...forwardOutputs],
      };
    case "forward_whole":
    case "forward_held":
      return {
        fragments: [
          ...base,
          ...statistics,
          ...running,
          ...learning,
          ...(held ? [] : [`lib/statistics_${walk}`, ...normalizeChunk]),
        ],
        bindings: [...x, ...affine, ...residual, ...forwardOutputs],
      };
    case "inference":
      return {
        fragments: [
          ...base,
          ...normalize,
          ...normalizeChunk,
          v.save ? "lib/saved" : "lib/saved_none",
        ],
        bindings: [
          ...x,
          read("state"),
          ...affine,
          ...residual,
          write("y"),
          ...only(v.save, write("saved")),
        ],
      };
    case "backward_sums":
      return {
        fragments: [...base, ...sums, ...laneSums, ...gradient, visit],
        bindings: [
          read("x"),
          ...dy,
          read("saved"),
          write("partials"),
          ...residual,
          ...only(v.evaluation, write("dx")),
          ...only(v.dResidual, write("dResidual")),
        ],
      };
    case "backward_input":
      return {
        fragments: [
          ...base,
          ...sums,
          "lib/partial_sums",
          "lib/input_gradient",
          ...inputGradientChunk,
          ...gradient,
          ...parameters,
        ],
        bindings: [
          read("x"),
          ...dy,
          read("saved"),
          read("partials"),
          ...residual,
          write("dx"),
          ...grads,
        ],
      };
    case "backward_parameters":
      return {
        fragments: [...base, ...sums, "lib/partial_sums", ...parameters],
        bindings: [read("partials"), ...grads],
      };
    case "backward_whole":
    case "backward_held":
      return {
        fragments: [
          ...base,
          ...sums,
          "lib/input_gradient",
          ...(held ? [] : [...laneSums, ...inputGradientChunk]),
          ...gradient,
          ...parameters,
          visit,
        ],
        bindings: [
          read("x"),
          ...dy,
          read("saved"),
          ...residual,
          write("dx"),
          ...only(v.dResidual, write("dResidual")),
          ...grads,
        ],
      };
    case "backward_scale":
      return {
        fragments: [...base, map, `lib/scale_${stored}`],
        bindings: [...dy, read("saved"), write("dx")],
      };
  }
}

const ELEMENT: Readonly<Partial<Record<BindingName, string>>> = {
  x: "Storage",
  y: "Storage",
  dy: "Storage",
  dx: "Storage",
  residual: "Storage",
  dResidual: "Storage",
  gamma: "Channel",
  beta: "Channel",
  dGamma: "Channel",
  dBeta: "Channel",
  saved: "Channel",
  state: "ChannelBits",
  partials: "Channel",
};

/** Whether a binding's declaration is writable under this variant. */
export function isWritable(binding: BindingSpec, variant: Variant): boolean {
  return binding.write || variant.shared;
}

/** What an output stands over when it is written in place. */
const OVER: Readonly<Partial<Record<BindingName, string>>> = { y: "X", dx: "Dy" };

/** How the numbers of a Value are read and written, by what it spans; `NAME` stands for the binding. */
const ACCESS: Readonly<
  Record<"value" | "half" | "rows", { load: string; store: readonly string[] }>
> = {
  value: {
    load: "(at: u32) -> Value { return unpack(NAME[at]); }",
    store: ["store(at: u32, value: Value) { NAME[at] = pack(value); }"],
  },
  half: {
    load: "(at: u32) -> Value { return unpackHalf(NAME[at >> 1u], at); }",
    store: [
      "storePair(at: u32, low: Value, high: Value) { NAME[at >> 1u] = packPair(low, high); }",
      "storeLow(at: u32, low: Value) { NAME[at >> 1u] = withLow(NAME[at >> 1u], low); }",
    ],
  },
  rows: {
    load:
      "(at: u32) -> Value { let step = params.valueStride; " +
      "return Value(NAME[at], NAME[at + step], NAME[at + 2u * step], NAME[at + 3u * step]); }",
    store: [
      "store(at: u32, value: Value) { let step = params.valueStride; NAME[at] = value.x; " +
        "NAME[at + step] = value.y; NAME[at + 2u * step] = value.z; NAME[at + 3u * step] = value.w; }",
    ],
  },
};

/** The functions of a tensor's binding: `loadX`, `storeY`, or by halves where channels share words. */
function accessors(name: BindingName, written: boolean, { value, inPlace }: Variant): string[] {
  const access = ACCESS[value === "half" ? "half" : value === "rows4" ? "rows" : "value"];
  const named = (code: string): string => code.replaceAll("NAME", name);
  const capital = name[0]!.toUpperCase() + name.slice(1);
  if (!written) return [`fn load${capital}${named(access.load)}`];
  const over = OVER[name];
  return [
    ...only(inPlace && over !== undefined, `fn load${over}${named(access.load)}`),
    ...access.store.map((code) => `fn ${named(code).replace("(", `${capital}(`)}`),
  ];
}

/** The WGSL of one variant: constants and bindings, then its fragments. */
export function sourceOf(variant: Variant): Composed {
  const { fragments, bindings, constants = [] } = specOf(variant);
  const { workgroupSize, team, lanesAdjacent } = variant;
  const slots = workgroupSize / team;
  const head = [
    ...only(variant.subgroup > 0, "enable subgroups;", `const SUBGROUP = ${variant.subgroup}u;`),
    `const WORKGROUP_SIZE = ${workgroupSize}u;`,
    `const TEAM = ${team}u;`,
    `const SLOTS = ${slots}u;`,
    `const HELD = ${Math.max(1, variant.held)}u;`,
    `const LANE_STRIDE = ${lanesAdjacent ? 1 : slots}u;`,
    `const SLOT_STRIDE = ${lanesAdjacent ? team : 1}u;`,
    `@group(0) @binding(0) var<uniform> params: Params;`,
    ...constants,
  ];
  bindings.forEach((binding, index) => {
    const { name } = binding;
    const access = isWritable(binding, variant) ? "read_write" : "read";
    const element = binding.element ?? ELEMENT[name];
    head.push(
      `@group(0) @binding(${index + 1}) var<storage, ${access}> ${name}: array<${element}>;`,
    );
    if (element !== "Storage") return;
    head.push(...accessors(name, binding.write, variant));
  });
  return compose(head.join("\n"), fragments, variant.extension?.fragments());
}

/** A short readable name: `forward_normalize[f32 row4 team 256]`. */
export function labelOf(variant: Variant): string {
  return `${variant.extension?.name ?? variant.kernel}[${variant.dtype} ${variant.value} team ${variant.team}]`;
}
