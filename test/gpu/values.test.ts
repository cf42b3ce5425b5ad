/**
 * Forward in training, inference and backward in both modes against the float64 reference: layouts, ranks and options,
 * on every path of the dispatch.
 */
import { beforeAll, describe, expect, test } from "vitest";
import {
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  chooseDispatch,
  GPU_TUNING,
  SOFTWARE_TUNING,
  tensor,
  type BatchNormOptions,
  type Tuning,
  type Wants,
} from "../../src/index.js";
import { extentOf } from "../../src/descriptor.js";
import { backward, forward, inference } from "../../src/reference.js";
import { openDevice } from "../support/device.js";
import { createRandom } from "../support/random.js";
import {
  comparisons,
  rounded,
  Run,
  runOnce,
  runningTolerance,
  TUNINGS,
  type Call,
  type Inputs,
  type State,
} from "../support/tolerance.js";
import "../support/allclose.js";

let device: GPUDevice;
beforeAll(async () => {
  device = await openDevice();
});

type TuningName = keyof typeof TUNINGS;
const TUNING_NAMES = Object.keys(TUNINGS) as TuningName[];

/** Shapes of every rank and layout; sizes that four divides and that nothing divides; one chunk and several. */
const SHAPES: readonly (readonly [readonly number[], BatchNormOptions["layout"]])[] = [
  [[9, 5], "channels-first"],
  [[4, 5], "channels-first"], // four values: one block, which nothing merges
  [[4, 8], "channels-first"],
  [[20, 8], "channels-first"],
  [[70, 8], "channels-first"],
  [[2, 3], "channels-last"],
  [[4, 3, 7], "channels-first"],
  [[150, 3, 2], "channels-first"],
  [[1, 4, 12], "channels-first"],
  [[5, 7, 6], "channels-last"],
  [[3, 5, 3, 3], "channels-first"],
  [[4, 3, 8, 8], "channels-first"],
  [[7, 2, 9, 11], "channels-first"],
  [[8, 2, 5, 7], "channels-first"], // odd rows, of which four make a Value
  [[8, 8, 5, 5], "channels-first"], // odd rows of four channels, which a lane alone takes together
  [[5, 16, 3, 6], "channels-first"],
  [[3, 1, 5, 5], "channels-first"],
  [[6, 3, 1, 1], "channels-first"],
  [[3, 7, 9, 4], "channels-last"],
  [[2, 3, 3, 5], "channels-last"],
  [[5, 4, 4, 1], "channels-last"],
  [[2, 3, 2, 3, 4], "channels-first"],
  [[2, 2, 3, 5, 3], "channels-first"],
  [[2, 3, 2, 5, 12], "channels-last"],
];

/** Options in turn: neighbours in the list differ in several, and every value of each meets every path. */
const OPTIONS: readonly BatchNormOptions[] = [
  {},
  { affine: false, runningVariance: "population", eps: 1e-3, momentum: 0.5 },
  { trackRunningStats: false, eps: 0 },
  { momentum: null, eps: 1e-3 },
  { affine: false, trackRunningStats: false },
  { runningVariance: "population", momentum: 0, eps: 1 },
  { momentum: 1, eps: 0 },
  { affine: false, momentum: null, runningVariance: "population" },
];

const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

function inputsFor({ shape, options = {} }: Call, seed: number): Inputs & { dy: Float32Array } {
  const random = createRandom(seed);
  const { channels } = extentOf("test", shape, options.layout ?? "channels-first");
  const affine = options.affine ?? true;
  return {
    x: random.normals(size(shape), 2, 3),
    dy: random.normals(size(shape), 0.3),
    ...(affine ? { gamma: random.normals(channels, 0, 1.5), beta: random.normals(channels) } : {}),
    state: {
      mean: random.normals(channels),
      variance: random.uniforms(channels, 0.5, 3),
      numBatchesTracked: 4,
    },
  };
}

