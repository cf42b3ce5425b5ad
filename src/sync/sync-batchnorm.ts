import { kindOf, requireKnown } from "../arguments.js";
import { requireWants, type Wants } from "../backward.js";
import { BatchNorm, HINTS, type Context } from "../batchnorm.js";
import { rangeOf, requireDisjoint, type Range } from "../bindings.js";
import type { Dtype } from "../descriptor.js";
import { createBuffer, readBytes, USAGE } from "../device.js";
import {
  complain,
  ContextError,
  destroyedError,
  DeviceLostError,
  OptionError,
  OverlapError,
  SingleValueError,
} from "../errors.js";
import { watched } from "../record.js";
import { AccumulatedBatchNorm, ExtendedBatchNorm } from "../statistics/index.js";
import { statisticsBytes, statisticsByteSizes, sumsBytes } from "../statistics/sizes.js";
import { requireTensor, Tensor } from "../tensor.js";
import type { AllReduceOptions, Communicator } from "./communicator.js";
import { gather } from "./gather.js";
import { SyncPlans, type PlansOfVariation, type Variation } from "./sync-plans.js";
import { Turns } from "./turns.js";

/** Options of {@link SyncBatchNorm}. */
export interface SyncBatchNormOptions {
  /** The layer's name, the same on every rank. Default: its number among the communicator's layers. */
  name?: string | undefined;
}

/** Options of {@link SyncBatchNorm.forward}. */
export interface SyncForwardOptions {
  /** Where y is written; without it a tensor is made, which the caller destroys. */
  out?: Tensor | undefined;
  /** Added before the activation; x's shape and dtype. */
  residual?: Tensor | undefined;
  /** From {@link SyncBatchNorm.context}: filled with what the backward of this forward needs. */
  context?: SyncContext | undefined;
  /** Gives up, for the whole group. */
  signal?: AbortSignal | undefined;
}

/** Options of {@link SyncBatchNorm.backward}. */
export interface SyncBackwardOptions {
  /** Of whose last forward, which must be done; without it the layer's last one. */
  context?: SyncContext | undefined;
  /** Where dx is written; without it a tensor is made, which the caller destroys. */
  out?: Tensor | undefined;
  /** Where dResidual is written, if it is wanted. */
  residualGrad?: Tensor | undefined;
  /** Leaves out what is false, alike on all ranks: without x there is no round. */
  wants?: Wants | undefined;
  /** Adds to gammaGrad and betaGrad instead of replacing them. Default false. */
  accumulate?: boolean | undefined;
  /** Gives up, for the whole group. */
  signal?: AbortSignal | undefined;
}

const BACKWARD_NAMES = [...["context", "out", "residualGrad", "wants", "accumulate", "signal"]];

/** What one synchronised forward leaves for its backward. */
export class SyncContext {
  /** @internal */
  inputs: { tensor: Tensor; name: string; version: number }[] = [];
  /** @internal Of the last forward, once it is done and until it is differentiated. */
  variation: Variation | null = null;
  /** @internal Of the last forward while it is under way: one that finds another here has been overtaken. */
  pending: Variation | null = null;
  /** @internal Of the module, for a forward in evaluation; made at its first. */
  evaluation: Context | null = null;
  /** @internal Whether the last forward was one in evaluation. */
  evaluated = false;
  /** @internal */
  readonly saved: GPUBuffer;
  #destroyed = false;

  /** @internal */
  constructor(
    /** @internal */
    readonly owner: SyncBatchNorm,
  ) {
    const { device, channels } = owner.module;
    const bytes = statisticsByteSizes({ shape: [1, channels] }).saved;
    this.saved = createBuffer(device, "bn.sync/saved", bytes, USAGE.STORAGE | USAGE.COPY_SRC);
  }

  /** True after `destroy()`. */
  get destroyed(): boolean {
    return this.#destroyed;
  }

  /** Frees the saved statistics. Idempotent; the context cannot be used any more. */
  destroy(): void {
    this.#destroyed = true;
    this.saved.destroy();
    this.evaluation?.destroy();
    this.variation = null;
    this.inputs = [];
  }
}

const layers = new WeakMap<Communicator, number>();

