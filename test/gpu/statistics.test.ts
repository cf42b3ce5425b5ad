/** Shards that share their statistics equal the whole batch: any split, any order, empty shards. */
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import type { BatchNormOptions, Dtype } from "../../src/index.js";
import { extentOf } from "../../src/descriptor.js";
import {
  createMergeStatisticsSync,
  createStatisticsSync,
  createSumsSync,
  mergeStatistics,
  readStatistics,
  statisticsBytes,
} from "../../src/statistics/index.js";
import { tensor } from "../../src/tensor.js";
import { openDevice } from "../support/device.js";
import { createRandom } from "../support/random.js";
import { runShards, type ShardOptions } from "../support/shards.js";
import {
  comparisons,
  rounded,
  TUNINGS,
  type Call,
  type Inputs,
  type Outputs,
} from "../support/tolerance.js";
import "../support/allclose.js";

let device: GPUDevice;
beforeAll(async () => {
  device = await openDevice();
});

const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

function inputsFor(
  { shape, options, dtype = "f32" }: Call,
  seed: number,
  offset = 0,
  std = 1,
  residual = false,
): Inputs {
  const random = createRandom(seed);
  const { channels } = extentOf("test", shape, options?.layout ?? "channels-first");
  const values = (mean = 0, deviation = 1): Float32Array =>
    rounded(random.normals(product(shape), mean, deviation), dtype);
  return {
    x: values(offset, std),
    dy: values(0.2),
    ...(residual ? { residual: values() } : {}),
    gamma: random.normals(channels, 0.2, 1),
    beta: random.normals(channels),
    state: {
      mean: random.normals(channels, offset, std),
      variance: random.uniforms(channels, 0.5, 2).map((value) => value * std * std),
      numBatchesTracked: 3,
    },
  };
}

/** Every output within the core's bound of the whole batch in float64. */
async function expectWhole(call: Call, inputs: Inputs, options: ShardOptions): Promise<Outputs> {
  const outputs = await runShards(device, call, inputs, options);
  for (const { name, actual, expected, atol } of comparisons(call, inputs, outputs)) {
    expect(actual, name).toBeAllclose(expected, { atol });
  }
  expect(outputs.state?.numBatchesTracked).toBe(4);
  // Every shard has learned the same, whatever it holds itself.
  for (const [name, bits] of Object.entries(outputs.bits)) {
    if (name.startsWith("state")) expect(bits).toEqual(outputs.bits["state 0"]);
  }
  return outputs;
}

type Layout = NonNullable<BatchNormOptions["layout"]>;

const SHAPES: readonly (readonly [readonly number[], Layout])[] = [
  [[9, 3, 7, 7], "channels-first"],
  [[12, 8, 4, 4], "channels-first"],
  [[24, 8], "channels-last"],
  [[9, 5, 6, 5], "channels-last"],
  [[9, 1, 11, 3], "channels-first"],
  [[12, 16, 3, 3], "channels-first"],
];

const splitOf = (count: number): number[] => [1, 0, count - 4, 3];