async function expectCall(call: Call, inputs: Inputs): Promise<void> {
  const outputs = await runOnce(device, call, inputs);
  const found = comparisons(call, inputs, outputs);
  for (const { name, actual, expected, atol } of found) {
    expect(actual, name).toBeAllclose(expected, { atol });
  }
  const affine = call.options?.affine ?? true;
  const tracked = (call.options?.trackRunningStats ?? true) && call.mode !== "evaluation";
  // y, and whatever else there is: nothing may go unnoticed.
  const wants = { x: true, gamma: affine, beta: affine, ...call.wants };
  const names = ["y", ...(tracked ? ["mean", "variance"] : [])];
  if (inputs.dy) {
    if (wants.x) names.push("dx");
    if (wants.gamma) names.push("dGamma");
    if (wants.beta) names.push("dBeta");
  }
  expect(found.map(({ name }) => name)).toEqual(names);
  if (tracked) {
    expect(outputs.state!.numBatchesTracked).toBe(inputs.state!.numBatchesTracked + 1);
  }
}

const CASES = SHAPES.map(([shape, layout], index) => ({
  shape,
  layout: layout!,
  index,
  title: `[${shape.join(", ")}] ${layout}`,
}));

test("the cases take every path, with teams and without", () => {
  const limits = { maxComputeWorkgroupsPerDimension: 65535 };
  const seen = new Set<string>();
  for (const { shape, layout } of CASES) {
    const extent = extentOf("test", shape, layout);
    for (const name of TUNING_NAMES) {
      const { path, value, team, chunks } = chooseDispatch(
        extent,
        "f32",
        "reduce",
        { ...TUNINGS[name], fence: true },
        limits,
      );
      seen.add(`${path} ${value} ${team > 1 ? "team" : "lane"}${chunks > 1 ? " chunks" : ""}`);
    }
  }
  for (const value of ["scalar", "row4", "rows4", "channels4"]) {
    for (const path of ["held", "whole"]) expect(seen).toContain(`${path} ${value} team`);
    expect(seen).toContain(`split ${value} team chunks`);
    expect(seen).toContain(`whole ${value} lane`);
  }
  expect(seen).toContain("whole quad lane");
});

describe.each(TUNING_NAMES.map((name, turn) => [name, turn] as const))(
  "tuning %s",
  (name, turn) => {
    const tuning = TUNINGS[name];

    // Others for each tuning: what takes the time are the kernels that only differ in them.
    test.each(CASES)("training: $title", async ({ shape, layout, index }) => {
      const options = { ...OPTIONS[(index + 3 * turn) % OPTIONS.length], layout };
      const call: Call = { shape, options, tuning };
      await expectCall(call, inputsFor(call, 100 * index + turn));
    });

    // Each shape in two tables of the four.
    const evaluated = CASES.filter(({ index }) => (index + turn) % 2 === 0);
    test.each(evaluated)("evaluation: $title", async ({ shape, layout, index }) => {
      const tracked = OPTIONS.filter(({ trackRunningStats }) => trackRunningStats !== false);
      const options = { ...tracked[(index + 3 * turn) % tracked.length], layout };
      const call: Call = { shape, options, tuning, mode: "evaluation" };
      await expectCall(call, inputsFor(call, 100 * index + 50 + turn));
    });

    test.each(["training", "evaluation"] as const)("each gradient left out: %s", async (mode) => {
      const flags = [true, false];
      for (const { shape, layout, index } of CASES.filter(({ index }) => [3, 14].includes(index))) {
        for (const x of flags)
          for (const gamma of flags)
            for (const beta of flags) {
              if (!x && !gamma && !beta) continue;
              const wants: Wants = { x, gamma, beta };
              const call: Call = { shape, options: { layout }, tuning, mode, wants };
              await expectCall(call, inputsFor(call, 7 * index));
            }
      }
    });

    test.each([0, 1e-5])("a running variance below 0 is not hidden: eps %d", async (eps) => {
      for (const { shape, layout, index } of CASES.filter(({ index }) => index % 5 === 2)) {
        const call: Call = { shape, options: { layout, eps }, tuning, mode: "evaluation" };
        const inputs = inputsFor(call, index);
        const state = { ...inputs.state!, variance: Float32Array.from(inputs.state!.variance) };
        state.variance[0] = -0.5;
        const { y, dx } = await runOnce(device, call, { ...inputs, state });
        const expected = await runOnce(device, call, inputs);
        const { channels, inner } = extentOf("test", shape, layout);
        for (const [name, found, others] of [
          ["y", y, expected.y],
          ["dx", dx!, expected.dx!],
        ] as const) {
          const first = (_: unknown, i: number): boolean => Math.floor(i / inner) % channels === 0;
          const wanted = Array.from(others, (value, i) => (first(value, i) ? NaN : value));
          expect([...found], `[${shape.join(", ")}]: ${name}`).toEqual(wanted);
        }
      }
    });

    test.each([null, 0.3])(
      "running statistics over three batches: momentum %s",
      async (momentum) => {
        for (const { shape, layout, index } of CASES.filter(({ index }) => index % 4 === 1)) {
          const options = { layout, momentum, affine: false } as const;
          const call: Call = { shape, options, tuning };
          const { channels } = extentOf("test", shape, layout);
          const start: State = {
            mean: new Float32Array(channels),
            variance: new Float32Array(channels).fill(1),
            numBatchesTracked: 0,
          };
          const run = await Run.prepare(device, call, {
            x: new Float32Array(size(shape)),
            state: start,
          });
          let expected: {
            mean: ArrayLike<number>;
            variance: ArrayLike<number>;
            numBatchesTracked: number | bigint;
          } = start;
          const atol = { mean: new Float64Array(channels), variance: new Float64Array(channels) };
          for (let batch = 0; batch < 3; batch++) {
            const { x } = inputsFor(call, 1000 * index + batch);
            run.tensorOf("x").write(Float32Array.from(x));
            run.submit();
            const result = forward(x, shape, { ...options, state: expected });
            const weight = momentum ?? 1 / (batch + 1);
            for (let c = 0; c < channels; c++) {
              // What was off before stays with weight 1 - momentum; each update adds its own.
              atol.mean[c] =
                (1 - weight) * atol.mean[c]! +
                runningTolerance.mean(
                  weight,
                  expected.mean[c]!,
                  result.mean[c]!,
                  result.varBiased[c]!,
                );
              atol.variance[c] =
                (1 - weight) * atol.variance[c]! +
                runningTolerance.variance(weight, expected.variance[c]!, 2 * result.varBiased[c]!);
            }
            expected = result.state!;
          }
          const { state } = await run.read();
          run.destroy();
          expect(state!.numBatchesTracked).toBe(3);
          expect(state!.mean).toBeAllclose(expected.mean, { atol: atol.mean });
          expect(state!.variance).toBeAllclose(expected.variance, { atol: atol.variance });
        }
      },
    );
  },
);

