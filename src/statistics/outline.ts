import type { PlanDescriptor } from "../bindings.js";
import { stateOf } from "../device.js";
import { gridOf, type Dispatch, type Tuning } from "../dispatch.js";
import { complain, OptionError } from "../errors.js";
import type { KernelName, Variant } from "../kernels.js";
import {
  mapOnto,
  PLAIN,
  resolveDescriptor,
  variantOf,
  type Limits,
  type Mapping,
  type Resolved,
  type Step,
} from "../plan.js";
import { extensionOf, type Choice } from "./kernels.js";
import { statisticsByteSizes } from "./sizes.js";

/** What every descriptor of this entry has. */
export interface StatisticsPlanDescriptor extends PlanDescriptor {
  /** Overrides of the tuning table, for sweeps. */
  tuning?: Partial<Tuning>;
  /** Lowers the device's limits, for tests. */
  limits?: Limits;
}

/** @throws OptionError where a count is no whole number of at least `least`. */
export function requireCount(subject: string, value: number, least: number): number {
  if (!(Number.isSafeInteger(value) && value >= least && value < 2 ** 32)) {
    throw new OptionError(
      complain(subject, `a whole number >= ${least}`, String(value), "count again"),
    );
  }
  return value;
}

/** What the steps of a plan are made from. */
export class Draft {
  readonly resolved: Resolved;
  readonly mapping: Mapping;
  readonly tuning: Tuning;

  constructor(
    device: GPUDevice,
    subject: string,
    descriptor: StatisticsPlanDescriptor & { parts?: number },
    purpose: "reduce" | "map",
    options: { forbidWhole?: boolean; kinds?: 1 | 2 } = {},
  ) {
    this.resolved = {
      ...resolveDescriptor(subject, descriptor),
      bytes: statisticsByteSizes(descriptor),
    };
    this.tuning = { ...stateOf(device).tuning, ...descriptor.tuning };
    this.mapping = mapOnto(device, this.resolved, purpose, this.tuning, descriptor.limits, options);
  }

  /** A variant of this entry's kernel. */
  variant(dispatch: Dispatch, choice: Choice, fields: Partial<Variant> = {}): Variant {
    return {
      ...PLAIN,
      ...variantOf(this.resolved, dispatch, this.tuning),
      kernel: PLACES[choice.kernel],
      extension: extensionOf(choice),
      ...fields,
    };
  }

  /** A dispatch for each region of the tensor. */
  regions(choice: Choice, fields: Partial<Variant> = {}, rest: Partial<Step> = {}): Step[] {
    return this.mapping.regions.map((mapped) => ({
      variant: this.variant(mapped.dispatch, choice, fields),
      mapped,
      grid: mapped.dispatch.grid,
      ...rest,
    }));
  }

  /**
   * A dispatch with one invocation for each channel group: what it merges in part order is then the same to the last
   * bit on every device that is given the same parts, whatever share of the batch it holds itself.
   */
  alone(choice: Choice, fields: Partial<Variant> = {}, rest: Partial<Step> = {}): Step {
    const { dispatch, groups, limits } = this.mapping;
    const grid = gridOf(Math.ceil(groups / dispatch.workgroupSize), limits);
    return this.channels(choice, { ...fields, team: 1 }, { grid, ...rest });
  }

  /** A dispatch with a team for each channel group. */
  channels(choice: Choice, fields: Partial<Variant> = {}, rest: Partial<Step> = {}): Step {
    const { dispatch, groups, limits, regions } = this.mapping;
    return {
      variant: this.variant(dispatch, choice, fields),
      mapped: regions[0]!,
      grid: gridOf(Math.ceil(groups / (dispatch.workgroupSize / dispatch.team)), limits),
      merges: true,
      ...rest,
    };
  }
}

/** Which core kernel each of ours stands for. */
const PLACES: Readonly<Record<Choice["kernel"], KernelName>> = {
  statistics: "forward_statistics",
  merge_statistics: "forward_statistics",
  finish: "forward_normalize",
  apply: "forward_normalize",
  learn: "forward_normalize",
  merge_sums: "backward_sums",
  gradient_input: "backward_input",
  gradient_parameters: "backward_parameters",
};
