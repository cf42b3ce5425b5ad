import { kindOf, requireKnown, requireWhole, shown } from "./arguments.js";
import {
  isSameRange,
  isTensor,
  isUnchanged,
  rangeOf,
  PLAN_OPTIONS,
  remembered,
  requireDisjoint,
  sizesOf,
  stateLayout,
  type ByteSizes,
  type Need,
  type PlanDescriptor,
  type Range,
  type Resource,
} from "./bindings.js";
import {
  extentOf,
  requireChoices,
  requireDtype,
  resolveOptions,
  type Choices,
  type Dtype,
  type Extent,
  type ResolvedOptions,
} from "./descriptor.js";
import {
  createBuffer,
  requireWithin,
  stateOf,
  USAGE,
  type DeviceState,
  type Kernel,
} from "./device.js";
import {
  dispatchFor,
  gridOf,
  powerOfTwo,
  type Dispatch,
  type DispatchLimits,
  type DispatchOptions,
  type Purpose,
} from "./dispatch/dispatch.js";
import { GPU_TUNING, type Tuning } from "./dispatch/tuning.js";
import { complain, destroyedError, OptionError, OverlapError } from "./errors.js";
import { regionsOf, type Region } from "./regions.js";
import { elementBytes } from "./tensor.js";
import {
  channelsPerValue,
  elementsPerValue,
  labelOf,
  PARAM_WORDS,
  type BindingName,
  type Variant,
} from "./kernels.js";

/** What an encode binds, by name. */
type Resources = Readonly<Partial<Record<BindingName, Resource | undefined>>>;

/** Where a plan records: an encoder, or a compute pass that is open. */
export type Target = GPUCommandEncoder | GPUComputePassEncoder;

/** A descriptor that has been checked, with every default filled in. */
export interface Resolved {
  readonly options: ResolvedOptions;
  readonly shape: readonly number[];
  readonly dtype: Dtype;
  readonly extent: Extent;
  readonly bytes: ByteSizes;
}

/**
 * @param also what descriptors of this kind have besides.
 * @throws OptionError, ShapeError.
 */
export function resolveDescriptor(
  subject: string,
  descriptor: PlanDescriptor,
  also: Choices = {},
): Resolved {
  requireKnown(subject, descriptor, [...PLAN_OPTIONS, ...Object.keys(also)]);
  requireChoices(subject, descriptor, also);
  requireKnown(`${subject}: tuning`, descriptor.tuning ?? {}, Object.keys(GPU_TUNING));
  const options = resolveOptions(subject, descriptor);
  const dtype = requireDtype(subject, descriptor.dtype ?? "f32");
  const extent = extentOf(subject, descriptor.shape, options.layout);
  const shape = Object.freeze([...descriptor.shape]);
  return { options, shape, dtype, extent, bytes: sizesOf(extent, dtype) };
}

/** Lowers what a device offers, so that tests reach what only huge tensors would. */
export interface Limits {
  /** Bytes of one storage binding at most; >= 512. Default: the device's `maxStorageBufferBindingSize`. */
  maxBindingBytes?: number | undefined;
  /** Workgroups along one dimension of a grid at most; >= 1. Default: the device's. */
  maxWorkgroups?: number | undefined;
}

/** A region of the tensors with its dispatch, and where its partials stand. */
export interface Mapped {
  readonly region: Region;
  readonly dispatch: Dispatch;
  readonly firstSlot: number;
}

/** How a tensor maps to the device: one region, or several where it exceeds a binding. */
export interface Mapping {
  readonly regions: readonly Mapped[];
  /** The dispatch of the first region. */
  readonly dispatch: Dispatch;
  /** Partials of one channel. */
  readonly slots: number;
  /** Channel groups of the whole tensor. */
  readonly groups: number;
  /** Whether a dispatch of its own merges the chunks. */
  readonly apart: boolean;
  readonly limits: DispatchLimits;
}

/** Entries of a tuning table that are powers of two. */
const POWERS = ["workgroupSize", "maxTeam", "columnBytes", "maxHeldTeam"];

