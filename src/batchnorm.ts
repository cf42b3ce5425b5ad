import { kindOf, requireKnown, requireWhole, shown } from "./arguments.js";
import { stateLayout } from "./bindings.js";
import {
  createBackward,
  createBackwardSync,
  type BackwardDescriptor,
  type BackwardPlan,
  requireWants,
  type Wants,
} from "./backward.js";
import {
  extentOf,
  GAMMA_FLOOR,
  OPTIONS,
  requireDtype,
  requireInvertible,
  requireShape,
  requireTrainable,
  resolveOptions,
  SWITCH,
  type BatchNormOptions,
  type Dtype,
  type ResolvedOptions,
} from "./descriptor.js";
import { createBuffer, readBytes, stateOf, USAGE } from "./device.js";
import { complain, ContextError, destroyedError, OptionError, ShapeError } from "./errors.js";
import { createForward, createForwardSync, type ForwardPlan } from "./forward.js";
import { createInference, createInferenceSync, type InferencePlan } from "./inference.js";
import type { Target } from "./plan.js";
import { PlanCache, record } from "./record.js";
import { requireTensor, Tensor } from "./tensor.js";

/** PyTorch's names, in PyTorch's order. Those that the module does not have are absent. */
export interface StateDict {
  /** gamma, `[C]`. */
  weight?: Float32Array;
  /** beta, `[C]`. */
  bias?: Float32Array;
  /** `[C]`. */
  running_mean?: Float32Array;
  /** `[C]`; unbiased unless `runningVariance` is "population". */
  running_var?: Float32Array;
  /** Batches seen in training. */
  num_batches_tracked?: bigint;
}

/** What `loadStateDict` takes, as in {@link StateDict}: C numbers in any array. */
export interface StateDictInput {
  /** gamma. */
  weight?: ArrayLike<number> | undefined;
  /** beta. */
  bias?: ArrayLike<number> | undefined;
  /** Of the batches seen. */
  running_mean?: ArrayLike<number> | undefined;
  /** Of the batches seen; none below 0. */
  running_var?: ArrayLike<number> | undefined;
  /** A number, or a list of one. */
  num_batches_tracked?: bigint | number | ArrayLike<number | bigint> | undefined;
}

const STATE_NAMES = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"];

/** Numbers, or what holds them as `data`: a tensor of a file. */
export type StateEntry =
  | ArrayLike<number | bigint>
  | number
  | bigint
  | {
      /** The numbers, row-major. */
      readonly data: ArrayLike<number | bigint>;
    };

/** A model's entries by name, as `readSafetensors` of `webgpu-batchnorm/files` gives them. */
export type StateFile =
  ReadonlyMap<string, StateEntry> | Readonly<Record<string, StateEntry | undefined>>;

/** Options of {@link BatchNorm.loadStateDict}. */
export interface LoadOptions {
  /** What stands before the module's names in a model's file, "layer1.0.bn1."; other entries are left alone. Default "". */
  prefix?: string | undefined;
}

/** Options of {@link BatchNorm.prepare}. */
export interface PrepareOptions {
  /** Of x. Default "f32". */
  dtype?: Dtype | undefined;
  /** Whether a residual is added. Default false. */
  residual?: boolean | undefined;
}

/** Options of {@link BatchNorm.forward}. */
export interface ForwardOptions {
  /**
   * Where y is written, x itself included (no backward can follow then, unless the module is `inPlace`); without it a
   * tensor is made, which the caller destroys.
   */
  out?: Tensor | undefined;
  /** Added before the activation; x's shape and dtype. */
  residual?: Tensor | undefined;
  /**
   * Records here and submits nothing; without it an encoder of our own is submitted. Until yours is, keep x, the module
   * and what is returned, and record the backward into the same encoder.
   */
  encoder?: GPUCommandEncoder | GPUComputePassEncoder | undefined;
  /** From {@link BatchNorm.context}: filled with what the backward of this forward needs. */
  context?: Context | undefined;
}

/** Options of {@link BatchNorm.backward}. */
export interface BackwardOptions {
  /** Of which forward; without it the last one. */
  context?: Context | undefined;
  /** Where dx is written, dy itself included; without it a tensor is made, which the caller destroys. */
  out?: Tensor | undefined;
  /** Where dResidual is written, if it is wanted. */
  residualGrad?: Tensor | undefined;
  /** Leaves out what is false. */
  wants?: Wants | undefined;
  /** Adds to gammaGrad and betaGrad instead of replacing them. Default false. */
  accumulate?: boolean | undefined;
  /** Records here and submits nothing. */
  encoder?: GPUCommandEncoder | GPUComputePassEncoder | undefined;
}

