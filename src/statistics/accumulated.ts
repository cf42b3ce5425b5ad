import { requireKnown, requireObject } from "../arguments.js";
import { requireWants, type Wants } from "../backward.js";
import { BatchNorm, type PrepareOptions } from "../batchnorm.js";
import { extentOf, requireTrainable, type BatchNormOptions } from "../descriptor.js";
import { createBuffer, USAGE } from "../device.js";
import { complain, ContextError, OptionError } from "../errors.js";
import type { Target } from "../plan.js";
import { PlanCache, record } from "../record.js";
import { requireTensor, Tensor } from "../tensor.js";
import { StatisticsAccumulator } from "./accumulator.js";
import {
  createStatisticsBackward,
  createStatisticsBackwardSync,
  createSums,
  createSumsSync,
} from "./backward.js";
import { compiled } from "./compiled.js";
import { Gathering, PARTS, PLANS, type Merge } from "./gathering.js";
import { createStatisticsForward, createStatisticsForwardSync } from "./forward.js";
import { createMergeStatistics, createMergeSums, createMergeSumsSync } from "./merge.js";
import { statisticsByteSizes, sumsBytes } from "./sizes.js";
import { createStatistics } from "./statistics.js";

/** Options of {@link AccumulatedBatchNorm.forward}. */
export interface AccumulatedForwardOptions {
  /** Where y is written; without it a tensor is made, which the caller destroys. */
  out?: Tensor | undefined;
  /** Added before the activation; x's shape and dtype. */
  residual?: Tensor | undefined;
  /** Records here and submits nothing. */
  encoder?: Target | undefined;
}

/** Options of the backward sweeps. */
export interface AccumulatedBackwardOptions {
  /** The x of the micro-batch. */
  x: Tensor;
  /** The residual of its forward. */
  residual?: Tensor | undefined;
  /** Where dx is written; without it a tensor is made, which the caller destroys. */
  out?: Tensor | undefined;
  /** Leaves out what is false. */
  wants?: Wants | undefined;
  /** Adds to gammaGrad and betaGrad instead of replacing them. Default false. */
  accumulate?: boolean | undefined;
  /** Records here and submits nothing. */
  encoder?: Target | undefined;
}

const BACKWARD_NAMES = ["x", "residual", "out", "wants", "accumulate", "encoder"];

type Sweep = "observe" | "forward" | "observeGradient" | "backward";

/** What a gradient was when it was observed. */
interface NotedGradient {
  readonly version: number;
  /** The micro-batches that it is of. */
  readonly of: WeakSet<Tensor>;
}

/** What a micro-batch's tensors were when they were observed. */
interface Noted {
  readonly version: number;
  /** Of its forward. */
  residual?: { readonly tensor: Tensor; readonly version: number } | undefined;
}

/**
 * Batch Normalization of a batch that is too large for memory at once: in training, micro-batches are normalised by the
 * statistics of all of them, and gradients are those of the whole batch, to the rounding of the merge. That takes two
 * sweeps each way, and every sweep reads its input again:
 *
 * 1. `observe(x)` for every micro-batch, then `forward(x)` for every micro-batch;
 * 2. `observeGradient(dy, { x })` for every one, then `backward(dy, { x })` for every one.
 *
 * Running statistics move once for the whole batch, with the first `forward`; gammaGrad and betaGrad are filled with the
 * first `backward` that wants them. The next `observe` begins the next batch.
 *
 * The tensors of a micro-batch stay as they are from its `observe` (dy: its `observeGradient`) to its `backward`: nothing is
 * written in place. In training it keeps its own contexts: leave `context` out. What is recorded into an encoder must be
 * submitted before the next batch's first `observe`, unless that is recorded too.
 *
 * @example
 * ```ts
 * for (const x of micro) bn.observe(x);
 * const ys = micro.map((x) => bn.forward(x));
 * // ... the loss and its gradients dys ...
 * dys.forEach((dy, i) => bn.observeGradient(dy, { x: micro[i] }));
 * const dxs = dys.map((dy, i) => bn.backward(dy, { x: micro[i] }));
 * ```
 */