/** @throws OptionError where an entry is of a value that it cannot have. */
function requireTuning(tuning: Tuning): void {
  for (const [name, value] of Object.entries(tuning) as [string, number][]) {
    const isPower = POWERS.includes(name);
    // A switch counts as 0 or 1.
    if (value >= 0 && value < Infinity && (!isPower || value === powerOfTwo(value))) continue;
    const expected = isPower ? "a power of two" : "a finite number >= 0";
    throw new OptionError(complain(`tuning: ${name}`, expected, shown(value), "leave it out"));
  }
}

/** What a device allows, or less where that is asked for; @throws OptionError where it is less than `least`. */
function lower(limits: Limits, name: keyof Limits, least: number, most: number): number {
  const value = limits[name] ?? most;
  requireWhole(`limits: ${name}`, value, least, "leave it out");
  return Math.min(value, most);
}

/** Cuts a tensor into regions where it must be, and chooses a dispatch for each. */
export function mapOnto(
  device: GPUDevice,
  resolved: Resolved,
  purpose: Purpose,
  tuning: Tuning,
  lowered: Limits = {},
  options: DispatchOptions = {},
): Mapping {
  requireTuning(tuning);
  const { subgroup } = tuning;
  const shuffles = (): boolean =>
    device.features.has("subgroups") &&
    subgroup <= (device.adapterInfo.subgroupMinSize ?? 0) &&
    subgroup === powerOfTwo(subgroup);
  if (subgroup > 0 && !shuffles()) {
    throw new OptionError(
      complain(
        "tuning: subgroup",
        "subgroups, and a power of two up to subgroupMinSize",
        `${subgroup}`,
        "0 is none",
      ),
    );
  }
  const { dtype } = resolved;
  const { channels, count, size } = resolved.extent;
  const extent =
    channels === 1 ? { outer: 1, channels, inner: count, count, size } : resolved.extent;
  requireKnown("limits", lowered, ["maxBindingBytes", "maxWorkgroups"]);
  const { maxComputeWorkgroupsPerDimension, maxStorageBufferBindingSize } = device.limits;
  const limits = {
    maxComputeWorkgroupsPerDimension: lower(
      lowered,
      "maxWorkgroups",
      1,
      maxComputeWorkgroupsPerDimension,
    ),
  };
  const maxBytes = lower(lowered, "maxBindingBytes", 512, maxStorageBufferBindingSize);
  const bytes = size * elementBytes(dtype);
  requireWithin(device, "maxBufferSize", "shape", bytes, "batch");
  // A region holds no whole number of four rows, nor of four channels, in general.
  const fits = bytes <= maxBytes;
  const first = dispatchFor(purpose, extent, dtype, tuning, limits, {
    ...options,
    mixed: options.mixed !== false && fits,
  });
  const value = first.value === "rows4" && !fits ? "scalar" : first.value;
  const regions = regionsOf(extent, elementBytes(dtype), elementsPerValue(value), maxBytes);
  const several = regions.length > 1 ? { forbidWhole: true } : {};
  const dispatches = regions.map((region) =>
    dispatchFor(purpose, region.extent, dtype, tuning, limits, {
      ...options,
      ...several,
      value,
    }),
  );
  // Regions of one outer index stand side by side where their channels differ, and one after another where not.
  let base = 0;
  let slots = 0;
  let outerIndex = 0;
  let pieceSlots: number[] = [];
  const mapped = regions.map((region, index) => {
    if (region.outerIndex !== outerIndex) {
      outerIndex = region.outerIndex;
      base = slots;
      pieceSlots = [];
    }
    const firstSlot = base + pieceSlots.slice(0, region.piece).reduce((a, b) => a + b, 0);
    const dispatch = dispatches[index]!;
    pieceSlots[region.piece] = Math.max(pieceSlots[region.piece] ?? 0, dispatch.chunks);
    slots = Math.max(slots, firstSlot + dispatch.chunks);
    return { region, dispatch, firstSlot };
  });
  return {
    regions: mapped,
    dispatch: dispatches[0]!,
    slots,
    groups: channels / channelsPerValue(value),
    apart: dispatches.some(({ apart }) => apart),
    limits,
  };
}

