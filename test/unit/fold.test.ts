/**
 * Folding, against PyTorch's two layers and TensorFlow.js's.
 *
 * The bound: folded weights are rounded once to f32, each by at most 2^-24 of itself, so that an output computed from them
 * in float64 is off by at most 2^-24·(Σ|weight'·x| + |bias'|), which `convolve` gives as 2^-24·magnitude. Float64's own
 * rounding, on both sides, is below 2^-40 of that.
 */
import * as tf from "@tensorflow/tfjs";
import { beforeAll, describe, expect, test } from "vitest";
import { OptionError, ShapeError } from "webgpu-batchnorm";
import { foldIntoConv, foldIntoLinear, type ConvLayout } from "webgpu-batchnorm/fold";
import { convolve, permute, type Layer } from "../support/convolution.js";
import { foldFixtures, type FoldFixture } from "../support/file-fixtures.js";
import { createRandom } from "../support/random.js";
import "../support/allclose.js";

const SLACK = 2 ** -24 * (1 + 2 ** -16);
/** Float64 alone: less than 2^8 terms below 2^10, 2^-53 of each. */
const F64 = 2 ** -35;

function foldOf(each: FoldFixture, weight: ArrayLike<number>): ReturnType<typeof foldIntoConv> {
  const tensor = { data: weight, shape: each.weightShape };
  const rank = each.weightShape.length;
  const { bias, bn, position, groups } = each;
  if (rank === 2) return foldIntoLinear({ weight: tensor, bias, layout: "OI" }, bn, { position });
  const space = ["W", "HW", "DHW"][rank - 3]!;
  const layout = `${each.transposed ? "IO" : "OI"}${space}` as ConvLayout;
  return foldIntoConv({ weight: tensor, bias, layout, groups }, bn, { position, padded: false });
}

describe("PyTorch's two layers are one", () => {
  test.each(foldFixtures)("$name", (each) => {
    // The convolution of the test itself, against PyTorch's: without the batch norm of "before" both are needed.
    for (const wide of [true, false]) {
      const given = wide ? Float64Array.from(each.weight) : Float32Array.from(each.weight);
      const { weight, bias } = foldOf(each, given);
      expect(weight.data).toBeInstanceOf(wide ? Float64Array : Float32Array);
      expect(weight.shape).toEqual(each.weightShape);
      const layer: Layer = { ...each, weight: weight.data, bias };
      const { y, magnitude } = convolve(layer, each.x, each.shape, each.yShape);
      expect(y).toBeAllclose(each.y, {
        atol: magnitude.map((m) => (wide ? F64 : SLACK * m) + F64),
      });
    }
  });
});

describe("a layout says the same in another order", () => {
  const find = (name: string): FoldFixture => foldFixtures.find((each) => each.name === name)!;
  test.each<[string, string, ConvLayout]>([
    ["1d", "OIW", "WIO"],
    ["2d without bias, padded, strided", "OIHW", "HWIO"],
    ["3d", "OIDHW", "DHWIO"],
    ["in groups", "OIHW", "HWIO"],
    ["transposed", "IOHW", "HWOI"],
    ["transposed 1d", "IOW", "WOI"],
    ["transposed in groups", "IOHW", "HWOI"],
    ["before 2d", "OIHW", "HWIO"],
    ["before in groups", "OIHW", "HWIO"],
  ])("%s: %s and %s", (name, from, to) => {
    const each = find(name);
    const { bias, bn, position, groups } = each;
    const options = { position, padded: false };
    const weight = permute(each.weight, each.weightShape, from, to);
    const there = foldIntoConv({ weight, bias, layout: to, groups }, bn, options);
    const here = foldOf(each, Float64Array.from(each.weight));
    expect(there.weight.shape).toEqual(weight.shape);
    const back = permute(there.weight.data, there.weight.shape, to, from);
    expect(back.data).toEqual(here.weight.data);
    // Sums over a permuted weight are added up in another order.
    expect(there.bias).toBeAllclose(here.bias, { atol: F64 });
  });

  test("fully connected", () => {
    const each = find("linear");
    const { bias, bn } = each;
    const weight = permute(each.weight, each.weightShape, "OI", "IO");
    const there = foldIntoLinear({ weight, bias, layout: "IO" }, bn);
    const here = foldOf(each, Float64Array.from(each.weight));
    expect(permute(there.weight.data, there.weight.shape, "IO", "OI").data).toEqual(
      here.weight.data,
    );
    expect(there.bias).toEqual(here.bias);
  });
});