/**
 * Synchronises a {@link BatchNorm} over the ranks of a group: in training its statistics are those of all ranks'
 * values together, as if their shards were one batch, however uneven, and empty ones among them. In evaluation it
 * is the module itself.
 *
 * The module keeps parameters, running statistics and options. Every rank has its own, made alike: all ranks
 * learn the same running statistics, to the last bit where their adapters are the same.
 *
 * A forward takes one round of 16 bytes per channel and rank, a backward one of 8: see {@link Communicator}. They
 * are taken in the order of the calls, which must be the same on every rank.
 *
 * @example
 * ```ts
 * const bn = new SyncBatchNorm(new BatchNorm2d(device, 64), communicator);
 * const y = await bn.forward(x); // x: this rank's shard
 * const dx = await bn.backward(dy); // fills bn.module.gammaGrad and betaGrad with this rank's share
 * const gammaGrad = await communicator.allReduce(await bn.module.gammaGrad!.read(), sum);
 * ```
 * @see Peng et al. 2018, https://arxiv.org/abs/1711.07240, section 3.3; PyTorch's torch.nn.SyncBatchNorm.
 */
export class SyncBatchNorm {
  /** What ranks know the layer by: all must give it the same. */
  readonly name: string;
  readonly #plans: SyncPlans;
  readonly #local: Readonly<Record<"statistics" | "sums", GPUBuffer>>;
  readonly #parts: Readonly<Record<"statistics" | "sums", GPUBuffer>>;
  /** Calls may overlap; what they do on the device is in their order: take parts, and use what has come of the round. */
  readonly #takes = new Turns();
  readonly #uses = new Turns();
  #own: SyncContext | null = null;
  #last: SyncContext | null = null;
  #destroyed = false;

  /**
   * @param module stays the caller's, who destroys it.
   * @throws OptionError where the module works in place, or is one of `webgpu-batchnorm/statistics` that is not frozen;
   * DestroyedError; DeviceLostError where the loss is known by then.
   */
  constructor(
    readonly module: BatchNorm,
    /** What takes parts to the other ranks. */
    readonly communicator: Communicator,
    options: SyncBatchNormOptions = {},
  ) {
    const subject = "SyncBatchNorm";
    if (!(module instanceof BatchNorm)) {
      const remedy = "new SyncBatchNorm(module, communicator)";
      throw new OptionError(complain(`${subject}: module`, "a BatchNorm", kindOf(module), remedy));
    }
    if (typeof (communicator as Partial<Communicator> | undefined)?.allReduce !== "function") {
      const remedy = "await createLocalCommunicators(2) or another of this entry";
      const received = kindOf(communicator);
      throw new OptionError(
        complain(`${subject}: communicator`, "a Communicator", received, remedy),
      );
    }
    requireKnown(subject, options, ["name"]);
    const { device, channels } = module;
    if (module.options.inPlace) {
      throw new OptionError(
        complain("SyncBatchNorm: module", "inPlace: false", "true", "make it without inPlace"),
      );
    }
    requirePlain(subject, module);
    const count = layers.get(communicator) ?? 0;
    layers.set(communicator, count + 1);
    this.name = options.name ?? `layer ${count}`;
    this.#plans = new SyncPlans(module, communicator.size);
    const pair = (what: string, parts: number, usage: number) => ({
      statistics: createBuffer(
        device,
        `bn.sync/${what} statistics`,
        statisticsBytes(channels, parts),
        USAGE.STORAGE | usage,
      ),
      sums: createBuffer(
        device,
        `bn.sync/${what} sums`,
        sumsBytes(channels, parts),
        USAGE.STORAGE | usage,
      ),
    });
    this.#local = pair("local", 1, USAGE.COPY_SRC);
    this.#parts = pair("all", communicator.size, USAGE.COPY_DST);
  }

  /** A context to pass to `forward`, so that several forwards may come before their backwards. The caller destroys it. */
  context(): SyncContext {
    this.#requireLive("context");
    return new SyncContext(this);
  }

  /**
   * Normalises this rank's shard, `[N, C, ...]` with any N, by the statistics of all shards, and moves the running
   * ones by them. x must stay as it is until the result is there.
   *
   * @returns y, of x's shape and dtype: `out`, or a new tensor that the caller destroys.
   * Rejects with what BatchNorm.forward throws; SingleValueError, on all ranks, where they have one value per
   * channel together; and with the errors of {@link Communicator.allReduce}.
   */
  async forward(x: Tensor, options: SyncForwardOptions = {}): Promise<Tensor> {
    try {
      return await this.#forward(x, options);
    } catch (error) {
      throw this.#told(error);
    }
  }

