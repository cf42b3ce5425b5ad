/**
 * The conversion of 16-bit floats on the device against src/half.ts, for every bit pattern: an inference whose running
 * mean is 0, variance 1, eps 0 and beta 0 multiplies by gamma and does nothing else.
 */
import { beforeAll, describe, expect, test, vi } from "vitest";
import {
  BatchNorm1d,
  BatchNorm2d,
  createInference,
  stateLayout,
  tensor,
  Tensor,
} from "../../src/index.js";
import { backward, forward } from "../../src/reference.js";
import { extentOf } from "../../src/descriptor.js";
import { narrow, widen } from "../../src/half.js";
import { stateOf } from "../../src/device.js";
import { HALF_PROBE, sourceOf } from "../../src/kernels.js";
import { ExtendedBatchNorm } from "../../src/statistics/index.js";
import { openDevice } from "../support/device.js";
import { TUNINGS } from "../support/tolerance.js";
import "../support/allclose.js";

let device: GPUDevice;
beforeAll(async () => {
  device = await openDevice();
});

type Half = "f16" | "bf16";
const INFINITY = { f16: 0x7c00, bf16: 0x7f80 } as const;
const ALL = Uint16Array.from({ length: 65536 }, (_, bits) => bits);

/** Shapes that take every way of packing: four or two of a row or of neighbouring channels, and odd rows. */
const SHAPES: readonly (readonly [string, readonly number[]])[] = [
  ["rows of four", [4, 4, 4096]],
  ["rows of two", [2, 2, 2, 16386 / 2]],
  ["odd rows, words shared by channels", [3, 5, 4371]],
  ["odd rows of four channels", [16, 4, 1025]],
  ["channels of four", [2048, 32]],
  ["channels of two", [10924, 6]],
  ["odd channels, words shared by all", [13109, 5]],
  ["one channel of an odd size", [1, 1, 65537]],
];

async function multiply(
  dtype: Half,
  shape: readonly number[],
  words: Uint16Array,
  gamma: number,
  tuning: object = {},
): Promise<Uint16Array> {
  const { channels } = extentOf("test", shape, "channels-first");
  const layout = stateLayout(channels);
  const state = new Float32Array(layout.bytes / 4);
  state.fill(1, layout.variance / 4, layout.variance / 4 + channels);
  const made: Tensor[] = [
    tensor(device, words, shape, { dtype, raw: true }),
    tensor(device, new Uint16Array(words.length).fill(0x1234), shape, { dtype, raw: true }),
    tensor(device, new Float32Array(channels).fill(gamma), [channels]),
    tensor(device, new Float32Array(channels), [channels]),
    tensor(device, state, [state.length]),
  ];
  const plan = await createInference(device, { shape, dtype, eps: 0, tuning });
  const encoder = device.createCommandEncoder();
  plan.encode(encoder, {
    x: made[0]!,
    y: made[1]!,
    gamma: made[2]!,
    beta: made[3]!,
    state: made[4]!,
  });
  device.queue.submit([encoder.finish()]);
  const bits = new Uint16Array(await made[1]!.readRaw());
  for (const each of [...made, plan]) each.destroy();
  return bits;
}

/** As many patterns as a shape has room for: all of them once, and again from the start. */
function wordsFor(shape: readonly number[]): Uint16Array {
  const size = shape.reduce((a, b) => a * b, 1);
  expect(size).toBeGreaterThanOrEqual(65536);
  return Uint16Array.from({ length: size }, (_, i) => ALL[(i * 40503) & 0xffff]!);
}

/**
 * Whether the device's bits are those of src/half.ts. x·1 - 0 is exact, and so is x·gamma for a power of two. + 0 makes
 * a zero of either sign +0 or leaves it; WGSL lets a device take a subnormal f32, which bf16 shares, for a zero.
 */
function agrees(found: number, value: number, product: number, dtype: Half): boolean {
  if (Number.isNaN(product)) return (found & 0x7fff) > INFINITY[dtype];
  const expected = narrow(product, dtype);
  if (found === expected) return true;
  const zero = (found & 0x7fff) === 0;
  if ((expected & 0x7fff) === 0) return zero;
  const subnormal = (each: number): boolean => each !== 0 && Math.abs(each) < 2 ** -126;
  return zero && (subnormal(value) || subnormal(product));
}