describe("TensorFlow.js's own layers", () => {
  const random = createRandom(8);
  beforeAll(async () => {
    await tf.setBackend("cpu");
  });
  const statistics = (channels: number) => ({
    weight: random.normals(channels, 0.5),
    bias: random.normals(channels),
    running_mean: random.normals(channels),
    running_var: random.uniforms(channels, 0.25, 3),
    eps: 1e-3,
  });
  const x = random.normals(2 * 5 * 4 * 3);
  const input = (): tf.Tensor4D => tf.tensor4d(x, [2, 5, 4, 3]);

  test.each<
    [string, ConvLayout, [number, number, number, number], (w: tf.Tensor4D) => tf.Tensor4D]
  >([
    ["conv2d", "HWIO", [3, 2, 3, 4], (w) => tf.conv2d(input(), w, 2, "same")],
    ["depthwiseConv2d", "HWCM", [3, 2, 3, 2], (w) => tf.depthwiseConv2d(input(), w, 1, "same")],
    [
      "conv2dTranspose",
      "HWOI",
      [2, 3, 4, 3],
      (w) => tf.conv2dTranspose(input(), w, [2, 10, 8, 4], 2, "same"),
    ],
  ])("%s followed by batchNorm", (_, layout, shape, run) => {
    const data = random.normals(shape.reduce((a, b) => a * b, 1));
    const channels = layout === "HWCM" ? 6 : 4;
    const bn = statistics(channels);
    const bias = random.normals(channels);
    const folded = foldIntoConv({ weight: { data, shape }, bias, layout }, bn);
    const vector = (values: ArrayLike<number>): tf.Tensor1D => tf.tensor1d(Array.from(values));
    const two = tf.batchNorm4d(
      run(tf.tensor4d(data, shape)).add<tf.Tensor4D>(vector(bias)),
      vector(bn.running_mean),
      vector(bn.running_var),
      vector(bn.bias),
      vector(bn.weight),
      bn.eps,
    );
    const one = run(tf.tensor4d(folded.weight.data as Float32Array, shape)).add(
      vector(folded.bias),
    );
    // Both are f32 sums of at most 19 terms, (19 + 6)·2^-24 of their magnitudes: |x|, |w|, |scale| stay below 5, 5 and 5.
    const terms = 18 * 125;
    expect(one.dataSync()).toBeAllclose(Array.from(two.dataSync()), {
      atol: 2 * 25 * 2 ** -24 * terms,
    });
    // A wrong channel would be seen: outputs differ by far more than that.
    const spread = two.max().sub(two.min()).dataSync()[0]!;
    expect(spread).toBeGreaterThan(1);
  });
});

