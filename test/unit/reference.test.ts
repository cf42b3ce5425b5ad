import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type ActivationName,
  type BatchNormOptions,
  extentOf,
  type Layout,
} from "../../src/descriptor.js";
import { OptionError, ShapeError, SingleValueError } from "../../src/errors.js";
import {
  activate,
  activationGradient,
  backward,
  type BackwardOptions,
  erfc,
  forward,
  inference,
} from "../../src/reference.js";
import "../support/allclose.js";
import {
  activationFixtures,
  decodeHalf,
  type FixtureCase,
  type FixtureExpectation,
  halfFixtures,
  halfUlp,
  kerasFixtures,
  pytorchFixtures,
  sequenceFixtures,
} from "../support/fixtures.js";
import { createRandom } from "../support/random.js";

/**
 * Both sides compute in float64 (2^-53 = 1.1e-16) sums of at most some hundred values, in another order, from values
 * of size 1 to 10: errors of some 1e-15 to 1e-14. 1e-12 leaves room and is far below any mistake worth the name.
 */
const FLOAT64 = 1e-12;

const ACTIVATIONS: readonly ActivationName[] = [
  "none",
  "relu",
  "relu6",
  "leaky-relu",
  "elu",
  "tanh",
  "sigmoid",
  "silu",
  "gelu",
  "hard-swish",
];
const KINKS: Partial<Record<ActivationName, readonly number[]>> = {
  relu: [0],
  relu6: [0, 6],
  "leaky-relu": [0],
  elu: [0],
  "hard-swish": [-3, 3],
};

const largest = (values: ArrayLike<number>): number =>
  Array.from(values).reduce((most, value) => Math.max(most, Math.abs(value)), 0);

/** Relative to the element, or to the largest of them where that cancelled. */
function bound(expected: ArrayLike<number>): { atol: number; rtol: number } {
  return { atol: FLOAT64 * largest(expected), rtol: FLOAT64 };
}

/** Picks a channel's elements out of an array in memory order. */
function channelOf(
  values: ArrayLike<number>,
  shape: readonly number[],
  layout: Layout,
  channel: number,
): number[] {
  const { channels, inner } = extentOf("test", shape, layout);
  return Array.from(values).filter((_, i) => Math.floor(i / inner) % channels === channel);
}

function expectFixture(fixture: FixtureCase<FixtureExpectation, ArrayLike<number>>): void {
  const { shape, options, x, dy, gamma, beta, residual, state } = fixture;
  const inputs = { ...options, gamma, beta, residual };
  for (const mode of ["training", "evaluation"] as const) {
    const expected = fixture[mode];
    const running = mode === "evaluation" ? { mean: state?.mean, variance: state?.variance } : {};
    const result =
      mode === "training"
        ? forward(x, shape, { ...inputs, state })
        : inference(x, shape, { ...inputs, ...running });
    expect(result.y, `${mode}: y`).toBeAllclose(expected.y, bound(expected.y));
    if (expected.mean && expected.varBiased) {
      expect(result.mean, `${mode}: mean`).toBeAllclose(expected.mean, bound(expected.mean));
      // Elementwise: a large variance beside it is no excuse for a channel's own.
      expect(result.varBiased, `${mode}: varBiased`).toBeAllclose(expected.varBiased, {
        rtol: FLOAT64,
      });
    }
    if (expected.state) {
      expect("state" in result && result.state).toEqual({
        mean: expect.any(Float64Array) as unknown,
        variance: expect.any(Float64Array) as unknown,
        numBatchesTracked: BigInt(expected.state.numBatchesTracked),
      });
      const updated = (result as ReturnType<typeof forward>).state!;
      expect(updated.mean).toBeAllclose(expected.state.mean, bound(expected.state.mean));
      expect(updated.variance).toBeAllclose(expected.state.variance, { rtol: FLOAT64 });
    }

    const gradients = backward(dy, x, shape, { ...inputs, ...running, mode });
    // dx cancels down from gamma·invStd·dz in each channel.
    const layout = options.layout ?? "channels-first";
    const { channels, inner } = extentOf("test", shape, layout);
    const scale = Array.from({ length: channels }, (_, c) => {
      const size = largest(channelOf(gradients.dz, shape, layout, c));
      return Math.abs(gamma?.[c] ?? 1) * gradients.invStd[c]! * size;
    });
    const ofChannel = (i: number): number => FLOAT64 * scale[Math.floor(i / inner) % channels]!;
    expect(gradients.dx, `${mode}: dx`).toBeAllclose(expected.dx, { atol: ofChannel });
    if (expected.dGamma && expected.dBeta) {
      const { sumAbsDz, sumAbsDzXHat } = gradients;
      expect(gradients.dBeta, `${mode}: dBeta`).toBeAllclose(expected.dBeta, {
        atol: sumAbsDz.map((sum) => FLOAT64 * sum),
      });
      expect(gradients.dGamma, `${mode}: dGamma`).toBeAllclose(expected.dGamma, {
        atol: sumAbsDzXHat.map((sum) => FLOAT64 * sum),
      });
    }
    if (expected.dResidual) {
      const { dResidual } = gradients;
      expect(dResidual, "dResidual").toBeAllclose(expected.dResidual, bound(expected.dResidual));
    } else {
      expect(gradients.dResidual).toBeNull();
    }
    if (expected.dMean && expected.dVar) {
      expect(gradients.dMean, "dMean").toBeAllclose(expected.dMean, bound(expected.dMean));
      expect(gradients.dVar, "dVar").toBeAllclose(expected.dVar, bound(expected.dVar));
    } else {
      expect(gradients.dMean).toBeNull();
      expect(gradients.dVar).toBeNull();
    }
  }
}

