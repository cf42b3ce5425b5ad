import { fragmentsOf } from "../compose.js";
import {
  baseOf,
  mergingOf,
  type BindingName,
  type BindingSpec,
  type Extension,
  type KernelName,
  type KernelSpec,
  type Variant,
} from "../kernels.js";

/** Kernels for an engine whose mean and variance are tensors of their own; f32 alone, no activation. */
export type BridgeKernel = "inference" | "gradient" | "parameters" | "averages" | "moving";

const fragments = fragmentsOf(
  import.meta.glob<string>("../../shaders/tfjs/**/*.wgsl", {
    query: "?raw",
    import: "default",
    eager: true,
  }),
);

const CHANNEL = "Channel";
const read = (name: BindingName): BindingSpec => ({ name, write: false });
const write = (name: BindingName): BindingSpec => ({ name, write: true });
const readChannels = (...names: BindingName[]): BindingSpec[] =>
  names.map((name) => ({ ...read(name), element: CHANNEL }));
const writeChannels = (...names: BindingName[]): BindingSpec[] =>
  names.map((name) => ({ ...write(name), element: CHANNEL }));

function specOf(kernel: BridgeKernel, v: Variant): KernelSpec {
  const walk = v.team === 1 ? "lane" : "team";
  const base = baseOf(v);
  const plain = ["lib/residual_none", "lib/activation_none"];
  const sums = ["lib/sums", ...mergingOf(v, "sums")];
  switch (kernel) {
    case "inference":
      return {
        fragments: [
          ...base,
          "tfjs/inference",
          "lib/normalize",
          v.affine ? "lib/affine" : "lib/affine_none",
          ...plain,
          `lib/map_${walk}`,
          "lib/normalize_value",
        ],
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
          "backward_sums",
          ...sums,
          "lib/long_sum",
          `lib/sums_${walk}`,
          "tfjs/lib/inverse_std",
          "tfjs/lib/saved",
          "lib/gradient",
          ...plain,
          "lib/visit_input",
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
          "backward_parameters",
          ...sums,
          "lib/partial_sums",
          "tfjs/lib/inverse_std",
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

/** Which core kernel each of ours stands for. */
const PLACES: Readonly<Record<BridgeKernel, KernelName>> = {
  inference: "inference",
  gradient: "backward_sums",
  parameters: "backward_parameters",
  averages: "inference",
  moving: "inference",
};

/** One of these kernels, as the part of a variant that tells it. */
export function bridge(kernel: BridgeKernel): { kernel: KernelName; extension: Extension } {
  return {
    kernel: PLACES[kernel],
    extension: {
      name: `tfjs/${kernel}`,
      specOf: (variant) => specOf(kernel, variant),
      fragments: () => fragments,
    },
  };
}