describe("odd rows of four channels, in chunks of rows", () => {
  const chunked = { minPerLane: 1, mergedBytes: 2 ** 40, wholePerLane: 0, fence: true };
  const alone: Tuning = { ...SOFTWARE_TUNING, ...chunked, targetInvocations: 256 };
  const teams: Tuning = {
    ...GPU_TUNING,
    ...chunked,
    targetInvocations: 4096,
    workgroupSize: 64,
    maxTeam: 64,
  };
  const small: Tuning = { ...teams, workgroupSize: 32, maxTeam: 16 };
  const cases = [
    ...(["f32", "f16", "bf16"] as const).map((dtype) => ["a lane alone", dtype, alone] as const),
    ...(["f16", "bf16"] as const).map((dtype) => ["a team, a place a lane", dtype, teams] as const),
    ...(["f16", "bf16"] as const).map((dtype) => ["a team, more places", dtype, small] as const),
  ];
  test.each(cases)("%s: %s", async (_, dtype, tuning) => {
    // Rows that are 1, 2 and 3 more than a number of Values, and chunks of which the last is shorter.
    for (const [index, shape] of [
      [9, 16, 5, 5],
      [11, 8, 2, 3],
      [7, 12, 7],
      [9, 8, 7, 7],
      [8, 16, 3, 3],
      [17, 8, 9],
    ].entries()) {
      const extent = extentOf("test", shape, "channels-first");
      const { value, chunks } = chooseDispatch(extent, dtype, "reduce", tuning, {
        maxComputeWorkgroupsPerDimension: 65535,
      });
      expect(value).toBe("quad");
      expect(chunks).toBeGreaterThan(1);
      for (const mode of ["training", "evaluation"] as const) {
        const call: Call = { shape, dtype, options: { activation: "silu" }, tuning, mode };
        const inputs = inputsFor(call, 17 * index);
        const x = rounded(inputs.x as Float32Array, dtype);
        await expectCall(call, { ...inputs, x, dy: rounded(inputs.dy, dtype) });
      }
    }
  });
});