describe("against PyTorch", () => {
  it.each(pytorchFixtures.cases.map((fixture) => [fixture.name, fixture] as const))(
    "%s",
    (_, fixture) => {
      expectFixture(fixture);
    },
  );

  it.each(activationFixtures.cases.map((fixture) => [fixture.name, fixture] as const))(
    "fused: %s",
    (_, fixture) => {
      expectFixture(fixture);
    },
  );

  it.each(activationFixtures.scalars)("$activation alone, slope $slope", (row) => {
    const { activation, slope } = row;
    const size = (i: number): number => FLOAT64 * Math.min(1, Math.abs(row.z[i]!));
    const values = row.z.map((z) => activate(activation, z, slope));
    expect(values).toBeAllclose(row.value, { atol: size, rtol: FLOAT64 });
    const gradients = row.z.map((z) => activationGradient(activation, z, slope));
    expect(gradients).toBeAllclose(row.gradient, { atol: FLOAT64 });
  });

  it.each(sequenceFixtures.cases)("running statistics: $name", ({ options, steps, evaluation }) => {
    let state: NonNullable<ReturnType<typeof forward>["state"]> = {
      mean: new Float64Array(3),
      variance: new Float64Array(3).fill(1),
      numBatchesTracked: 0n,
    };
    for (const step of steps) {
      state = forward(step.x, step.shape, { ...options, state }).state!;
      expect(state.mean).toBeAllclose(step.state.mean, bound(step.state.mean));
      expect(state.variance).toBeAllclose(step.state.variance, { rtol: FLOAT64 });
      expect(state.numBatchesTracked).toBe(BigInt(step.state.numBatchesTracked));
    }
    const { y } = inference(evaluation.x, evaluation.shape, { ...options, ...pickRunning(state) });
    expect(y).toBeAllclose(evaluation.y, bound(evaluation.y));
  });

  it.each(sequenceFixtures.refusals)(
    "refuses what PyTorch refuses: $shape in $mode, tracking $trackRunningStats",
    ({ shape, mode, trackRunningStats, refused }) => {
      const values = new Float64Array(shape.reduce((a, b) => a * b)).fill(1);
      const running = { mean: [0, 0, 0], variance: [1, 1, 1] };
      const options = {
        trackRunningStats,
        ...(mode === "evaluation" && trackRunningStats ? running : {}),
      };
      const step = mode === "training" ? forward : inference;
      for (const call of [
        () => step(values, shape, options),
        () => backward(values, values, shape, { ...options, mode }),
      ]) {
        if (refused) expect(call).toThrow(SingleValueError);
        else expect(call).not.toThrow();
      }
      const zero = { ...options, singleValue: "zero" } as const;
      expect(() => step(values, shape, zero)).not.toThrow();
    },
  );

  it.each(halfFixtures.cases.map((fixture) => [fixture.name, fixture] as const))(
    "16 bits: %s",
    (_, fixture) => {
      const { dtype, shape } = fixture;
      const x = decodeHalf(fixture.x, dtype);
      const dy = decodeHalf(fixture.dy, dtype);
      const { residual: bits, ...rest } = fixture;
      expectFixture({ ...rest, x, dy, ...(bits && { residual: decodeHalf(bits, dtype) }) });

      // PyTorch itself computes in float32 (1e-5 of the largest is ample) and rounds once, by half a unit.
      const { options, gamma, beta, state } = fixture;
      for (const mode of ["training", "evaluation"] as const) {
        const { torchY, torchDx } = fixture[mode];
        if (!torchY || !torchDx) continue;
        const inputs = { ...options, gamma, beta };
        const running = mode === "evaluation" ? pickRunning(state!) : {};
        const { y } =
          mode === "training"
            ? forward(x, shape, inputs)
            : inference(x, shape, { ...inputs, ...running });
        const { dx } = backward(dy, x, shape, { ...inputs, ...running, mode });
        for (const [ours, theirs] of [
          [y, torchY],
          [dx, torchDx],
        ] as const) {
          const values = decodeHalf(theirs, dtype);
          const atol = (i: number): number =>
            0.5 * halfUlp(values[i]!, dtype) + 1e-5 * largest(ours);
          expect(ours).toBeAllclose(values, { atol });
        }
      }
    },
  );
});

