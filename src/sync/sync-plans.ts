import type { Wants } from "../backward.js";
import type { BatchNorm } from "../batchnorm.js";
import type { Dtype } from "../descriptor.js";
import {
  createStatistics,
  createStatisticsBackward,
  createStatisticsForward,
  createSums,
  type StatisticsBackwardPlan,
  type StatisticsForwardPlan,
  type StatisticsPlan,
  type SumsPlan,
} from "../statistics/index.js";

/** What plans depend on, beside the module's options. */
export interface Variation {
  readonly shape: readonly number[];
  readonly dtype: Dtype;
  readonly residual: boolean;
}

/** The plans of one variation, each made when it is first asked for. */
export interface PlansOfVariation {
  statistics(): Promise<StatisticsPlan>;
  forward(): Promise<StatisticsForwardPlan>;
  sums(residualGrad: boolean): Promise<SumsPlan>;
  input(): Promise<StatisticsBackwardPlan>;
  parameters(wants: Wants, accumulate: boolean): Promise<StatisticsBackwardPlan>;
}

interface Destroyable {
  destroy(): void;
}

/** What has been made for one variation. */
interface Kept {
  readonly made: Map<string, Promise<Destroyable>>;
  /** Calls that are about to record them. */
  users: number;
  /** Whether it has made room: whoever uses it last frees it. */
  isOut: boolean;
}

/** Variations whose plans a layer keeps. */
const KEPT = 8;

/** Plans of one layer for the shapes that it meets. */
export class SyncPlans {
  readonly #kept = new Map<string, Kept>();
  /** Whoever's turn comes later frees what it makes. */
  #destroyed = false;

  constructor(
    private readonly module: BatchNorm,
    /** Ranks whose parts are merged. */
    private readonly parts: number,
  ) {}

  /** Hands a variation's plans to whoever records them, and keeps them alive until that is done. */
  async use<T>(variation: Variation, action: (plans: PlansOfVariation) => Promise<T>): Promise<T> {
    const { shape, dtype, residual } = variation;
    const kept = this.#keptOf(`${shape.join("x")} ${dtype} ${residual}`);
    kept.users += 1;
    try {
      return await action(this.#of(variation, kept.made));
    } finally {
      kept.users -= 1;
      if (kept.isOut) free(kept);
    }
  }

  #of({ shape, dtype, residual }: Variation, made: Kept["made"]): PlansOfVariation {
    const { device, options } = this.module;
    // The count of a batch is known when all parts are: a shard may have one value.
    const common = { ...options, shape, dtype, singleValue: "zero" as const };
    const once = <T extends Destroyable>(name: string, make: () => Promise<T>): Promise<T> => {
      let found = made.get(name) as Promise<T> | undefined;
      if (!found) {
        found = make();
        made.set(name, found);
        found.catch(() => made.delete(name));
      }
      return found;
    };
    const { parts } = this;
    const backward = { ...common, residual, sums: "given" as const };
    return {
      statistics: () => once("statistics", () => createStatistics(device, common)),
      forward: () =>
        once("forward", () =>
          createStatisticsForward(device, { ...common, residual, statistics: "given", parts }),
        ),
      sums: (residualGrad) =>
        once(`sums ${residualGrad}`, () =>
          createSums(device, { ...common, residual, residualGrad }),
        ),
      input: () =>
        once("input", () =>
          createStatisticsBackward(device, {
            ...backward,
            parts,
            wants: { x: true, gamma: false, beta: false },
          }),
        ),
      parameters: ({ gamma = false, beta = false }, accumulate) =>
        once(`parameters ${gamma} ${beta} ${accumulate}`, () =>
          createStatisticsBackward(device, {
            ...backward,
            accumulate,
            wants: { x: false, gamma, beta },
          }),
        ),
    };
  }

  destroy(): void {
    this.#destroyed = true;
    for (const kept of this.#kept.values()) free(kept);
    this.#kept.clear();
  }

  #keptOf(key: string): Kept {
    let kept = this.#kept.get(key);
    if (kept) {
      this.#kept.delete(key);
    } else {
      kept = { made: new Map(), users: 0, isOut: this.#destroyed };
      for (const [oldest, old] of this.#kept) {
        if (this.#kept.size < KEPT) break;
        this.#kept.delete(oldest);
        free(old);
      }
    }
    this.#kept.set(key, kept);
    return kept;
  }
}

/** Frees plans, once nobody uses them any more. */
function free(kept: Kept): void {
  kept.isOut = true;
  if (kept.users > 0) return;
  for (const plan of kept.made.values()) {
    plan.then(
      (each) => each.destroy(),
      () => undefined,
    );
  }
}