/** Names of these. */
export const FORWARD_OPTIONS: readonly string[] = ["out", "residual", "encoder", "context"];
/** Names of these. */
export const BACKWARD_OPTIONS: readonly string[] = [
  ...["context", "out", "residualGrad", "wants", "accumulate", "encoder"],
];

/** Where names belong that are known elsewhere. */
export const HINTS = {
  dtype: "pass dtype to tensor()",
  mask: "use ExtendedBatchNorm of webgpu-batchnorm/statistics",
};

/** What one forward leaves for its backward: x, residual, mode, saved statistics. */
export class Context {
  /** @internal */
  x: Tensor | null = null;
  /** @internal */
  residual: Tensor | null = null;
  /** @internal */
  versions: readonly number[] = [];
  /** @internal */
  training = false;
  /** @internal */
  batchStatistics = false;
  /** @internal Whether y was written over x, from which the backward begins. */
  overwritten = false;
  /** @internal */
  used = false;
  #destroyed = false;
  #saved: GPUBuffer | null = null;
  #generation = 0;

  /** @internal */
  constructor(
    /** @internal */
    readonly owner: BatchNorm,
  ) {}

  /**
   * @internal Lets a forward save its statistics, in room made at first use, where more is needed, and anew where memory has
   * failed since. What was there before stays where `save` throws; else a caller's encoder may hold it: it is left to the
   * garbage collector.
   */
  fill(bytes: number, save: (saved: GPUBuffer) => void): void {
    const { device } = this.owner;
    const { generation } = stateOf(device);
    let saved = this.#saved;
    if (!saved || saved.size < bytes || this.#generation !== generation) {
      saved = createBuffer(device, "bn.context/saved", bytes, USAGE.STORAGE | USAGE.COPY_SRC);
    }
    try {
      save(saved);
    } catch (error) {
      if (saved !== this.#saved) saved.destroy();
      throw error;
    }
    this.#saved = saved;
    this.#generation = generation;
  }

  /** @internal What the last forward has saved. */
  get saved(): GPUBuffer {
    return this.#saved!;
  }

  /** True after `destroy()`. */
  get destroyed(): boolean {
    return this.#destroyed;
  }

  /** @internal @throws DestroyedError. */
  requireLive(subject: string): void {
    if (this.#destroyed) throw destroyedError(`${subject}: context`, "one");
  }

  /** Frees the saved statistics. Idempotent; the context cannot be used any more. */
  destroy(): void {
    this.#destroyed = true;
    this.#saved?.destroy();
    this.#saved = null;
    this.x = null;
    this.residual = null;
    this.used = true;
  }
}

/**
 * @internal Contexts of forwards that were given none, used over and over until somebody asks for one. What is recorded
 * may run after what is submitted at once, and must not write over what that has left.
 */
export class Spares<C extends Context> {
  #kept = new Map<boolean, C>();

  constructor(private readonly make: () => C) {}

  /** The one for what is recorded, or for what is not. */
  get(recorded: boolean): C {
    const context = this.#kept.get(recorded) ?? this.make();
    this.#kept.set(recorded, context);
    return context;
  }

  /** A backward that is recorded reads it when it is submitted: what comes at once before that takes another. */
  lend(context: C): void {
    if (this.#kept.get(false) === context && this.#kept.delete(false))
      this.#kept.set(true, context);
  }

  /** It is the caller's from now on. */
  release(context: Context | null): void {
    for (const [recorded, each] of this.#kept) if (each === context) this.#kept.delete(recorded);
  }

  destroy(): void {
    for (const each of this.#kept.values()) each.destroy();
    this.#kept.clear();
  }
}

/** Plans of one module for one shape. */
class Plans {
  forward?: ForwardPlan;
  inference?: InferencePlan;
  readonly backward = new Map<string, BackwardPlan>();

  destroy(): void {
    for (const plan of [this.forward, this.inference, ...this.backward.values()]) plan?.destroy();
  }
}

/** Shapes whose plans a module keeps. */
const KEPT_SHAPES = 8;

/**
 * @internal
 *
 * @throws ShapeError where an entry is not one number for each channel, or a spread is below 0.
 */
export function requireEntry(
  subject: string,
  values: ArrayLike<unknown>,
  channels: number,
  name: string,
): void {
  // Of 16-bit floats' bits nobody knows here which kind they are of.
  const length = values instanceof Uint16Array ? undefined : values.length;
  if (length !== channels) {
    throw new ShapeError(
      complain(
        subject,
        `${channels} values`,
        `${length ?? kindOf(values)}`,
        "pass a number for each channel",
      ),
    );
  }
  const least = /var|std/.test(name) ? 0 : -Infinity;
  for (const each of Array.from(values)) {
    if (/number|bigint/.test(typeof each) && !((each as number) < least)) continue;
    const expected = least === 0 ? "numbers >= 0" : "numbers";
    throw new ShapeError(complain(subject, expected, shown(each), "check the file"));
  }
}

/**
 * Batch Normalization as a module: parameters, running statistics, and plans for the shapes it meets.
 * Use {@link BatchNorm1d}, {@link BatchNorm2d} or {@link BatchNorm3d}.
 *
 * In training (`train()`, the start) a forward uses the batch's mean and biased variance and updates the
 * running ones; in evaluation (`eval()`) it uses the running ones.
 */
export class BatchNorm {
  /** All of them, defaults filled in. */
  readonly options: ResolvedOptions;
  /** Scale, `[C]`, starts at 1; null where `affine` is false. */
  readonly gamma: Tensor | null = null;
  /** Shift, `[C]`, starts at 0; null where `affine` is false. */
  readonly beta: Tensor | null = null;
  /** dGamma of the last backward, `[C]`. */
  readonly gammaGrad: Tensor | null = null;
  /** dBeta of the last backward, `[C]`. */
  readonly betaGrad: Tensor | null = null;
  /** A view of the running mean, `[C]`, starts at 0; null where nothing is tracked. */
  readonly runningMean: Tensor | null = null;
  /** A view of the running variance, `[C]`, starts at 1; null where nothing is tracked. */
  readonly runningVar: Tensor | null = null;
  #state: GPUBuffer | null = null;
  #training = true;
  #destroyed = false;
  readonly #plans: PlanCache;
  #last: Context | null = null;
  readonly #own = new Spares(() => this.context());

  /** For the modules of each rank. */
  protected constructor(
    /** What it was made on. */
    readonly device: GPUDevice,
    /** C. */
    readonly channels: number,
    options: BatchNormOptions,
    private readonly kind: string,
    private readonly ranks: readonly number[],
    also: readonly string[] = [],
  ) {
    requireKnown(kind, options, [...OPTIONS, ...also], HINTS);
    requireWhole(`${kind}: channels`, channels, 1, "pass the number of channels");
    this.options = resolveOptions(kind, options);
    if (this.options.inPlace) requireInvertible(kind, this.options, false);
    stateOf(device).requireAlive(kind);
    this.#plans = new PlanCache(device, KEPT_SHAPES);
    const usage = USAGE.STORAGE | USAGE.COPY_SRC | USAGE.COPY_DST;
    const onesAt =
      (offset: number) =>
      (zeros: ArrayBuffer): void =>
        void new Float32Array(zeros, offset, channels).fill(1);
    const parameter = (name: string, fill?: (zeros: ArrayBuffer) => void): Tensor =>
      Tensor.own(
        device,
        createBuffer(device, `bn.${name}`, channels * 4, usage, fill),
        [channels],
        "f32",
      );
    // The largest first: where it is refused, nothing is left behind.
    if (this.options.trackRunningStats) {
      const { bytes, mean, variance } = stateLayout(channels);
      const buffer = (this.#state = createBuffer(
        device,
        "bn.state",
        bytes,
        usage,
        onesAt(variance),
      ));
      this.runningMean = Tensor.wrap(device, { buffer, offset: mean }, [channels]);
      this.runningVar = Tensor.wrap(device, { buffer, offset: variance }, [channels]);
    }
    if (this.options.affine) {
      this.gamma = parameter("gamma", onesAt(0));
      this.beta = parameter("beta");
      this.gammaGrad = parameter("gammaGrad");
      this.betaGrad = parameter("betaGrad");
    }
  }

  /** Whether forward uses the batch's statistics and updates the running ones. */
  get training(): boolean {
    return this.#training;
  }

  /** To training mode, or with `false` to evaluation mode. @throws OptionError on another mode. */
  train(mode = true): this {
    this.requireLive("train");
    if (!SWITCH.includes(mode)) {
      throw new OptionError(complain("train", "true or false", shown(mode), "pass one of these"));
    }
    this.#training = mode;
    return this;
  }

  /** To evaluation mode. */
  eval(): this {
    this.requireLive("eval");
    this.#training = false;
    return this;
  }

  /** A context to pass to `forward`, so that several forwards may come before their backwards. The caller destroys it. */
  context(): Context {
    this.requireLive("context");
    return new Context(this);
  }

  /** The context of the last forward, or null. Once asked for it is the caller's to destroy. */
  get lastContext(): Context | null {
    this.#own.release(this.#last);
    return this.#last;
  }

  /**
   * Normalises x of `[N, C, ...]` (or `[N, ..., C]` in channels-last).
   *
   * @returns y, of x's shape and dtype: `out`, or a new tensor that the caller destroys.
   * @throws ShapeError, BufferError, OverlapError, OptionError, SingleValueError, DestroyedError, DeviceLostError;
   * ContextError where `context` is not this module's.
   */
  forward(x: Tensor, options: ForwardOptions = {}): Tensor {
    const subject = "forward";
    this.requireLive(subject);
    requireKnown(subject, options, FORWARD_OPTIONS, HINTS);
    this.#requireInput(subject, x);
    if (this.#training) {
      const extent = extentOf(subject, x.shape, this.options.layout);
      requireTrainable(subject, extent, this.options.singleValue);
    }
    const { residual, encoder } = options;
    this.requireOther(`${subject}: residual`, residual, x);
    if (options.out !== x) this.requireOther(`${subject}: out`, options.out, x);
    const batchStatistics = this.#training || !this.options.trackRunningStats;
    const inPlace = this.options.inPlace || options.out === x;
    const plans = this.#plansOf(x, residual !== undefined, inPlace, encoder);
    const describe = () => ({
      ...this.#describe(x.shape, x.dtype, residual !== undefined),
      invertible: this.options.inPlace,
      inPlace,
    });
    if (this.options.inPlace && options.out && options.out !== x) {
      throw new OptionError(
        complain(
          `${subject}: out`,
          "x or nothing (the module works in place)",
          "another tensor",
          "leave it out",
        ),
      );
    }
    const context = options.context ?? this.#own.get(encoder !== undefined);
    if (context.owner !== this) {
      throw new ContextError(
        complain(
          `${subject}: context`,
          "one from this module's context()",
          "another module's",
          "make one with context()",
        ),
      );
    }
    context.requireLive(subject);
    const versionBefore = x.version;
    const plan = batchStatistics
      ? (plans.forward ??= createForwardSync(this.device, describe()))
      : (plans.inference ??= createInferenceSync(this.device, { ...describe(), save: true }));
    const y = inPlace ? x : (options.out ?? Tensor.empty(this.device, x.shape, { dtype: x.dtype }));
    try {
      context.fill(20 * this.channels, (saved) => {
        record(this.device, subject, encoder, (target) => {
          (plan as ForwardPlan).encode(target, {
            ...{ x, y, residual, saved },
            gamma: this.gamma ?? undefined,
            beta: this.beta ?? undefined,
            state: this.#state ?? undefined,
          });
        });
      });
    } catch (error) {
      if (!options.out && !inPlace) y.destroy();
      throw error;
    }
    if (this.#training) {
      this.runningMean?.touch();
      this.runningVar?.touch();
    }
    context.x = x;
    context.residual = residual ?? null;
    // Without a way back from y, an x that was written over in place counts as lost to the backward.
    context.versions = [this.options.inPlace ? x.version : versionBefore, residual?.version ?? 0];
    context.training = this.#training;
    context.batchStatistics = batchStatistics;
    context.overwritten = inPlace && !this.options.inPlace;
    context.used = false;
    this.#last = context;
    return y;
  }

  /**
   * Gradients of the last forward, or of `context`'s: fills `gammaGrad` and `betaGrad`, returns dx.
   *
   * @returns dx, of x's shape and dtype: `out`, or a new tensor that the caller destroys; null where
   * `wants.x` is false.
   * @throws ContextError without a usable context; and as {@link forward}.
   */
  backward(dy: Tensor, options: BackwardOptions & { wants: { x: false } }): null;
  backward(
    dy: Tensor,
    options?: BackwardOptions & { wants?: { x?: true | undefined } | undefined },
  ): Tensor;
  backward(dy: Tensor, options: BackwardOptions): Tensor | null;
  backward(dy: Tensor, options: BackwardOptions = {}): Tensor | null {
    const subject = "backward";
    this.requireLive(subject);
    requireKnown(subject, options, BACKWARD_OPTIONS);
    requireWants("backward: wants", options.wants);
    requireTensor(`${subject}: dy`, dy);
    const context = options.context ?? this.#last;
    const { x, residual } = this.#usable(subject, context);
    this.requireOther(`${subject}: dy`, dy, x);
    this.requireOther(`${subject}: out`, options.out, x);
    this.requireOther(`${subject}: residualGrad`, options.residualGrad, x);
    const wants = {
      x: options.wants?.x ?? true,
      gamma: options.wants?.gamma ?? this.options.affine,
      beta: options.wants?.beta ?? this.options.affine,
    };
    this.requireAffine(subject, wants);
    const mode = context!.batchStatistics ? "training" : "evaluation";
    const accumulate = options.accumulate ?? false;
    const residualGrad = options.residualGrad !== undefined;
    const inPlace = wants.x && options.out === dy;
    const key = [mode, wants.x, wants.gamma, wants.beta, residualGrad, accumulate, inPlace].join();
    const plans = this.#plansOf(x, residual !== null, this.options.inPlace, options.encoder);
    let plan = plans.backward.get(key);
    if (!plan) {
      const descriptor: BackwardDescriptor = {
        ...this.#describe(x.shape, x.dtype, residual !== null),
        from: this.options.inPlace ? "y" : "x",
        mode,
        wants,
        residualGrad,
        accumulate,
        inPlace,
      };
      plan = createBackwardSync(this.device, descriptor);
      plans.backward.set(key, plan);
    }
    // What is not wanted and given all the same, the plan refuses.
    const dx =
      options.out ?? (wants.x ? Tensor.empty(this.device, x.shape, { dtype: x.dtype }) : null);
    try {
      record(this.device, subject, options.encoder, (target) => {
        plan.encode(target, {
          ...(this.options.inPlace ? { y: x } : { x }),
          dy,
          saved: context!.saved,
          residual: residual ?? undefined,
          dx: dx ?? undefined,
          dResidual: options.residualGrad,
          ...(wants.gamma ? { dGamma: this.gammaGrad! } : {}),
          ...(wants.beta ? { dBeta: this.betaGrad! } : {}),
        });
      });
    } catch (error) {
      if (!options.out) dx?.destroy();
      throw error;
    }
    if (options.encoder) this.#own.lend(context!);
    context!.used = true;
    context!.x = null;
    context!.residual = null;
    return dx;
  }

  /**
   * Compiles and plans for a shape ahead of its first use, in the background: what calls need that write in place neither
   * way and want every gradient; others compile at their first use. A module keeps the plans of the eight shapes (and types,
   * with or without a residual) that it met last.
   *
   * Rejects with ShapeError, OptionError, DestroyedError; CompileError, OutOfMemoryError, DeviceLostError.
   */
  prepare(shape: readonly number[], options: PrepareOptions = {}): Promise<void> {
    return this.prepareModes(shape, options, ["training", "evaluation"]);
  }

  /** @internal What `prepare` does, for some modes only: those that compute the other in another way. */
  async prepareModes(
    shape: readonly number[],
    options: PrepareOptions,
    modes: readonly ("training" | "evaluation")[],
  ): Promise<void> {
    this.requireLive("prepare");
    requireKnown("prepare", options, ["dtype", "residual"]);
    requireShape("prepare", shape);
    this.#checkShape("prepare", shape);
    const dtype = requireDtype("prepare", options.dtype ?? "f32");
    const residual = options.residual ?? false;
    const descriptor = this.#describe(shape, dtype, residual);
    const forward = { ...descriptor, invertible: this.options.inPlace };
    const { affine, trackRunningStats } = this.options;
    const wants = { x: true, gamma: affine, beta: affine };
    const learns = modes.includes("training");
    const infers = modes.includes("evaluation") && trackRunningStats;
    const backward = (mode: "training" | "evaluation"): Promise<BackwardPlan> =>
      createBackward(this.device, {
        ...descriptor,
        mode,
        wants,
        residualGrad: false,
        inPlace: false,
        from: this.options.inPlace ? "y" : "x",
      });
    const made = await Promise.allSettled([
      learns ? createForward(this.device, forward) : undefined,
      infers ? createInference(this.device, { ...forward, save: true }) : undefined,
      learns ? backward("training") : undefined,
      infers ? backward("evaluation") : undefined,
    ]);
    const failed = made.find((each) => each.status === "rejected");
    if (failed ?? this.#destroyed) {
      for (const each of made) if (each.status === "fulfilled") each.value?.destroy();
      if (failed) throw failed.reason;
      this.requireLive("prepare");
    }
    const [trained, inference, training, evaluation] = made.map((each) =>
      each.status === "fulfilled" ? each.value : undefined,
    ) as [ForwardPlan?, InferencePlan?, BackwardPlan?, BackwardPlan?];
    const plans = this.#plansOf({ shape, dtype }, residual, this.options.inPlace);
    const keep = <T extends { destroy(): void }>(had: T | undefined, made: T): T => {
      if (had) made.destroy();
      return had ?? made;
    };
    if (trained) plans.forward = keep(plans.forward, trained);
    if (inference) plans.inference = keep(plans.inference, inference);
    for (const [mode, plan] of [
      ["training", training],
      ["evaluation", evaluation],
    ] as const) {
      if (!plan) continue;
      const key = [mode, true, affine, affine, false, false, false].join();
      plans.backward.set(key, keep(plans.backward.get(key), plan));
    }
    await stateOf(this.device).settle();
  }

  /** Waits for the work so far; rejects with what has failed late: DeviceLostError, OutOfMemoryError, CompileError. */
  async status(): Promise<void> {
    this.requireLive("status");
    await stateOf(this.device).settle();
  }

  /**
   * Channels whose |gamma| is below {@link GAMMA_FLOOR} now, and which a module that works `inPlace`
   * therefore scales by the floor instead. Reads gamma back; nothing else here does.
   */
  async flooredChannels(): Promise<number[]> {
    this.requireLive("flooredChannels");
    if (!this.gamma || !this.options.inPlace) return [];
    const gamma = await this.gamma.read();
    return [...gamma.keys()].filter((channel) => Math.abs(gamma[channel]!) < GAMMA_FLOOR);
  }

  /** Parameters and statistics under PyTorch's names, read back from the device as they are at the time of the call. */
  async stateDict(): Promise<StateDict> {
    this.requireLive("stateDict");
    const dict: StateDict = {};
    const layout = stateLayout(this.channels);
    const [weight, bias, bytes] = await Promise.all([
      this.gamma?.read(),
      this.beta?.read(),
      this.#state && readBytes(this.device, "stateDict", this.#state, 0, layout.bytes),
    ]);
    if (weight && bias) Object.assign(dict, { weight, bias });
    if (bytes) {
      const values = (offset: number): Float32Array =>
        new Float32Array(bytes, offset, this.channels).slice();
      dict.running_mean = values(layout.mean);
      dict.running_var = values(layout.variance);
      dict.num_batches_tracked = new BigUint64Array(bytes, layout.counter)[0]!;
    }
    return dict;
  }

  /**
   * Replaces what the dictionary holds; what it lacks must not exist here either, but
   * `num_batches_tracked` may be missing (files of old versions of PyTorch).
   *
   * @param source a module's own dictionary, or a whole model's with the `prefix` of this module.
   * @throws ShapeError on a missing, unexpected or wrongly sized entry, DestroyedError where a parameter was destroyed;
   * nothing is changed then.
   * @example
   * ```ts
   * bn.loadStateDict(readSafetensors(bytes), { prefix: "layer1.0.bn1." });
   * ```
   */
  loadStateDict(source: StateDictInput | StateFile, options: LoadOptions = {}): void {
    const subject = "loadStateDict";
    const dict: StateDictInput = this.entriesOf(source, options);
    const { prefix = "" } = options;
    const remedy =
      "check the prefix, or make the module with the affine and trackRunningStats of the file";
    const targets = [
      ["weight", this.gamma],
      ["bias", this.beta],
      ["running_mean", this.runningMean],
      ["running_var", this.runningVar],
    ] as const;
    for (const [name, target] of targets) {
      target?.requireUsable(subject);
      const values = dict[name];
      if ((values === undefined) !== (target === null)) {
        throw new ShapeError(
          complain(
            `${subject}: ${prefix}${name}`,
            target ? `${this.channels} values` : "no such entry",
            values ? `${values.length} values` : "nothing",
            remedy,
          ),
        );
      }
      if (values === undefined) continue;
      requireEntry(`${subject}: ${prefix}${name}`, values, this.channels, name);
    }
    const counted = dict.num_batches_tracked;
    const given = typeof counted !== "object" ? counted : counted.length === 1 ? counted[0] : NaN;
    if (given !== undefined && !this.#state) {
      throw new ShapeError(
        complain(`${subject}: num_batches_tracked`, "no such entry", shown(given), remedy),
      );
    }
    const whole = typeof given === "bigint" || given === undefined || Number.isSafeInteger(given);
    const counter = given === undefined || !whole ? null : BigInt(given);
    if (!whole || (counter !== null && (counter < 0n || counter >= 1n << 63n))) {
      throw new ShapeError(
        complain(
          `${subject}: num_batches_tracked`,
          "a count of 63 bits",
          shown(given),
          "check the file",
        ),
      );
    }
    for (const [name, target] of targets) target?.write(Float32Array.from(dict[name]!, Number));
    if (this.#state && counter !== null) {
      const words = new BigUint64Array([counter]);
      this.device.queue.writeBuffer(this.#state, stateLayout(this.channels).counter, words);
    }
  }

  /**
   * @internal What `loadStateDict` is given, under the names that follow the prefix.
   *
   * @param more names besides the core's.
   * @throws OptionError, ShapeError, DestroyedError, DeviceLostError.
   */
  entriesOf(
    source: StateDictInput | StateFile,
    options: LoadOptions,
    more: readonly string[] = [],
  ): StateDictInput & Record<string, ArrayLike<number>> {
    const subject = "loadStateDict";
    this.requireLive(subject);
    requireKnown(subject, options, ["prefix"]);
    const { prefix = "" } = options;
    if (Object(source) !== source || source instanceof Promise) {
      const expected = "a dictionary or a file's entries";
      throw new OptionError(complain(subject, expected, kindOf(source), "await or pass one"));
    }
    const dict: Record<string, unknown> = {};
    const entries = (
      source instanceof Map ? Object.fromEntries(source as Map<string, StateEntry>) : source
    ) as Readonly<Record<string, { readonly data?: unknown } | undefined>>;
    this.#requirePrefix(subject, prefix, Object.keys(entries));
    for (const [full, entry] of Object.entries(entries)) {
      // A null, as JSON has for what is not there.
      if (!full.startsWith(prefix) || (entry ?? null) === null) continue;
      const name = full.slice(prefix.length);
      if (!STATE_NAMES.includes(name) && !more.includes(name)) {
        throw new ShapeError(
          complain(
            `${subject}: ${full}`,
            "no such entry",
            "one",
            "check the spelling and the prefix",
          ),
        );
      }
      // A file's tensor is decoded here.
      dict[name] = entry!.data ?? entry;
    }
    return dict as StateDictInput & Record<string, ArrayLike<number>>;
  }

  /** Frees parameters, gradients, statistics and plans. Idempotent; tensors that were returned stay. */
  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    for (const each of [
      ...[this.gamma, this.beta, this.gammaGrad, this.betaGrad],
      ...[this.runningMean, this.runningVar, this.#state, this.#plans, this.#own],
    ]) {
      each?.destroy();
    }
    this.#last = null;
  }

  /** @internal @throws DestroyedError, DeviceLostError. */
  requireLive(subject: string): void {
    if (this.#destroyed) throw destroyedError(subject, this.kind);
    stateOf(this.device).requireAlive(subject);
  }

  /**
   * @internal What forward checks first, for those that compute it in another way.
   *
   * @throws DestroyedError, DeviceLostError, ShapeError.
   */
  requireInput(subject: string, x: Tensor): void {
    this.requireLive(subject);
    this.#requireInput(subject, x);
  }

  /** @internal @throws OptionError where gradients are wanted of parameters that there are not. */
  requireAffine(subject: string, wants: Wants = {}): void {
    if (this.options.affine || !(wants.gamma || wants.beta)) return;
    throw new OptionError(
      complain(`${subject}: wants`, "no gamma or beta (affine is false)", "one", "leave it out"),
    );
  }

  /**
   * @internal What stands beside x, or beside its gradient, where it is given: of x's shape and dtype.
   *
   * @throws OptionError, DestroyedError, BufferError, ShapeError, DeviceLostError.
   */
  requireOther(subject: string, given: Tensor | undefined, { dtype, shape }: Tensor): void {
    if (given === undefined) return;
    requireTensor(subject, given, { device: this.device, whose: "module", dtype, shape });
  }

  /** @throws ShapeError where everything that is looked for stands under other prefixes. */
  #requirePrefix(subject: string, prefix: string, names: readonly string[]): void {
    const wanted = [
      ...(this.gamma ? ["weight", "bias"] : []),
      ...(this.runningMean ? ["running_mean", "running_var"] : []),
    ];
    if (wanted.length === 0 || wanted.some((name) => names.includes(prefix + name))) return;
    const last = wanted.at(-1)!;
    const [first, second] = names
      .filter((name) => name.endsWith(`.${last}`))
      .map((name) => JSON.stringify(name.slice(0, -last.length)));
    if (first === undefined) return;
    throw new ShapeError(
      complain(
        `${subject}: ${prefix}${wanted[0]}`,
        `${this.channels} values`,
        `none by that name, but under ${second ? `${first} and ${second}` : first}`,
        `pass { prefix: ${first} }`,
      ),
    );
  }

  // Not the one above: whoever watches a module's forward from outside may stand in its place.
  #requireInput(subject: string, x: Tensor): void {
    requireTensor(`${subject}: x`, x);
    this.#checkShape(subject, x.shape);
    this.requireOther(`${subject}: x`, x, x);
  }

  #checkShape(subject: string, shape: readonly number[]): void {
    if (!this.ranks.includes(shape.length)) {
      throw new ShapeError(
        complain(
          `${subject}: x`,
          `rank ${this.ranks.join(" or ")} (${this.kind})`,
          `rank ${shape.length} ([${shape.join(", ")}])`,
          "reshape it, or use the module of its rank",
        ),
      );
    }
    const { channels } = extentOf(subject, shape, this.options.layout);
    if (channels !== this.channels) {
      throw new ShapeError(
        complain(
          `${subject}: x`,
          `${this.channels} channels (${this.options.layout})`,
          `${channels} ([${shape.join(", ")}])`,
          "check the shape and the layout option",
        ),
      );
    }
  }

  #describe(shape: readonly number[], dtype: Dtype, residual: boolean) {
    return {
      ...this.options,
      // A forward in training has asked already; evaluation without running statistics takes a single value too.
      singleValue: "zero" as const,
      shape,
      dtype,
      residual,
    };
  }

  #usable(subject: string, context: Context | null): { x: Tensor; residual: Tensor | null } {
    const wrong = (received: string, remedy: string): never => {
      throw new ContextError(
        complain(
          `${subject}: context`,
          "one of a forward not yet differentiated",
          received,
          remedy,
        ),
      );
    };
    if (!context) return wrong("none", "call forward first");
    if (context.owner !== this)
      return wrong("another module's", "pass the context of this module's forward");
    if (context.destroyed) return wrong("a destroyed one", "destroy it after its backward");
    if (!context.x) {
      const received = context.used ? "a used one" : "one that no forward has filled";
      return wrong(received, "call forward again, or pass another context");
    }
    if (context.training !== this.#training) {
      return wrong(
        `one of ${context.training ? "training" : "evaluation"} mode`,
        "call backward before train() or eval() switches the mode",
      );
    }
    for (const [index, each] of [context.x, context.residual].entries()) {
      if (!each) continue;
      const name = index === 0 ? "x" : "residual";
      if (each.destroyed)
        return wrong(`one whose ${name} was destroyed`, `keep ${name} until backward`);
      if (each.version !== context.versions[index]) {
        const instead = index === 0 && context.overwritten ? ", or use inPlace: true" : "";
        const remedy = `keep ${name} as it is until backward${instead}`;
        return wrong(`one whose ${name} was written over`, remedy);
      }
    }
    return { x: context.x, residual: context.residual };
  }

  #plansOf(
    { shape, dtype }: Pick<Tensor, "shape" | "dtype">,
    residual: boolean,
    inPlace: boolean,
    encoder?: Target,
  ): Plans {
    const key = [...shape, dtype, residual, inPlace].join();
    return this.#plans.get(key, encoder !== undefined, () => new Plans());
  }
}

/** Batch Normalization of `[N, C]` or `[N, C, L]` (channels-last: `[N, L, C]`). See {@link BatchNorm}. */
export class BatchNorm1d extends BatchNorm {
  /** @throws OptionError; DeviceLostError. */
  constructor(device: GPUDevice, channels: number, options: BatchNormOptions = {}) {
    super(device, channels, options, "BatchNorm1d", [2, 3]);
  }
}

/** Batch Normalization of `[N, C, H, W]` (channels-last: `[N, H, W, C]`). See {@link BatchNorm}. */
export class BatchNorm2d extends BatchNorm {
  /** @throws OptionError; DeviceLostError. */
  constructor(device: GPUDevice, channels: number, options: BatchNormOptions = {}) {
    super(device, channels, options, "BatchNorm2d", [4]);
  }
}

/** Batch Normalization of `[N, C, D, H, W]` (channels-last: `[N, D, H, W, C]`). See {@link BatchNorm}. */
export class BatchNorm3d extends BatchNorm {
  /** @throws OptionError; DeviceLostError. */
  constructor(device: GPUDevice, channels: number, options: BatchNormOptions = {}) {
    super(device, channels, options, "BatchNorm3d", [5]);
  }
}
