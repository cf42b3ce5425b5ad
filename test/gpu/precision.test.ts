/**
 * The bound where it is hard to keep: offsets up to a million deviations, outliers a million deviations away,
 * constant channels of any magnitude.
 */
import { beforeAll, describe, expect, test } from "vitest";
import {
  chooseDispatch,
  GPU_TUNING,
  SOFTWARE_TUNING,
  type BatchNormOptions,
  type Dtype,
} from "../../src/index.js";
import { extentOf } from "../../src/descriptor.js";
import { openDevice } from "../support/device.js";
import { createRandom } from "../support/random.js";
import {
  channelsOf,
  comparisons,
  rounded,
  runOnce,
  TUNINGS,
  type Call,
  type Inputs,
} from "../support/tolerance.js";
import "../support/allclose.js";

let device: GPUDevice;
beforeAll(async () => {
  device = await openDevice();
});

type Layout = NonNullable<BatchNormOptions["layout"]>;
type Outlier = "none" | "first" | "last";

const OFFSETS = [
  [0, 1],
  [3, 1],
  [100, 0.01],
  [1e4, 1],
  [1e6, 1],
] as const;

const SHAPES: readonly (readonly [readonly number[], Layout])[] = [
  [[16, 32, 14, 14], "channels-first"],
  [[4, 3, 7, 7], "channels-first"],
  [[64, 48], "channels-last"],
  [[61, 5], "channels-first"],
  [[5, 9, 7, 6], "channels-last"],
  [[3, 1, 37, 11], "channels-first"],
];

const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Normal values around an offset; every channel's first or last value is a million deviations away. */
function inputsFor(
  { shape, options }: Call,
  [offset, std]: readonly [number, number],
  outlier: Outlier,
  dtype: Dtype = "f32",
): Inputs {
  const random = createRandom(size(shape) + Math.round(offset) + outlier.length);
  const layout = options?.layout ?? "channels-first";
  const { channels } = extentOf("test", shape, layout);
  const x = random.normals(size(shape), offset, std);
  if (outlier !== "none") {
    const channel = channelsOf({ shape, options: { layout } });
    const placed = new Set<number>();
    for (let n = 0; n < x.length; n++) {
      const i = outlier === "first" ? n : x.length - 1 - n;
      const c = channel(i);
      if (placed.has(c)) continue;
      placed.add(c);
      x[i] = offset + (c % 2 === 0 ? 1e6 : -1e6) * std;
    }
  }
  return {
    x: rounded(x, dtype),
    dy: rounded(random.normals(size(shape), 0.2), dtype),
    gamma: random.normals(channels, 0.2, 1),
    beta: random.normals(channels),
    state: {
      mean: random.normals(channels, offset, std),
      variance: random.uniforms(channels, 0.5, 2).map((value) => value * std * std),
      numBatchesTracked: 0,
    },
  };
}

async function expectWithin(call: Call, inputs: Inputs): Promise<void> {
  const found = comparisons(call, inputs, await runOnce(device, call, inputs));
  for (const { name, actual, expected, atol } of found) {
    expect(actual, name).toBeAllclose(expected, { atol });
  }
  expect(found.length).toBe(call.mode === "evaluation" ? 4 : 6);
}

