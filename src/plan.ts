import {
  byteSizes,
  rangeOf,
  requireDisjoint,
  stateLayout,
  type Need,
  type PlanDescriptor,
  type Range,
  type Resource,
} from "./bindings.js";
import {
  extentOf,
  resolveOptions,
  type Dtype,
  type Extent,
  type ResolvedOptions,
} from "./descriptor.js";
import { createBuffer, stateOf, USAGE, type DeviceState, type Kernel } from "./device.js";
import { channelsPerValue, type Dispatch, type Tuning } from "./dispatch.js";
import { complain, DestroyedError } from "./errors.js";
import { labelOf, specOf, type BindingName, type Variant } from "./kernels.js";

/** Where a plan records: an encoder, or a compute pass that is open. */
export type Target = GPUCommandEncoder | GPUComputePassEncoder;

/** A descriptor that has been checked, with every default filled in. */
export interface Resolved {
  readonly options: ResolvedOptions;
  readonly shape: readonly number[];
  readonly dtype: Dtype;
  readonly extent: Extent;
  readonly bytes: ReturnType<typeof byteSizes>;
}

/** @throws OptionError, ShapeError. */
export function resolveDescriptor(subject: string, descriptor: PlanDescriptor): Resolved {
  const options = resolveOptions(subject, descriptor);
  const shape = Object.freeze([...descriptor.shape]);
  return {
    options,
    shape,
    dtype: descriptor.dtype ?? "f32",
    extent: extentOf(subject, shape, options.layout),
    bytes: byteSizes(descriptor),
  };
}

/** One dispatch of a plan: its variant, its grid, and names under which buffers are bound differently. */
export interface Step {
  readonly variant: Variant;
  readonly grid: readonly [number, number];
  /** Values of `params` that differ from the plan's. */
  readonly params?: { readonly items?: number; readonly chunks?: number };
  /** The kernel's binding -> the caller's, where they differ. */
  readonly rename?: Readonly<Partial<Record<BindingName, BindingName>>>;
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
  shared: false,
} as const;

/** The part of a variant that the dispatch decides. */
export function variantOf(
  resolved: Resolved,
  dispatch: Dispatch,
  tuning: Tuning,
): Pick<
  Variant,
  "dtype" | "value" | "workgroupSize" | "team" | "lanesAdjacent" | "held" | "fence"
> {
  return {
    dtype: resolved.dtype,
    value: dispatch.value,
    workgroupSize: dispatch.workgroupSize,
    team: dispatch.team,
    lanesAdjacent: dispatch.lanesAdjacent,
    held: 0,
    fence: tuning.fence,
  };
}

const PARAM_WORDS = 20;

/** The uniform of one step, see `shaders/lib/params.wgsl`. */
function paramsOf(
  resolved: Resolved,
  dispatch: Dispatch,
  step: Step,
  accumulate: boolean,
): Uint32Array {
  const { extent, options } = resolved;
  const perChannelValue = 4 * channelsPerValue(dispatch.value);
  const { groups, inner, team } = dispatch;
  const stepOuter = Math.floor(team / inner);
  const stepInner = team % inner;
  const layout = stateLayout(extent.channels);
  const words = new Uint32Array(PARAM_WORDS);
  words.set([
    groups,
    inner,
    dispatch.perGroup,
    dispatch.chunk,
    step.params?.chunks ?? dispatch.chunks,
    step.params?.items ?? groups * dispatch.chunks,
    step.grid[0],
    stepOuter * groups * inner + stepInner,
    stepInner,
    (groups - 1) * inner,
    layout.variance / perChannelValue,
    layout.counter / perChannelValue,
    0,
    accumulate ? 1 : 0,
    extent.size,
  ]);
  const count = extent.count;
  const unbiased = options.runningVariance === "unbiased" && count > 1 ? count / (count - 1) : 1;
  new Float32Array(words.buffer).set(
    [count > 0 ? 1 / count : 0, unbiased, options.momentum ?? -1, options.eps, options.slope],
    15,
  );
  return words;
}

interface Prepared {
  readonly step: Step;
  readonly kernel: Kernel;
  readonly uniform: GPUBuffer;
  /** The last bind groups, newest first. */
  readonly recent: { key: readonly unknown[]; group: GPUBindGroup; pipeline: GPUComputePipeline }[];
}

const RECENT = 4;

/**
 * A sequence of dispatches over bindings that are checked at each encode. Owns its uniforms and its
 * scratch; nothing else.
 */
export class Plan {
  readonly scratchBytes: number;
  #scratch: GPUBuffer | null = null;
  #prepared: Prepared[] = [];
  #destroyed = false;
  readonly #state: DeviceState;

  private constructor(
    readonly device: GPUDevice,
    readonly subject: string,
    readonly resolved: Resolved,
    readonly dispatch: Dispatch,
    readonly inputs: readonly BindingName[],
    readonly outputs: readonly BindingName[],
    scratchBytes: number,
  ) {
    this.scratchBytes = scratchBytes;
    this.#state = stateOf(device);
  }

  /** Makes a plan, compiling in the background. */
  static async create(device: GPUDevice, outline: Outline): Promise<Plan> {
    const plan = Plan.#begin(device, outline);
    const kernels = await Promise.all(
      outline.steps.map((step) => plan.#state.kernel(step.variant)),
    );
    plan.#finish(outline, kernels);
    await plan.#state.pending();
    return plan;
  }

  /** Makes a plan, compiling now. */
  static createSync(device: GPUDevice, outline: Outline): Plan {
    const plan = Plan.#begin(device, outline);
    plan.#finish(
      outline,
      outline.steps.map((step) => plan.#state.kernelSync(step.variant)),
    );
    return plan;
  }

  static #begin(device: GPUDevice, outline: Outline): Plan {
    stateOf(device).requireAlive(outline.subject);
    const { subject, resolved, dispatch, inputs, outputs, scratchBytes } = outline;
    return new Plan(device, subject, resolved, dispatch, inputs, outputs, scratchBytes);
  }

