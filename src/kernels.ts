import { compose, type Composed } from "./compose.js";
import type { ActivationName, Dtype } from "./descriptor.js";
import type { Fragments } from "./fragments.js";

/** What one element of a buffer spans: see `shaders/lib/value_*.wgsl`. */
export type ValueKind =
  "scalar" | "row2" | "row4" | "rows4" | "channels2" | "channels4" | "quad" | "half";

/** Channels that one Value spans. */
export function channelsPerValue(value: ValueKind): number {
  return value === "channels4" || value === "quad" ? 4 : value === "channels2" ? 2 : 1;
}

/** Elements that one Value spans. */
export function elementsPerValue(value: ValueKind): number {
  return value === "quad" || value.endsWith("4") ? 4 : value.endsWith("2") ? 2 : 1;
}

/** Everything that makes one compiled variant differ from another. Shapes do not. */
export interface Variant {
  readonly kernel: KernelSource;
  readonly dtype: Dtype;
  readonly value: ValueKind;
  readonly workgroupSize: number;
  /** Lanes of a team; workgroupSize / team teams share a workgroup. */
  readonly team: number;
  /** Whether neighbouring invocations are lanes of one team, or the same lane of neighbouring teams. */
  readonly lanesAdjacent: boolean;
  /** Lanes whose statistics merge by shuffles at last, a power of two <= team; 0: all through workgroup memory. */
  readonly subgroup: number;
  /** Values that a lane of a `held` kernel keeps in registers; 0 elsewhere. */
  readonly held: number;
  /** Keeps the order of additions by force. */
  readonly fence: boolean;
  /** The device's conversions of binary16 are known to be IEEE's: see {@link HALF_PROBE}. */
  readonly native?: boolean;
  /** Every lane's Values come in blocks of four, with none left over. */
  readonly even: boolean;
  readonly activation: ActivationName;
  readonly affine: boolean;
  readonly residual: boolean;
  readonly running: boolean;
  /** Inference: whether it leaves what a backward needs. */
  readonly save: boolean;
  /** backward/sums: whether it writes dx itself (evaluation). */
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
  /** Inputs bound as read_write, since they lie in the buffer of an output. */
  readonly shared: readonly BindingName[];
}

/** Variant fields that most kernels leave alone. */
export const PLAIN = {
  activation: "none",
  affine: false,
  residual: false,
  running: false,
  save: false,
  evaluation: false,
  dGamma: false,
  dBeta: false,
  dResidual: false,
  inPlace: false,
  floored: false,
  recovers: false,
  shared: [],
} as const;

/** Words of the uniform that every kernel has, see `shaders/lib/params.wgsl`. */
export const PARAM_WORDS = 32;

