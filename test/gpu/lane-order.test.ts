/**
 * The order in which a workgroup's invocations run changes no bit. SwiftShader runs them in order, so that a barrier which
 * only keeps a later lane from an earlier one's values would be missed by no other test: here they run from last to first.
 */
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { extentOf, type Dtype, type Layout } from "../../src/descriptor.js";
import { createMergeStatisticsSync, createMergeSumsSync } from "../../src/statistics/index.js";
import { tensor, Tensor } from "../../src/tensor.js";
import { runBeyond } from "../support/beyond.js";
import { openDevice } from "../support/device.js";
import { createRandom, type Random } from "../support/random.js";
import { rounded, runOnce, TUNINGS } from "../support/tolerance.js";

/** Tables with teams; `apart`: a dispatch of its own merges the chunks. */
const TABLES = {
  ...{ gpu: TUNINGS.gpu, whole: TUNINGS.whole, split: TUNINGS.split },
  apart: { ...TUNINGS.split, cacheBytes: 0, mergedBytes: 0 },
};

const FORWARDS = /@builtin\(local_invocation_index\) local: u32([^{]*)\{/;
const BACKWARDS =
  "@builtin(local_invocation_index) ran: u32$1{\n  let local = WORKGROUP_SIZE - 1u - ran;";

let forwards: GPUDevice;
let backwards: GPUDevice;
let turned: string[] = [];
beforeAll(async () => {
  forwards = await openDevice();
  backwards = await openDevice();
  const createShaderModule = backwards.createShaderModule.bind(backwards);
  backwards.createShaderModule = (descriptor) => {
    const code = descriptor.code.replace(FORWARDS, BACKWARDS);
    if (code !== descriptor.code) turned.push(descriptor.label!);
    return createShaderModule({ ...descriptor, code });
  };
});
afterEach(() => {
  turned = [];
});

type Bits = Readonly<Record<string, ArrayLike<number>>>;

/** Runs on both devices; @returns the kernels that ran backwards, as `path[values team n]`. */
async function expectSame(run: (device: GPUDevice) => Promise<Bits>): Promise<string[]> {
  const expected = await run(forwards);
  const found = await run(backwards);
  for (const [name, bits] of Object.entries(expected)) {
    expect([...Array.from(found[name]!)], name).toEqual(Array.from(bits));
  }
  return turned.map((label) => label.replace(/^bn\./, ""));
}

interface Case {
  readonly shape: readonly number[];
  readonly layout?: Layout;
  readonly dtype?: Dtype;
  readonly table: keyof typeof TABLES;
  /** Kernels that must be among those which ran. */
  readonly kernels: readonly string[];
}

function valuesOf(random: Random, { shape, dtype = "f32" }: Case): Float32Array {
  const size = shape.reduce((a, b) => a * b, 1);
  return rounded(random.normals(size, 3, 2), dtype);
}

const CASES: readonly Case[] = [
  { shape: [4, 3, 8, 16], table: "gpu", kernels: ["forward/held", "backward/held"] },
  { shape: [6, 3, 8, 16], table: "whole", kernels: ["forward/whole", "backward/whole"] },
  { shape: [9, 3, 8, 12], table: "split", kernels: ["forward/statistics", "forward/normalize"] },
  { shape: [100, 12], table: "gpu", kernels: ["forward/held", "backward/held"] },
  { shape: [190, 12], table: "whole", kernels: ["forward/whole", "backward/whole"] },
  {
    shape: [190, 12],
    dtype: "bf16",
    table: "split",
    kernels: ["forward/statistics", "backward/sums", "backward/input"],
  },
  {
    shape: [7, 5, 9, 3],
    dtype: "f16",
    table: "split",
    kernels: ["forward/normalize", "backward/input"],
  },
  { shape: [8, 8, 5, 5], dtype: "f16", table: "whole", kernels: ["forward/whole"] },
  { shape: [9, 3, 8, 12], table: "apart", kernels: ["forward/finish", "backward/merge"] },
  { shape: [9, 6, 5, 7], layout: "channels-last", dtype: "f16", table: "split", kernels: [] },
];

const teamOf = (label: string): number => Number(/ team (\d+)\]$/.exec(label)?.[1]);

describe("forward and backward", () => {
  test.each(CASES)("$table: $shape $dtype", async (each) => {
    const { shape, layout = "channels-first", dtype = "f32", table, kernels } = each;
    const random = createRandom(5);
    const { channels } = extentOf("test", shape, layout);
    const call = { shape, options: { layout }, dtype, tuning: TABLES[table] };
    const inputs = {
      ...{ x: valuesOf(random, each), dy: valuesOf(random, each) },
      ...{ gamma: random.normals(channels), beta: random.normals(channels) },
    };
    const ran = await expectSame(async (device) => (await runOnce(device, call, inputs)).bits);
    expect(Math.max(...ran.map(teamOf)), ran.join()).toBeGreaterThan(1);
    for (const kernel of kernels) expect(ran.join()).toContain(kernel);
  });
});

describe("ghosts and masks", () => {
  const ghosts = CASES.filter(({ table }) => table === "split");
  test.each(ghosts)("$table: $shape $dtype", async (each) => {
    const { shape, layout = "channels-first", dtype = "f32", table } = each;
    const random = createRandom(6);
    const { channels, count } = extentOf("test", shape, layout);
    // Ghosts take no 16-bit numbers whose channels share words: those of f16 here.
    for (const virtualBatchSize of dtype === "f16" ? [undefined] : [undefined, 2]) {
      const call = {
        descriptor: { shape, layout, dtype, ...(virtualBatchSize ? { virtualBatchSize } : {}) },
        tuning: TABLES[table],
        ...{ x: valuesOf(random, each), dy: valuesOf(random, each) },
        ...{ gamma: random.normals(channels), beta: random.normals(channels) },
        ...(virtualBatchSize
          ? {}
          : { mask: Float32Array.from({ length: count }, () => Number(random.uniform() < 0.7)) }),
        state: {
          ...{ mean: random.normals(channels), variance: random.uniforms(channels, 1, 2) },
          numBatchesTracked: 1,
        },
      };
      await expectSame(async (device) => {
        const { y, dx, dGamma, dBeta, state, saved } = await runBeyond(device, call);
        const { mean, variance } = state;
        return { y, dx, dGamma: dGamma!, dBeta: dBeta!, mean, variance, saved };
      });
    }
  });
});

test("merging parts", async () => {
  const [parts, channels] = [300, 5];
  const random = createRandom(7);
  const numbers = Array.from({ length: 2 }, () => random.normals(4 * channels * parts, 3, 1));
  const words = new Uint32Array(numbers[0]!.buffer);
  for (let i = 0; i < words.length; i++) if (i % (4 * channels) < channels) words[i] = 1 + (i % 3);
  for (const table of ["gpu", "split"] as const) {
    const options = { channels, parts, tuning: TABLES[table] };
    const ran = await expectSame(async (device) => {
      const encoder = device.createCommandEncoder();
      const out = [4, 2].map((each) =>
        tensor(device, new Float32Array(each * channels), [each * channels]),
      );
      const given = numbers.map((each) => Tensor.empty(device, [each.length]));
      given.forEach(({ buffer }, i) => device.queue.writeBuffer(buffer, 0, numbers[i]!));
      createMergeStatisticsSync(device, options).encode(encoder, {
        parts: given[0]!,
        statistics: out[0]!,
      });
      createMergeSumsSync(device, options).encode(encoder, { parts: given[1]!, sums: out[1]! });
      device.queue.submit([encoder.finish()]);
      const [statistics, sums] = await Promise.all(out.map((each) => each.readRaw()));
      return { statistics: new Uint32Array(statistics!), sums: new Uint32Array(sums!) };
    });
    expect(
      ran.map(teamOf).every((team) => team > 1),
      ran.join(),
    ).toBe(true);
  }
});