// Where a compiler reassociates, only the fence keeps the order; SwiftShader is measured to keep it without.
describe.each(["software", "gpu", "whole", "split"] as const)("tuning %s", (name) => {
  const fences = name === "gpu" ? ["always", "as the device needs"] : ["as the device needs"];
  describe.each(fences)("fence %s", (fence) => {
    const forced = fence === "always";
    const tuning = { ...TUNINGS[name], ...(forced && { fence: true }) };
    test.each(OFFSETS)("training, %d +- %d", async (offset, std) => {
      for (const [shape, layout] of SHAPES) {
        for (const outlier of ["none", "first", "last"] as const) {
          if (shape[0] === 16 && (outlier === "last" || forced === (name === "software"))) continue;
          const call: Call = { shape, options: { layout }, tuning };
          await expectWithin(call, inputsFor(call, [offset, std], outlier));
        }
      }
    });

    test.each(OFFSETS)("evaluation, %d +- %d", async (offset, std) => {
      for (const [shape, layout] of SHAPES.slice(1)) {
        const call: Call = { shape, options: { layout }, tuning, mode: "evaluation" };
        await expectWithin(call, inputsFor(call, [offset, std], "none"));
      }
    });

    test("a constant channel gives exactly beta, whatever the constant", async () => {
      for (const [shape, layout] of SHAPES.slice(1)) {
        for (const eps of [1e-5, 0]) {
          const call: Call = { shape, options: { layout, eps }, tuning };
          const { channels, inner } = extentOf("test", shape, layout);
          const constants = [1e30, -1e30, 1e-30, 0, 0.1, 16777217, -3.3e38, 1 / 3];
          const at = (i: number): number => Math.floor(i / inner) % channels;
          const x = Float32Array.from({ length: size(shape) }, (_, i) => constants[at(i) % 8]!);
          const random = createRandom(5);
          const beta = random.normals(channels);
          const dy = random.normals(size(shape));
          const gamma = random.normals(channels);
          const outputs = await runOnce(device, call, { x, dy, gamma, beta });
          expect(outputs.y).toEqual(Float32Array.from(x, (_, i) => beta[at(i)]!));
          // xHat is 0 exactly: so is its sum with dz. (0 may have a sign.)
          expect(outputs.dGamma).toBeAllclose(new Float32Array(channels));
          const learned = Float32Array.from({ length: channels }, (_, c) => constants[c % 8]!);
          expect(outputs.state!.mean).toBeAllclose(
            learned.map((value) => Math.fround(0.1) * value),
            { rtol: 2 ** -22, atol: 2 ** -126 },
          );
          // variance 0: 0.9 of the 1 that it started from
          expect(outputs.state!.variance).toBeAllclose(new Float32Array(channels).fill(0.9), {
            rtol: 2 ** -22,
          });
          if (eps === 0) expect(outputs.dx).toBeAllclose(new Float32Array(x.length));
          else for (const value of outputs.dx!) expect(Number.isFinite(value)).toBe(true);
        }
      }
    });

    test("inference with variance 0 and eps 0 gives exactly beta", async () => {
      for (const [shape, layout] of SHAPES.slice(1)) {
        const call: Call = { shape, options: { layout, eps: 0 }, tuning, mode: "evaluation" };
        const { channels, inner } = extentOf("test", shape, layout);
        const random = createRandom(6);
        const beta = random.normals(channels);
        const { y, dx, dGamma } = await runOnce(device, call, {
          x: random.normals(size(shape), 3, 2),
          dy: random.normals(size(shape)),
          beta,
          state: {
            mean: new Float32Array(channels),
            variance: new Float32Array(channels),
            numBatchesTracked: 1,
          },
        });
        expect(y).toEqual(y.map((_, i) => beta[Math.floor(i / inner) % channels]!));
        expect(dx).toBeAllclose(new Float32Array(y.length));
        expect(dGamma).toBeAllclose(new Float32Array(channels));
      }
    });
  });
});

test("an outlier alone in what a row shares with the one before", async () => {
  const { fence: _, ...tuning } = SOFTWARE_TUNING;
  const shape = [4, 16, 50_001];
  const { value } = chooseDispatch(
    extentOf("test", shape, "channels-first"),
    ...(["f32", "reduce", SOFTWARE_TUNING, device.limits] as const),
  );
  expect(value).toBe("quad");
  const call: Call = { shape, tuning };
  const inputs = inputsFor(call, [0, 1], "none");
  const x = Float32Array.from(inputs.x);
  for (let row = 0; row < 64; row++) x[row * 50_001] = row % 2 === 0 ? 1e6 : -1e3;
  await expectWithin(call, { ...inputs, x });
});