/** One dispatch of a plan: its variant, what it covers, and names under which buffers are bound differently. */
export interface Step {
  readonly variant: Variant;
  readonly mapped: Mapped;
  readonly grid: readonly [number, number, number];
  /** Partials of one channel, where they differ from the mapping's. */
  readonly slots?: number;
  /** Whether it only merges partials: an item is a channel group of the whole tensor. */
  readonly merges?: boolean;
  /** A number that a kernel from outside the core asks for. */
  readonly extra?: number;
  /** The kernel's binding -> the caller's, where they differ. */
  readonly rename?: Readonly<Partial<Record<BindingName, BindingName>>>;
}

/** The steps of one kernel: a dispatch for each region. */
export function stepsOf(
  mapping: Mapping,
  make: (dispatch: Dispatch) => Variant,
  rest: Pick<Step, "rename" | "slots"> = {},
): Step[] {
  return mapping.regions.map((mapped) => ({
    variant: make(mapped.dispatch),
    mapped,
    grid: mapped.dispatch.grid,
    ...rest,
  }));
}

/** A step that merges all partials of a channel group, by a team each. */
export function mergingStep(
  mapping: Mapping,
  tuning: Tuning,
  make: (dispatch: Dispatch) => Variant,
): Step {
  const { dispatch, groups, slots, limits } = mapping;
  const { workgroupSize } = dispatch;
  // A lane merges a few one after another; adding up in a tree takes as long for each doubling of the team.
  const team = Math.min(tuning.maxTeam, workgroupSize, powerOfTwo(slots / 4));
  return {
    variant: { ...make({ ...dispatch, team, lanesAdjacent: true }), even: false },
    mapped: mapping.regions[0]!,
    grid: gridOf(Math.ceil(groups / (workgroupSize / team)), limits),
    merges: true,
  };
}

/** The part of a variant that the dispatch decides. */
export function variantOf(
  resolved: Resolved,
  dispatch: Dispatch,
  tuning: Tuning,
): Pick<
  Variant,
  | "dtype"
  | "value"
  | "workgroupSize"
  | "team"
  | "lanesAdjacent"
  | "subgroup"
  | "held"
  | "fence"
  | "even"
> {
  const { team, lanesAdjacent } = dispatch;
  return {
    dtype: resolved.dtype,
    value: dispatch.value,
    workgroupSize: dispatch.workgroupSize,
    team,
    lanesAdjacent,
    // Lanes of one team must be neighbours, and as many as shuffle.
    subgroup: lanesAdjacent && team >= tuning.subgroup ? tuning.subgroup : 0,
    held: 0,
    fence: tuning.fence,
    even: dispatch.even,
  };
}

/** Where a region begins in its binding: at the aligned offset below, and a remainder in elements. */
function alignedStart(region: Region, dtype: Dtype): { offset: number; remainder: number } {
  const bytes = elementBytes(dtype);
  const offset = Math.floor((region.start * bytes) / REGION_ALIGNMENT) * REGION_ALIGNMENT;
  return { offset, remainder: region.start - offset / bytes };
}

/** WebGPU's default of `minStorageBufferOffsetAlignment`, which no device exceeds. */
const REGION_ALIGNMENT = 256;

