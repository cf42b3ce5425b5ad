import { backwardFragments, teamFragments } from "../fragments.js";
import {
  baseOf,
  mapOf,
  mergingSums,
  only,
  pickingOf,
  read,
  residualOf,
  shapingOf,
  storedOf,
  walkOf,
  write,
  type KernelSource,
  type KernelSpec,
  type Variant,
} from "../kernels.js";

/** A file of the same name in `shaders/backward/`. */
export type BackwardKernel = "sums" | "merge" | "input" | "parameters" | "whole" | "held" | "scale";

const own = (...names: string[]): string[] => names.map((name) => `backward/lib/${name}`);

/** How the sums of a chunk are gathered. */
export function gatheringSums(v: Variant): string[] {
  return [...own("sums_along", `sums_${walkOf(v)}`), ...pickingOf(v, "backward/lib/saved")];
}

/** How dx of a chunk is written. */
export function mapInputGradient(v: Variant): string[] {
  return [...mapOf(v, "backward/lib/input_gradient"), ...pickingOf(v, "backward/lib/saved")];
}

/** Where dGamma and dBeta go, if anywhere. */
export function storingGradients(v: Variant): string[] {
  return own(
    v.dGamma ? "store_gamma" : "store_gamma_none",
    v.dBeta ? "store_beta" : "store_beta_none",
  );
}

/** dz and xHat of an element: from x, or recovered from y. */
function gradientOf(v: Variant): string[] {
  return v.recovers
    ? own("saved_read", "gradient_recovered", `invert_${v.activation.replaceAll("-", "_")}`)
    : [...own("saved_read", "gradient"), ...shapingOf(v)];
}

/** What is written while the sums are gathered. */
function visitOf(v: Variant): string[] {
  const words = ["visit", ...only(v.evaluation, "input"), ...only(v.dResidual, "residual")];
  return own([...words, ...only(storedOf(v) === "pair", "pair")].join("_"));
}

function specOf(kernel: BackwardKernel, v: Variant): KernelSpec {
  const base = [...baseOf(v), `backward/${kernel}`];
  const sums = mergingSums(v);
  const parameters = [...own("parameter_gradients"), ...storingGradients(v)];
  const mapGradient = mapInputGradient(v);
  const dy = only(!v.inPlace, read("dy"));
  const grads = [...only(v.dGamma, write("dGamma")), ...only(v.dBeta, write("dBeta"))];
  const dResidual = only(v.dResidual, write("dResidual"));
  switch (kernel) {
    case "sums":
      return {
        fragments: [
          ...base,
          ...sums,
          ...own("store_partial_sums"),
          ...gatheringSums(v),
          ...gradientOf(v),
          ...visitOf(v),
        ],
        bindings: [
          read("x"),
          ...dy,
          read("saved"),
          write("partials"),
          ...residualOf(v),
          ...only(v.evaluation, write("dx")),
          ...dResidual,
        ],
      };
    case "merge":
      return {
        fragments: [...base, ...sums, ...own("partial_sums", "store_partial_sums")],
        bindings: [write("partials")],
      };
    case "input":
      return {
        fragments: [
          ...base,
          ...sums,
          ...own("partial_sums", "input_gradient"),
          ...mapGradient,
          ...gradientOf(v),
          ...parameters,
        ],
        bindings: [
          read("x"),
          ...dy,
          read("saved"),
          read("partials"),
          ...residualOf(v),
          write("dx"),
          ...grads,
        ],
      };
    case "parameters":
      return {
        fragments: [...base, ...sums, ...own("partial_sums"), ...parameters],
        bindings: [read("partials"), ...grads],
      };
    case "whole":
    case "held":
      return {
        fragments: [
          ...base,
          ...sums,
          ...own("input_gradient"),
          ...(kernel === "held" ? ["team/held"] : [...gatheringSums(v), ...mapGradient]),
          ...gradientOf(v),
          ...parameters,
          ...visitOf(v),
        ],
        bindings: [
          read("x"),
          ...dy,
          read("saved"),
          ...residualOf(v),
          write("dx"),
          ...dResidual,
          ...grads,
        ],
      };
    case "scale":
      return {
        fragments: [...base, ...mapOf(v, "backward/lib/scale")],
        bindings: [...dy, read("saved"), write("dx")],
      };
  }
}

/** A kernel of the backward. */
export function backwardKernel(kernel: BackwardKernel): KernelSource {
  return {
    name: `backward/${kernel}`,
    specOf: (variant) => specOf(kernel, variant),
    fragments: () => ({ ...backwardFragments, ...teamFragments }),
  };
}