function pickRunning<T>({ mean, variance }: { mean: T; variance: T }): { mean: T; variance: T } {
  return { mean, variance };
}

describe("against Keras", () => {
  it.each(kerasFixtures.cases)(
    "$name",
    ({ shape, layout, keras, gamma, beta, batches, evaluation }) => {
      const options: BatchNormOptions = {
        layout,
        eps: keras.epsilon,
        momentum: 1 - keras.momentum,
        runningVariance: "population",
        singleValue: "zero",
      };
      const { channels } = extentOf("test", shape, layout);
      const inputs = { ...options, gamma, beta };
      let state: NonNullable<ReturnType<typeof forward>["state"]> = {
        mean: new Float64Array(channels),
        variance: new Float64Array(channels).fill(1),
        numBatchesTracked: 0n,
      };
      for (const batch of batches) {
        const result = forward(batch.x, shape, { ...inputs, state });
        state = result.state!;
        expect(result.y).toBeAllclose(batch.y, bound(batch.y));
        expect(state.mean).toBeAllclose(batch.movingMean, bound(batch.movingMean));
        expect(state.variance).toBeAllclose(batch.movingVariance, { rtol: FLOAT64 });
        const { dx, dGamma, dBeta, invStd, dz } = backward(batch.dy, batch.x, shape, inputs);
        const scale = largest(gamma ?? [1]) * largest(invStd) * largest(dz);
        expect(dx).toBeAllclose(batch.dx, { atol: FLOAT64 * scale });
        if (batch.dGamma) expect(dGamma).toBeAllclose(batch.dGamma, bound(batch.dGamma));
        if (batch.dBeta) expect(dBeta).toBeAllclose(batch.dBeta, bound(batch.dBeta));
      }
      const { y } = inference(evaluation.x, shape, { ...inputs, ...pickRunning(state) });
      expect(y).toBeAllclose(evaluation.y, bound(evaluation.y));
    },
  );
});