/** The uniform of one step, see `shaders/lib/params.wgsl`. */
function paramsOf(outline: Outline, step: Step): Uint32Array {
  const { resolved, mapping } = outline;
  const { extent, options, dtype } = resolved;
  const { region, dispatch, firstSlot } = step.mapped;
  const { inner, team, value } = dispatch;
  const groups = step.merges ? mapping.groups : dispatch.groups;
  const rowGroups = value === "rows4" ? 4 * groups : groups;
  const stepOuter = Math.floor(team / inner);
  const stepInner = team % inner;
  const layout = stateLayout(extent.channels);
  const perChannel = channelsPerValue(value);
  const { remainder } = alignedStart(region, dtype);
  const words = new Uint32Array(PARAM_WORDS);
  words.set([
    groups,
    inner,
    dispatch.perGroup,
    dispatch.chunk,
    step.merges ? groups : groups * dispatch.chunks,
    step.grid[0],
    step.grid[1],
    remainder / elementsPerValue(value),
    stepOuter * rowGroups * inner + stepInner,
    stepInner,
    (rowGroups - 1) * inner,
    rowGroups,
    groups * inner,
    mapping.groups,
    step.merges ? 0 : region.firstChannel / perChannel,
    step.merges ? 0 : firstSlot,
    step.slots ?? mapping.slots,
    step.merges || firstSlot === 0 ? 1 : 0,
    layout.variance / 4 / perChannel,
    layout.counter / 4 / perChannel,
    0,
    outline.accumulate ? 1 : 0,
    Math.min(remainder + extent.size - region.start, 0xffffffff),
  ]);
  const numbers = new Float32Array(words.buffer);
  numbers[20] = 1;
  const count = extent.count;
  const unbiased = options.runningVariance === "unbiased" && count > 1 ? count / (count - 1) : 1;
  numbers.set(
    [
      count > 0 ? 1 / count : 0,
      unbiased,
      options.momentum ?? -1,
      options.eps,
      options.slope,
      outline.gammaFloor ?? 0,
    ],
    23,
  );
  words[29] = step.extra ?? 0;
  return words;
}

interface Prepared {
  readonly step: Step;
  readonly kernel: Kernel;
  readonly uniform: GPUBuffer;
}

/** What an encode was given and found good, and what it then recorded, a dispatch each. */
interface Bound {
  readonly resources: readonly (Resource | undefined)[];
  readonly dispatches: readonly {
    readonly pipeline: GPUComputePipeline;
    readonly group: GPUBindGroup;
    readonly grid: Step["grid"];
  }[];
}

/** How many of these a plan remembers. */
const RECENT = 4;

/**
 * A sequence of dispatches over bindings that are checked at each encode, unless they were found good not long ago. Owns
 * its uniforms and its scratch; nothing else.
 */
export class Plan {
  readonly scratchBytes: number;
  #scratch: GPUBuffer | null = null;
  readonly #prepared: Prepared[] = [];
  /** The newest first. */
  #recent: Bound[] = [];
  /** What whoever binds it is told of. */
  readonly #absent: readonly BindingName[];
  /** Everything that an encode looks at. */
  readonly #names: readonly BindingName[];
  #destroyed = false;
  readonly #state: DeviceState;

  private constructor(
    readonly device: GPUDevice,
    readonly outline: Outline,
  ) {
    this.#state = stateOf(device);
    const { subject, resolved, inputs, outputs, over = {}, steps, optional = [] } = outline;
    this.#state.requireAlive(subject);
    const bound = [...inputs, ...outputs];
    const known = [...bound, ...(Object.keys(over) as BindingName[])];
    this.#absent = optional.filter((name) => !known.includes(name));
    this.#names = [...new Set([...known, ...this.#absent])];
    this.scratchBytes = steps.some(bindsScratch) ? outline.scratchBytes : 0;
    const sizes: Readonly<Partial<Record<BindingName, number>>> = resolved.bytes;
    // Only tensors of the shape are cut into regions; what a channel has must fit one binding.
    const requireBindable = (name: string, bytes = 0): void =>
      requireWithin(
        device,
        "maxStorageBufferBindingSize",
        `${subject}: ${name}`,
        bytes,
        "channels",
      );
    for (const name of bound) if (!TENSORS.has(name)) requireBindable(name, sizes[name]);
    requireBindable("partial results", this.scratchBytes);
  }