describe.each(["software", "gpu", "split"] as const)("tuning %s", (name) => {
  const tuning = TUNINGS[name];
  test.each([
    [0, 1],
    [100, 0.01],
    [1e6, 1],
  ] as const)("uneven and empty shards, %d +- %d", async (offset, std) => {
    for (const [shape, layout] of SHAPES) {
      const call: Call = { shape, options: { layout }, tuning };
      const inputs = inputsFor(call, shape.length, offset, std);
      await expectWhole(call, inputs, { sizes: splitOf(shape[0]!) });
      await expectWhole(call, inputs, { sizes: splitOf(shape[0]!).reverse(), merged: true });
    }
  });

  test("shards whose means are a million deviations apart", async () => {
    for (const [shape, layout] of SHAPES) {
      const call: Call = { shape, options: { layout }, tuning };
      const inputs = inputsFor(call, 7);
      const perSample = product(shape.slice(1));
      const x = Float32Array.from(
        inputs.x,
        (value, i) => value + [1e6, -1e6, 0][Math.floor(i / perSample) % 3]!,
      );
      await expectWhole(call, { ...inputs, x }, { sizes: Array(shape[0]).fill(1) as number[] });
    }
  });

  test("residual, activation, options", async () => {
    const [shape] = SHAPES[1]!;
    for (const options of [
      { activation: "silu" },
      { runningVariance: "population", momentum: null },
      { eps: 0.1, momentum: 1 },
    ] satisfies BatchNormOptions[]) {
      const call: Call = { shape, options, tuning };
      const residual = "activation" in options;
      await expectWhole(call, inputsFor(call, 3, 2, 3, residual), { sizes: splitOf(shape[0]!) });
    }
  });

  test.each(["f16", "bf16"] as const)("%s", async (dtype: Dtype) => {
    const shapes = [
      ...SHAPES.slice(0, 4),
      [[4, 5, 3, 3], "channels-first"] as const,
      [[12, 16, 3, 3], "channels-first"] as const, // four channels share a row of Values
    ];
    for (const [index, [shape, layout]] of shapes.entries()) {
      // From f16 bf16 differs in one fragment: every other shape will do, others for each table.
      if (dtype === "bf16" && index % 2 === (name === "gpu" ? 0 : 1)) continue;
      const call: Call = { shape, options: { layout }, tuning, dtype };
      await expectWhole(call, inputsFor(call, 11, 1, 2), { sizes: splitOf(shape[0]!) });
    }
  });

  test("the same bits on every run", async () => {
    const call: Call = { shape: [12, 8, 4, 4], tuning };
    const inputs = inputsFor(call, 5);
    const text = ({ y, dx, bits }: Outputs): string =>
      JSON.stringify([
        Array.from(y),
        Array.from(dx!),
        Object.entries(bits).map(([k, v]) => [k, v.join()]),
      ]);
    const first = text(await runShards(device, call, inputs, { sizes: splitOf(12) }));
    for (let i = 0; i < 5; i++) {
      expect(text(await runShards(device, call, inputs, { sizes: splitOf(12) }))).toBe(first);
    }
  });
});

test("a shard that is one outlier, before or after all others", async () => {
  const shape = [10_001, 4];
  const call: Call = { shape, options: { layout: "channels-last" } };
  const inputs = inputsFor(call, 8);
  for (const [sizes, at] of [
    [[1, 10_000], 0],
    [[10_000, 1], 10_000],
  ] as const) {
    const x = Float32Array.from(inputs.x);
    for (let c = 0; c < 4; c++) x[4 * at + c] = [100, 1e3, 1e5, -1e6][c]!;
    await expectWhole(call, { ...inputs, x }, { sizes });
  }
});

test("any split, any order, any number of empty shards", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        sizes: fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 1, maxLength: 9 }),
        channels: fc.integer({ min: 1, max: 9 }),
        spatial: fc.array(fc.integer({ min: 1, max: 6 }), { maxLength: 3 }),
        layout: fc.constantFrom<Layout>("channels-first", "channels-last"),
        tuning: fc.constantFrom(...Object.values(TUNINGS)),
        scale: fc.constantFrom([0, 1], [1e4, 1], [-3e5, 0.5], [1e6, 1]),
        merged: fc.boolean(),
        seed: fc.integer({ min: 1, max: 2 ** 31 }),
      }),
      async ({ sizes, channels, spatial, layout, tuning, scale, merged, seed }) => {
        const batch = sizes.reduce((a, b) => a + b, 0);
        const shape =
          layout === "channels-first"
            ? [batch, channels, ...spatial]
            : [batch, ...spatial, channels];
        fc.pre(batch * product(spatial) > 1);
        const call: Call = { shape, options: { layout }, tuning };
        await expectWhole(call, inputsFor(call, seed, scale[0], scale[1]), { sizes, merged });
      },
    ),
    { numRuns: 25, seed: 20261125, endOnFailure: false },
  );
});