describe("gradients by finite differences", () => {
  /**
   * Central differences of step h err by h²/6 times a third derivative (some 100 here, as gamma is up to 3 and invStd up
   * to 2) and by 2^-53·|loss|/h: with h = 1e-5 and a loss of about 10, 2e-9 and 1e-10. Kinks are kept 1e-3 away.
   */
  const STEP = 1e-5;
  const ERROR = 1e-7;

  for (const activation of ACTIVATIONS) {
    for (const mode of ["training", "evaluation", "evaluation without statistics"] as const) {
      for (const residual of [false, true]) {
        it(`${activation}, ${mode}${residual ? ", residual" : ""}`, () => {
          const shape = [3, 2, 4];
          const tracked = mode === "evaluation";
          const values = inputsAwayFromKinks(activation, shape, residual, tracked);
          const options: BackwardOptions = {
            activation,
            mode: mode === "training" ? "training" : "evaluation",
            trackRunningStats: mode !== "evaluation without statistics",
            ...(activation === "elu" && { slope: 1.3 }),
          };
          const { x, dy, ...named } = values;
          const loss = (): number => {
            const { mode: _, ...rest } = options;
            const step = mode === "training" ? forward : inference;
            const { y } = step(x, shape, { ...rest, ...named });
            return y.reduce((sum, value, i) => sum + value * dy[i]!, 0);
          };
          const numeric = (input: Float64Array): Float64Array =>
            input.map((value, i) => {
              input[i] = value + STEP;
              const above = loss();
              input[i] = value - STEP;
              const below = loss();
              input[i] = value;
              return (above - below) / (2 * STEP);
            });
          const result = backward(dy, x, shape, { ...options, ...named });
          const atol = ERROR;
          expect(result.dx).toBeAllclose(numeric(x), { atol });
          expect(result.dGamma).toBeAllclose(numeric(named.gamma), { atol });
          expect(result.dBeta).toBeAllclose(numeric(named.beta), { atol });
          if (named.residual) {
            expect(result.dResidual).toBeAllclose(numeric(named.residual), { atol });
          }
          if (named.mean && named.variance) {
            expect(result.dMean).toBeAllclose(numeric(named.mean), { atol });
            expect(result.dVar).toBeAllclose(numeric(named.variance), { atol });
          }
        });
      }
    }
  }

  function inputsAwayFromKinks(
    activation: ActivationName,
    shape: readonly number[],
    residual: boolean,
    tracked: boolean,
  ) {
    for (let seed = 1; ; seed++) {
      const random = createRandom(seed);
      const size = shape.reduce((a, b) => a * b);
      const normals = (length: number, mean = 0, std = 1): Float64Array =>
        Float64Array.from(random.normals(length, mean, std));
      const values = {
        x: normals(size, 1, 2),
        dy: normals(size),
        gamma: Float64Array.of(3, -2),
        beta: Float64Array.of(0.5, 1),
        ...(residual && { residual: normals(size) }),
        ...(tracked && { mean: normals(2, 1), variance: Float64Array.of(2, 5) }),
      };
      const { x, dy: _, ...rest } = values;
      const options = { ...rest, trackRunningStats: tracked };
      const { z } = inference(x, shape, options);
      const kinks = KINKS[activation] ?? [];
      const near = z.some((value) => kinks.some((kink) => Math.abs(value - kink) < 1e-3));
      const sides = new Set(Array.from(z, (value) => kinks.filter((kink) => value > kink).length));
      // Every piece of the function is to be visited.
      if (!near && sides.size === kinks.length + 1) return values;
    }
  }
});