describe("what cannot be folded is refused", () => {
  const weight = { data: new Float32Array(2 * 3 * 1 * 1).fill(1), shape: [2, 3, 1, 1] };
  const of = (channels: number) => ({
    running_mean: new Float32Array(channels).fill(1),
    running_var: new Float32Array(channels).fill(1),
    eps: 1e-5,
  });
  const conv = { weight, layout: "OIHW" as ConvLayout };
  type Bn = Parameters<typeof foldIntoConv>[1];

  test.each<[string, () => unknown, typeof OptionError | typeof ShapeError, RegExp]>([
    [
      "an unknown layout",
      () => foldIntoConv({ ...conv, layout: "NCHW" as ConvLayout }, of(2)),
      OptionError,
      /layout: one of OIW, OIHW/,
    ],
    [
      "another rank",
      () => foldIntoConv({ ...conv, layout: "OIW" }, of(2)),
      ShapeError,
      /weight: rank 3 \(OIW\), got \[2, 3, 1, 1\]/,
    ],
    [
      "too few weights",
      () => foldIntoConv({ ...conv, weight: { data: [1], shape: [2, 3, 1, 1] } }, of(2)),
      ShapeError,
      /weight: 6 values, got 1/,
    ],
    [
      "statistics of the inputs",
      () => foldIntoConv(conv, of(3)),
      ShapeError,
      /mean: 2 values, got 3/,
    ],
    [
      "statistics that are null",
      () => foldIntoConv(conv, { ...of(2), running_mean: null }),
      ShapeError,
      /mean: 2 values, got 0/,
    ],
    ["no statistics", () => foldIntoConv(conv, { eps: 1e-5 }), ShapeError, /mean: 2 values, got 0/],
    [
      "a bias of another layer",
      () => foldIntoConv({ ...conv, bias: [1] }, of(2)),
      ShapeError,
      /bias: 2 values, got 1/,
    ],
    [
      "groups that do not divide",
      () => foldIntoConv({ ...conv, groups: 3 }, of(2)),
      OptionError,
      /groups: a divisor of 2/,
    ],
    [
      "groups of a depthwise layout",
      () => foldIntoConv({ ...conv, layout: "HWCM", groups: 2 }, of(1)),
      OptionError,
      /groups: none of a depthwise layout \(HWCM\), got 2; leave it out/,
    ],
    [
      "no eps",
      () => foldIntoConv(conv, { ...of(2), eps: undefined } as unknown as Bn),
      OptionError,
      /eps: a finite number/,
    ],
    [
      "a NaN",
      () => foldIntoConv(conv, { ...of(2), running_mean: [1, NaN] }),
      OptionError,
      /channel 1: finite numbers.*mean NaN/,
    ],
    [
      "a negative variance",
      () => foldIntoConv(conv, { ...of(2), running_var: [1, -1e-9] }),
      OptionError,
      /channel 1.*variance -1e-9/,
    ],
    [
      "an infinite gamma",
      () => foldIntoConv(conv, { ...of(2), weight: [Infinity, 1] }),
      OptionError,
      /channel 0.*gamma Infinity/,
    ],
    [
      "a weight that no f32 holds when folded",
      () => {
        const large = { data: [1, 1, 1, 1, 3e38, 1], shape: weight.shape };
        return foldIntoConv({ ...conv, weight: large }, { ...of(2), running_var: [1, 1e-4] });
      },
      OptionError,
      /foldIntoConv: weight 4: a finite number when folded, got Infinity/,
    ],
    [
      "a bias that is none",
      () => foldIntoConv({ ...conv, bias: [1, NaN] }, of(2)),
      OptionError,
      /foldIntoConv: bias 1: a finite number when folded, got NaN/,
    ],
    [
      "before a padded layer",
      () => foldIntoConv(conv, of(3), { position: "before" }),
      OptionError,
      /may be padded with zeros/,
    ],
    [
      "before a transposed layer",
      () => foldIntoConv({ ...conv, layout: "IOHW" }, of(2), { position: "before", padded: false }),
      OptionError,
      /a transposed convolution/,
    ],
    [
      "an option that there is not",
      () => foldIntoConv(conv, of(2), { Position: "before" } as object),
      OptionError,
      /foldIntoConv: Position: .*did you mean position/,
    ],
    ...Object.entries({ gamma: "call it weight", moving_variance: "call it running_var" }).map(
      ([name, remedy]): [string, () => unknown, typeof OptionError, RegExp] => [
        `a state with ${name}`,
        () => foldIntoConv(conv, { ...of(2), [name]: [1, 1] }),
        OptionError,
        new RegExp(`foldIntoConv: bn: ${name}: one of weight, .*; ${remedy}$`),
      ],
    ),
    [
      "a misspelt inPlace",
      () => foldIntoConv(conv, { ...of(2), inplace: true } as Bn),
      OptionError,
      /bn: inplace: .*did you mean inPlace/,
    ],
    [
      "a misspelt groups",
      () => foldIntoConv({ ...conv, group: 2 } as typeof conv, of(2)),
      OptionError,
      /foldIntoConv: group: .*did you mean groups/,
    ],
    [
      "groups of a fully connected layer",
      () => {
        const linear = { weight: { data: [1, 2], shape: [2, 1] }, layout: "OI", groups: 1 };
        return foldIntoLinear(linear as Parameters<typeof foldIntoLinear>[0], of(2));
      },
      OptionError,
      /foldIntoLinear: groups/,
    ],
    [
      "padding of a fully connected layer",
      () => {
        const weight = { data: [1, 2, 3, 4], shape: [2, 2] };
        return foldIntoLinear({ weight, layout: "OI" }, of(2), { padded: true } as object);
      },
      OptionError,
      /foldIntoLinear: padded/,
    ],
    [
      "another position",
      () => foldIntoConv(conv, of(2), { position: "beside" as "before" }),
      OptionError,
      /position/,
    ],
  ])("%s", (_, run, type, message) => {
    expect(run).toThrow(type);
    expect(run).toThrow(message);
  });

  test("a shift of zero goes before any layer, padded and transposed ones too", () => {
    const bn = { ...of(2), running_mean: [0, 0], running_var: [0.25, 4], eps: 0 };
    const folded = foldIntoConv({ ...conv, layout: "IOHW" }, bn, { position: "before" });
    expect(Array.from(folded.weight.data)).toEqual([2, 2, 2, 0.5, 0.5, 0.5]);
    expect(Array.from(folded.bias)).toEqual([0, 0, 0]);
  });

  test("var + eps = 0 gives beta, as in the reference", () => {
    const bn = { running_mean: [3, 3], running_var: [0, 0], weight: [5, 5], bias: [1, 2], eps: 0 };
    const folded = foldIntoConv(conv, bn);
    expect(Array.from(folded.bias)).toEqual([1, 2]);
    expect(Array.from(folded.weight.data)).toEqual([0, 0, 0, 0, 0, 0]);
  });
});