describe("modules", () => {
  const modules = [
    [BatchNorm1d, [6, 5], "channels-first"],
    [BatchNorm1d, [4, 5, 7], "channels-first"],
    [BatchNorm1d, [4, 7, 5], "channels-last"],
    [BatchNorm2d, [3, 5, 4, 6], "channels-first"],
    [BatchNorm2d, [3, 4, 6, 5], "channels-last"],
    [BatchNorm3d, [2, 5, 2, 3, 4], "channels-first"],
    [BatchNorm3d, [2, 2, 3, 4, 5], "channels-last"],
  ] as const;
  const cases = modules.map(([Module, shape, layout], index) => ({
    Module,
    shape,
    layout,
    index,
    title: `${Module.name} [${shape.join(", ")}] ${layout}`,
  }));

  test.each(cases)("train, then eval: $title", async ({ Module, shape, layout, index }) => {
    for (const own of [OPTIONS[index]!, OPTIONS[(index + 4) % OPTIONS.length]!]) {
      const options = { ...own, layout };
      const affine = options.affine ?? true;
      const tracked = options.trackRunningStats ?? true;
      const bn = new Module(device, 5, options);
      const inputs = inputsFor({ shape, options }, 31 * index);
      const parameters = affine ? { gamma: inputs.gamma!, beta: inputs.beta! } : {};
      const state: State = {
        mean: new Float32Array(5),
        variance: new Float32Array(5).fill(1),
        numBatchesTracked: 0,
      };
      bn.gamma?.write(Float32Array.from(inputs.gamma!));
      bn.beta?.write(Float32Array.from(inputs.beta!));
      const x = tensor(device, Float32Array.from(inputs.x), shape);
      const dy = tensor(device, inputs.dy, shape);

      // With no running statistics evaluation takes the batch's, and its gradient is training's.
      const check = async (mode: "training" | "evaluation", known: State): Promise<State> => {
        const batch = mode === "training" || !tracked;
        const y = bn.forward(x);
        const dx = bn.backward(dy);
        const dict = await bn.stateDict();
        const call: Call = { shape, options, mode: batch ? "training" : "evaluation" };
        const outputs = {
          y: await y.read(),
          dx: await dx.read(),
          ...(affine
            ? { dGamma: await bn.gammaGrad!.read(), dBeta: await bn.betaGrad!.read() }
            : {}),
          ...(tracked && mode === "training"
            ? {
                state: {
                  mean: dict.running_mean!,
                  variance: dict.running_var!,
                  numBatchesTracked: Number(dict.num_batches_tracked),
                },
              }
            : {}),
          bits: {},
        };
        const found = comparisons(call, { ...inputs, ...parameters, state: known }, outputs);
        for (const { name, actual, expected, atol } of found) {
          expect(actual, `${mode}: ${name}`).toBeAllclose(expected, { atol });
        }
        expect(found.length).toBe(2 + (affine ? 2 : 0) + (outputs.state ? 2 : 0));
        y.destroy();
        dx.destroy();
        if (!tracked) {
          expect(dict.num_batches_tracked).toBeUndefined();
          return known;
        }
        expect(dict.num_batches_tracked).toBe(1n);
        return {
          mean: dict.running_mean!,
          variance: dict.running_var!,
          numBatchesTracked: Number(dict.num_batches_tracked),
        };
      };
      expect(bn.training).toBe(true);
      const learned = await check("training", state);
      bn.eval();
      await check("evaluation", learned);
      bn.destroy();
      x.destroy();
      dy.destroy();
    }
  });
});

test("the reference's modes differ where they should", () => {
  // Guards the comparisons themselves: evaluation by running statistics is not training.
  const x = [1, 2, 3, 5];
  const state = { mean: [0, 0], variance: [1, 1] };
  const { y } = forward(x, [2, 2]);
  const other = inference(x, [2, 2], state);
  expect(Math.abs(y[0]! - other.y[0]!)).toBeGreaterThan(0.5);
  const dx = backward([1, 0, 0, 0], x, [2, 2]).dx;
  expect(Math.abs(dx[0]! - 1)).toBeGreaterThan(0.5);
});