export class AccumulatedBatchNorm extends BatchNorm {
  readonly #statistics: StatisticsAccumulator;
  readonly #saved: GPUBuffer;
  readonly #sums: Gathering;
  #plans = new PlanCache(this.device, PLANS);
  /** The last one of this batch; null before the first batch. */
  #sweep: Sweep | null = null;
  #inputs = new WeakMap<Tensor, Noted>();
  #gradients = new WeakMap<Tensor, NotedGradient>();
  /** Whether gammaGrad and betaGrad hold what this batch gives. */
  #filled = { gamma: false, beta: false };
  /** x and residual of the last forward in evaluation, until its backward. */
  #evaluated: readonly [Tensor, Tensor | null] | null = null;

  /** @throws OptionError; DeviceLostError where the loss is known by then. */
  constructor(device: GPUDevice, channels: number, options: BatchNormOptions = {}) {
    const kind = "AccumulatedBatchNorm";
    requireObject(kind, options);
    if (options.inPlace) {
      throw new OptionError(
        complain(`${kind}: inPlace`, "false", "true", "use BatchNorm for what works in place"),
      );
    }
    super(device, channels, options, kind, [2, 3, 4, 5]);
    const usage = USAGE.STORAGE | USAGE.COPY_SRC | USAGE.COPY_DST;
    const { saved } = statisticsByteSizes({ shape: [1, channels] });
    this.#statistics = new StatisticsAccumulator(device, channels, this.options);
    this.#saved = createBuffer(device, "bn.accumulated/saved", saved, usage);
    this.#sums = new Gathering(device, "bn.accumulated/sums", (parts) =>
      sumsBytes(channels, parts),
    );
  }

  /**
   * First sweep of a batch: takes a micro-batch's statistics. After anything else it begins the next batch.
   *
   * @throws ContextError in evaluation; ShapeError, BufferError, DestroyedError, DeviceLostError.
   */
  observe(x: Tensor, options: { encoder?: Target | undefined } = {}): void {
    const subject = "observe";
    requireKnown(subject, options, ["encoder"]);
    super.requireInput(subject, x);
    this.#requireTraining(subject);
    const begins = this.#sweep !== subject;
    const inputs = begins ? new WeakMap<Tensor, Noted>() : this.#inputs;
    const noted = inputs.get(x);
    if (noted) requireNoted(`${subject}: x`, x, noted);
    this.#statistics.attempt(() => {
      if (begins) this.#statistics.reset();
      this.#statistics.add(x, options);
    });
    this.#sweep = subject;
    this.#inputs = inputs.set(x, { version: x.version });
  }

  /**
   * Second sweep: normalises a micro-batch by the statistics of all that were observed.
   *
   * @throws ContextError where x was not observed, or written over since; and as {@link BatchNorm.forward}.
   */
  override forward(x: Tensor, options: AccumulatedForwardOptions = {}): Tensor {
    if (!this.training) {
      const y = super.forward(x, options);
      this.#evaluated = [x, options.residual ?? null];
      return y;
    }
    const subject = "forward";
    super.requireInput(subject, x);
    this.#requireSweep(subject, ["observe", "forward"], "observe() every micro-batch first");
    const noted = this.#requireInput(subject, x);
    requireKnown(subject, options, ["out", "residual", "encoder"]);
    const extent = extentOf(subject, x.shape, this.options.layout);
    const count = this.#statistics.values;
    requireTrainable(subject, { ...extent, count }, this.options.singleValue);
    const { residual, encoder } = options;
    const kept = residual && { tensor: residual, version: residual.version };
    const learns = this.#sweep === "observe" && this.options.trackRunningStats;
    const plan = this.#planOf(subject, x, residual, encoder, learns, () =>
      createStatisticsForwardSync(this.device, {
        ...this.#describe(x, residual),
        ...{ statistics: "given", trackRunningStats: learns },
      }),
    );
    const y = options.out ?? Tensor.empty(this.device, x.shape, { dtype: x.dtype });
    try {
      this.#statistics.attempt(() => {
        const statistics = this.#statistics.total(encoder);
        record(this.device, "accumulated.forward", encoder, (target) => {
          plan.encode(target, {
            ...{ x, y, statistics, saved: this.#saved },
            ...(residual ? { residual } : {}),
            ...(this.gamma && this.beta ? { gamma: this.gamma, beta: this.beta } : {}),
            ...(learns ? { state: this.runningMean!.buffer } : {}),
          });
        });
      });
    } catch (error) {
      if (!options.out) y.destroy();
      throw error;
    }
    this.#sweep = "forward";
    noted.residual = kept;
    if (learns) for (const each of [this.runningMean, this.runningVar]) each!.touch();
    return y;
  }

  /**
   * First sweep back: takes a micro-batch's sums of dz and dz * xHat.
   *
   * @throws ContextError where x was not observed, or x or its residual written over since; ShapeError, BufferError,
   * DestroyedError, DeviceLostError.
   */
  observeGradient(
    dy: Tensor,
    options: Omit<AccumulatedBackwardOptions, "out" | "accumulate" | "wants">,
  ): void {
    const subject = "observeGradient";
    requireKnown(subject, options, ["x", "residual", "encoder"]);
    const { x, residual, encoder } = options;
    super.requireInput(subject, x);
    this.#requireTraining(subject);
    this.#requireSweep(
      subject,
      ["forward", "observeGradient"],
      "forward() every micro-batch first",
    );
    this.#requireInput(subject, x, { residual });
    requireTensor(`${subject}: dy`, dy);
    const begins = this.#sweep !== subject;
    const gradients = begins ? new WeakMap<Tensor, NotedGradient>() : this.#gradients;
    const { count } = extentOf(subject, x.shape, this.options.layout);
    const noted = gradients.get(dy);
    if (noted) requireNoted(`${subject}: dy`, dy, noted);
    this.#sums.attempt(() => {
      if (begins) this.#sums.reset();
      record(this.device, "accumulated.sums", encoder, (target) => {
        const part = this.#sums.next(this.#merge(target, encoder), count);
        const plan = this.#planOf("sums", x, residual, encoder, part, () =>
          createSumsSync(this.device, {
            ...this.#describe(x, residual),
            ...{ part, parts: PARTS, residualGrad: false },
          }),
        );
        const given = { x, dy, saved: this.#saved, sums: this.#sums.parts };
        plan.encode(target, { ...given, ...(residual ? { residual } : {}) });
      });
    });
    this.#sweep = subject;
    const of = noted?.of ?? new WeakSet<Tensor>();
    this.#gradients = gradients.set(dy, { version: dy.version, of: of.add(x) });
    if (begins) this.#filled = { gamma: false, beta: false };
  }

  override backward(
    dy: Tensor,
    options: AccumulatedBackwardOptions & { wants: { x: false } },
  ): null;
  override backward(
    dy: Tensor,
    options: AccumulatedBackwardOptions & { wants?: { x?: true | undefined } | undefined },
  ): Tensor;
  override backward(dy: Tensor, options: AccumulatedBackwardOptions): Tensor | null;
  /**
   * Second sweep back: dx of a micro-batch; the first one that wants them fills gammaGrad and betaGrad for the whole batch.
   *
   * @throws ContextError where x or dy was not observed, or not with each other, or one of them or the residual written over
   * since, or where not every micro-batch's gradient was observed; and as {@link BatchNorm.backward}.
   */
  override backward(dy: Tensor, options: AccumulatedBackwardOptions): Tensor | null {
    const subject = "backward";
    requireKnown(subject, options, BACKWARD_NAMES);
    if (!this.training) return this.#backwardInEvaluation(subject, dy, options);
    requireWants("backward: wants", options.wants);
    this.requireAffine(subject, options.wants);
    const { x, residual, encoder, accumulate = false } = options;
    super.requireInput(subject, x);
    const remedy = "observeGradient() every micro-batch first";
    this.#requireSweep(subject, ["observeGradient", "backward"], remedy);
    this.#requireInput(subject, x, { residual });
    requireTensor(`${subject}: dy`, dy);
    const noted = this.#gradients.get(dy);
    requireNoted(`${subject}: dy`, dy, noted, "pass it to observeGradient()");
    if (!noted.of.has(x)) {
      const expected = "one of those that observeGradient() had it for";
      const remedy = "pass to both sweeps the same x beside a dy";
      throw new ContextError(complain(`${subject}: x, beside dy`, expected, "another", remedy));
    }
    const [all, some] = [this.#statistics.values, this.#sums.values];
    if (all !== some) {
      const expected = `gradients of the ${all} values per channel that were observed`;
      throw new ContextError(complain(subject, expected, String(some), remedy));
    }
    const { affine } = this.options;
    const filled = this.#filled;
    const wants = {
      x: options.wants?.x ?? true,
      gamma: affine && !filled.gamma && (options.wants?.gamma ?? true),
      beta: affine && !filled.beta && (options.wants?.beta ?? true),
    };
    const grads = wants.gamma || wants.beta;
    if (!wants.x && !grads && !options.out) return null;
    const key = [...Object.values(wants), accumulate].join();
    const plan = this.#planOf("backward", x, residual, encoder, key, () =>
      createStatisticsBackwardSync(this.device, {
        ...this.#describe(x, residual),
        ...{ sums: "given", wants, accumulate },
      }),
    );
    // What is not wanted and given all the same, the plan refuses.
    const dx =
      options.out ?? (wants.x ? Tensor.empty(this.device, x.shape, { dtype: x.dtype }) : null);
    try {
      this.#sums.attempt(() => {
        record(this.device, "accumulated.backward", encoder, (target) => {
          const sums = this.#sums.whole(this.#merge(target, encoder));
          plan.encode(target, {
            ...{ x, dy, saved: this.#saved, sums },
            ...(residual ? { residual } : {}),
            ...(dx ? { dx } : {}),
            ...(wants.gamma ? { dGamma: this.gammaGrad! } : {}),
            ...(wants.beta ? { dBeta: this.betaGrad! } : {}),
          });
        });
      });
    } catch (error) {
      if (!options.out) dx?.destroy();
      throw error;
    }
    this.#sweep = subject;
    this.#filled = { gamma: filled.gamma || wants.gamma, beta: filled.beta || wants.beta };
    return dx;
  }

  /** As {@link BatchNorm.prepare}, for micro-batches of this shape. */
  override async prepare(shape: readonly number[], options: PrepareOptions = {}): Promise<void> {
    const { trackRunningStats, affine } = this.options;
    await this.prepareModes(shape, options, trackRunningStats ? ["evaluation"] : []);
    const { device, channels } = this;
    const { dtype = "f32", residual = false } = options;
    const { layout } = this.options;
    const descriptor = { ...this.options, shape, dtype, residual };
    const wants = { x: true, gamma: affine, beta: affine };
    // What a merge compiles depends on their number.
    const merges = Array.from({ length: PARTS }, (_, i) => ({ channels, parts: i + 2 }));
    await compiled([
      createStatistics(device, { shape, dtype, layout }),
      ...merges.map((each) => createMergeStatistics(device, each)),
      ...[false, ...(trackRunningStats ? [true] : [])].map((learns) =>
        createStatisticsForward(device, {
          ...descriptor,
          ...{ statistics: "given", trackRunningStats: learns },
        }),
      ),
      createSums(device, { ...descriptor, residualGrad: false }),
      ...merges.map((each) => createMergeSums(device, each)),
      createStatisticsBackward(device, { ...descriptor, sums: "given", wants }),
    ]);
  }

  /** There each micro-batch is for itself: its backward follows its forward. */
  #backwardInEvaluation(
    subject: string,
    dy: Tensor,
    { x, residual, ...options }: AccumulatedBackwardOptions,
  ): Tensor | null {
    const evaluated = this.#evaluated;
    const given = [x, residual ?? null] as const;
    for (const [index, name] of (["x", "residual"] as const).entries()) {
      if (!evaluated || given[index] === evaluated[index]) continue;
      throw new ContextError(
        complain(
          `${subject}: ${name}`,
          `the ${name} of the last forward`,
          given[index] ? "another tensor" : "nothing",
          "in evaluation, call backward after each forward",
        ),
      );
    }
    const dx = super.backward(dy, options);
    this.#evaluated = null;
    return dx;
  }

  override destroy(): void {
    super.destroy();
    this.#evaluated = null;
    this.#plans.destroy();
    this.#statistics.destroy();
    for (const each of [this.#saved, this.#sums]) each.destroy();
  }

  #describe(x: Tensor, residual: Tensor | undefined) {
    return { ...this.options, shape: x.shape, dtype: x.dtype, residual: residual !== undefined };
  }

  #planOf<P extends { destroy(): void }>(
    what: string,
    x: Tensor,
    residual: Tensor | undefined,
    encoder: Target | undefined,
    rest: unknown,
    make: () => P,
  ): P {
    const key = [what, x.shape.join("x"), x.dtype, residual !== undefined, String(rest)].join();
    return this.#plans.get(key, encoder !== undefined, make);
  }

  #merge(target: Target, encoder: Target | undefined): Merge {
    const { channels } = this;
    return (parts, count, into, slot) => {
      const merge = this.#plans.get(`merge ${count} ${slot}`, encoder !== undefined, () =>
        createMergeSumsSync(this.device, { channels, parts: count, slot }),
      );
      merge.encode(target, { parts, sums: into });
    };
  }

  #requireTraining(subject: string): void {
    if (this.training) return;
    throw new ContextError(
      complain(subject, "training mode", "evaluation", "call train(), or forward() alone"),
    );
  }

  #requireSweep(subject: Sweep, after: readonly Sweep[], remedy: string): void {
    if (this.#sweep && after.includes(this.#sweep)) return;
    const wanted = after.map((each) => `${each}()`).join(" or ");
    const received = this.#sweep ? `${this.#sweep}()` : "none observed";
    throw new ContextError(complain(subject, `${wanted} before it`, received, remedy));
  }

  /** @throws ContextError where a micro-batch is not what it was in the sweeps before. */
  #requireInput(subject: string, x: Tensor, back?: { residual: Tensor | undefined }): Noted {
    const noted = this.#inputs.get(x);
    requireNoted(`${subject}: x`, x, noted, "observe() it, or pass the tensor that was");
    if (!back) return noted;
    const { residual } = back;
    const kept = noted.residual;
    // Without an activation dz is dy, and nothing depends on the residual.
    const needed = this.options.activation !== "none" || residual !== undefined;
    if (needed && residual !== kept?.tensor) {
      throw new ContextError(
        complain(
          `${subject}: residual`,
          kept ? "that of its forward" : "none, as in its forward",
          residual ? "another" : "none",
          "pass to each sweep what forward() got",
        ),
      );
    }
    if (residual) requireNoted(`${subject}: residual`, residual, kept);
    return noted;
  }
}

function requireNoted(
  subject: string,
  tensor: Tensor,
  noted: Pick<Noted, "version"> | undefined,
  remedy = "",
): asserts noted {
  if (noted?.version === tensor.version) return;
  const [received, then] = noted
    ? ["one that was written over", "keep it as it is until backward()"]
    : ["one that was not", remedy];
  throw new ContextError(complain(subject, "one as it was observed", received, then));
}
