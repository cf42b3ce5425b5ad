import {
  BACKWARD_OPTIONS,
  BatchNorm,
  Context,
  FORWARD_OPTIONS,
  HINTS,
  requireEntry,
  Spares,
  type BackwardOptions,
  type ForwardOptions,
  type LoadOptions,
  type PrepareOptions,
  type StateDict,
  type StateDictInput,
  type StateEntry,
  type StateFile,
} from "../batchnorm.js";
import { requireKnown, requireObject } from "../arguments.js";
import { requireWants } from "../backward.js";
import { requireChoices, SWITCH, type BatchNormOptions, type Choices } from "../descriptor.js";
import { createBuffer, USAGE } from "../device.js";
import { complain, ContextError, OptionError, ShapeError } from "../errors.js";
import { PlanCache, record } from "../record.js";
import { requireTensor, Tensor } from "../tensor.js";
import { createStatisticsBackward, createStatisticsBackwardSync } from "./backward.js";
import { compiled } from "./compiled.js";
import { requireCount } from "./count.js";
import { createStatisticsForward, createStatisticsForwardSync } from "./forward.js";
import { requireMask } from "./mask.js";
import type { GhostDescriptor } from "./outline.js";
import { RENORM_OPTIONS, resolveRenorm, type RenormOptions } from "./renorm.js";
import { statisticsByteSizes } from "./sizes.js";

/** Options of {@link ExtendedBatchNorm}. */
export interface ExtendedOptions extends BatchNormOptions, GhostDescriptor, RenormOptions {
  /** Whether gamma is trained and saved (Keras's name); where not it is 1. Default: `affine`. */
  scale?: boolean | undefined;
  /** Whether beta is trained and saved (Keras's name); where not it is 0. Default: `affine`. */
  center?: boolean | undefined;
}

const OWN_OPTIONS: Choices = {
  ...{ ...RENORM_OPTIONS, virtualBatchSize: null },
  ...{ scale: SWITCH, center: SWITCH },
};

/** Options of {@link ExtendedBatchNorm.forward}. */
export interface ExtendedForwardOptions extends ForwardOptions {
  /**
   * Which positions count (Keras's and Flax's mask): f32, x's shape without the channel, what is not 0 counts. y is
   * computed everywhere. Has no effect in evaluation with running statistics.
   */
  mask?: Tensor | undefined;
}

const EXTENDED_FORWARD_OPTIONS = [...FORWARD_OPTIONS, "mask"];

/** PyTorch's names, and Keras's for what only batch renormalization has. */
export interface ExtendedStateDict extends StateDict {
  /** mu, `[C]`. */
  renorm_mean?: Float32Array;
  /** sigma, `[C]`. */
  renorm_stddev?: Float32Array;
}

/** What `loadStateDict` takes: numbers in any array. */
export interface ExtendedStateDictInput extends StateDictInput {
  /** mu, `[C]`. */
  renorm_mean?: ArrayLike<number> | undefined;
  /** sigma, `[C]`. */
  renorm_stddev?: ArrayLike<number> | undefined;
}

const RENORM_NAMES = ["renorm_mean", "renorm_stddev"];

/** What a forward with a mask leaves besides. */
class ExtendedContext extends Context {
  mask: Tensor | null = null;
  maskVersion = 0;

  override destroy(): void {
    super.destroy();
    this.mask = null;
  }
}

/**
 * Batch Normalization of rank 2 to 5 whose statistics need not be the whole batch's: ghosts (`virtualBatchSize`), batch
 * renormalization (`renorm`), a mask for each forward, statistics that are frozen, affine parameters without scale
 * or without center. Where it takes its statistics from a batch, nothing is written in place: no `inPlace`, `out` is
 * neither x nor dy. In everything else it is {@link BatchNorm}; in evaluation with running statistics it is the same.
 *
 * @example
 * ```ts
 * const bn = new ExtendedBatchNorm(device, 64, { virtualBatchSize: 32 });
 * const y = bn.forward(x); // x: [256, 64]; eight ghosts of 32 samples, in as many dispatches as one
 * const dx = bn.backward(dy);
 * ```
 * @see Hoffer, Hubara and Soudry 2017, https://arxiv.org/abs/1705.08741; Ioffe 2017, https://arxiv.org/abs/1702.03275.
 */
