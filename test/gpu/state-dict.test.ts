/** State dictionaries: PyTorch's names and order, what survives a round trip, the counter of 64 bits. */
import { afterEach, beforeAll, expect, test } from "vitest";
import {
  BatchNorm1d,
  BatchNorm2d,
  type BatchNormOptions,
  ShapeError,
  type StateDict,
  tensor,
} from "../../src/index.js";
import { forward, inference } from "../../src/reference.js";
import { ExtendedBatchNorm } from "../../src/statistics/index.js";
import { openDevice } from "../support/device.js";
import { createRandom } from "../support/random.js";
import "../support/allclose.js";

let device: GPUDevice;
beforeAll(async () => {
  device = await openDevice();
});

const made: { destroy(): void }[] = [];
function keep<T extends { destroy(): void }>(one: T): T {
  made.push(one);
  return one;
}
afterEach(() => {
  for (const each of made.splice(0)) each.destroy();
});

const random = createRandom(31);
const module = (options: BatchNormOptions = {}): BatchNorm1d =>
  keep(new BatchNorm1d(device, 5, options));
/** Modules whose kernels count by themselves. */
const COUNTING = [
  ["BatchNorm1d", module],
  [
    "ExtendedBatchNorm",
    (options?: BatchNormOptions) => keep(new ExtendedBatchNorm(device, 5, options)),
  ],
] as const;
const NAMES = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"];

/** One batch of 6 by 5, and its values. */
function batch(): { x: ReturnType<typeof tensor>; xs: Float32Array } {
  const xs = random.normals(30, 1, 2);
  return { x: keep(tensor(device, xs, [6, 5])), xs };
}

test.each<[BatchNormOptions, string[]]>([
  [{}, NAMES],
  [{ affine: false }, NAMES.slice(2)],
  [{ trackRunningStats: false }, NAMES.slice(0, 2)],
  [{ affine: false, trackRunningStats: false }, []],
])("names and order are PyTorch's: %j", async (options, names) => {
  expect(Object.keys(await module(options).stateDict())).toEqual(names);
});

test("a new module holds ones and zeros, as PyTorch's", async () => {
  const dict = await module().stateDict();
  expect(dict).toEqual({
    weight: new Float32Array(5).fill(1),
    bias: new Float32Array(5),
    running_mean: new Float32Array(5),
    running_var: new Float32Array(5).fill(1),
    num_batches_tracked: 0n,
  });
  expect(typeof dict.num_batches_tracked).toBe("bigint");
});

test.each<BatchNormOptions>([
  {},
  { affine: false },
  { trackRunningStats: false },
  { momentum: null },
])("what one module gives another takes, to the bit: %j", async (options) => {
  const [from, to] = [module(options), module(options)];
  from.gamma?.write(random.normals(5));
  from.beta?.write(random.normals(5));
  for (let i = 0; i < 3; i++) keep(from.forward(batch().x));
  const dict = await from.stateDict();
  to.loadStateDict(dict);
  expect(await to.stateDict()).toEqual(dict);
  const { x } = batch();
  const [a, b] = [keep(from.eval().forward(x)), keep(to.eval().forward(x))];
  const values = await a.read();
  expect(values.every(Number.isFinite)).toBe(true);
  expect(await b.read()).toEqual(values);
  // A dictionary is a copy: later batches do not change it.
  const copy: StateDict = structuredClone(dict);
  keep(to.train().forward(x));
  await to.status();
  expect(dict).toEqual(copy);
});

test("loaded values are those of evaluation", async () => {
  const bn = module();
  const dict = {
    weight: [1, 2, 3, 4, 5],
    bias: new Float64Array([5, 4, 3, 2, 1]),
    running_mean: new Float32Array([0, 1, -1, 10, -10]),
    running_var: [1, 0.25, 4, 0, 100],
    num_batches_tracked: 12,
  };
  bn.loadStateDict(dict);
  const { x, xs } = batch();
  const y = keep(bn.eval().forward(x));
  const e = inference(xs, [6, 5], {
    gamma: dict.weight,
    beta: dict.bias,
    mean: dict.running_mean,
    variance: dict.running_var,
  });
  expect(await y.read()).toBeAllclose(e.y, {
    atol: (i) => 2e-6 * Math.max(1, Math.abs(e.xHat[i]!)) * dict.weight[i % 5]!,
    rtol: 2 ** -23,
  });
  expect((await bn.stateDict()).num_batches_tracked).toBe(12n);
});

const good = {
  weight: [1, 1, 1, 1, 1],
  bias: [0, 0, 0, 0, 0],
  running_mean: [0, 0, 0, 0, 0],
  running_var: [1, 1, 1, 1, 1],
};