  /** Makes a plan, compiling in the background. */
  static async create(device: GPUDevice, outline: Outline): Promise<Plan> {
    const plan = new Plan(device, outline);
    const kernels = await Promise.all(
      outline.steps.map((step) => plan.#state.kernel(step.variant)),
    );
    try {
      plan.#finish(kernels);
      await plan.#state.pending();
    } catch (error) {
      plan.destroy();
      throw error;
    }
    return plan;
  }

  /** Makes a plan, compiling now. */
  static createSync(device: GPUDevice, outline: Outline): Plan {
    const plan = new Plan(device, outline);
    try {
      plan.#finish(outline.steps.map((step) => plan.#state.kernelSync(step.variant)));
    } catch (error) {
      plan.destroy();
      throw error;
    }
    return plan;
  }

  #finish(kernels: readonly Kernel[]): void {
    const { device, outline } = this;
    if (this.scratchBytes > 0) {
      this.#scratch = createBuffer(
        device,
        `bn.${outline.subject}/scratch`,
        this.scratchBytes,
        USAGE.STORAGE,
      );
    }
    for (const [index, step] of outline.steps.entries()) {
      this.#prepared.push({
        step,
        kernel: kernels[index]!,
        uniform: createBuffer(
          device,
          `bn.${labelOf(step.variant)}/params`,
          PARAM_WORDS * 4,
          USAGE.UNIFORM,
          (zeros) => new Uint32Array(zeros).set(paramsOf(outline, step)),
        ),
      });
    }
  }

  get destroyed(): boolean {
    return this.#destroyed;
  }

  /**
   * Records the plan's dispatches. Submits nothing, allocates no GPU memory. Where an output is in the buffer of an
   * input (an arena), the first call compiles a variant that may.
   *
   * @throws BufferError, ShapeError, OverlapError, OptionError, DestroyedError, DeviceLostError.
   */
  encode(target: Target, resources: Resources): void {
    const { subject, outputs } = this.outline;
    if (this.#destroyed) throw destroyedError(subject, "plan");
    this.#state.requireAlive(subject);
    const mayOpen = "beginComputePass" in Object(target);
    if (!mayOpen && !("dispatchWorkgroups" in Object(target))) {
      throw new OptionError(
        complain(
          `${subject}: encoder`,
          "a GPUCommandEncoder or an open GPUComputePassEncoder",
          kindOf(target),
          "pass one",
        ),
      );
    }
    const { dispatches } = this.#boundTo(Object(resources) as Resources);
    if (dispatches.length === 0) return;
    const opened = mayOpen
      ? (target as GPUCommandEncoder).beginComputePass({ label: `bn.${subject}` })
      : null;
    const pass = opened ?? (target as GPUComputePassEncoder);
    for (const { pipeline, group, grid } of dispatches) {
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(...grid);
    }
    opened?.end();
    for (const name of outputs) {
      const written = resources[name];
      if (isTensor(written)) written.touch();
    }
  }

  /** What was found for the same resources not long ago, or what is found now. */
  #boundTo(resources: Resources): Bound {
    let bound = this.#recent.find((each) =>
      this.#names.every((name, i) => isUnchanged(each.resources[i], resources[name])),
    );
    if (!bound) {
      const ranges = this.#check(resources);
      bound = {
        resources: this.#names.map((name) => remembered(resources[name])),
        dispatches: this.#prepared.map((prepared) => this.#bind(prepared, ranges)),
      };
      this.#recent = [bound, ...this.#recent.slice(0, RECENT - 1)];
    }
    return bound;
  }

  /** @throws BufferError, ShapeError, OverlapError, DestroyedError, OptionError. */
  #check(resources: Resources): ReadonlyMap<BindingName, Range> {
    const { subject, inputs, outputs, over = {} } = this.outline;
    for (const name of this.#absent) {
      if (resources[name] === undefined) continue;
      throw new OptionError(
        complain(
          `${subject}: ${name}`,
          "none in this plan",
          "one",
          "plan with it, or leave it out",
        ),
      );
    }
    for (const [output, input] of Object.entries(over) as ["y", "x"][]) {
      const given = resources[output];
      if (given !== undefined && !isSameRange(given, resources[input])) {
        throw new OverlapError(
          complain(
            `${subject}: ${output}`,
            `nothing, or what is passed as ${input} (the plan works in place)`,
            "another",
            `leave ${output} out, or plan without inPlace`,
          ),
        );
      }
    }
    const ranges = new Map<BindingName, Range>();
    for (const name of [...inputs, ...outputs])
      ranges.set(name, this.#range(name, resources[name]));
    requireDisjoint(subject, ranges, outputs);
    if (this.#scratch) {
      ranges.set("partials", { buffer: this.#scratch, offset: 0, size: this.#scratch.size });
    }
    return ranges;
  }

  /** Frees uniforms and scratch. Idempotent. */
  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    this.#scratch?.destroy();
    this.#recent = [];
    for (const { uniform } of this.#prepared) uniform.destroy();
  }

  #range(name: BindingName, resource: Resource | undefined): Range {
    const { subject, resolved } = this.outline;
    const { extent, shape, dtype, bytes } = resolved;
    const isTensor = TENSORS.has(name);
    const need: Need = {
      name,
      bytes: bytes[name as keyof typeof bytes],
      what: isTensor ? `[${shape.join(", ")}], ${dtype}` : `${extent.channels} channels, f32`,
      dtype: isTensor ? dtype : "f32",
      shape: isTensor ? shape : PER_CHANNEL.has(name) ? [extent.channels] : null,
    };
    return rangeOf(this.device, subject, need, resource);
  }

  /** The part of a tensor's range that a region covers. */
  #part(range: Range, region: Region): Range {
    const { mapping, resolved } = this.outline;
    if (mapping.regions.length === 1) return range;
    const { dtype } = resolved;
    const { offset, remainder } = alignedStart(region, dtype);
    const bytes = (remainder + region.size) * elementBytes(dtype);
    return { buffer: range.buffer, offset: range.offset + offset, size: Math.ceil(bytes / 4) * 4 };
  }

  #bind(
    { step, kernel, uniform }: Prepared,
    ranges: ReadonlyMap<BindingName, Range>,
  ): Bound["dispatches"][number] {
    const { bindings } = kernel;
    const bound = bindings.map(({ name }) => {
      const range = ranges.get(step.rename?.[name] ?? name)!;
      return TENSORS.has(name) ? this.#part(range, step.mapped.region) : range;
    });
    const written = new Set(bound.filter((_, i) => bindings[i]!.write).map(({ buffer }) => buffer));
    const shared = bindings
      .filter(({ write }, i) => !write && written.has(bound[i]!.buffer))
      .map(({ name }) => name);
    const { pipeline, layout } =
      shared.length > 0 ? this.#state.kernelSync({ ...step.variant, shared }) : kernel;
    const group = this.device.createBindGroup({
      label: `bn.${labelOf(step.variant)}`,
      layout,
      entries: [{ buffer: uniform }, ...bound].map((resource, binding) => ({ binding, resource })),
    });
    return { pipeline, group, grid: step.grid };
  }
}

