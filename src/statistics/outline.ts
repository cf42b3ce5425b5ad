import type { PlanDescriptor } from "../bindings.js";
import { SWITCH, type Choices, type Dtype, type Extent } from "../descriptor.js";
import { stateOf } from "../device.js";
import { dispatchFor, gridOf, type Dispatch, type Purpose } from "../dispatch/dispatch.js";
import type { Tuning } from "../dispatch/tuning.js";
import { complain, OptionError } from "../errors.js";
import { PLAIN, channelsPerValue, elementsPerValue, type Variant } from "../kernels.js";
import {
  mapOnto,
  resolveDescriptor,
  variantOf,
  type Mapped,
  type Mapping,
  type Resolved,
  type Step,
} from "../plan.js";
import { requireCount } from "./count.js";
import { statisticsKernel, type Choice } from "./kernels.js";
import { ghostsOf, statisticsSizesOf } from "./sizes.js";

/** What every descriptor of this entry has. */
export interface StatisticsPlanDescriptor extends PlanDescriptor {
  /** Whether a mask says which positions count: one f32 each, what is not 0 counts. Default false. */
  mask?: boolean | undefined;
}

/** Whose batch may be cut into ghosts. */
export interface GhostDescriptor {
  /**
   * Samples of a ghost (Keras's virtual_batch_size): every so many neighbours in the batch have statistics of their
   * own. The last ghost takes what is left. Default: the whole batch.
   */
  virtualBatchSize?: number | undefined;
}

/** @throws OptionError where two options exclude each other. */
export function exclude(subject: string, first: string, second: string): never {
  throw new OptionError(complain(subject, `${first} or ${second}`, "both", "leave one out"));
}

type DraftDescriptor = StatisticsPlanDescriptor &
  GhostDescriptor & { parts?: number | undefined; renorm?: boolean | undefined };

/** What the steps of a plan are made from. */
export class Draft {
  readonly resolved: Resolved;
  readonly mapping: Mapping;
  readonly tuning: Tuning;
  readonly ghosts: number;
  readonly #mask: boolean;

  constructor(
    device: GPUDevice,
    subject: string,
    descriptor: DraftDescriptor,
    purpose: Purpose,
    also: Choices,
    options: { kinds?: 1 | 2 } = {},
  ) {
    const resolved = resolveDescriptor(subject, descriptor, { mask: SWITCH, ...also });
    const { virtualBatchSize, shape, inPlace } = descriptor;
    if (inPlace) {
      const remedy = "use the core's plans for what works in place";
      throw new OptionError(complain(`${subject}: inPlace`, "false", "true", remedy));
    }
    if (virtualBatchSize !== undefined) {
      requireCount(`${subject}: virtualBatchSize`, virtualBatchSize, 1);
    }
    this.resolved = { ...resolved, bytes: statisticsSizesOf(descriptor, resolved) };
    this.tuning = { ...stateOf(device).tuning, ...descriptor.tuning };
    this.ghosts = ghostsOf(shape, virtualBatchSize);
    this.#mask = descriptor.mask ?? false;
    const { tuning } = this;
    // A mask has one number for all channels of a position, and ghosts cut a tensor in places of their own.
    const mixed = !this.#mask && this.ghosts === 1;
    const whole = mapOnto(device, this.resolved, purpose, tuning, descriptor.limits, {
      ...options,
      mixed,
    });
    this.mapping =
      this.ghosts === 1
        ? whole
        : mapGhosts(subject, whole, this.resolved, virtualBatchSize!, purpose, tuning, options);
  }

  /** Bytes of scratch for `planes` words per chunk, channel and ghost. */
  scratch(planes: number): number {
    return planes * 4 * this.resolved.extent.channels * this.ghosts * this.mapping.slots;
  }

  /** A variant of this entry's kernel. */
  variant(dispatch: Dispatch, choice: Choice, fields: Partial<Variant> = {}): Variant {
    return {
      ...PLAIN,
      ...variantOf(this.resolved, dispatch, this.tuning),
      // Ghosts end where they like.
      even: this.ghosts === 1 && dispatch.even,
      kernel: statisticsKernel(choice),
      ...fields,
    };
  }