test.each<[bigint | number | ArrayLike<number | bigint>, bigint]>([
  [0, 0n],
  [7, 7n],
  [2 ** 40, 2n ** 40n],
  [2n ** 32n - 1n, 2n ** 32n - 1n],
  [2n ** 32n, 2n ** 32n],
  [2n ** 53n + 1n, 2n ** 53n + 1n],
  [2n ** 63n - 3n, 2n ** 63n - 3n],
  [[41], 41n],
  [BigInt64Array.of(2n ** 33n + 5n), 2n ** 33n + 5n],
])("the counter has 64 bits: %s", async (given, counter) => {
  const bn = module();
  bn.loadStateDict({ ...good, num_batches_tracked: given });
  expect((await bn.stateDict()).num_batches_tracked).toBe(counter);
  keep(bn.forward(batch().x));
  expect((await bn.stateDict()).num_batches_tracked).toBe(counter + 1n);
  keep(bn.eval().forward(batch().x));
  expect((await bn.stateDict()).num_batches_tracked).toBe(counter + 1n);
});

test.each(COUNTING)("the counter carries from 32 bits into the next: %s", async (_, make) => {
  const bn = make();
  bn.loadStateDict({ ...good, num_batches_tracked: 2n ** 32n - 1n });
  keep(bn.forward(batch().x));
  expect((await bn.stateDict()).num_batches_tracked).toBe(2n ** 32n);
  keep(bn.forward(batch().x));
  expect((await bn.stateDict()).num_batches_tracked).toBe(2n ** 32n + 1n);
});

test("a dictionary without the counter leaves it as it is", async () => {
  const bn = module();
  bn.loadStateDict({ ...good, num_batches_tracked: 2n ** 32n + 9n });
  bn.loadStateDict({ ...good, weight: [2, 2, 2, 2, 2] });
  const dict = await bn.stateDict();
  expect([...dict.weight!]).toEqual([2, 2, 2, 2, 2]);
  expect(dict.num_batches_tracked).toBe(2n ** 32n + 9n);
});

test.each([0, 1, 3, 99])(
  "a cumulative average goes on from a loaded counter of %i",
  async (counter) => {
    const bn = module({ momentum: null });
    let state = {
      mean: random.normals(5) as ArrayLike<number>,
      variance: random.uniforms(5, 0.5, 2) as ArrayLike<number>,
      numBatchesTracked: BigInt(counter),
    };
    bn.loadStateDict({
      ...good,
      running_mean: state.mean,
      running_var: state.variance,
      num_batches_tracked: counter,
    });
    for (let i = 0; i < 3; i++) {
      const { x, xs } = batch();
      keep(bn.forward(x));
      state = forward(xs, [6, 5], { momentum: null, state }).state!;
    }
    const dict = await bn.stateDict();
    expect(dict.num_batches_tracked).toBe(BigInt(counter + 3));
    // Three updates of three roundings each, of numbers up to 3 and 10.
    expect(dict.running_mean).toBeAllclose(state.mean, { atol: 9 * 3 * 2 ** -24 });
    expect(dict.running_var).toBeAllclose(state.variance, { atol: 2e-6, rtol: 4e-6 });
  },
);

test.each(COUNTING)(
  "a cumulative average goes on from a counter above 2^32: %s",
  async (_, make) => {
    const bn = make({ momentum: null });
    const mean = [1, 2, 3, 4, 5];
    bn.loadStateDict({ ...good, running_mean: mean, num_batches_tracked: 2n ** 32n });
    keep(bn.forward(batch().x));
    const dict = await bn.stateDict();
    expect(dict.num_batches_tracked).toBe(2n ** 32n + 1n);
    // A weight of 2^-32 moves nothing here.
    expect(dict.running_mean).toBeAllclose(mean, { atol: 1e-6 });
    expect(dict.running_var).toBeAllclose([1, 1, 1, 1, 1], { atol: 1e-6 });
  },
);

test("limits of renormalization go on from a counter above 2^32", async () => {
  const { x } = batch();
  const ramps = {
    rMax: [
      [0, 1],
      [2 ** 32, 3],
    ],
    dMax: [
      [0, 0],
      [2 ** 32, 5],
    ],
  } as const;
  const [ramped, flat] = await Promise.all(
    [ramps, { rMax: 3, dMax: 5 }].map((renormClipping) => {
      const bn = keep(new ExtendedBatchNorm(device, 5, { renorm: true, renormClipping }));
      bn.loadStateDict({ ...good, num_batches_tracked: 2n ** 32n });
      return keep(bn.forward(x)).read();
    }),
  );
  expect(ramped).toEqual(flat);
});