test("bits of 16-bit floats are no numbers", () => {
  const half = Uint16Array.of(0x3c00, 0x4000);
  const bn = { running_mean: [0, 0], running_var: [1, 1], eps: 0 };
  const weight = { data: [1, 2], shape: [2, 1] };
  for (const call of [
    () => foldIntoLinear({ weight, layout: "OI" }, { ...bn, weight: half }),
    () => foldIntoLinear({ weight, bias: half, layout: "OI" }, bn),
    () => foldIntoLinear({ weight: { ...weight, data: half }, layout: "OI" }, bn),
  ]) {
    expect(call).toThrow(ShapeError);
    expect(call).toThrow(/2 numbers, got a Uint16Array; widen/);
  }
});

test("what only training has of a state dictionary is left alone", () => {
  const weight = { data: [1, 2], shape: [2, 1] };
  const bn = { running_mean: [1, 1], running_var: [1, 4], eps: 0 };
  const more = { num_batches_tracked: 3n, renorm_mean: [5, 5], renorm_stddev: [6, 6] };
  expect(foldIntoLinear({ weight, layout: "OI" }, { ...bn, ...more })).toEqual(
    foldIntoLinear({ weight, layout: "OI" }, bn),
  );
});

test("null is none", () => {
  const weight = { data: [1, 2], shape: [2, 1] };
  const bn = { running_mean: [1, 1], running_var: [1, 4], eps: 0 };
  const none = { weight: null, bias: null };
  expect(foldIntoLinear({ weight, bias: null, layout: "OI" }, { ...bn, ...none })).toEqual(
    foldIntoLinear({ weight, layout: "OI" }, bn),
  );
});

test("a module that works in place counts a small gamma as its floor", () => {
  const weight = { data: [1, 1, 1, 1], shape: [4, 1] };
  const bn = {
    weight: [0.001, -0.001, 0, -2],
    bias: [0, 0, 0, 0],
    running_mean: [0, 0, 0, 0],
    running_var: [1, 1, 1, 1],
    eps: 0,
  };
  const scales = (state: typeof bn & { inPlace?: boolean }): number[] =>
    Array.from(foldIntoLinear({ weight, layout: "OI" }, state).weight.data);
  const small = Math.fround(0.001);
  expect(scales(bn)).toEqual([small, -small, 0, -2]);
  expect(scales({ ...bn, inPlace: true })).toEqual([2 ** -7, -(2 ** -7), 2 ** -7, -2]);
});
