import { backwardFragments, forwardFragments, fragmentsOf, teamFragments } from "../fragments.js";
import {
  baseOf,
  channelsPerValue,
  mergingSums,
  only,
  read as readAs,
  residualOf,
  shapingOf,
  storedOf,
  type BindingName,
  type BindingSpec,
  type KernelSource,
  type KernelSpec,
  type Variant,
} from "../kernels.js";
import { backwardKernel, mapInputGradient, storingGradients } from "../kernels/backward.js";
import { counterOf, applying, gatheringStatistics, mergingStatistics } from "../kernels/forward.js";

/** One compute kernel, a file of the same name in `shaders/statistics/`. */
export type StatisticsKernel =
  | "statistics"
  | "merge_statistics"
  | "finish"
  | "apply"
  | "learn"
  | "backward_sums"
  | "merge_sums"
  | "gradient_input"
  | "gradient_parameters";

/** What makes one variant of a kernel differ from another, beside the core's own choices. */
export interface Choice {
  readonly kernel: StatisticsKernel;
  readonly scale?: boolean;
  readonly center?: boolean;
  readonly unbiased?: boolean;
  /** Whether a batch is cut into ghosts. */
  readonly ghosts?: boolean;
  /** Whether a mask says which positions count. */
  readonly mask?: boolean;
  /** Positions in a row, where channels share words and a region has a part of a row. */
  readonly maskRow?: number;
  readonly renorm?: RenormConstants | null;
}

/** What batch renormalization bakes into its kernels, so that nothing recorded can change it. */
export interface RenormConstants {
  /** Corners of the limits, (batch, rMin, rMax, dMax) each, batches ascending; at least one. */
  readonly limits: readonly (readonly [number, number, number, number])[];
  /** Weight of the new batch in mu and sigma. */
  readonly momentum: number;
}

const fragments = {
  ...forwardFragments,
  ...backwardFragments,
  ...teamFragments,
  ...fragmentsOf(
    import.meta.glob<string>("./statistics/**/*.wgsl", {
      base: "../../shaders",
      query: "?raw",
      import: "default",
      eager: true,
    }),
  ),
};

const read = (name: BindingName, element?: string): BindingSpec => ({
  ...readAs(name),
  ...(element ? { element } : {}),
});
const write = (name: BindingName, element?: string): BindingSpec => ({
  ...read(name, element),
  write: true,
});
const own = (...names: string[]): string[] => names.map((name) => `statistics/lib/${name}`);

/** Parts are read and written as words: a count in the bits of an f32 might be flushed to 0. */
const PARTS = "ChannelBits";
const SUMS = "Channel";

const f32 = (value: number): string => {
  const text = String(Math.fround(value));
  return /[.e]/.test(text) ? text : `${text}.0`;
};

function constantsOf({ limits, momentum }: RenormConstants): string[] {
  const corners = limits.map((corner) => `vec4f(${corner.map(f32).join(", ")})`);
  return [
    `const LIMIT_COUNT = ${limits.length}u;`,
    `const LIMITS = array<vec4f, ${limits.length}>(${corners.join(", ")});`,
    `const RENORM_MOMENTUM = ${f32(momentum)};`,
  ];
}

/** How a mask is read, by what a Value spans. */
function maskOf(v: Variant): { at: string; collapse: string; binding: BindingSpec } {
  if (v.value.startsWith("channels")) {
    const binding = read("mask", "u32");
    return { at: "mask_channels", collapse: "collapse_channels", binding };
  }
  const collapse = v.value.endsWith("4") ? "four" : v.value.endsWith("2") ? "two" : "one";
  const rows = v.value === "rows4";
  return {
    at: rows ? "mask_rows" : "mask_neighbours",
    collapse: `collapse_${collapse}`,
    binding: read("mask", rows ? "u32" : "ValueBits"),
  };
}