  async #forward(x: Tensor, options: SyncForwardOptions): Promise<Tensor> {
    const subject = "forward";
    this.#requireLive(subject);
    const { module } = this;
    requireKnown(subject, options, ["out", "residual", "context", "signal"], HINTS);
    const { out, residual, signal } = options;
    if (!module.training) return this.#infer(x, options);
    requirePlain(subject, module);
    module.requireInput(subject, x);
    module.requireOther(`${subject}: residual`, residual, x);
    if (out !== x) module.requireOther(`${subject}: out`, out, x);
    requireOther(subject, out, x, "x");
    requireApart(subject, { x, residual, y: out });
    const context = options.context ?? (this.#own ??= new SyncContext(this));
    this.#requireOwn(subject, context);
    this.#requireOpen(subject, signal);
    const variation = { shape: x.shape, dtype: x.dtype, residual: residual !== undefined };
    // From now on it is this forward's, which fills it when its turn has come.
    Object.assign(context, { variation: null, pending: variation, evaluated: false });
    this.#last = context;
    const inputs = [{ tensor: x, name: "x", version: x.version }];
    if (residual) inputs.push({ tensor: residual, name: "residual", version: residual.version });
    const part = this.#take(variation, async (plans) => {
      const plan = await plans.statistics();
      this.#requireLive(subject);
      requireSame(subject, inputs);
      this.#submit(subject, (target) => {
        plan.encode(target, { x, statistics: this.#local.statistics });
      });
      return { values: this.#read(subject, "statistics") };
    });
    const made = this.#use(this.#reduce(part, subject, signal), variation, async (all, plans) => {
      const plan = await plans.forward();
      this.#requireLive(subject);
      requireKept(subject, context);
      requireSame(subject, inputs);
      this.#requireTrainable(all);
      const y = out ?? Tensor.empty(module.device, x.shape, { dtype: x.dtype });
      try {
        module.device.queue.writeBuffer(this.#parts.statistics, 0, all);
        this.#submit(subject, (target) => {
          plan.encode(target, {
            x,
            y,
            statistics: this.#parts.statistics,
            saved: context.saved,
            ...(residual ? { residual } : {}),
            ...(module.gamma && module.beta ? { gamma: module.gamma, beta: module.beta } : {}),
            ...(module.runningMean ? { state: module.runningMean.buffer } : {}),
          });
        });
      } catch (error) {
        if (!out) y.destroy();
        throw error;
      }
      module.runningMean?.touch();
      module.runningVar?.touch();
      if (context.pending === variation)
        Object.assign(context, { inputs, variation, pending: null });
      return y;
    });
    // Nobody can wait for one that has failed.
    made.catch(() => {
      if (context.pending === variation) context.pending = null;
    });
    return made;
  }

  /** In evaluation the layer is the module. */
  #infer(x: Tensor, { out, residual, context }: SyncForwardOptions): Tensor {
    if (context) this.#requireOwn("forward", context);
    const evaluation = context && (context.evaluation ??= this.module.context());
    const y = this.module.forward(x, {
      ...(out ? { out } : {}),
      ...(residual ? { residual } : {}),
      ...(evaluation ? { context: evaluation } : {}),
    });
    this.#last = null;
    if (context) Object.assign(context, { variation: null, pending: null, evaluated: true });
    return y;
  }

  /**
   * Gradients of the last forward, or of `context`'s: dx of the whole batch's loss for this rank's shard. As in
   * PyTorch, `module.gammaGrad` and `betaGrad` get this rank's share alone: add them up over the ranks like every
   * other gradient.
   *
   * @returns dx, of x's shape and dtype: `out`, or a new tensor that the caller destroys; null where `wants.x` is
   * false.
   * Rejects with ContextError without a usable context; and as {@link forward}.
   */
  async backward(dy: Tensor, options: SyncBackwardOptions & { wants: { x: false } }): Promise<null>;
  async backward(
    dy: Tensor,
    options?: SyncBackwardOptions & { wants?: { x?: true | undefined } | undefined },
  ): Promise<Tensor>;
  async backward(dy: Tensor, options: SyncBackwardOptions): Promise<Tensor | null>;
  async backward(dy: Tensor, options: SyncBackwardOptions = {}): Promise<Tensor | null> {
    try {
      return await this.#backward(dy, options);
    } catch (error) {
      throw this.#told(error);
    }
  }

  async #backward(dy: Tensor, options: SyncBackwardOptions): Promise<Tensor | null> {
    const subject = "backward";
    this.#requireLive(subject);
    const { module } = this;
    requireKnown(subject, options, BACKWARD_NAMES);
    requireWants("backward: wants", options.wants);
    const { out, residualGrad, signal, accumulate = false } = options;
    requireTensor(`${subject}: dy`, dy);
    const context = options.context ?? this.#last;
    if (!module.training) return this.#evaluate(dy, context, options);
    const { variation, inputs, saved } = this.#usable(subject, context);
    const [{ tensor: x }, rest] = inputs as [(typeof inputs)[0], (typeof inputs)[0] | undefined];
    module.requireInput(subject, x);
    module.requireOther(`${subject}: dy`, dy, x);
    module.requireOther(`${subject}: out`, out, x);
    module.requireOther(`${subject}: residualGrad`, residualGrad, x);
    const from = { x, dy, saved, ...(rest ? { residual: rest.tensor } : {}) };
    const { affine, activation } = module.options;
    const wants = {
      x: options.wants?.x ?? true,
      gamma: options.wants?.gamma ?? affine,
      beta: options.wants?.beta ?? affine,
    };
    if (!affine && (wants.gamma || wants.beta)) {
      throw new OptionError(
        complain(`${subject}: wants`, "no gamma or beta (affine is false)", "one", "leave it out"),
      );
    }
    if (!wants.x && !wants.gamma && !wants.beta && !residualGrad) {
      const remedy = "leave the call out instead";
      throw new OptionError(complain(`${subject}: wants`, "at least one gradient", "none", remedy));
    }
    requireOther(subject, out, dy, "dy");
    requireApart(subject, {
      ...{ x, dy, dResidual: residualGrad },
      // Without an activation dz is dy, and nothing reads the residual.
      ...(activation === "none" ? {} : { residual: rest?.tensor }),
      ...(wants.x ? { dx: out } : {}),
    });
    if (wants.x) this.#requireOpen(subject, signal);
    context!.variation = null;
    const all = [...inputs, { tensor: dy, name: "dy", version: dy.version }];
    const { sums } = this.#local;
    const part = this.#take(variation, async (plans) => {
      const [sum, share] = await Promise.all([
        plans.sums(residualGrad !== undefined),
        wants.gamma || wants.beta ? plans.parameters(wants, accumulate) : null,
      ]);
      this.#requireLive(subject);
      requireKept(subject, context!);
      requireSame(subject, all);
      this.#submit(subject, (target) => {
        sum.encode(target, { ...from, sums, ...(residualGrad ? { dResidual: residualGrad } : {}) });
        share?.encode(target, {
          ...from,
          sums,
          ...(wants.gamma ? { dGamma: module.gammaGrad! } : {}),
          ...(wants.beta ? { dBeta: module.betaGrad! } : {}),
        });
      });
      return { values: wants.x ? this.#read(subject, "sums") : NOTHING };
    });
    // Without a round: a later forward, which saves other statistics, still comes after it.
    if (!wants.x) return this.#use(part, variation, () => Promise.resolve(null));
    return this.#use(this.#reduce(part, subject, signal), variation, async (parts, plans) => {
      const plan = await plans.input();
      this.#requireLive(subject);
      requireKept(subject, context!);
      requireSame(subject, all);
      const dx = out ?? Tensor.empty(module.device, x.shape, { dtype: x.dtype });
      try {
        module.device.queue.writeBuffer(this.#parts.sums, 0, parts);
        this.#submit(subject, (target) => {
          plan.encode(target, { ...from, sums: this.#parts.sums, dx });
        });
      } catch (error) {
        if (!out) dx.destroy();
        throw error;
      }
      return dx;
    });
  }

  /**
   * Compiles for a shape ahead of its first use, so that no rank keeps the others waiting for its compiler.
   *
   * Rejects with CompileError, OutOfMemoryError, DeviceLostError, ShapeError.
   */
  async prepare(
    shape: readonly number[],
    options: { dtype?: Dtype | undefined; residual?: boolean | undefined } = {},
  ): Promise<void> {
    this.#requireLive("prepare");
    requireKnown("prepare", options, ["dtype", "residual"]);
    const { dtype = "f32", residual = false } = options;
    const { affine } = this.module.options;
    await this.#plans.use({ shape, dtype, residual }, async (plans) => {
      await Promise.all([
        plans.statistics(),
        plans.forward(),
        plans.sums(false),
        plans.input(),
        ...(affine ? [plans.parameters({ gamma: true, beta: true }, false)] : []),
      ]);
    });
  }

  /** Frees buffers and plans; the module and the communicator are the caller's. Idempotent. */
  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    for (const pair of [this.#local, this.#parts]) {
      pair.statistics.destroy();
      pair.sums.destroy();
    }
    this.#plans.destroy();
    this.#own?.destroy();
    this.#own = null;
    this.#last = null;
  }

  #requireLive(subject: string): void {
    if (this.#destroyed) throw destroyedError(subject, "SyncBatchNorm");
  }

  /** Takes a part when its turn has come: `record` submits it, and the next turn need not wait for what is read then. */
  async #take(
    variation: Variation,
    record: (plans: PlansOfVariation) => Promise<{ values: Promise<Float32Array> }>,
  ): Promise<Float32Array> {
    const { values } = await this.#takes.run(() => this.#plans.use(variation, record));
    return values;
  }

  /** Uses what has come of a round when its turn has come. The group ends with whoever cannot, or ranks were out of step. */
  #use<A, T>(
    round: Promise<A>,
    variation: Variation,
    apply: (all: A, plans: PlansOfVariation) => Promise<T>,
  ): Promise<T> {
    // It may fail before its turn.
    round.catch(() => undefined);
    return this.#uses.run(async () => {
      const all = await round;
      try {
        return await this.#plans.use(variation, (plans) => apply(all, plans));
      } catch (error) {
        // This one all ranks get.
        if (!(error instanceof SingleValueError)) this.communicator.abandon?.(error);
        throw error;
      }
    });
  }

  /** The others do not wait for a rank whose device is lost. */
  #told(error: unknown): unknown {
    if (error instanceof DeviceLostError) this.communicator.abandon?.(error);
    return error;
  }

  /** Refuses what the communicator would: before anything has been begun for the round. */
  #requireOpen(subject: string, signal: AbortSignal | undefined): void {
    const { failure, room = 1 } = this.communicator;
    if (failure) throw failure;
    signal?.throwIfAborted();
    if (room > 0) return;
    const remedy = "await calls before the next";
    throw new OptionError(
      complain(subject, "a communicator with room for a round", "a full one", remedy),
    );
  }

  /** Reads a local buffer as it is after what has been submitted so far: later calls may use it again at once. */
  async #read(subject: string, name: "statistics" | "sums"): Promise<Float32Array> {
    const { device, channels } = this.module;
    const bytes = name === "sums" ? sumsBytes(channels) : statisticsBytes(channels);
    return new Float32Array(await readBytes(device, subject, this.#local[name], 0, bytes));
  }

  #reduce(
    part: Promise<Float32Array>,
    subject: string,
    signal: AbortSignal | undefined,
  ): Promise<Float32Array<ArrayBuffer>> {
    const tag = `${this.name}: ${subject} of ${this.module.channels} channels`;
    const options: AllReduceOptions = signal ? { tag, signal } : { tag };
    return this.communicator.allReduce(part, gather, options);
  }

  #submit(subject: string, record: (target: GPUCommandEncoder) => void): void {
    const { device } = this.module;
    watched(device, subject, () => {
      const encoder = device.createCommandEncoder({ label: `bn.sync.${subject}` });
      record(encoder);
      device.queue.submit([encoder.finish()]);
    });
  }

  /** @throws SingleValueError where all ranks have one value per channel together. */
  #requireTrainable(all: Float32Array<ArrayBuffer>): void {
    const { channels, options } = this.module;
    const words = new Uint32Array(all.buffer);
    let count = 0;
    for (let at = 0; at < words.length; at += 4 * channels) count += words[at]!;
    if (count === 1 && options.singleValue === "error") {
      throw new SingleValueError(
        complain(
          "forward: x",
          "more than one value per channel on all ranks together",
          "1",
          'use a larger batch, eval(), or singleValue: "zero"',
        ),
      );
    }
  }

  #usable(
    subject: string,
    context: SyncContext | null,
  ): { variation: Variation; inputs: SyncContext["inputs"]; saved: GPUBuffer } {
    if (!context) throw contextError(subject, "none", "call forward first");
    const { variation, pending, inputs, saved } = context;
    this.#requireOwn(subject, context);
    if (context.evaluated) throw contextError(subject, "one of evaluation mode", SWITCHED);
    if (pending)
      throw contextError(subject, "one whose last forward is not done", "await that one first");
    if (!variation)
      throw contextError(subject, "a used one", "call forward again, or pass another context");
    requireSame(subject, inputs);
    return { variation, inputs, saved };
  }

  /** @throws ContextError, DestroyedError. */
  #requireOwn(subject: string, context: SyncContext): void {
    if (context.owner !== this)
      throw contextError(subject, "another layer's", "pass one of this layer's context()");
    requireKept(subject, context);
  }

  #evaluate(
    dy: Tensor,
    context: SyncContext | null,
    { out, residualGrad, wants, accumulate }: SyncBackwardOptions,
  ): Tensor | null {
    if (context) {
      this.#requireOwn("backward", context);
      if (!context.evaluated) throw contextError("backward", "one of training mode", SWITCHED);
    }
    return this.module.backward(dy, {
      ...(context ? { context: context.evaluation! } : {}),
      ...(out ? { out } : {}),
      ...(residualGrad ? { residualGrad } : {}),
      ...(wants ? { wants } : {}),
      ...(accumulate ? { accumulate } : {}),
    });
  }
}