describe("properties", () => {
  const layouts: readonly Layout[] = ["channels-first", "channels-last"];
  const arbitrary = fc.record({
    seed: fc.integer(),
    shape: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 2, maxLength: 5 }),
    layout: fc.constantFrom(...layouts),
    activation: fc.constantFrom(...ACTIVATIONS),
  });
  const draw = (seed: number, shape: readonly number[], layout: Layout) => {
    const random = createRandom(seed);
    const extent = extentOf("test", shape, layout);
    return {
      extent,
      random,
      x: Float64Array.from(random.normals(extent.size)),
      dy: Float64Array.from(random.normals(extent.size)),
      gamma: random.normals(extent.channels),
      beta: random.normals(extent.channels),
    };
  };
  const check = (
    property: (given: {
      seed: number;
      shape: number[];
      layout: Layout;
      activation: ActivationName;
    }) => void,
  ) => fc.assert(fc.property(arbitrary, property), { numRuns: 100 });

  it("xHat has mean 0 and variance var/(var+eps) in every channel", () => {
    check(({ seed, shape, layout }) => {
      const { x, extent } = draw(seed, shape, layout);
      const { xHat, varBiased } = forward(x, shape, { layout, singleValue: "zero" });
      for (let c = 0; c < extent.channels; c++) {
        const values = channelOf(xHat, shape, layout, c);
        const mean = values.reduce((a, b) => a + b, 0) / values.length;
        const square = values.reduce((a, b) => a + b * b, 0) / values.length;
        const variance = varBiased[c]!;
        expect([mean, square]).toBeAllclose([0, variance / (variance + 1e-5)], { atol: FLOAT64 });
      }
    });
  });

  it("y does not change with x + constant, nor with x·s and eps·s²", () => {
    check(({ seed, shape, layout, activation }) => {
      const { x, gamma, beta } = draw(seed, shape, layout);
      const options = { layout, gamma, beta, activation, singleValue: "zero" } as const;
      const { y } = forward(x, shape, { ...options, eps: 1e-3 });
      // Powers of two, so that nothing is rounded; the shift is to be exact in float64 for f32 values.
      const scaled = forward(
        x.map((value) => value * 8),
        shape,
        { ...options, eps: 1e-3 * 64 },
      );
      expect(scaled.y).toBeAllclose(y, { atol: FLOAT64, rtol: FLOAT64 });
      const coarse = x.map((value) => Math.round(value * 1024) / 1024);
      const moved = forward(
        coarse.map((value) => value + 2 ** 24),
        shape,
        options,
      );
      expect(moved.y).toBeAllclose(forward(coarse, shape, options).y, { atol: FLOAT64 * 100 });
    });
  });

  it("dx sums to 0 and is orthogonal to xHat in training, up to eps", () => {
    check(({ seed, shape, layout, activation }) => {
      const { x, dy, gamma, beta, extent } = draw(seed, shape, layout);
      const options = { layout, gamma, beta, activation, singleValue: "zero", eps: 0 } as const;
      const { dx, xHat, invStd, sumAbsDz } = backward(dy, x, shape, options);
      for (let c = 0; c < extent.channels; c++) {
        const dxs = channelOf(dx, shape, layout, c);
        const xHats = channelOf(xHat, shape, layout, c);
        const sums = [
          dxs.reduce((a, b) => a + b, 0),
          dxs.reduce((sum, value, i) => sum + value * xHats[i]!, 0),
        ];
        const scale = Math.abs(gamma[c]!) * invStd[c]! * sumAbsDz[c]! * largest(xHats);
        expect(sums).toBeAllclose([0, 0], { atol: FLOAT64 * scale });
      }
    });
  });

  it("channels-last holds what channels-first holds", () => {
    check(({ seed, shape, activation }) => {
      const first = draw(seed, shape, "channels-first");
      const { outer, channels, inner, size } = first.extent;
      // Where element i of channels-last lies in channels-first.
      const from = Array.from({ length: size }, (_, i) => {
        const place = Math.floor(i / channels);
        const o = Math.floor(place / inner);
        return (o * channels + (i % channels)) * inner + (place % inner);
      });
      const last = (values: Float64Array): Float64Array => values.map((_, i) => values[from[i]!]!);
      const { x, dy, gamma, beta } = first;
      const options = { gamma, beta, activation, singleValue: "zero", residual: x } as const;
      const a = backward(dy, x, shape, options);
      const b = backward(last(dy), last(x), [outer, inner, channels], {
        ...options,
        residual: last(x),
        layout: "channels-last",
      });
      expect(b.z).toEqual(last(a.z));
      expect(b.dx).toEqual(last(a.dx));
      expect(b.dGamma).toEqual(a.dGamma);
    });
  });

  it("what one channel holds changes no bit of another", () => {
    check(({ seed, shape, layout, activation }) => {
      const { x, dy, gamma, beta, extent, random } = draw(seed, shape, layout);
      const options = { layout, gamma, beta, activation, singleValue: "zero" } as const;
      const victim = random.integer(0, extent.channels - 1);
      const spoil = (values: Float64Array): Float64Array =>
        values.map((value, i) =>
          Math.floor(i / extent.inner) % extent.channels === victim
            ? random.pick([NaN, Infinity, -Infinity, 1e300])
            : value,
        );
      const clean = { ...forward(x, shape, options), ...backward(dy, x, shape, options) };
      const spoilt = {
        ...forward(spoil(x), shape, options),
        ...backward(spoil(dy), spoil(x), shape, options),
      };
      for (const name of ["y", "dx"] as const) {
        for (let c = 0; c < extent.channels; c++) {
          if (c === victim) continue;
          const [a, b] = [clean[name], spoilt[name]].map((all) => channelOf(all, shape, layout, c));
          expect(b).toEqual(a);
        }
      }
    });
  });

  it("gamma = √(var+eps) and beta = mean undo it", () => {
    check(({ seed, shape, layout }) => {
      const { x } = draw(seed, shape, layout);
      const { mean, varBiased } = forward(x, shape, { layout, singleValue: "zero" });
      const gamma = varBiased.map((variance) => Math.sqrt(variance + 1e-5));
      const options = { layout, singleValue: "zero", gamma, beta: mean } as const;
      expect(forward(x, shape, options).y).toBeAllclose(x, { atol: FLOAT64 * 10 });
    });
  });

  it("stays accurate however far the values are from 0", () => {
    // Values n/16 are exact beside 2^40, so that the statistics of the offset data are those of the plain.
    const random = createRandom(5);
    const plain = Float64Array.from({ length: 4096 }, () => Math.round(random.normal() * 16) / 16);
    const shape = [4096, 1];
    const expected = forward(plain, shape);
    for (const offset of [1e2, 1e4, 1e6, 1e9, 2 ** 40]) {
      const { xHat, varBiased } = forward(
        plain.map((value) => value + offset),
        shape,
      );
      expect(varBiased).toBeAllclose(expected.varBiased, { rtol: 1e-14 });
      expect(xHat).toBeAllclose(expected.xHat, { atol: 1e-14, rtol: 1e-14 });
    }
  });
});