/** Teams whose lanes stand side by side, and hold few Values each: what they begin from may be an outlier. */
test.each([
  [[64, 64], 16, 4],
  [[256, 64], 16, 16],
  [[1024, 64], 64, 16],
  [[600, 4], 256, 3],
  [[256, 64, 4, 4], 64, 16],
] as const)("held side by side, an outlier first: %j", async (shape, lanes, held) => {
  const { fence: _, ...tuning } = GPU_TUNING;
  const layout = shape.length === 2 ? "channels-last" : "channels-first";
  const extent = extentOf("test", shape, layout);
  const dispatch = chooseDispatch(extent, "f32", "reduce", GPU_TUNING, device.limits);
  expect(dispatch).toMatchObject({ path: "held", lanesAdjacent: false, team: lanes, held });
  for (const outlier of [8, 30, 1e3, 1e6]) {
    const call: Call = { shape, options: { layout }, tuning };
    const inputs = inputsFor(call, [3, 1], "none");
    const channel = channelsOf(call);
    const x = Float32Array.from(inputs.x);
    const placed = new Set<number>();
    for (let i = 0; i < x.length; i++) {
      if (placed.has(channel(i))) continue;
      placed.add(channel(i));
      x[i] = channel(i) % 2 === 0 ? outlier : -outlier;
    }
    await expectWithin(call, { ...inputs, x });
  }
});

/** A team of sixteen side by side, alone in its workgroup. */
const ALONE = { workgroupSize: 16, maxTeam: 16, columnBytes: 16 } as const;

/**
 * One row in sixteen is 2^20 below the others: sums beyond it lose up to half a unit with each addition, the same way, and the
 * mean is off by an eighth or more. A second look finds that; what is left is its own rounding, half of 2^-4.
 */
test.each([
  ["within a lane", [16, 64], 6.5, { maxTeam: 1, maxHeldTeam: 1 }, { team: 1, held: 16 }],
  ["between lanes", [48, 64], 6.875, ALONE, { team: 16, held: 3 }],
] as const)("sums that round one way, of values held %s", async (_, shape, high, some, chosen) => {
  const table = { ...GPU_TUNING, ...some };
  const { fence: __, ...tuning } = table;
  const layout = "channels-last";
  const extent = extentOf("test", shape, layout);
  const dispatch = chooseDispatch(extent, "f32", "reduce", table, device.limits);
  expect(dispatch).toMatchObject({ path: "held", lanesAdjacent: false, ...chosen });
  const low = -(2 ** 20);
  const x = Float32Array.from({ length: size(shape) }, (_, i) => (i % 1024 < 64 ? low : high));
  const call: Call = { shape, options: { layout, momentum: 1 }, tuning };
  const { state } = await runOnce(device, call, { ...inputsFor(call, [0, 1], "none"), x });
  const mean = (low + 15 * high) / 16;
  expect(state!.mean).toBeAllclose(new Float64Array(64).fill(mean), { atol: 2 ** -4 });
});

describe.each(["f16", "bf16"] as const)("%s", (dtype) => {
  // What the type holds with digits to spare: f16 has 11 bits, bf16 8.
  const offsets =
    dtype === "f16"
      ? [
          [0, 1],
          [3, 1],
          [100, 1],
          [1e3, 20],
        ]
      : [
          [0, 1],
          [3, 1],
          [30, 1],
        ];
  test.each(offsets)("training and evaluation, %d +- %d", async (offset, std) => {
    for (const [turn, tuning] of Object.values(TUNINGS).entries()) {
      const shapes = [...SHAPES.slice(1), [[3, 5, 3, 4], "channels-first"]] as const;
      for (const [index, [shape, layout]] of shapes.entries()) {
        // From f16 it differs in one fragment: each shape on every second tuning will do.
        if (dtype === "bf16" && (index + turn) % 2 === 0) continue;
        for (const mode of ["training", "evaluation"] as const) {
          const call: Call = { shape, options: { layout }, tuning, dtype, mode };
          await expectWithin(call, inputsFor(call, [offset, std], "none", dtype));
        }
      }
    }
  });
});