export class ExtendedBatchNorm extends BatchNorm {
  /** mu of batch renormalization, `[C]`, starts at 0; null without it. */
  readonly renormMean: Tensor | null = null;
  /** sigma of batch renormalization, `[C]`, starts at 1; null without it. */
  readonly renormDeviation: Tensor | null = null;
  readonly #extended: ExtendedOptions;
  readonly #scale: boolean;
  readonly #center: boolean;
  #renorm: GPUBuffer | null = null;
  #plans = new PlanCache(this.device, 32);
  #latest: ExtendedContext | null = null;
  readonly #spares = new Spares(() => new ExtendedContext(this));
  #frozen: "trainable" | "fixed" | null = null;
  #wantsTraining = true;

  /** @throws OptionError; DeviceLostError. */
  constructor(device: GPUDevice, channels: number, options: ExtendedOptions = {}) {
    const kind = "ExtendedBatchNorm";
    requireObject(kind, options);
    const { affine = true } = options;
    const { scale = affine, center = affine, renorm, inPlace } = options;
    if (inPlace) {
      throw new OptionError(
        complain(`${kind}: inPlace`, "false", "true", "use BatchNorm for what works in place"),
      );
    }
    const { virtualBatchSize } = options;
    if (virtualBatchSize !== undefined) {
      requireCount(`${kind}: virtualBatchSize`, virtualBatchSize, 1);
    }
    requireChoices(kind, options, OWN_OPTIONS);
    resolveRenorm(kind, options);
    const ranks = [2, 3, 4, 5];
    const core = { ...options, affine: scale || center };
    super(device, channels, core, kind, ranks, Object.keys(OWN_OPTIONS));
    this.#extended = structuredClone(options);
    this.#scale = scale;
    this.#center = center;
    if (renorm) {
      const usage = USAGE.STORAGE | USAGE.COPY_SRC | USAGE.COPY_DST;
      const buffer = createBuffer(device, "bn.renorm", 8 * channels, usage, (zeros) => {
        new Float32Array(zeros).fill(1, channels, 2 * channels);
      });
      this.#renorm = buffer;
      this.renormMean = Tensor.wrap(device, buffer, [channels]);
      this.renormDeviation = Tensor.wrap(device, { buffer, offset: 4 * channels }, [channels]);
    }
  }

  /** Whether statistics stay as they are, and whether gamma and beta are still trained; null where not frozen. */
  get frozen(): "trainable" | "fixed" | null {
    return this.#frozen;
  }