test("an empty part's planes mean nothing, NaN included", async () => {
  const call: Call = { shape: [9, 8, 4, 4] };
  const inputs = inputsFor(call, 2);
  for (const merged of [false, true]) {
    const outputs = await expectWhole(call, inputs, {
      sizes: [0, 4, 0, 5],
      merged,
      meddle(statistics) {
        const nan = new Float32Array(3 * 8).fill(NaN);
        for (const part of [0, 2]) {
          device.queue.writeBuffer(statistics.buffer, statisticsBytes(8, part) + 4 * 8, nan);
        }
      },
    });
    const words = new Float32Array(outputs.bits["statistics"]!.slice().buffer);
    expect(words[8]).toBeNaN();
  }
});

test("nothing but empty parts leaves statistics and counter alone", async () => {
  const call: Call = { shape: [0, 4, 2, 2] };
  const inputs = inputsFor(call, 2);
  const { state, dGamma, dBeta } = await runShards(device, call, inputs, { sizes: [0, 0] });
  expect(state!.mean).toEqual(Float32Array.from(inputs.state!.mean));
  expect(state!.variance).toEqual(Float32Array.from(inputs.state!.variance));
  expect(state!.numBatchesTracked).toBe(3);
  expect([...dGamma!, ...dBeta!]).toEqual(Array(8).fill(0));
});

test("counts stay exact where an f32 would not hold them", async () => {
  // 2^24 + 1 and its like have no f32: 300 parts of 16,777,217 values are 5 billion beyond, so fewer, then odd ones.
  const channels = 4;
  const counts = [16777217, 16777219, 3, 0, 1, 4000000001];
  const parts = counts.length;
  const words = new Uint32Array(4 * channels * parts);
  counts.forEach((count, part) => words.fill(count, 16 * part, 16 * part + channels));
  const given = device.createBuffer({ size: words.byteLength, usage: 0x80 | 0x8 });
  device.queue.writeBuffer(given, 0, words);
  const out = device.createBuffer({ size: statisticsBytes(channels), usage: 0x80 | 0x4 });
  for (const tuning of Object.values(TUNINGS)) {
    const plan = createMergeStatisticsSync(device, { channels, parts, tuning });
    const encoder = device.createCommandEncoder();
    plan.encode(encoder, { parts: given, statistics: out });
    device.queue.submit([encoder.finish()]);
    const [merged] = await readStatistics(device, out, { channels });
    expect([...merged!.count]).toEqual(Array(channels).fill(counts.reduce((a, b) => a + b)));
    plan.destroy();
  }
  given.destroy();
  out.destroy();
});

test("a thousand parts merge as well as one batch", async () => {
  const random = createRandom(8);
  const [parts, channels] = [1000, 3];
  const x = random.normals(parts * channels, 1e5, 1);
  const statistics = tensor(device, new Float32Array(4 * channels * parts), [4 * channels * parts]);
  const words = new Uint32Array(4 * channels * parts);
  const values = new Float32Array(words.buffer);
  for (let part = 0; part < parts; part++) {
    for (let c = 0; c < channels; c++) {
      words[12 * part + c] = 1;
      values[12 * part + channels + c] = x[part * channels + c]!;
    }
  }
  device.queue.writeBuffer(statistics.buffer, 0, words);
  const out = tensor(device, new Float32Array(4 * channels), [4 * channels]);
  for (const tuning of Object.values(TUNINGS)) {
    const plan = createMergeStatisticsSync(device, { channels, parts, tuning });
    const encoder = device.createCommandEncoder();
    plan.encode(encoder, { parts: statistics, statistics: out });
    device.queue.submit([encoder.finish()]);
    const [merged] = await readStatistics(device, out, { channels });
    for (let c = 0; c < channels; c++) {
      const own = Array.from({ length: parts }, (_, part) => x[part * channels + c]!);
      const mean = own.reduce((a, b) => a + b) / parts;
      const variance = own.reduce((a, b) => a + (b - mean) ** 2, 0) / parts;
      expect(Math.abs(merged!.mean[c]! - mean) <= 1e-6).toBe(true);
      expect(Math.abs(merged!.varBiased[c]! / variance - 1) <= 4e-6).toBe(true);
    }
    plan.destroy();
  }
  statistics.destroy();
  out.destroy();
});