  #finish(outline: Outline, kernels: readonly Kernel[]): void {
    const { device, subject } = this;
    if (this.scratchBytes > 0) {
      this.#scratch = createBuffer(
        device,
        `bn.${subject}/scratch`,
        this.scratchBytes,
        USAGE.STORAGE,
      );
    }
    this.#prepared = outline.steps.map((step, index) => ({
      step,
      kernel: kernels[index]!,
      uniform: createBuffer(
        device,
        `bn.${labelOf(step.variant)}/params`,
        PARAM_WORDS * 4,
        USAGE.UNIFORM,
        paramsOf(this.resolved, this.dispatch, step, outline.accumulate ?? false),
      ),
      recent: [],
    }));
  }

  get destroyed(): boolean {
    return this.#destroyed;
  }

  /**
   * Records the plan's dispatches. Submits nothing, allocates no GPU memory.
   *
   * @throws BufferError, ShapeError, OverlapError, DestroyedError, DeviceLostError.
   */
  encode(target: Target, resources: Readonly<Partial<Record<BindingName, Resource>>>): void {
    if (this.#destroyed) {
      throw new DestroyedError(
        complain(this.subject, "a live plan", "a destroyed one", "create it anew"),
      );
    }
    this.#state.requireAlive(this.subject);
    const ranges = new Map<BindingName, Range>();
    for (const name of this.inputs) ranges.set(name, this.#range(name, resources[name]));
    for (const name of this.outputs) ranges.set(name, this.#range(name, resources[name]));
    requireDisjoint(this.subject, ranges, this.outputs);
    if (this.#scratch) {
      ranges.set("partials", { buffer: this.#scratch, offset: 0, size: this.#scratch.size });
    }
    if (this.#prepared.length === 0) return;
    const opened =
      "beginComputePass" in target
        ? target.beginComputePass({ label: `bn.${this.subject}` })
        : null;
    const pass = opened ?? (target as GPUComputePassEncoder);
    for (const prepared of this.#prepared) this.#record(pass, prepared, ranges);
    opened?.end();
  }

  /** Frees uniforms and scratch. Idempotent. */
  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    this.#scratch?.destroy();
    for (const { uniform, recent } of this.#prepared) {
      uniform.destroy();
      recent.length = 0;
    }
  }

  #range(name: BindingName, resource: Resource | undefined): Range {
    const { extent, shape, dtype, bytes } = this.resolved;
    const isTensor = TENSORS.has(name);
    const need: Need = {
      name,
      bytes: bytes[name as keyof typeof bytes],
      what: isTensor ? `[${shape.join(", ")}], ${dtype}` : `${extent.channels} channels, f32`,
      dtype: isTensor ? dtype : "f32",
      shape: isTensor ? shape : PER_CHANNEL.has(name) ? [extent.channels] : null,
    };
    return rangeOf(this.device, this.subject, need, resource);
  }

  #record(
    pass: GPUComputePassEncoder,
    prepared: Prepared,
    ranges: ReadonlyMap<BindingName, Range>,
  ): void {
    const { step, uniform, recent } = prepared;
    const { bindings } = prepared.kernel;
    const bound = bindings.map(({ name }) => ranges.get(step.rename?.[name] ?? name)!);
    let found = recent.find(({ key }) =>
      bound.every((range, i) => key[2 * i] === range.buffer && key[2 * i + 1] === range.offset),
    );
    if (!found) {
      const written = new Set(
        bound.filter((_, i) => bindings[i]!.write).map((range) => range.buffer),
      );
      const shared = bound.some((range, i) => !bindings[i]!.write && written.has(range.buffer));
      const kernel = shared
        ? this.#state.kernelSync({ ...step.variant, shared: true })
        : prepared.kernel;
      const group = this.device.createBindGroup({
        label: `bn.${labelOf(step.variant)}`,
        layout: kernel.layout,
        entries: [
          { binding: 0, resource: { buffer: uniform } },
          ...bound.map((range, i) => ({
            binding: i + 1,
            resource: { buffer: range.buffer, offset: range.offset, size: range.size },
          })),
        ],
      });
      found = {
        key: bound.flatMap((range) => [range.buffer, range.offset]),
        group,
        pipeline: kernel.pipeline,
      };
      recent.unshift(found);
      recent.length = Math.min(recent.length, RECENT);
    }
    pass.setPipeline(found.pipeline);
    pass.setBindGroup(0, found.group);
    pass.dispatchWorkgroups(step.grid[0], step.grid[1]);
  }
}

const TENSORS: ReadonlySet<BindingName> = new Set(["x", "y", "dy", "dx", "residual", "dResidual"]);
const PER_CHANNEL: ReadonlySet<BindingName> = new Set(["gamma", "beta", "dGamma", "dBeta"]);

/** Everything that makes up a plan. */
export interface Outline {
  readonly subject: string;
  readonly resolved: Resolved;
  readonly dispatch: Dispatch;
  readonly inputs: readonly BindingName[];
  readonly outputs: readonly BindingName[];
  readonly steps: readonly Step[];
  readonly scratchBytes: number;
  readonly accumulate?: boolean;
}

/** Bytes of scratch for `planes` f32 per chunk and channel. */
export function partialBytes(extent: Extent, dispatch: Dispatch, planes: number): number {
  return planes * 4 * extent.channels * dispatch.chunks;
}

/** Checks that a kernel stays within WebGPU's default of 8 storage buffers; used by the tests. */
export function storageBuffers(variant: Variant): number {
  return specOf(variant).bindings.length;
}
