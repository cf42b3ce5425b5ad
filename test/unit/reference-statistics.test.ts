import { describe, expect, it } from "vitest";
import { extentOf } from "../../src/descriptor.js";
import { BatchNormError } from "../../src/errors.js";
import {
  backward,
  forward,
  mergeStatistics,
  statistics,
  statisticsBackward,
  statisticsForward,
  type StatisticsOptions,
} from "../../src/reference.js";
import "../support/allclose.js";
import { statisticsFixtures } from "../support/fixtures.js";
import { createRandom } from "../support/random.js";

/** Both sides are float64 sums of at most some hundred values of size 1 to 10, in another order: see reference.test.ts. */
const FLOAT64 = 1e-12;
const near = { atol: FLOAT64 * 30, rtol: FLOAT64 };

const ones = (count: number, value = 1): Float64Array => new Float64Array(count).fill(value);

describe("against Keras", () => {
  it.each(statisticsFixtures.cases.map((each) => [each.name, each] as const))(
    "%s",
    (_, fixture) => {
      const { shape, layout, keras, gamma, beta, batches } = fixture;
      const { channels } = extentOf("test", shape, layout);
      let state = { mean: ones(channels, 0), variance: ones(channels), numBatchesTracked: 0n };
      let renorm = { mean: ones(channels, 0), deviation: ones(channels) };
      const { rmin, rmax, dmax } = keras.renormClipping ?? {};
      for (const batch of batches) {
        const options: StatisticsOptions = {
          ...{ layout, eps: keras.epsilon, gamma, beta, state, mask: batch.mask },
          momentum: 1 - keras.momentum,
          runningVariance: "population",
          ...(keras.renormMomentum === undefined
            ? {}
            : {
                renorm,
                renormMomentum: 1 - keras.renormMomentum,
                limits: {
                  ...(rmin === undefined ? {} : { rMin: rmin }),
                  ...(rmax === undefined ? {} : { rMax: rmax }),
                  ...(dmax === undefined ? {} : { dMax: dmax }),
                },
              }),
        };
        const made = statisticsForward(batch.x, shape, options);
        const gradients = statisticsBackward(batch.dy, batch.x, shape, options);
        expect(made.y).toBeAllclose(batch.y, near);
        expect(gradients.dx).toBeAllclose(batch.dx, near);
        if (batch.dGamma) expect(gradients.dGamma).toBeAllclose(batch.dGamma, near);
        if (batch.dBeta) expect(gradients.dBeta).toBeAllclose(batch.dBeta, near);
        state = made.state!;
        expect(state.mean).toBeAllclose(batch.movingMean, near);
        expect(state.variance).toBeAllclose(batch.movingVariance, near);
        if (batch.renormMean && batch.renormDeviation) {
          renorm = made.renorm!;
          expect(renorm.mean).toBeAllclose(batch.renormMean, near);
          expect(renorm.deviation).toBeAllclose(batch.renormDeviation, near);
        }
      }
      expect(state.numBatchesTracked).toBe(BigInt(batches.length));
    },
  );
});

const random = createRandom(31);
const SHAPE = [5, 3, 4] as const;
const X = Float64Array.from(random.normals(60, 1, 2));
const DY = Float64Array.from(random.normals(60));
const GAMMA = random.normals(3, 1);
const BETA = random.normals(3);
const MASK = Float64Array.from({ length: 20 }, (_, i) => (i % 3 === 1 ? 0 : 1));