  /** A dispatch for each region of the tensor. */
  regions(
    choice: Pick<Choice, "kernel" | "mask">,
    fields: Partial<Variant> = {},
    rest: Partial<Step> = {},
  ): Step[] {
    const ghosts = this.ghosts > 1;
    return this.mapping.regions.map((mapped) => ({
      variant: this.variant(
        mapped.dispatch,
        { ...choice, ghosts, ...(choice.kernel === "gradient_input" ? this.#cutRow(mapped) : {}) },
        fields,
      ),
      mapped,
      grid: mapped.dispatch.grid,
      extra: ghosts ? this.#valuesOfGroup() : this.#mask ? this.#firstPosition(mapped) : 0,
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
    return this.channels(choice, { ...fields, ...ALONE }, { grid, ...rest });
  }

  /** A dispatch with a team for each channel group of each ghost. */
  channels(choice: Choice, fields: Partial<Variant> = {}, rest: Partial<Step> = {}): Step {
    const { dispatch, groups, limits, regions } = this.mapping;
    return {
      variant: this.variant(dispatch, choice, { even: false, ...fields }),
      mapped: regions[0]!,
      grid: gridOf(Math.ceil(groups / (dispatch.workgroupSize / dispatch.team)), limits),
      merges: true,
      ...rest,
    };
  }

  /** Values of one channel group in the whole tensor. */
  #valuesOfGroup(): number {
    const { extent } = this.resolved;
    return (
      extent.size / elementsPerValue(this.mapping.dispatch.value) / this.mapping.dispatch.groups
    );
  }

  /** The row of a mask that a region has a part of, where its last word is of two channels. */
  #cutRow({ region, dispatch }: Mapped): Pick<Choice, "maskRow"> {
    const { channels, inner } = this.resolved.extent;
    const cut = this.#mask && channels > 1 && region.extent.inner < inner;
    return cut && dispatch.value === "half" ? { maskRow: inner } : {};
  }

  /** Where a region begins in the mask, in what a Value takes of it. */
  #firstPosition({ region, dispatch }: Mapped): number {
    const { channels, inner, outer } = this.resolved.extent;
    if (channels === 1) return region.start / widthOf(dispatch);
    const row = region.outerIndex * channels + region.firstChannel;
    const within = outer > 0 ? region.start - row * inner : 0;
    return (region.outerIndex * inner + within) / widthOf(dispatch);
  }
}

/** Neighbouring positions that one Value spans. */
function widthOf({ value }: Dispatch): number {
  return value === "row4" ? 4 : value === "row2" ? 2 : 1;
}

/** As `mapOnto`, with every ghost's channels as channels of their own. */
function mapGhosts(
  subject: string,
  whole: Mapping,
  resolved: Resolved,
  virtualBatchSize: number,
  purpose: Purpose,
  tuning: Tuning,
  options: { kinds?: 1 | 2 },
): Mapping {
  const { extent, shape, dtype } = resolved;
  const { channels } = extent;
  const [batch] = shape as [number];
  const ghosts = ghostsOf(shape, virtualBatchSize);
  if (whole.regions.length > 1) {
    throw new OptionError(
      complain(
        `${subject}: virtualBatchSize`,
        "a tensor that fits into one storage binding",
        `${extent.size} values`,
        "cut the batch into several calls, or raise maxStorageBufferBindingSize",
      ),
    );
  }
  const rows = (extent.outer / batch) * virtualBatchSize;
  const single = channels === 1;
  const one = boxOf(single ? 1 : rows, channels, single ? rows * extent.inner : extent.inner);
  const all = boxOf(one.outer, channels * ghosts, one.inner);
  const value = ghostValue(one, extent, dtype, purpose, tuning, whole);
  if (value === "half") {
    throw new OptionError(
      complain(
        `${subject}: dtype`,
        "f32, or 16-bit numbers whose channels share no word, with virtualBatchSize",
        `${dtype} with rows of ${extent.inner} and ${channels} channels`,
        "use f32, or pad the rows to an even length",
      ),
    );
  }
  const dispatch = dispatchFor(purpose, all, dtype, tuning, whole.limits, { ...options, value });
  const own = { ...dispatch, groups: channels / channelsPerValue(value) };
  return {
    regions: [{ ...whole.regions[0]!, dispatch: own, firstSlot: 0 }],
    dispatch: own,
    slots: dispatch.chunks,
    groups: dispatch.groups,
    apart: false,
    limits: whole.limits,
  };
}

/** The widest Value that neither a ghost's end nor the last, smaller ghost's cuts through. */
function ghostValue(
  ghost: Extent,
  whole: Extent,
  dtype: Dtype,
  purpose: Purpose,
  tuning: Tuning,
  { limits }: Mapping,
): Dispatch["value"] {
  const { value } = dispatchFor(purpose, ghost, dtype, tuning, limits, { mixed: false });
  const last = whole.count % ghost.count || 0; // of an empty ghost
  if (value === "rows4" && (last / ghost.inner) % 4 !== 0) return "scalar";
  if (ghost.channels > 1 || last % elementsPerValue(value) === 0) return value;
  return dtype === "f32" ? "scalar" : last % 2 === 0 ? "row2" : "half";
}

const boxOf = (outer: number, channels: number, inner: number): Extent =>
  Object.freeze({ outer, channels, inner, count: outer * inner, size: outer * channels * inner });

/** A team of one invocation. */
export const ALONE: Partial<Variant> = { team: 1, subgroup: 0 };