/** A variance of 1 from the first, and so little from each of the others that plain addition to it would lose them all. */
describe("squares that are small beside the first's", () => {
  const [count, small] = [2 ** 16, 2 ** -13];
  const lanes = [{ maxTeam: 1 }, { maxTeam: 4 }];

  test.each(lanes)("of parts: %j", async (tuning) => {
    const parts = new Uint32Array(4 * count);
    const numbers = new Float32Array(parts.buffer);
    for (let part = 0; part < count; part++) {
      parts[4 * part] = 2;
      numbers[4 * part + 3] = 2 * (part === 0 ? 1 : small ** 2);
    }
    const given = tensor(device, numbers, [4 * count]);
    const statistics = tensor(device, new Float32Array(4), [4, 1]);
    const plan = createMergeStatisticsSync(device, { channels: 1, parts: count, tuning });
    const encoder = device.createCommandEncoder();
    plan.encode(encoder, { parts: given, statistics });
    device.queue.submit([encoder.finish()]);
    const [whole] = await readStatistics(device, statistics, { channels: 1 });
    expect(whole!.count[0]).toBe(2 * count);
    const m2 = 2 * (1 + (count - 1) * small ** 2);
    expect(whole!.varBiased).toBeAllclose([m2 / (2 * count)], { rtol: 1e-6 });
    for (const each of [plan, given, statistics]) each.destroy();
  });

  test.each(lanes)("of values under a mask: %j", async (tuning) => {
    const values = Float32Array.from(
      { length: count },
      (_, i) => (i % 2 === 0 ? 1 : -1) * (i < 8 ? 1 : small),
    );
    const shape = [1, 1, count];
    const x = tensor(device, values, shape);
    const mask = tensor(device, new Float32Array(count).fill(1), [1, count]);
    const statistics = tensor(device, new Float32Array(4), [4, 1]);
    const cut = { wholePerLane: 2 ** 20, mostPerLane: 2 ** 20, maxChunks: 1 };
    const plan = createStatisticsSync(device, { shape, mask: true, tuning: { ...tuning, ...cut } });
    const encoder = device.createCommandEncoder();
    plan.encode(encoder, { x, mask, statistics });
    device.queue.submit([encoder.finish()]);
    const [whole] = await readStatistics(device, statistics, { channels: 1 });
    const m2 = 8 + (count - 8) * small ** 2;
    expect(whole!.varBiased).toBeAllclose([m2 / count], { rtol: 1e-6 });
    for (const each of [plan, x, mask, statistics]) each.destroy();
  });
});

test("mergeStatistics merges buffers in the order given", async () => {
  const random = createRandom(4);
  const channels = 5;
  const sizes = [3, 0, 7];
  const xs = sizes.map((size) => random.normals(size * channels, 50, 2));
  const made = xs.map((x, i) => {
    const shape = [sizes[i]!, channels];
    const plan = createStatisticsSync(device, { shape });
    const one = tensor(device, x, shape);
    const statistics = tensor(device, new Float32Array(4 * channels).fill(NaN), [4, channels]);
    const encoder = device.createCommandEncoder();
    plan.encode(encoder, { x: one, statistics });
    device.queue.submit([encoder.finish()]);
    plan.destroy();
    one.destroy();
    return statistics;
  });
  const whole = mergeStatistics(device, channels, made);
  const { version } = whole;
  expect(mergeStatistics(device, channels, made, { out: whole }).version).toBe(version + 1);
  const [got] = await readStatistics(device, whole, { channels });
  const [, none] = made;
  const [empty] = await readStatistics(device, none!, { channels });
  expect([...empty!.count]).toEqual(Array(channels).fill(0));
  expect(empty!.mean[0]).toBeNaN();
  for (let c = 0; c < channels; c++) {
    const own = xs.flatMap((x) => [...x].filter((_, i) => i % channels === c));
    const mean = own.reduce((a, b) => a + b) / own.length;
    expect(got!.count[c]).toBe(10);
    expect(Math.abs(got!.mean[c]! - mean) <= 2e-6).toBe(true);
  }
  expect(() => mergeStatistics(device, 6, made)).toThrow(/needs 96 bytes/);
  for (const each of [...made, whole]) each.destroy();
});

