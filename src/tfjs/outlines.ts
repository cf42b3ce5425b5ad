import { isF32 } from "../descriptor.js";
import { map } from "../dispatch/map.js";
import { reduce } from "../dispatch/reduce.js";
import { stateOf } from "../device.js";
import { gridOf, type Purpose } from "../dispatch/dispatch.js";
import { PLAIN, type BindingName, type Variant } from "../kernels.js";
import {
  mapOnto,
  partialBytes,
  Plan,
  resolveDescriptor,
  variantOf,
  type Mapping,
  type Resolved,
  type Step,
} from "../plan.js";
import { bridgeKernel, type BridgeKernel } from "./kernels.js";
import { planShape, type View } from "./view.js";

/** Whether a plan takes this eps; TensorFlow.js computes with any. */
export function takesEps(eps: number): boolean {
  return isF32(eps) && eps >= 0;
}

const STATISTICS = ["mean", "variance", "dMean", "dVariance", "newMean", "newVariance"] as const;

/** What the steps of these plans are made from. */
class Draft {
  readonly resolved: Resolved;
  readonly mapping: Mapping;
  readonly #device: GPUDevice;

  constructor(
    device: GPUDevice,
    readonly subject: string,
    view: View,
    purpose: Purpose,
    options: { eps?: number; momentum?: number } = {},
  ) {
    this.#device = device;
    const resolved = resolveDescriptor(subject, { ...planShape(view), ...options });
    const perChannel = 4 * view.channels;
    const bytes = Object.fromEntries(STATISTICS.map((name) => [name, perChannel]));
    this.resolved = { ...resolved, bytes: { ...resolved.bytes, ...bytes } };
    const choice = purpose.reduces ? { forbidWhole: true, kinds: 2 as const } : {};
    this.mapping = mapOnto(device, this.resolved, purpose, stateOf(device).tuning, {}, choice);
  }

  #variant(kernel: BridgeKernel, dispatch: Mapping["dispatch"], affine: boolean): Variant {
    const { tuning } = stateOf(this.#device);
    return {
      ...PLAIN,
      ...variantOf(this.resolved, dispatch, tuning),
      kernel: bridgeKernel(kernel),
      // A device of TensorFlow.js has no subgroups.
      subgroup: 0,
      affine,
    };
  }

  /** A dispatch for each region of x. */
  regions(kernel: BridgeKernel, affine = false): Step[] {
    return this.mapping.regions.map((mapped) => ({
      variant: this.#variant(kernel, mapped.dispatch, affine),
      mapped,
      grid: mapped.dispatch.grid,
    }));
  }

  /** A dispatch with a team for each channel group. */
  channels(kernel: BridgeKernel): Step {
    const { dispatch, groups, limits, regions } = this.mapping;
    return {
      variant: { ...this.#variant(kernel, dispatch, false), even: false },
      mapped: regions[0]!,
      grid: gridOf(Math.ceil(groups / (dispatch.workgroupSize / dispatch.team)), limits),
      merges: true,
    };
  }

  plan(
    inputs: readonly BindingName[],
    outputs: readonly BindingName[],
    steps: readonly Step[],
    scratchBytes = 0,
  ): Plan {
    const { subject, resolved, mapping } = this;
    return Plan.createSync(this.#device, {
      subject,
      resolved,
      mapping,
      inputs,
      outputs,
      steps,
      scratchBytes,
    });
  }
}

/** `y = gamma * (x - mean) / sqrt(variance + eps) + beta`; without `affine` no gamma and beta. One dispatch. */
export function planInference(device: GPUDevice, view: View, eps: number, affine: boolean): Plan {
  const draft = new Draft(device, "inference", view, map, { eps });
  const inputs: BindingName[] = ["x", "mean", "variance"];
  if (affine) inputs.push("gamma", "beta");
  return draft.plan(inputs, ["y"], draft.regions("inference", affine));
}

/** Gradients of that, of all five: `dMean = -gamma * invStd * dBeta`, `dVariance = -gamma * invStd^2 * dGamma / 2`. Two dispatches. */
export function planGradient(device: GPUDevice, view: View, eps: number): Plan {
  const draft = new Draft(device, "gradient", view, reduce, { eps });
  return draft.plan(
    ["x", "dy", "mean", "variance", "gamma"],
    ["dx", "dGamma", "dBeta", "dMean", "dVariance"],
    [...draft.regions("gradient"), draft.channels("parameters")],
    partialBytes(draft.resolved, draft.mapping, 2),
  );
}

/**
 * What a forward with momentum 1 left in `state`, into buffers of its own: the batch's mean and variance, or
 * `moving - (moving - batch) * weight`. One dispatch.
 */
export function planAverages(device: GPUDevice, channels: number, weight: number | null): Plan {
  const draft = new Draft(device, "averages", { outer: 1, channels, inner: 1 }, map, {
    momentum: weight ?? 1,
  });
  return draft.plan(
    weight === null ? ["state"] : ["state", "mean", "variance"],
    ["newMean", "newVariance"],
    [draft.channels(weight === null ? "averages" : "moving")],
  );
}
