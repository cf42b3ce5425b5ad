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

/** Variations whose plans a layer keeps. */
const KEPT = 8;

/** Plans of one layer for the shapes that it meets. */
export class SyncPlans {
  readonly #kept = new Map<string, Map<string, Promise<Destroyable>>>();

  constructor(
    private readonly module: BatchNorm,
    /** Ranks whose parts are merged. */
    private readonly parts: number,
  ) {}

  of({ shape, dtype, residual }: Variation): PlansOfVariation {
    const { device, options } = this.module;
    const made = this.#madeOf(`${shape.join("x")} ${dtype} ${residual}`);
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
    for (const made of this.#kept.values()) destroyAll(made);
    this.#kept.clear();
  }

  #madeOf(key: string): Map<string, Promise<Destroyable>> {
    let made = this.#kept.get(key);
    if (made) {
      this.#kept.delete(key);
    } else {
      made = new Map();
      for (const [oldest, old] of this.#kept) {
        if (this.#kept.size < KEPT) break;
        this.#kept.delete(oldest);
        destroyAll(old);
      }
    }
    this.#kept.set(key, made);
    return made;
  }
}

function destroyAll(made: ReadonlyMap<string, Promise<Destroyable>>): void {
  for (const plan of made.values()) {
    plan.then(
      (each) => each.destroy(),
      () => undefined,
    );
  }
}