test("errors name what is wrong", () => {
  for (const create of [createStatisticsSync, createSumsSync]) {
    for (const part of [2, -1, 0.5]) {
      expect(() => create(device, { shape: [2, 4], parts: 2, part })).toThrow(
        `: part: a whole number from 0 to 1 (parts is 2), got ${part}; count from 0`,
      );
    }
    expect(() => create(device, { shape: [2, 4], parts: 0 })).toThrow(/parts: a whole number >= 1/);
  }
  expect(() => createMergeStatisticsSync(device, { channels: 0, parts: 1 })).toThrow(/channels/);
  const plan = createStatisticsSync(device, { shape: [2, 4], parts: 2 });
  const x = tensor(device, new Float32Array(8), [2, 4]);
  const short = tensor(device, new Float32Array(16), [16]);
  const encoder = device.createCommandEncoder();
  expect(() => plan.encode(encoder, { x, statistics: short })).toThrow(
    /statistics: needs 128 bytes/,
  );
  // What plans with a mask, and with gradients, have besides.
  for (const [made, resources] of [
    [plan, { x, statistics: x, mask: x }],
    [createSumsSync(device, { shape: [2, 4] }), { x, dy: x, saved: x, sums: x, dResidual: x }],
  ] as const) {
    expect(() => made.encode(encoder, resources as never)).toThrow(/none in this plan, got one/);
    if (made !== plan) made.destroy();
  }
  for (const each of [plan, x, short]) each.destroy();
});

test("parts that are only copied need not be bindable", async () => {
  const one = new Uint32Array([3, 5]);
  const words = new Uint32Array(1 + 8);
  words.set(one, 1);
  new Float32Array(words.buffer).set([7, -2, 0, 0, 3, 10], 3);
  const usage = GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const buffer = device.createBuffer({ size: 36, usage });
  device.queue.writeBuffer(buffer, 0, words);
  const part = { buffer, offset: 4 };
  const [read] = await readStatistics(device, part, { channels: 2 });
  expect([...read!.mean]).toEqual([7, -2]);
  const merged = mergeStatistics(device, 2, [part, part]);
  expect([...(await readStatistics(device, merged, { channels: 2 }))[0]!.count]).toEqual([6, 10]);
  const bound = device.createBuffer({ size: 36, usage: GPUBufferUsage.STORAGE });
  for (const [given, message] of [
    [{ buffer, offset: 2 }, /an offset divisible by 4, got 2/],
    [bound, /usage GPUBufferUsage.COPY_SRC/],
  ] as const) {
    expect(() => mergeStatistics(device, 2, [given])).toThrow(message);
    await expect(readStatistics(device, given, { channels: 2 })).rejects.toThrow(message);
  }
  for (const each of [buffer, bound, merged]) each.destroy();
});

test("scratch is there where a plan has partial results", () => {
  for (const [shape, some] of [
    [[2, 4], false],
    [[4, 2, 65536], true],
  ] as const) {
    const plans = [createStatisticsSync(device, { shape }), createSumsSync(device, { shape })];
    for (const plan of plans) {
      expect(plan.scratchBytes > 0).toBe(some);
      plan.destroy();
    }
  }
});

test("no parts at once are an empty part", async () => {
  const whole = mergeStatistics(device, 5, []);
  const [read] = await readStatistics(device, whole, { channels: 5 });
  expect([...read!.count]).toEqual([0, 0, 0, 0, 0]);
  // It merges like any other.
  const x = tensor(device, Float32Array.of(1, 2, 3, 4, 5, 3, 4, 5, 6, 7), [2, 5]);
  const plan = createStatisticsSync(device, { shape: [2, 5] });
  const part = tensor(device, new Float32Array(20), [4, 5]);
  const encoder = device.createCommandEncoder();
  plan.encode(encoder, { x, statistics: part });
  device.queue.submit([encoder.finish()]);
  const both = mergeStatistics(device, 5, [whole, part]);
  const [after] = await readStatistics(device, both, { channels: 5 });
  expect([...after!.count]).toEqual([2, 2, 2, 2, 2]);
  expect([...after!.mean]).toEqual([2, 3, 4, 5, 6]);
  for (const each of [whole, x, part, both, plan]) each.destroy();
});
