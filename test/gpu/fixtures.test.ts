/** PyTorch's and Keras's own numbers, computed in float64 when the fixtures were made, on the device. */
import { beforeAll, describe, expect, test } from "vitest";
import {
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  tensor,
  type BatchNorm,
  type BatchNormOptions,
} from "../../src/index.js";
import { extentOf } from "../../src/descriptor.js";
import { openDevice } from "../support/device.js";
import {
  activationFixtures,
  decodeHalf,
  halfFixtures,
  kerasFixtures,
  pytorchFixtures,
  sequenceFixtures,
  type FixtureCase,
  type FixtureExpectation,
} from "../support/fixtures.js";
import {
  comparisons,
  runOnce,
  runningTolerance,
  TUNINGS,
  type Call,
  type Comparison,
  type Inputs,
  type State,
} from "../support/tolerance.js";
import "../support/allclose.js";

let device: GPUDevice;
beforeAll(async () => {
  device = await openDevice();
});

function expectAll(found: readonly Comparison[], names: readonly string[]): void {
  for (const { name, actual, expected, atol } of found) {
    expect(actual, name).toBeAllclose(expected, { atol });
  }
  expect(found.map(({ name }) => name)).toEqual(names);
}

const NAMES = Object.keys(TUNINGS) as (keyof typeof TUNINGS)[];

/** One case of the fixtures in both modes, on one or two of the tunings in turn: each variant is a compilation. */
async function expectFixture(
  fixture: FixtureCase<FixtureExpectation, ArrayLike<number>>,
  index: number,
  dtype: Call["dtype"] = "f32",
): Promise<void> {
  const { shape, options, x, dy, residual, gamma, beta, state } = fixture;
  const inputs: Inputs = {
    x,
    dy,
    ...(residual ? { residual } : {}),
    ...(gamma ? { gamma } : {}),
    ...(beta ? { beta } : {}),
    ...(state ? { state } : {}),
  };
  const tracked = options.trackRunningStats ?? true;
  for (const mode of ["training", "evaluation"] as const) {
    // Evaluation without running statistics is training's arithmetic.
    const batch = mode === "training" || !tracked;
    const expected = fixture[mode];
    const own = fixture.options.activation ?? dtype;
    const names =
      own === "f32" ? ["software" as const, NAMES[1 + (index % 3)]!] : [NAMES[index % 4]!];
    for (const name of names) {
      const tuning = TUNINGS[name];
      const call: Call = { shape, options, dtype, tuning, mode: batch ? "training" : mode };
      const outputs = await runOnce(device, call, inputs);
      expectAll(comparisons(call, inputs, outputs, expected), [
        "y",
        ...(expected.state ? ["mean", "variance"] : []),
        "dx",
        ...(expected.dGamma ? ["dGamma", "dBeta"] : []),
        ...(expected.dResidual ? ["dResidual"] : []),
      ]);
      if (expected.state) {
        expect(outputs.state!.numBatchesTracked).toBe(expected.state.numBatchesTracked);
      }
    }
  }
}

describe("PyTorch", () => {
  test.each(pytorchFixtures.cases)("$name", async (fixture) => {
    await expectFixture(fixture, pytorchFixtures.cases.indexOf(fixture));
  });

  test.each(activationFixtures.cases)("fused: $name", async (fixture) => {
    // Neighbours are with and without a residual: neither keeps to one half of the tunings.
    const index = activationFixtures.cases.indexOf(fixture);
    await expectFixture(fixture, index + (index >> 2));
  });

  test.each(halfFixtures.cases)("16 bits: $name", async (fixture) => {
    const { dtype, residual, ...rest } = fixture;
    await expectFixture(
      {
        ...rest,
        x: decodeHalf(fixture.x, dtype),
        dy: decodeHalf(fixture.dy, dtype),
        ...(residual ? { residual: decodeHalf(residual, dtype) } : {}),
      },
      halfFixtures.cases.indexOf(fixture),
      dtype,
    );
  });

  test.each(sequenceFixtures.cases)(
    "running statistics through a module: $name",
    async ({ options, steps, evaluation }) => {
      const bn = moduleFor(evaluation.shape, 3, options);
      const off = { mean: [0, 0, 0], variance: [0, 0, 0] };
      let before: State = { mean: [0, 0, 0], variance: [1, 1, 1], numBatchesTracked: 0 };
      for (const [index, step] of steps.entries()) {
        // A module of one rank takes them all: PyTorch's are its numbers whatever the rank.
        const x = tensor(device, step.x, as(step.shape, evaluation.shape.length));
        bn.forward(x).destroy();
        const dict = await bn.stateDict();
        expect(dict.num_batches_tracked).toBe(BigInt(step.state.numBatchesTracked));
        const momentum = options.momentum === undefined ? 0.1 : options.momentum;
        const weight = momentum ?? 1 / (index + 1);
        for (let c = 0; c < 3; c++) {
          // The batch's statistics, out of two states of PyTorch's.
          const batch = (of: "mean" | "variance"): number =>
            (step.state[of][c]! - (1 - weight) * before[of][c]!) / weight;
          off.mean[c] =
            (1 - weight) * off.mean[c]! +
            runningTolerance.mean(weight, before.mean[c]!, batch("mean"), batch("variance"));
          off.variance[c] =
            (1 - weight) * off.variance[c]! +
            runningTolerance.variance(weight, before.variance[c]!, batch("variance"));
        }
        expect(dict.running_mean).toBeAllclose(step.state.mean, { atol: off.mean });
        expect(dict.running_var).toBeAllclose(step.state.variance, { atol: off.variance });
        before = step.state;
        x.destroy();
      }
      bn.eval();
      const x = tensor(device, evaluation.x, evaluation.shape);
      const y = bn.forward(x);
      // y by statistics that are off as above: the mean's error in deviations, half of the variance's, relative.
      const { channels, inner } = extentOf("test", evaluation.shape, "channels-first");
      const atol = Float64Array.from(evaluation.y, (value, i) => {
        const c = Math.floor(i / inner) % channels;
        const deviation = Math.sqrt(before.variance[c]! + 1e-5);
        const moved = off.mean[c]! / deviation;
        const scaled = (Math.abs(value) * off.variance[c]!) / before.variance[c]!;
        return 2e-6 * Math.max(1, Math.abs(value)) + moved + scaled;
      });
      expect(await y.read()).toBeAllclose(evaluation.y, { atol });
      for (const each of [bn, x, y]) each.destroy();
    },
  );
});

