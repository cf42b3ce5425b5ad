import { fragmentsOf } from "../compose.js";
import {
  baseOf,
  type BindingName,
  type BindingSpec,
  type Extension,
  type KernelSpec,
  type Variant,
} from "../kernels.js";

/** One compute kernel, a file of the same name in `shaders/statistics/`. */
export type StatisticsKernel =
  | "statistics"
  | "merge_statistics"
  | "finish"
  | "apply"
  | "learn"
  | "merge_sums"
  | "gradient_input"
  | "gradient_parameters";

/** What makes one variant of a kernel differ from another, beside the core's own choices. */
export interface Choice {
  readonly kernel: StatisticsKernel;
  readonly scale?: boolean;
  readonly center?: boolean;
  readonly unbiased?: boolean;
}

const fragments = fragmentsOf(
  import.meta.glob<string>("../../shaders/statistics/**/*.wgsl", {
    query: "?raw",
    import: "default",
    eager: true,
  }),
);

const read = (name: BindingName, element?: string): BindingSpec => ({
  name,
  write: false,
  ...(element ? { element } : {}),
});
const write = (name: BindingName, element?: string): BindingSpec => ({
  ...read(name, element),
  write: true,
});
const only = <T>(condition: boolean, ...items: T[]): T[] => (condition ? items : []);
const own = (...names: string[]): string[] => names.map((name) => `statistics/lib/${name}`);

/** Parts are read and written as words: a count in the bits of an f32 might be flushed to 0. */
const PARTS = "ChannelBits";
const SUMS = "Channel";

function specOf(choice: Choice, v: Variant): KernelSpec {
  const { scale = false, center = false } = choice;
  const team = v.team === 1 ? "lane" : "shared";
  const walk = v.team === 1 ? "lane" : "team";
  const stored = v.value === "half" ? "pair" : "value";
  const vector = v.value.startsWith("channels");
  const base = [...baseOf(v), `statistics/${choice.kernel}`];
  const parts = own(
    "part",
    "part_load",
    `word_${vector ? "vector" : "scalar"}`,
    `merge_${team}_parts`,
  );
  const shaping = [
    v.residual ? "lib/residual" : "lib/residual_none",
    `lib/activation_${v.activation.replaceAll("-", "_")}`,
  ];
  const sums = ["lib/sums", `lib/merge_${team}_sums`, "lib/partial_sums"];
  const residual = only(v.residual, read("residual"));
  switch (choice.kernel) {
    case "statistics":
      return {
        fragments: [
          ...base,
          `lib/statistics_${walk}`,
          `lib/merge_${team}_statistics`,
          ...own("part", "part_store"),
        ],
        bindings: [read("x"), write("statistics", PARTS)],
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
          ...own("inverse_std", scale ? "gamma" : "gamma_one", center ? "beta" : "beta_zero"),
          ...own("correction", "correction_none"),
        ],
        bindings: [
          read("partials", PARTS),
          ...only(scale, read("gamma")),
          ...only(center, read("beta")),
          write("saved"),
        ],
      };
    case "apply":
      return {
        fragments: [
          ...base,
          "lib/normalize",
          `lib/map_${walk}`,
          `lib/normalize_${stored}`,
          ...own("gamma_one", "beta_zero"),
          ...shaping,
        ],
        bindings: [read("x"), read("saved"), ...residual, write("y")],
      };
    case "learn":
      return {
        fragments: [
          ...base,
          vector ? "lib/counter_vector" : "lib/counter_word",
          ...own(
            choice.unbiased ? "variance_unbiased" : "variance_population",
            "learn_renorm_none",
          ),
        ],
        bindings: [read("saved"), write("state")],
      };
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
          `lib/map_${walk}`,
          `lib/input_gradient_${stored}`,
          ...own("means"),
          "lib/saved_read",
          "lib/gradient",
          ...shaping,
        ],
        bindings: [
          read("x"),
          read("dy"),
          read("saved"),
          read("partials", SUMS),
          ...residual,
          write("dx"),
        ],
      };
    case "gradient_parameters":
      return {
        fragments: [
          ...base,
          ...sums,
          ...own("gamma_gradient"),
          v.dGamma ? "lib/store_gamma" : "lib/store_gamma_none",
          v.dBeta ? "lib/store_beta" : "lib/store_beta_none",
        ],
        bindings: [
          read("partials", SUMS),
          ...only(v.dGamma, write("dGamma")),
          ...only(v.dBeta, write("dBeta")),
        ],
      };
  }
}

/** The name says every choice: pipelines are kept by it. */
function nameOf({ kernel, ...rest }: Choice): string {
  const words = Object.entries(rest)
    .filter(([, value]) => value !== false && value !== undefined && value !== null)
    .map(([key, value]) => (value === true ? key : `${key} ${JSON.stringify(value)}`));
  return ["statistics/" + kernel, ...words.sort()].join(" ");
}

/** A kernel of this entry, to stand in a core variant. */
export function extensionOf(choice: Choice): Extension {
  return {
    name: nameOf(choice),
    specOf: (variant) => specOf(choice, variant),
    fragments: () => fragments,
  };
}