/** Whether partial results go through the plan's own buffer. */
function bindsScratch({ variant, rename }: Step): boolean {
  const { bindings } = variant.kernel.specOf(variant);
  return bindings.some(({ name }) => (rename?.[name] ?? name) === "partials");
}

const TENSORS: ReadonlySet<BindingName> = new Set(["x", "y", "dy", "dx", "residual", "dResidual"]);
const PER_CHANNEL: ReadonlySet<BindingName> = new Set(["gamma", "beta", "dGamma", "dBeta"]);

/** Everything that makes up a plan. */
export interface Outline {
  readonly subject: string;
  readonly resolved: Resolved;
  readonly mapping: Mapping;
  readonly inputs: readonly BindingName[];
  readonly outputs: readonly BindingName[];
  /** What some plans of this kind bind: whoever binds one that this plan does not have is told. */
  readonly optional?: readonly BindingName[];
  readonly steps: readonly Step[];
  /** Of partial results, where a step has any. */
  readonly scratchBytes: number;
  readonly accumulate?: boolean;
  readonly gammaFloor?: number;
  /** Output over input: the caller binds one buffer for both, under the input's name. */
  readonly over?: Readonly<Partial<Record<"y" | "dx", "x" | "dy">>>;
}

/** Bytes of scratch for `planes` f32 per chunk and channel. */
export function partialBytes(resolved: Resolved, mapping: Mapping, planes: number): number {
  return planes * 4 * resolved.extent.channels * mapping.slots;
}