describe.each(["f16", "bf16"] as const)("%s", (dtype) => {
  test.each(SHAPES)("every pattern through %s", async (_, shape) => {
    const words = wordsFor(shape);
    expect(new Set(words).size).toBe(65536);
    for (const tuning of [TUNINGS.software, TUNINGS.split]) {
      const found = await multiply(dtype, shape, words, 1, tuning);
      expect(found.length).toBe(words.length);
      let wrong = 0;
      let first = "";
      for (let i = 0; i < words.length; i++) {
        const value = widen(words[i]!, dtype);
        if (agrees(found[i]!, value, value, dtype)) continue;
        first ||= `0x${words[i]!.toString(16)} became 0x${found[i]!.toString(16)}`;
        wrong++;
      }
      expect(wrong, first).toBe(0);
    }
  });

  // Powers of two are exact until the end; the others round in f32 first (24 bits), and then once more.
  const SCALES = [2, 2 ** 15, 2 ** -3, 2 ** -14, 2 ** -20, -1, 3, 1.0009765625, 1 / 3];
  test.each(SCALES)("scaled by %d: overflow, subnormals, rounding", async (scale) => {
    const gamma = Math.fround(scale);
    const shapes = [SHAPES[0]!, SHAPES[2]!, SHAPES[3]!];
    let infinite = 0;
    let small = 0;
    for (const [, shape] of shapes) {
      const words = wordsFor(shape);
      const found = await multiply(dtype, shape, words, gamma);
      let wrong = 0;
      let first = "";
      for (let i = 0; i < words.length; i++) {
        const value = widen(words[i]!, dtype);
        const product = Math.fround(value * gamma);
        if (Number.isFinite(value) && (found[i]! & 0x7fff) === INFINITY[dtype]) infinite++;
        const size = Math.abs(widen(found[i]!, dtype));
        if (size > 0 && size < (dtype === "f16" ? 2 ** -14 : 2 ** -120)) small++;
        // The factor itself is gamma / sqrt(1 + 0), by an inexact root and division: a unit beside the nearest is let pass
        // where the product is within 2^-21 of a tie.
        if (agrees(found[i]!, value, product, dtype)) continue;
        const off = Math.abs(product) * 2 ** -21;
        if (agrees(found[i]!, value, product - off, dtype)) continue;
        if (agrees(found[i]!, value, product + off, dtype)) continue;
        first ||= `0x${words[i]!.toString(16)} became 0x${found[i]!.toString(16)}`;
        wrong++;
      }
      expect(wrong, first).toBe(0);
    }
    if (scale >= 2) expect(infinite).toBeGreaterThan(0);
    if (Math.abs(scale) < 1) expect(small).toBeGreaterThan(0);
  });

  test("a tie goes to the even one, what is beside it to the nearer", async () => {
    // Without variance y is beta, to the bit: any f32, where a product is off by a unit. None is subnormal in f32.
    const ties: number[] = [];
    for (let half = dtype === "f16" ? 0 : 0x80; half < INFINITY[dtype]; half++) {
      const [value, before] = [widen(half, dtype), widen(Math.max(half - 1, 0), dtype)];
      const last = half + 1 === INFINITY[dtype];
      ties.push((value + (last ? 2 * value - before : widen(half + 1, dtype))) / 2);
    }
    const ulps = new Uint32Array(Float32Array.from(ties).buffer);
    const beside = [-1, 0, 1].map((off) => new Float32Array(ulps.map((bits) => bits + off).buffer));
    const values = Float32Array.from(beside.flatMap((each) => [...each, ...each.map((v) => -v)]));
    const bn = new BatchNorm1d(device, values.length, { eps: 0 }).eval();
    bn.runningVar!.write(new Float32Array(values.length));
    bn.beta!.write(values);
    const x = Tensor.empty(device, [1, values.length], { dtype });
    const y = bn.forward(x);
    const found = new Uint16Array(await y.readRaw());
    const wrong = found.findIndex((bits, i) => bits !== narrow(values[i]!, dtype));
    expect(wrong, `${values[wrong]} became 0x${found[wrong]?.toString(16)}`).toBe(-1);
    for (const each of [bn, x, y]) each.destroy();
  });

  test("what is not finite harms no neighbour", async () => {
    const specials = [
      INFINITY[dtype],
      INFINITY[dtype] | 0x8000,
      0x7fff,
      0xffff,
      INFINITY[dtype] + 1,
    ];
    const one = narrow(1.5, dtype);
    for (const [, shape] of SHAPES) {
      const small = shape.map((size) => Math.min(size, 12) - (size % 2 === 1 && size > 12 ? 1 : 0));
      const size = small.reduce((a, b) => a * b, 1);
      for (const special of specials) {
        const words = Uint16Array.from({ length: size }, (_, i) => (i % 3 === 1 ? special : one));
        const found = await multiply(dtype, small, words, 1);
        for (let i = 0; i < size; i++) {
          if (i % 3 !== 1) expect(found[i]).toBe(one);
          else if ((special & 0x7fff) > INFINITY[dtype])
            expect(found[i]! & 0x7fff).toBeGreaterThan(INFINITY[dtype]);
          else expect(found[i]).toBe(special);
        }
      }
    }
  });
});