test.each([1, null])("momentum %s forgets what was there, even NaN", async (momentum) => {
  const bn = module({ momentum });
  bn.runningMean!.write([NaN, NaN, Infinity, 1, -1]);
  bn.runningVar!.write([NaN, 1, Infinity, NaN, 1]);
  const { x, xs } = batch();
  keep(bn.forward(x));
  const state = { mean: new Float32Array(5), variance: new Float32Array(5), numBatchesTracked: 0 };
  const expected = forward(xs, [6, 5], { momentum, state }).state!;
  const dict = await bn.stateDict();
  expect(dict.running_mean).toBeAllclose(expected.mean, { atol: 2e-6 });
  expect(dict.running_var).toBeAllclose(expected.variance, { rtol: 4e-6 });
});

test("loading is ordered with the work around it", async () => {
  const bn = module({ momentum: 1 });
  const { x, xs } = batch();
  const y0 = keep(bn.forward(x));
  bn.loadStateDict({ ...good, weight: [3, 3, 3, 3, 3], num_batches_tracked: 5 });
  const y1 = keep(bn.eval().forward(x));
  const before = forward(xs, [6, 5]);
  const largest = before.xHat.reduce((a, v) => Math.max(a, Math.abs(v)), 1);
  expect(await y0.read()).toBeAllclose(before.y, { atol: 2e-6 * largest, rtol: 2 ** -23 });
  const after = inference(xs, [6, 5], {
    gamma: [3, 3, 3, 3, 3],
    mean: good.running_mean,
    variance: good.running_var,
  });
  expect(await y1.read()).toBeAllclose(after.y, {
    atol: (i) => 6e-6 * Math.max(1, Math.abs(after.xHat[i]!)),
    rtol: 2 ** -23,
  });
  expect((await bn.stateDict()).num_batches_tracked).toBe(5n);
});

test("a dictionary is of the time of the call, whatever is done to the module before it is there", async () => {
  for (const bn of [
    module({ momentum: 1 }),
    keep(new ExtendedBatchNorm(device, 5, { renorm: true })),
  ]) {
    const { x } = batch();
    bn.loadStateDict({ ...good, num_batches_tracked: 4 });
    const want = await bn.stateDict();
    const got = bn.stateDict();
    bn.gamma!.write([9, 9, 9, 9, 9]);
    keep(bn.forward(x));
    keep(bn.forward(x));
    expect(await got).toEqual(want);
    const last = bn.stateDict();
    bn.destroy();
    expect((await last).num_batches_tracked).toBe(6n);
  }
});

test("what is read of a tensor is what it held at the time of the call", async () => {
  const x = keep(tensor(device, [1, 2], [2]));
  const read = x.read();
  const raw = x.readRaw();
  x.write([9, 9]);
  x.destroy();
  expect([...(await read)]).toEqual([1, 2]);
  expect([...new Float32Array(await raw)]).toEqual([1, 2]);
});

test("parameters in bits of 16-bit floats are refused whole", async () => {
  const bn = keep(new BatchNorm2d(device, 5));
  const before = await bn.stateDict();
  for (const name of ["weight", "running_var"]) {
    const bits = Uint16Array.of(1, 2, 3, 4, 5);
    for (const entry of [bits, { dtype: "F16", data: bits }]) {
      const load = () => bn.loadStateDict({ ...good, [name]: entry });
      expect(load).toThrow(ShapeError);
      expect(load).toThrow(/5 values, got a Uint16Array; pass a number for each channel/);
    }
  }
  expect(await bn.stateDict()).toEqual(before);
});

test("of a file nothing is decoded but what the module has", () => {
  const bn = keep(new BatchNorm2d(device, 5));
  const read: string[] = [];
  const lazy = (name: string, values: ArrayLike<number>) => ({
    get data() {
      read.push(name);
      return values;
    },
  });
  const file = new Map([
    ["conv.weight", lazy("conv.weight", new Float32Array(9))],
    ...Object.entries(good).map(([name, values]) => [`bn.${name}`, lazy(name, values)] as const),
  ]);
  bn.loadStateDict(file, { prefix: "bn." });
  expect(read.sort()).toEqual(Object.keys(good).sort());
});

test("what is no state at all is refused in words of the dictionary", async () => {
  const bn = keep(new BatchNorm2d(device, 5));
  const before = await bn.stateDict();
  const strange = [new Map<unknown, unknown>([[5, 1]]), { ...good, weight: { data: null } }];
  for (const each of strange) {
    expect(() => bn.loadStateDict(each as never)).toThrow(ShapeError);
  }
  expect(await bn.stateDict()).toEqual(before);
});

test("a dictionary of another size is refused whole", async () => {
  const bn = keep(new BatchNorm2d(device, 4));
  const before = await bn.stateDict();
  expect(() => bn.loadStateDict(good)).toThrow(ShapeError);
  expect(await bn.stateDict()).toEqual(before);
});