const NOTHING = Promise.resolve(new Float32Array(0));

const SWITCHED = "call backward before train() or eval() switches the mode";

function contextError(subject: string, received: string, remedy: string): ContextError {
  const expected = "one of a forward not yet differentiated";
  return new ContextError(complain(`${subject}: context`, expected, received, remedy));
}

/**
 * @throws OptionError where the module learns from more than its batch's statistics, or from other ones: ranks merge
 * these alone. Frozen it learns nothing.
 */
function requirePlain(subject: string, module: BatchNorm): void {
  const extended = module instanceof ExtendedBatchNorm;
  if (extended ? module.frozen : !(module instanceof AccumulatedBatchNorm)) return;
  const expected = "a BatchNorm1d, 2d or 3d, or a frozen ExtendedBatchNorm";
  const remedy = extended
    ? "renorm, virtualBatchSize, scale and center are not synchronised: do without, or freeze() it"
    : "micro-batches are not synchronised: do without";
  throw new OptionError(complain(`${subject}: module`, expected, kindOf(module), remedy));
}

/** @throws DestroyedError where the saved statistics are gone, or have nowhere to go. */
function requireKept(subject: string, { destroyed }: SyncContext): void {
  if (destroyed) throw destroyedError(`${subject}: context`, "one");
}