describe("the device's own conversions are tried", () => {
  /** What the probe leaves: whether anything differs, and whether it ran. */
  async function probed(edit: (code: string) => string): Promise<number[]> {
    const buffer = (size: number, usage: number): GPUBuffer => device.createBuffer({ size, usage });
    const { STORAGE, UNIFORM, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
    const found = buffer(16, STORAGE | COPY_SRC);
    const staging = buffer(16, MAP_READ | COPY_DST);
    const layout = device.createBindGroupLayout({
      entries: (["uniform", "storage"] as const).map((type, binding) => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type },
      })),
    });
    const pipeline = await device.createComputePipelineAsync({
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module: device.createShaderModule({ code: edit(sourceOf(HALF_PROBE).code) }) },
    });
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    const resources = [{ buffer: buffer(128, UNIFORM) }, { buffer: found }];
    const entries = resources.map((resource, binding) => ({ binding, resource }));
    pass.setBindGroup(0, device.createBindGroup({ layout, entries }));
    pass.dispatchWorkgroups(1024);
    pass.end();
    encoder.copyBufferToBuffer(found, 0, staging, 0, 16);
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    return [...new Uint32Array(staging.getMappedRange())].slice(0, 2);
  }

  /** The code with conversions of its own in place of the device's. */
  const converting =
    (widening: string, narrowing: string) =>
    (code: string): string =>
      code
        .replace("unpack2x16float(half)", `(${widening})`)
        .replace("pack2x16float(pair)", `(${narrowing})`);

  test("exact ones pass", async () => {
    expect(await probed(converting("widenBits(half)", "narrowBits(pair)"))).toEqual([0, 1]);
  });

  test.each([
    ["flush subnormals", "select(widenBits(half), vec2f(), (half & 0x7c00u) == 0u)", ""],
    ["lose infinity", "min(widenBits(half), vec2f(65504.0))", ""],
    ["flush what they narrow", "", "narrowBits(select(pair, vec2f(), abs(pair) < vec2f(6e-5)))"],
    ["cut off", "", "narrowBits(bitcast<vec2f>(bitcast<vec2u>(pair) & vec2u(0xffffe000u)))"],
    ["round half up", "", "narrowBits(bitcast<vec2f>(bitcast<vec2u>(pair) + vec2u(1u)))"],
    ["stop at the largest", "", "narrowBits(clamp(pair, vec2f(-65504.0), vec2f(65504.0)))"],
  ])("those that %s do not", async (_, widening, narrowing) => {
    const edit = converting(widening || "widenBits(half)", narrowing || "narrowBits(pair)");
    expect(await probed(edit)).toEqual([1, 1]);
  });

  test("in buffers that are destroyed", async () => {
    const fresh = await openDevice();
    const create = vi.spyOn(fresh, "createBuffer");
    const destroy = vi.spyOn(GPUBuffer.prototype, "destroy");
    const bn = new BatchNorm2d(fresh, 2);
    await bn.prepare([1, 2, 1, 2], { dtype: "f16" });
    const found = create.mock.results.map(({ value }) => value as GPUBuffer);
    const tried = found.filter(({ label }) => label === "bn.half_probe");
    expect(tried).toHaveLength(3);
    expect(tried.filter((each) => !destroy.mock.contexts.includes(each))).toEqual([]);
    destroy.mockRestore();
    bn.destroy();
    fresh.destroy();
  });

  test.each([
    ["row2", [4, 3, 6], "channels-first"],
    ["row4", [4, 3, 8], "channels-first"],
    ["channels2", [12, 6], "channels-last"],
    ["channels4", [12, 8], "channels-last"],
    ["quad", [16, 8, 7], "channels-first"],
    ["half", [4, 3, 7], "channels-first"],
  ] as const)("and put every number where it belongs: %s", async (value, shape, layout) => {
    const fresh = await openDevice();
    // SwiftShader's are wrong for some halves, none of which are among these.
    stateOf(fresh).native = true;
    const codes = vi.spyOn(fresh, "createShaderModule");
    const bn = new BatchNorm1d(fresh, shape[1], {
      layout,
      affine: false,
    });
    const size = shape.reduce((a, b) => a * b, 1);
    const xs = Float32Array.from({ length: size }, (_, i) => ((i * 37) % 61) / 8 - 3);
    const dys = Float32Array.from({ length: size }, (_, i) => ((i * 23) % 41) / 16 - 1);
    const [x, dy] = [xs, dys].map((data) => tensor(fresh, data, shape, { dtype: "f16" }));
    // Both before the probe has told what it found.
    const [y, dx] = [bn.forward(x!), bn.backward(dy!)];
    const used = codes.mock.calls.filter(([{ label }]) => !label!.includes("probe"));
    expect(used.length).toBeGreaterThan(1);
    for (const [{ label, code }] of used) {
      expect(label).toContain(`f16 ${value} `);
      expect(code).toContain("unpack2x16float");
    }
    const options = { layout, affine: false };
    // A unit of values below 4, on SwiftShader's word for its rounding.
    expect(await y.read()).toBeAllclose(forward(xs, shape, options).y, { atol: 2 ** -9 });
    expect(await dx.read()).toBeAllclose(backward(dys, xs, shape, options).dx, { atol: 2 ** -9 });
    bn.destroy();
    fresh.destroy();
  });

  test.each([
    ["BatchNorm2d", (on: GPUDevice) => new BatchNorm2d(on, 2)],
    ["ExtendedBatchNorm", (on: GPUDevice) => new ExtendedBatchNorm(on, 2, { virtualBatchSize: 1 })],
  ])("%s plans f16 anew once they are known to be good", async (_, make) => {
    const fresh = await openDevice();
    const codes = vi.spyOn(fresh, "createShaderModule");
    const native = (): number =>
      codes.mock.calls.filter(
        ([{ label, code }]) => !label!.includes("probe") && code.includes("unpack2x16float"),
      ).length;
    const bn = make(fresh);
    const [x, y] = [0, 1].map(() => tensor(fresh, [1, 2, 3, 4], [1, 2, 1, 2], { dtype: "f16" }));
    const step = (): number[] => {
      bn.forward(x!, { out: y! });
      const forward = native();
      bn.backward(x!, { out: y! });
      return [forward, native()];
    };
    expect(step()).toEqual([0, 0]);
    await bn.status();
    // As the probe finds on a GPU; SwiftShader's are not.
    stateOf(fresh).native = true;
    const [forward, both] = step();
    expect(forward).toBeGreaterThan(0);
    expect(both).toBeGreaterThan(forward!);
    expect(step()).toEqual([both, both]);
    await bn.status();
    bn.destroy();
    fresh.destroy();
  });
});