function plainSpecOf(choice: Choice, v: Variant): KernelSpec {
  const { scale = false, center = false, mask = false, maskRow, renorm = null } = choice;
  const team = v.team === 1 ? "lane" : "shared";
  const stored = storedOf(v);
  const vector = channelsPerValue(v.value) > 1;
  const base = [...baseOf(v), `statistics/${choice.kernel}`];
  const counter = counterOf(v);
  const parts = own(
    "part",
    "part_load",
    `word_${vector ? "vector" : "scalar"}`,
    `merge_${team}_parts`,
  );
  const sums = [...mergingSums(v), "backward/lib/partial_sums"];
  const masked = maskOf(v);
  const constants = renorm ? constantsOf(renorm) : [];
  const counted = (renorm?.limits.length ?? 0) > 1;
  switch (choice.kernel) {
    case "statistics":
      return {
        fragments: [
          ...base,
          ...(mask ? own("statistics_masked", masked.at, masked.collapse) : gatheringStatistics(v)),
          ...mergingStatistics(v, !mask),
          ...own("part", "part_store"),
        ],
        bindings: [read("x"), ...only(mask, masked.binding), write("statistics", PARTS)],
      };
    case "merge_statistics":
      return {
        fragments: [...base, ...parts, ...own("part_store")],
        bindings: [read("partials", PARTS), write("statistics", PARTS)],
      };
    case "finish":
      return {
        fragments: [
          ...base,
          ...parts,
          "lib/inverse_std",
          ...own(scale ? "gamma" : "gamma_one", center ? "beta" : "beta_zero"),
          ...own("correction", renorm ? "correction_renorm" : "correction_none"),
          ...only(renorm !== null, ...own(counted ? "batches_counted" : "batches_none")),
          ...only(counted, counter),
        ],
        bindings: [
          read("partials", PARTS),
          ...only(scale, read("gamma")),
          ...only(center, read("beta")),
          ...only(renorm !== null, read("renorm", "Channel")),
          ...only(counted, write("state")),
          write("saved"),
        ],
        constants,
      };
    case "apply":
      return applying(v);
    case "learn":
      return {
        fragments: [
          ...base,
          counter,
          ...own(
            choice.unbiased ? "variance_unbiased" : "variance_population",
            renorm ? "learn_renorm" : "learn_renorm_none",
          ),
        ],
        bindings: [
          read("saved"),
          write("state"),
          ...only(renorm !== null, write("renorm", "Channel")),
        ],
        constants,
      };
    case "backward_sums":
      return backwardKernel("sums").specOf(v);
    case "merge_sums":
      return {
        fragments: [...base, ...sums],
        bindings: [read("partials", SUMS), write("sums", SUMS)],
      };
    case "gradient_input":
      return {
        fragments: [
          ...base,
          ...sums,
          ...(mask
            ? own("map_masked", masked.at, "means_masked", `input_gradient_masked_${stored}`)
            : [...mapInputGradient(v), ...own("means")]),
          ...only(mask && stored === "pair", ...own(maskRow === undefined ? "row" : "row_cut")),
          "backward/lib/saved_read",
          "backward/lib/gradient",
          ...shapingOf(v),
        ],
        bindings: [
          read("x"),
          read("dy"),
          read("saved"),
          read("partials", SUMS),
          ...residualOf(v),
          ...only(mask, masked.binding),
          write("dx"),
        ],
        constants: maskRow === undefined ? [] : [`const MASK_ROW = ${maskRow}u;`],
      };
    case "gradient_parameters":
      return {
        fragments: [
          ...base,
          ...sums,
          ...own(renorm ? "gamma_gradient_renorm" : "gamma_gradient"),
          ...storingGradients(v),
        ],
        bindings: [
          read("partials", SUMS),
          ...only(renorm !== null, read("saved")),
          ...only(v.dGamma, write("dGamma")),
          ...only(v.dBeta, write("dBeta")),
        ],
      };
  }
}

/** Kernels that walk over x: ghosts change how they find their share of it. */
const WALKS: ReadonlySet<StatisticsKernel> = new Set([
  "statistics",
  "apply",
  "backward_sums",
  "gradient_input",
]);

function specOf(choice: Choice, v: Variant): KernelSpec {
  const spec = plainSpecOf(choice, v);
  if (!choice.ghosts || !WALKS.has(choice.kernel)) return spec;
  const [chunk] = own("chunk_ghosts");
  return {
    ...spec,
    fragments: spec.fragments.map((each) => (each === "lib/chunk" ? chunk! : each)),
  };
}

/** The name says every choice: pipelines are kept by it. */
function nameOf({ kernel, ...rest }: Choice): string {
  const words = Object.entries(rest)
    .filter(([, value]) => value !== false && value !== undefined && value !== null)
    .map(([key, value]) => (value === true ? key : `${key} ${JSON.stringify(value)}`));
  return ["statistics/" + kernel, ...words.sort()].join(" ");
}

/** A kernel of this entry. */
export function statisticsKernel(choice: Choice): KernelSource {
  return {
    name: nameOf(choice),
    specOf: (variant) => specOf(choice, variant),
    fragments: () => fragments,
  };
}