describe("sums keep what plain ones lose", () => {
  it("in the mean and the variance", () => {
    expect(forward([0, 1e16, 1, -1e16], [4, 1]).mean[0]).toBe(0.25);
    // Beside 2^55 a plain sum drops every single 1.
    const ones = Array.from({ length: 800 }, (_, i) => (i % 2 === 0 ? 1 : -1));
    const { varBiased } = forward([2 ** 27, -(2 ** 27), ...ones], [802, 1]);
    expect(varBiased[0]).toBe((2 ** 55 + 800) / 802);
  });

  it("in dBeta and dGamma", () => {
    const options = { mode: "evaluation", mean: [0], variance: [1], eps: 0 } as const;
    const { dBeta, dGamma } = backward([1e16, 1, -1e16], [1, 1, 1], [3, 1], options);
    expect([dBeta[0], dGamma[0]]).toEqual([1, 1]);
  });
});

describe("conventions", () => {
  const state = { mean: [5, 6], variance: [7, 8], numBatchesTracked: 3n };

  it.each([0, 0.1, 1 / 3, 7.3, -123456.79, 1e6 + 0.1, 1e30, 1e-30, 1e300])(
    "a channel of %d gives xHat = 0 exactly, and y = beta",
    (constant) => {
      for (const count of [2, 3, 7, 1000]) {
        const x = new Float64Array(count).fill(constant);
        const { xHat, varBiased, mean, y } = forward(x, [count, 1], { beta: [0.25] });
        expect(xHat.every((value) => value === 0)).toBe(true);
        expect([...varBiased, ...mean]).toEqual([0, constant]);
        expect(y.every((value) => value === 0.25)).toBe(true);
      }
    },
  );

  it("invStd = 0 where var + eps = 0: finite outputs and gradients", () => {
    const result = backward([1, 2, 3], [4, 4, 4], [3, 1], { eps: 0 });
    const { invStd, dx: dxs, dGamma, dBeta } = result;
    expect([...invStd, ...dxs, ...dGamma, ...dBeta]).toBeAllclose([0, 0, 0, 0, 0, 6]);
    const evaluation = { eps: 0, mean: [1], variance: [0] };
    expect(inference([1, 2, 3], [3, 1], evaluation).xHat).toEqual(new Float64Array(3));
    const { dx, dMean, dVar } = backward([1, 2, 3], [1, 2, 3], [3, 1], {
      ...evaluation,
      mode: "evaluation",
    });
    expect(dx).toEqual(new Float64Array(3));
    expect([...dMean!, ...dVar!]).toBeAllclose([0, 0]);
  });

  it("a variance below -eps, and NaN, give NaN in their channels alone", () => {
    const evaluation = { mean: [0, 0, 0], variance: [-0.5, NaN, -1e-6] };
    const { y, invStd } = inference([1, 1, 1], [1, 3], evaluation);
    expect([...y.subarray(0, 2), ...invStd.subarray(0, 2)]).toEqual([NaN, NaN, NaN, NaN]);
    expect(y[2]).toBeCloseTo(1 / Math.sqrt(9e-6), 9);
  });

  it("one value per channel: an error, or xHat = 0", () => {
    expect(() => forward([1, 2], [1, 2])).toThrow(SingleValueError);
    expect(() => backward([1, 2], [1, 2], [1, 2])).toThrow(SingleValueError);
    for (const runningVariance of ["unbiased", "population"] as const) {
      const options = { singleValue: "zero", runningVariance, momentum: 0.5 } as const;
      const result = forward([1, 2], [1, 2], { ...options, state, beta: [3, 4] });
      expect(result.xHat).toEqual(new Float64Array(2));
      expect(result.y).toEqual(Float64Array.of(3, 4));
      expect(result.state).toEqual({
        mean: Float64Array.of(3, 4),
        variance: Float64Array.of(3.5, 4),
        numBatchesTracked: 4n,
      });
      const { dx, dGamma, dBeta } = backward([1, 2], [1, 2], [1, 2], options);
      expect([...dx, ...dGamma, ...dBeta]).toBeAllclose([0, 0, 0, 0, 1, 2]);
    }
  });

  it("an empty batch gives empty outputs, zero gradients, and leaves the statistics alone", () => {
    for (const shape of [
      [0, 2],
      [0, 2, 3],
      [4, 2, 0, 5],
    ]) {
      const result = forward([], shape, { state, momentum: null });
      expect(result.y).toHaveLength(0);
      expect(result.state).toEqual({
        mean: Float64Array.of(5, 6),
        variance: Float64Array.of(7, 8),
        numBatchesTracked: 3n,
      });
      for (const mode of ["training", "evaluation"] as const) {
        const running = mode === "evaluation" ? pickRunning(state) : {};
        const gradients = backward([], [], shape, { mode, ...running });
        expect(gradients.dx).toHaveLength(0);
        expect([...gradients.dGamma, ...gradients.dBeta]).toEqual([0, 0, 0, 0]);
      }
      expect(inference([], shape, pickRunning(state)).y).toHaveLength(0);
    }
  });

  it("a NaN makes its channel NaN, relu included, and its running statistics with it", () => {
    const options = { activation: "relu", state, momentum: 0.5 } as const;
    const result = forward([NaN, 1, 2, 3], [2, 2], options);
    expect(result.y).toBeAllclose([NaN, 0, NaN, 1], { nan: true, atol: 1e-5 });
    expect(result.state!.mean).toBeAllclose([NaN, 4], { nan: true });
  });

  it("running variance divides by M-1 or by M; y does not change", () => {
    const x = [1, 0, 2, 0, 6, 0];
    const unbiased = forward(x, [3, 2], { state, momentum: 1 });
    const population = forward(x, [3, 2], { state, momentum: 1, runningVariance: "population" });
    expect(unbiased.state!.variance).toEqual(Float64Array.of(7, 0));
    expect(population.state!.variance).toBeAllclose([14 / 3, 0], { rtol: 1e-15 });
    expect(population.y).toEqual(unbiased.y);
    expect(unbiased.varBiased).toEqual(population.varBiased);
  });

  it("forgets what was there at momentum 1, and at the first batch of a cumulative average", () => {
    const was = { mean: [NaN], variance: [Infinity], numBatchesTracked: 0n };
    for (const momentum of [1, null]) {
      const { mean, variance } = forward([1, 3], [2, 1], { state: was, momentum }).state!;
      expect([mean, variance]).toEqual([Float64Array.of(2), Float64Array.of(2)]);
    }
  });

  it("gives the scales that tolerances are relative to, per channel", () => {
    const options = { mode: "evaluation", mean: [0, 0], variance: [1, 1], eps: 0 } as const;
    const result = backward([1, -5, -3, 2], [2, 1, -2, 7], [2, 2], options);
    expect([...result.sumAbsDz]).toEqual([4, 7]);
    expect([...result.sumAbsDzXHat]).toEqual([8, 19]);
    expect([...result.maxAbsDz]).toEqual([3, 5]);
  });

  it("changes none of its arguments", () => {
    const x = Float64Array.of(1, 2, 3, 4);
    const given = {
      mean: Float64Array.of(1, 2),
      variance: Float64Array.of(3, 4),
      numBatchesTracked: 1n,
    };
    const copies = [x.slice(), given.mean.slice(), given.variance.slice()];
    const { y, z } = forward(x, [2, 2], { state: given });
    expect([x, given.mean, given.variance]).toEqual(copies);
    expect(y).not.toBe(z);
  });

  it("elu's alpha is 1 and leaky-relu's slope 0.01 unless given", () => {
    expect(activate("elu", -1)).toBe(Math.expm1(-1));
    expect(activate("leaky-relu", -1)).toBe(-0.01);
    expect(activationGradient("leaky-relu", -1, 0.3)).toBe(0.3);
  });

  it("erfc keeps its digits on both ends", () => {
    // Wolfram's values, to 17 digits.
    const known: [number, number][] = [
      [-2, 1.9953222650189527],
      [-0.5, 1.5204998778130465],
      [0, 1],
      [0.5, 0.4795001221869535],
      [1.25, 0.07709987174354177],
      [2, 0.004677734981047266],
      [5, 1.5374597944280349e-12],
      [10, 2.088487583762545e-45],
      [30, 0],
    ];
    expect(known.map(([x]) => erfc(x))).toBeAllclose(
      known.map(([, y]) => y),
      { rtol: 1e-13 },
    );
    expect(erfc(NaN)).toBeNaN();
  });
});

