import { backwardFragments, fragmentsOf, teamFragments } from "../fragments.js";
import {
  baseOf,
  mapOf,
  mergingSums,
  normalizingOf,
  read,
  shapingOf,
  write,
  type BindingName,
  type BindingSpec,
  type KernelSource,
  type KernelSpec,
  type Variant,
} from "../kernels.js";
import { gatheringSums } from "../kernels/backward.js";

/** Kernels for an engine whose mean and variance are tensors of their own; f32 alone, no activation. */
export type BridgeKernel = "inference" | "gradient" | "parameters" | "averages" | "moving";

const fragments = {
  ...backwardFragments,
  ...teamFragments,
  ...fragmentsOf(
    import.meta.glob<string>("./tfjs/**/*.wgsl", {
      base: "../../shaders",
      query: "?raw",
      import: "default",
      eager: true,
    }),
  ),
};

const CHANNEL = "Channel";
const readChannels = (...names: BindingName[]): BindingSpec[] =>
  names.map((name) => ({ ...read(name), element: CHANNEL }));
const writeChannels = (...names: BindingName[]): BindingSpec[] =>
  names.map((name) => ({ ...write(name), element: CHANNEL }));

function specOf(kernel: BridgeKernel, v: Variant): KernelSpec {
  const base = baseOf(v);
  const sums = mergingSums(v);
  switch (kernel) {
    case "inference":
      return {
        fragments: [...base, "tfjs/inference", ...normalizingOf(v), ...mapOf(v, "lib/normalize")],
        bindings: [
          read("x"),
          ...readChannels("mean", "variance"),
          ...(v.affine ? readChannels("gamma", "beta") : []),
          write("y"),
        ],
      };
    case "gradient":
      return {
        fragments: [
          ...base,
          "backward/sums",
          "backward/lib/store_partial_sums",
          ...sums,
          ...gatheringSums(v),
          "lib/inverse_std",
          "tfjs/lib/saved",
          "backward/lib/gradient",
          ...shapingOf(v),
          "backward/lib/visit_input",
        ],
        bindings: [
          read("x"),
          read("dy"),
          ...readChannels("mean", "variance", "gamma"),
          write("partials"),
          write("dx"),
        ],
      };
    case "parameters":
      return {
        fragments: [
          ...base,
          "backward/parameters",
          ...sums,
          "backward/lib/partial_sums",
          "lib/inverse_std",
          "tfjs/lib/parameter_gradients",
        ],
        bindings: [
          read("partials"),
          ...readChannels("variance", "gamma"),
          ...writeChannels("dGamma", "dBeta", "dMean", "dVariance"),
        ],
      };
    case "averages":
    case "moving":
      return {
        fragments: [
          ...base,
          "tfjs/averages",
          kernel === "moving" ? "tfjs/lib/averages_moving" : "tfjs/lib/averages_none",
        ],
        bindings: [
          read("state"),
          ...(kernel === "moving" ? readChannels("mean", "variance") : []),
          ...writeChannels("newMean", "newVariance"),
        ],
      };
  }
}

/** One of these kernels. */
export function bridgeKernel(kernel: BridgeKernel): KernelSource {
  return {
    name: `tfjs/${kernel}`,
    specOf: (variant) => specOf(kernel, variant),
    fragments: () => fragments,
  };
}