/** A compute kernel: how it is put together. A program carries those that it imports. */
export interface KernelSource {
  /** Tells it from any other: pipelines are kept by it. */
  readonly name: string;
  specOf(variant: Variant): KernelSpec;
  /** Fragments besides the common ones; a method, so that it is no part of a pipeline's key. */
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

export const read = (name: BindingName): BindingSpec => ({ name, write: false });
export const write = (name: BindingName): BindingSpec => ({ name, write: true });
export const only = <T>(condition: boolean, ...items: T[]): T[] => (condition ? items : []);

/** Kinds of Values that look alike once they are loaded. */
const SHAPED: Readonly<Partial<Record<ValueKind, ValueKind>>> = { half: "scalar", rows4: "row4" };

/** Fragments that turn what is stored into Values and back. */
function packing({ dtype, value, native = false }: Variant): string[] {
  if (dtype === "f32") return [value === "rows4" ? "lib/pack_rows" : "lib/pack_f32"];
  const words =
    value === "half" ? "half" : value === "row2" || value === "channels2" ? "word1" : "word2";
  const convert = native ? ["lib/convert_native"] : [`lib/bits_${dtype}`, "lib/convert_bits"];
  return [...convert, `lib/pack_${words}`];
}

/** What every kernel is made of: values, chunks, the arithmetic of statistics. */
export function baseOf(v: Variant): string[] {
  return [
    "lib/params",
    "lib/chunk",
    `lib/walk_${v.value.startsWith("channels") ? "columns" : "rows"}`,
    `lib/value_${SHAPED[v.value] ?? v.value}`,
    `lib/words_${v.value === "half" ? "pair" : "value"}`,
    ...packing(v),
    v.fence ? "lib/order_fused" : "lib/order_kept",
    "lib/statistics",
  ];
}

/** The residual and the activation, with its derivative. */
export function shapingOf(v: Variant): string[] {
  return [
    v.residual ? "lib/residual" : "lib/residual_none",
    `lib/activation_${v.activation.replaceAll("-", "_")}`,
  ];
}

/** From mean, deviation and affine parameters to y. */
export function normalizingOf(v: Variant): string[] {
  const affine = v.affine ? (v.floored ? "lib/affine_floored" : "lib/affine") : "lib/affine_none";
  return ["lib/normalize", "lib/inverse_std", affine, ...shapingOf(v)];
}

/** Whether a Value's numbers are of channels that change along a row. */
function mixes({ value }: Variant): boolean {
  return value === "quad";
}

/** What ends the name of a fragment that takes a lane over its chunk. */
export function walkOf(v: Variant): "stretches" | "chunk" {
  return mixes(v) ? "stretches" : "chunk";
}

/** A fragment that picks, for the channels at hand, from what is known of all of a group's. */
export function pickingOf(v: Variant, name: string): string[] {
  return only(mixes(v), `${name}_picked`);
}

/** How a chunk is walked over where nothing is summed up, and what is done to each Value: `NAME_value` or its like. */
export function mapOf(v: Variant, name: string): string[] {
  return ["lib/map_along", `lib/map_${walkOf(v)}`, `${name}_${storedOf(v)}`, ...pickingOf(v, name)];
}

/** Ends the name of a fragment that reads and writes either a Value or, where channels share words, a pair. */
export function storedOf(v: Variant): "value" | "pair" {
  return v.value === "half" ? "pair" : "value";
}

/** Sums of a channel, and how the lanes of a team merge them. */
export function mergingSums(v: Variant): string[] {
  if (v.team === 1) return ["team/sums", "team/merge_lane_sums"];
  return ["team/sums", "team/shared_sums", "team/merge_shared_sums"];
}

export function affineOf(v: Variant): BindingSpec[] {
  return only(v.affine, read("gamma"), read("beta"));
}

export function residualOf(v: Variant): BindingSpec[] {
  return only(v.residual, read("residual"));
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
  return binding.write || variant.shared.includes(binding.name);
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
  const { fragments, bindings, constants = [] } = variant.kernel.specOf(variant);
  const { workgroupSize, team, lanesAdjacent } = variant;
  const slots = workgroupSize / team;
  const head = [
    ...only(variant.subgroup > 0, "enable subgroups;", `const SUBGROUP = ${variant.subgroup}u;`),
    `const WORKGROUP_SIZE = ${workgroupSize}u;`,
    `const TEAM = ${team}u;`,
    `const ROW = ${2 ** Math.floor(Math.log2(team) / 2)}u;`,
    `const SLOTS = ${slots}u;`,
    `const EVEN = ${variant.even};`,
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
  return compose(head.join("\n"), fragments, variant.kernel.fragments());
}

/** Writes whether the device converts binary16 as IEEE 754 says. */
export const HALF_PROBE: Variant = {
  ...PLAIN,
  kernel: {
    name: "half_probe",
    specOf: () => ({
      fragments: ["lib/params", "lib/bits_f16", "lib/half_probe"],
      bindings: [{ name: "partials", write: true, element: "u32" }],
    }),
    fragments: () => ({}),
  },
  dtype: "f32",
  value: "scalar",
  workgroupSize: 64,
  team: 1,
  lanesAdjacent: false,
  subgroup: 0,
  held: 0,
  fence: true,
  even: false,
};

/** A short readable name: `forward/normalize[f32 row4 team 256]`. */
export function labelOf(variant: Variant): string {
  return `${variant.kernel.name}[${variant.dtype} ${variant.value} team ${variant.team}]`;
}