function as(shape: readonly number[], rank: number): readonly number[] {
  if (shape.length === rank) return shape;
  const { outer, channels, inner } = extentOf("test", shape, "channels-first");
  const rest = rank === 2 ? [] : [inner, ...new Array<number>(rank - 3).fill(1)];
  if (rank === 2 && inner !== 1) throw new Error("a sequence of different ranks");
  return [outer, channels, ...rest];
}

function moduleFor(
  shape: readonly number[],
  channels: number,
  options: BatchNormOptions,
): BatchNorm {
  const Module = shape.length === 5 ? BatchNorm3d : shape.length === 4 ? BatchNorm2d : BatchNorm1d;
  return new Module(device, channels, options);
}

describe("Keras", () => {
  test.each(kerasFixtures.cases)(
    "$name",
    async ({ shape, layout, keras, gamma, beta, batches, evaluation }) => {
      const options: BatchNormOptions = {
        layout,
        eps: keras.epsilon,
        momentum: 1 - keras.momentum,
        runningVariance: "population",
        singleValue: "zero",
      };
      const { channels } = extentOf("test", shape, layout);
      const bn = moduleFor(shape, channels, options);
      if (gamma) bn.gamma!.write(gamma);
      if (beta) bn.beta!.write(beta);
      const parameters = { ...(gamma ? { gamma } : {}), ...(beta ? { beta } : {}) };
      let before: State = {
        mean: new Float32Array(channels),
        variance: new Float32Array(channels).fill(1),
        numBatchesTracked: 0,
      };
      const off = { mean: new Float64Array(channels), variance: new Float64Array(channels) };
      for (const [index, batch] of batches.entries()) {
        const x = tensor(device, batch.x, shape);
        const dy = tensor(device, batch.dy, shape);
        const y = bn.forward(x);
        const dx = bn.backward(dy);
        const dict = await bn.stateDict();
        const inputs: Inputs = { x: batch.x, dy: batch.dy, ...parameters, state: before };
        const outputs = {
          y: await y.read(),
          dx: await dx.read(),
          dGamma: await bn.gammaGrad!.read(),
          dBeta: await bn.betaGrad!.read(),
          state: {
            mean: dict.running_mean!,
            variance: dict.running_var!,
            numBatchesTracked: index + 1,
          },
          bits: {},
        };
        const state = { mean: batch.movingMean, variance: batch.movingVariance };
        const found = comparisons({ shape, options }, inputs, outputs, { ...batch, state });
        for (const { name, actual, expected, atol } of found) {
          if (name === "mean" || name === "variance") {
            // What earlier batches left off stays with Keras's momentum.
            const total = off[name];
            for (let c = 0; c < channels; c++) {
              total[c] = keras.momentum * total[c]! + atol[c]!;
            }
            expect(actual, name).toBeAllclose(expected, { atol: total });
          } else {
            expect(actual, name).toBeAllclose(expected, { atol });
          }
        }
        expect(found.map(({ name }) => name)).toEqual([
          ...["y", "mean", "variance", "dx"],
          ...(batch.dGamma ? ["dGamma"] : []),
          ...(batch.dBeta ? ["dBeta"] : []),
        ]);
        before = { ...state, numBatchesTracked: index + 1 };
        for (const each of [x, dy, y, dx]) each.destroy();
      }
      bn.eval();
      const x = tensor(device, evaluation.x, shape);
      const y = bn.forward(x);
      const { inner } = extentOf("test", shape, layout);
      const atol = Float64Array.from(evaluation.y, (value, i) => {
        const c = Math.floor(i / inner) % channels;
        const scale = Math.abs(gamma?.[c] ?? 1);
        const variance = before.variance[c]! + keras.epsilon;
        const size = Math.max(scale, Math.abs(value) + Math.abs(beta?.[c] ?? 0));
        return (
          2e-6 * size +
          (scale * off.mean[c]!) / Math.sqrt(variance) +
          (size * off.variance[c]!) / variance
        );
      });
      expect(await y.read()).toBeAllclose(evaluation.y, { atol });
      for (const each of [bn, x, y]) each.destroy();
    },
  );
});