describe("gradients against finite differences", () => {
  // Central differences of step h are off by h^2 times the third derivative (some 10 here) and 2^-53 |y| / h:
  // at h = 1e-5 1e-9 and 1e-10 for each of 60 terms.
  const step = 1e-5;
  const close = { atol: 1e-6 };
  const renorm = { mean: [0.3, -0.2, 0.8], deviation: [1.5, 2.5, 0.9] };
  const cases: readonly (readonly [string, StatisticsOptions])[] = [
    ["ghosts", { virtualBatchSize: 2, singleValue: "zero" }],
    ["mask", { mask: MASK }],
    ["renorm", { renorm, limits: { rMin: 0.5, rMax: 1.2, dMax: 0.4 } }],
    ["renorm of ghosts with an activation", { renorm, virtualBatchSize: 3, activation: "silu" }],
    ["mask with an activation", { mask: MASK, activation: "tanh" }],
  ];
  it.each(cases)("%s", (_, options) => {
    const all = { ...options, gamma: GAMMA, beta: BETA };
    const { r, d } = statisticsForward(X, SHAPE, all);
    const loss = (x: Float64Array, gamma: ArrayLike<number>, beta: ArrayLike<number>): number => {
      // r and d are constants of the gradient.
      const { y } = statisticsForward(x, SHAPE, { ...all, gamma, beta, correction: { r, d } });
      return y.reduce((sum, value, i) => sum + value * DY[i]!, 0);
    };
    const moved = (values: ArrayLike<number>, i: number, by: number): Float64Array => {
      const copy = Float64Array.from(values);
      copy[i]! += by;
      return copy;
    };
    const slope = (at: (by: number) => number): number => (at(step) - at(-step)) / (2 * step);
    const got = statisticsBackward(DY, X, SHAPE, all);
    expect(got.dx).toBeAllclose(
      X.map((_, i) => slope((by) => loss(moved(X, i, by), GAMMA, BETA))),
      close,
    );
    expect(got.dGamma).toBeAllclose(
      Array.from(GAMMA, (_, i) => slope((by) => loss(X, moved(GAMMA, i, by), BETA))),
      close,
    );
    expect(got.dBeta).toBeAllclose(
      Array.from(BETA, (_, i) => slope((by) => loss(X, GAMMA, moved(BETA, i, by)))),
      close,
    );
  });
});

describe("parts", () => {
  it("merge to the statistics of all, however they are cut", () => {
    const whole = statistics(X, SHAPE);
    const { mean, varBiased } = forward(X, SHAPE);
    expect(whole.mean).toBeAllclose(mean, near);
    expect(whole.m2).toBeAllclose(
      varBiased.map((value) => value * 20),
      near,
    );
    const part = (from: number, to: number) =>
      statistics(X.subarray(12 * from, 12 * to), [to - from, 3, 4]);
    for (const parts of [
      [part(0, 1), part(1, 5)],
      [part(3, 5), part(0, 0), part(0, 3)],
      [part(0, 5)],
    ]) {
      const merged = mergeStatistics(parts);
      expect(merged.count).toBe(20);
      expect(merged.mean).toBeAllclose(whole.mean, near);
      expect(merged.m2).toBeAllclose(whole.m2, { rtol: FLOAT64 });
    }
    expect(mergeStatistics([part(0, 0), part(1, 1)])).toEqual(statistics([], [0, 3, 4]));
  });

  it("make of a shard what the whole batch makes of it", () => {
    const whole = forward(X, SHAPE, { gamma: GAMMA });
    const gradients = backward(DY, X, SHAPE, { gamma: GAMMA });
    const options = { gamma: GAMMA, statistics: statistics(X, SHAPE) };
    const shard = statisticsForward(X.subarray(12, 36), [2, 3, 4], options);
    expect(shard.y).toBeAllclose(whole.y.subarray(12, 36), near);
    const sums = { dz: gradients.dBeta, dzXHat: gradients.dGamma };
    const own = statisticsBackward(DY.subarray(12, 36), X.subarray(12, 36), [2, 3, 4], {
      ...options,
      sums,
    });
    expect(own.dx).toBeAllclose(gradients.dx.subarray(12, 36), near);
  });

  it("of a whole batch as one ghost are the core's", () => {
    const state = { mean: [0, 0, 0], variance: [1, 1, 1], numBatchesTracked: 0 };
    const plain = forward(X, SHAPE, { gamma: GAMMA, state });
    const ghost = statisticsForward(X, SHAPE, { gamma: GAMMA, state, virtualBatchSize: 9 });
    expect(ghost.y).toBeAllclose(plain.y, near);
    expect(ghost.state!.mean).toBeAllclose(plain.state!.mean, near);
    expect(ghost.state!.variance).toBeAllclose(plain.state!.variance, near);
  });
});