  /**
   * Normalises by the running statistics from now on, in training too, and does not move them: what fine-tuning on
   * small batches does. `train()` does not undo it; {@link unfreeze} does.
   *
   * @param options.affine whether backward fills the gradients of gamma and beta. Default "fixed": it does not.
   * @throws OptionError where there are no running statistics.
   */
  freeze(options: { affine?: "trainable" | "fixed" | undefined } = {}): this {
    requireKnown("freeze", options, ["affine"]);
    const { affine = "fixed" } = options;
    if (affine !== "trainable" && affine !== "fixed") {
      throw new OptionError(
        complain("freeze: affine", '"trainable" or "fixed"', String(affine), "pass one of these"),
      );
    }
    if (!this.options.trackRunningStats) {
      throw new OptionError(
        complain("freeze", "running statistics", "none", "make the module with trackRunningStats"),
      );
    }
    if (this.#frozen === null) this.#wantsTraining = this.training;
    super.eval();
    this.#frozen = affine;
    return this;
  }

  /** Back to the mode that `train()` or `eval()` asked for last. */
  unfreeze(): this {
    this.#frozen = null;
    return this.train(this.#wantsTraining);
  }

  /** @internal What `train()` or `eval()` asked for last, frozen or not. */
  get wantsTraining(): boolean {
    return this.#wantsTraining;
  }

  override train(mode = true): this {
    super.train(mode);
    this.#wantsTraining = mode;
    return this.#frozen === null ? this : super.eval();
  }

  override eval(): this {
    this.#wantsTraining = false;
    return super.eval();
  }

  override context(): Context {
    this.requireLive("context");
    return new ExtendedContext(this);
  }

  override get lastContext(): Context | null {
    this.#spares.release(this.#latest);
    return this.#latest;
  }

  /**
   * Normalises x as the options say.
   *
   * @returns y, of x's shape and dtype: `out`, or a new tensor that the caller destroys.
   * @throws ShapeError, BufferError, OverlapError, OptionError, SingleValueError, DestroyedError, DeviceLostError;
   * ContextError where `context` is not of this module.
   */
  override forward(x: Tensor, options: ExtendedForwardOptions = {}): Tensor {
    requireKnown("forward", options, EXTENDED_FORWARD_OPTIONS, HINTS);
    const { mask, ...core } = options;
    const context = options.context ?? this.#spares.get(options.encoder !== undefined);
    if (!(context instanceof ExtendedContext && context.owner === this)) {
      throw new ContextError(
        complain("forward: context", "one from this module's context()", "another", "make one"),
      );
    }
    super.requireInput("forward", x);
    context.requireLive("forward");
    if (mask !== undefined) requireMask("forward: mask", mask, x, this.options.layout);
    if (!this.training && this.options.trackRunningStats) {
      const y = super.forward(x, { ...core, context });
      this.#latest = context;
      context.mask = null;
      return y;
    }
    if (options.out === x) {
      throw new OptionError(
        complain("forward: out", "another tensor than x", "x", "leave it out, or use BatchNorm"),
      );
    }
    const { residual, encoder } = options;
    this.requireOther("forward: residual", residual, x);
    this.requireOther("forward: out", options.out, x);
    const descriptor = this.#describe(x, residual !== undefined, mask !== undefined);
    const plan = this.#plans.get(
      this.#key("forward", x, residual, mask),
      encoder !== undefined,
      () => createStatisticsForwardSync(this.device, descriptor),
    );
    const y = options.out ?? Tensor.empty(this.device, x.shape, { dtype: x.dtype });
    try {
      context.fill(statisticsByteSizes(this.#sized(x)).saved, (saved) => {
        record(this.device, "forward", encoder, (target) => {
          plan.encode(target, {
            ...{ x, y, saved },
            ...(mask ? { mask } : {}),
            ...(residual ? { residual } : {}),
            ...(this.#scale ? { gamma: this.gamma! } : {}),
            ...(this.#center ? { beta: this.beta! } : {}),
            ...(this.#renorm ? { renorm: this.#renorm } : {}),
            ...(this.runningMean ? { state: this.runningMean.buffer } : {}),
          });
        });
      });
    } catch (error) {
      if (!options.out) y.destroy();
      throw error;
    }
    context.x = x;
    context.residual = residual ?? null;
    context.versions = [x.version, residual?.version ?? 0];
    context.mask = mask ?? null;
    context.maskVersion = mask?.version ?? 0;
    context.training = this.training;
    context.batchStatistics = true;
    context.used = false;
    this.#latest = context;
    const { runningMean, runningVar, renormMean, renormDeviation } = this;
    for (const each of [runningMean, runningVar, renormMean, renormDeviation]) each?.touch();
    return y;
  }

  /** As {@link BatchNorm.prepare}, for what has no mask. */
  override async prepare(shape: readonly number[], options: PrepareOptions = {}): Promise<void> {
    const { trackRunningStats } = this.options;
    await this.prepareModes(shape, options, trackRunningStats ? ["evaluation"] : []);
    const { dtype = "f32", residual = false } = options;
    // What is prepared may be for evaluation, which takes a single value too.
    const singleValue = "zero" as const;
    const descriptor = { ...this.#describe({ shape, dtype }, residual, false), singleValue };
    const wants = { x: true, gamma: this.#scale, beta: this.#center };
    await compiled([
      createStatisticsForward(this.device, descriptor),
      createStatisticsBackward(this.device, { ...descriptor, wants, residualGrad: false }),
    ]);
  }

  override backward(dy: Tensor, options: BackwardOptions & { wants: { x: false } }): null;
  override backward(
    dy: Tensor,
    options?: BackwardOptions & { wants?: { x?: true | undefined } | undefined },
  ): Tensor;
  override backward(dy: Tensor, options: BackwardOptions): Tensor | null;
  override backward(dy: Tensor, options: BackwardOptions = {}): Tensor | null {
    this.requireLive("backward");
    requireKnown("backward", options, BACKWARD_OPTIONS);
    requireWants("backward: wants", options.wants);
    const context = options.context ?? this.#latest;
    const fixed = this.#frozen === "fixed";
    const wants = {
      x: options.wants?.x ?? true,
      gamma: options.wants?.gamma ?? (this.#scale && !fixed),
      beta: options.wants?.beta ?? (this.#center && !fixed),
    };
    for (const [name, trained] of [
      ["gamma", this.#scale],
      ["beta", this.#center],
    ] as const) {
      if (!wants[name] || trained) continue;
      const option = name === "gamma" ? "scale" : "center";
      throw new OptionError(
        complain(`backward: wants`, `no ${name} (${option} is false)`, "one", "leave it out"),
      );
    }
    if (!(context instanceof ExtendedContext) || !context.batchStatistics) {
      const given = { ...options, wants, ...(context ? { context } : {}) };
      const dx = super.backward(dy, given);
      if (options.encoder) this.#spares.lend(context as ExtendedContext);
      return dx;
    }
    requireTensor("backward: dy", dy);
    const { x, residual, mask } = this.#differentiable(context);
    this.requireOther("backward: dy", dy, x);
    this.requireOther("backward: out", options.out, x);
    this.requireOther("backward: residualGrad", options.residualGrad, x);
    if (wants.x && options.out === dy) {
      throw new OptionError(
        complain("backward: out", "another tensor than dy", "dy", "leave it out"),
      );
    }
    const { encoder, accumulate = false } = options;
    const residualGrad = options.residualGrad !== undefined;
    const key = this.#key(
      "backward",
      x,
      residual,
      mask,
      ...Object.values(wants),
      residualGrad,
      accumulate,
    );
    const plan = this.#plans.get(key, encoder !== undefined, () =>
      createStatisticsBackwardSync(this.device, {
        ...this.#describe(x, residual !== null, mask !== null),
        ...{ wants, residualGrad, accumulate },
      }),
    );
    // What is not wanted and given all the same, the plan refuses.
    const dx =
      options.out ?? (wants.x ? Tensor.empty(this.device, x.shape, { dtype: x.dtype }) : null);
    try {
      record(this.device, "backward", encoder, (target) => {
        plan.encode(target, {
          ...{ x, dy, saved: context.saved },
          ...(mask ? { mask } : {}),
          ...(residual ? { residual } : {}),
          ...(dx ? { dx } : {}),
          ...(options.residualGrad ? { dResidual: options.residualGrad } : {}),
          ...(wants.gamma ? { dGamma: this.gammaGrad! } : {}),
          ...(wants.beta ? { dBeta: this.betaGrad! } : {}),
        });
      });
    } catch (error) {
      if (!options.out) dx?.destroy();
      throw error;
    }
    if (encoder) this.#spares.lend(context);
    context.used = true;
    context.x = null;
    context.residual = null;
    context.mask = null;
    return dx;
  }

  override async stateDict(): Promise<ExtendedStateDict> {
    const [core, mean, deviation] = await Promise.all([
      super.stateDict(),
      this.renormMean?.read(),
      this.renormDeviation?.read(),
    ]);
    const dict: ExtendedStateDict = core;
    if (!this.#scale) delete dict.weight;
    if (!this.#center) delete dict.bias;
    if (mean && deviation) Object.assign(dict, { renorm_mean: mean, renorm_stddev: deviation });
    return dict;
  }

  /**
   * As {@link BatchNorm.loadStateDict}. Without `renorm_mean` and `renorm_stddev` (a file of plain Batch
   * Normalization) renormalization starts from the running statistics.
   */
  override loadStateDict(
    source: ExtendedStateDictInput | StateFile,
    options: LoadOptions = {},
  ): void {
    const { prefix = "" } = options;
    const dict = this.entriesOf(source, options, RENORM_NAMES);
    const { renorm_mean: mean, renorm_stddev: deviation, ...plain } = dict;
    for (const [name, values] of Object.entries({ renorm_mean: mean, renorm_stddev: deviation })) {
      const subject = `loadStateDict: ${prefix}${name}`;
      if (values !== undefined && !this.#renorm) {
        const remedy = "make the module with the renorm of the file";
        throw new ShapeError(complain(subject, "no such entry", "one", remedy));
      }
      if (values !== undefined) requireEntry(subject, values, this.channels, name);
      else if ((mean ?? deviation) !== undefined) {
        throw new ShapeError(
          complain(subject, "both entries of renormalization, or none", "nothing", "add it"),
        );
      }
    }
    const absent = (kept: boolean, name: "weight" | "bias", value: number): StateDictInput => {
      if (kept || !this.gamma) return {};
      const given = plain[name];
      if (given !== undefined)
        requireEntry(`loadStateDict: ${prefix}${name}`, given, this.channels, name);
      const other = Array.from(given ?? []).find((each) => Number(each) !== value);
      if (other !== undefined) {
        throw new ShapeError(
          complain(
            `loadStateDict: ${prefix}${name}`,
            `${value} alone`,
            `${other}`,
            `make the module with ${name === "weight" ? "scale" : "center"}: true`,
          ),
        );
      }
      return { [name]: new Float32Array(this.channels).fill(value) };
    };
    const core = {
      ...plain,
      ...absent(this.#scale, "weight", 1),
      ...absent(this.#center, "bias", 0),
    };
    const named = Object.entries(core).map(([name, values]) => [prefix + name, values] as const);
    for (const each of [this.renormMean, this.renormDeviation])
      each?.requireUsable("loadStateDict");
    super.loadStateDict(new Map(named as [string, StateEntry][]), { prefix });
    if (!this.#renorm) return;
    const { eps } = this.options;
    const { running_mean, running_var } = plain;
    const spread = (value: number): number => Math.sqrt(Number(value) + eps);
    this.renormMean!.write(Float32Array.from(mean ?? running_mean!, Number));
    this.renormDeviation!.write(
      deviation ? Float32Array.from(deviation, Number) : Float32Array.from(running_var!, spread),
    );
  }

  override destroy(): void {
    super.destroy();
    this.#plans.destroy();
    this.#renorm?.destroy();
    this.renormMean?.destroy();
    this.renormDeviation?.destroy();
    this.#spares.destroy();
    this.#latest = null;
  }

  #sized(x: Pick<Tensor, "shape" | "dtype">) {
    const { virtualBatchSize, renorm = false } = this.#extended;
    const { layout } = this.options;
    const ghosts = virtualBatchSize === undefined ? {} : { virtualBatchSize };
    return { ...ghosts, shape: x.shape, layout, dtype: x.dtype, renorm };
  }

  #describe(x: Pick<Tensor, "shape" | "dtype">, residual: boolean, mask: boolean) {
    const { virtualBatchSize: _, ...rest } = this.#extended;
    return {
      ...{ ...rest, ...this.options, ...this.#sized(x) },
      ...{ scale: this.#scale, center: this.#center, residual, mask },
      // Evaluation without running statistics uses the batch's, of a single value too.
      singleValue: this.training ? this.options.singleValue : ("zero" as const),
    };
  }

  #key(what: string, x: Tensor, ...rest: (Tensor | boolean | null | undefined)[]): string {
    const words = rest.map((each) => Boolean(each));
    return [what, x.shape.join("x"), x.dtype, this.training, ...words].join();
  }

  #differentiable(context: ExtendedContext): {
    x: Tensor;
    residual: Tensor | null;
    mask: Tensor | null;
  } {
    const { x, residual, mask, versions, maskVersion } = context;
    const wrong = (received: string, remedy: string): never => {
      throw new ContextError(
        complain("backward: context", "one of a forward not yet differentiated", received, remedy),
      );
    };
    if (context.owner !== this) return wrong("another module's", "pass this module's");
    if (context.destroyed) return wrong("a destroyed one", "destroy it after its backward");
    if (context.used || !x) return wrong("a used one", "call forward again, or pass another");
    if (context.training !== this.training) {
      return wrong("one of another mode", "call backward before train() or eval()");
    }
    const before = [...versions, maskVersion];
    for (const [index, each] of [x, residual, mask].entries()) {
      const name = ["x", "residual", "mask"][index]!;
      if (each?.destroyed) return wrong(`one whose ${name} was destroyed`, `keep ${name}`);
      if (each && each.version !== before[index]) {
        return wrong(`one whose ${name} was written over`, `keep ${name} as it is`);
      }
    }
    return { x, residual, mask };
  }
}