describe("errors", () => {
  const x = [1, 2, 3, 4, 5, 6];
  const shape = [3, 2];
  const running = { mean: [0, 0], variance: [1, 1] };

  it.each<[string, () => unknown, new () => Error, string]>([
    [
      "x",
      () => forward([1], shape),
      ShapeError,
      "forward: x: 6 values (the product of [3, 2]), got 1",
    ],
    ["rank", () => forward(x, [6]), ShapeError, "forward: shape: rank 2 to 5, got [6]"],
    ["no channel", () => forward([], [3, 0]), ShapeError, "at least one channel"],
    [
      "gamma",
      () => forward(x, shape, { gamma: [1] }),
      ShapeError,
      "forward: gamma: 2 values (one per channel), got 1",
    ],
    [
      "beta",
      () => inference(x, shape, { ...running, beta: [1, 2, 3] }),
      ShapeError,
      "inference: beta: 2 values",
    ],
    [
      "residual",
      () => forward(x, shape, { residual: [1] }),
      ShapeError,
      "forward: residual: 6 values (as many as x)",
    ],
    [
      "dy",
      () => backward([1], x, shape),
      ShapeError,
      "backward: dy: 6 values (as many as x), got 1",
    ],
    [
      "mean",
      () => inference(x, shape, { variance: [1, 1] }),
      ShapeError,
      "inference: mean: 2 values (one per channel), got nothing",
    ],
    [
      "variance",
      () => backward(x, x, shape, { mode: "evaluation", mean: [1, 1], variance: [1] }),
      ShapeError,
      "backward: variance: 2 values",
    ],
    [
      "state",
      () => forward(x, shape, { state: { mean: [0], variance: [1, 1], numBatchesTracked: 0 } }),
      ShapeError,
      "forward: state.mean: 2 values",
    ],
    [
      "counter",
      () => forward(x, shape, { state: { ...running, numBatchesTracked: 0.5 } }),
      OptionError,
      "forward: state.numBatchesTracked: a whole number >= 0, got 0.5",
    ],
    [
      "negative counter",
      () => forward(x, shape, { state: { ...running, numBatchesTracked: -1n } }),
      OptionError,
      "got -1",
    ],
    [
      "gamma unasked",
      () => forward(x, shape, { affine: false, gamma: [1, 1] }),
      OptionError,
      "forward: gamma: nothing with affine: false",
    ],
    [
      "state unasked",
      () =>
        forward(x, shape, {
          trackRunningStats: false,
          state: { ...running, numBatchesTracked: 0 },
        }),
      OptionError,
      "forward: state: nothing with trackRunningStats: false",
    ],
    [
      "mean unasked",
      () => inference(x, shape, { trackRunningStats: false, mean: [0, 0] }),
      OptionError,
      "inference: mean: nothing with",
    ],
    [
      "mode",
      () => backward(x, x, shape, { mode: "test" as "training" }),
      OptionError,
      'backward: mode: "training" or "evaluation", got "test"',
    ],
    ["eps", () => forward(x, shape, { eps: -1 }), OptionError, "forward: eps"],
    ["activation", () => activate("swish" as "silu", 1), OptionError, "activate: activation"],
    ["slope", () => activationGradient("elu", 1, NaN), OptionError, "activationGradient: slope"],
  ])("%s", (_, call, type, message) => {
    expect(call).toThrow(type);
    expect(call).toThrow(message);
  });
});