const OUTPUTS = ["y", "dx", "dResidual"] as const;

/**
 * What the plans would find, some of it only after the round.
 *
 * @throws BufferError where a tensor cannot be bound; OverlapError where an output shares bytes with another tensor.
 */
function requireApart(
  subject: string,
  tensors: Partial<Record<"x" | "dy" | "residual" | (typeof OUTPUTS)[number], Tensor | undefined>>,
): void {
  const ranges = new Map<keyof typeof tensors, Range>();
  for (const [name, tensor] of Object.entries(tensors) as [keyof typeof tensors, Tensor?][]) {
    if (!tensor) continue;
    const { device, byteLength, dtype, shape } = tensor;
    const what = `[${shape.join(", ")}], ${dtype}`;
    ranges.set(
      name,
      rangeOf(device, subject, { name, bytes: byteLength, what, dtype, shape }, tensor),
    );
  }
  requireDisjoint(subject, ranges, OUTPUTS);
}

/** @throws OverlapError where an output is an input: it is still needed while the others are waited for. */
function requireOther(subject: string, out: Tensor | undefined, input: Tensor, name: string): void {
  if (out !== input) return;
  const remedy = "pass another tensor, or none";
  throw new OverlapError(complain(`${subject}: out`, `not ${name}`, name, remedy));
}

/** @throws ContextError where a tensor was destroyed or written over since its version was noted. */
function requireSame(subject: string, inputs: SyncContext["inputs"]): void {
  for (const { tensor, name, version } of inputs) {
    if (tensor.destroyed)
      throw contextError(subject, `one whose ${name} was destroyed`, `keep ${name} until the end`);
    if (tensor.version !== version)
      throw contextError(subject, `one whose ${name} was written over`, `keep ${name} as it is`);
  }
}