describe("renormalization's averages", () => {
  const renorm = { mean: [0], deviation: [1] };

  it("move with or without running statistics, and a weight of 1 forgets", () => {
    const state = { mean: [0], variance: [1], numBatchesTracked: 0 };
    const options = { renorm, renormMomentum: 0.5 };
    const found = statisticsForward([1, 2, 3, 5], [4, 1], options).renorm!;
    expect(found).toEqual(statisticsForward([1, 2, 3, 5], [4, 1], { ...options, state }).renorm);
    expect(found.mean[0]).toBeCloseTo(1.375, 12);
    const broken = { renorm: { mean: [NaN], deviation: [NaN] }, renormMomentum: 1 };
    const anew = statisticsForward([1, 2, 3, 6], [4, 1], broken).renorm!;
    expect(anew.mean[0]).toBe(3);
  });

  it("give a constant channel 0 of 0, which is 0", () => {
    const made = statisticsForward([2, 2], [2, 1], {
      ...{ eps: 0, renorm: { mean: [2], deviation: [0] }, beta: [7] },
    });
    expect([...made.y]).toEqual([7, 7]);
  });
});

describe("what does not fit is an error, as in the core", () => {
  const dy = [1, 2, 3, 4];
  const state = { mean: [0], variance: [1], numBatchesTracked: 0 };
  const renorm = { mean: [0], deviation: [1] };
  it.each<[string, () => unknown, RegExp]>([
    ["x", () => statisticsForward([1, 2, 3], [2, 2]), /x: 4 values/],
    ["x of statistics", () => statistics([1, 2, 3], [2, 2]), /x: 4 values/],
    ["dy", () => statisticsBackward([1, 2], dy, [2, 2]), /dy: 4 values/],
    ["gamma", () => statisticsForward(dy, [2, 2], { gamma: [2] }), /gamma: 2 values/],
    ["state", () => statisticsForward(dy, [2, 2], { state }), /state.mean: 2 values/],
    ["residual", () => statisticsForward(dy, [2, 2], { residual: [2] }), /residual: 4 values/],
    [
      "counter",
      () => statisticsForward(dy, [4, 1], { state: { ...state, numBatchesTracked: 0.5 } }),
      /statisticsForward: state.numBatchesTracked: a whole number >= 0, got 0.5/,
    ],
    [
      "averages",
      () => statisticsForward(dy, [2, 2], { renorm: { mean: [0, 0], deviation: [1] } }),
      /renorm.deviation: 2 values \(one per channel.*, got 1;/,
    ],
    [
      "statistics",
      () => statisticsForward(dy, [2, 2], { statistics: { count: 2 } as never }),
      /statistics.mean: 2 values \(one per channel.*, got nothing;/,
    ],
    [
      "correction",
      () =>
        statisticsForward(dy, [4, 1], {
          ...{ virtualBatchSize: 2, renorm, correction: { r: [1, 1], d: [1] } },
        }),
      /correction.d: 2 values/,
    ],
    [
      "gamma without affine",
      () => statisticsForward(dy, [2, 2], { affine: false, gamma: [1, 1] }),
      /nothing with affine: false/,
    ],
    [
      "state without tracking",
      () => statisticsForward(dy, [4, 1], { trackRunningStats: false, state }),
      /nothing with trackRunningStats: false/,
    ],
    ...[0, -1, 1.5].map((virtualBatchSize): [string, () => unknown, RegExp] => [
      `virtualBatchSize ${virtualBatchSize}`,
      () => statisticsForward(dy, [2, 2], { virtualBatchSize }),
      /virtualBatchSize: a whole number >= 1/,
    ]),
  ])("%s", (_, call, message) => {
    expect(call).toThrow(BatchNormError);
    expect(call).toThrow(message);
  });
});

it("null is nothing, where nothing may be given", () => {
  const none = { gamma: null, beta: null, residual: null } as object;
  for (const run of [forward, statisticsForward])
    expect(run(X, SHAPE, { ...none, state: null as never })).toEqual(run(X, SHAPE));
  expect(backward(X, X, SHAPE, none)).toEqual(backward(X, X, SHAPE));
  const nothing = null as unknown as number[];
  expect(() => forward(nothing, SHAPE)).toThrow(/x: .* got nothing/);
  expect(() => statisticsBackward(nothing, X, SHAPE)).toThrow(/dy: .* got nothing/);
});
