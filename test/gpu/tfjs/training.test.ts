/** `batchNormTraining` against the same composed from TensorFlow.js's own operations. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OptionError, ShapeError, type ActivationName } from "webgpu-batchnorm";
import * as reference from "webgpu-batchnorm/reference";
import {
  batchNormTraining,
  register,
  unregister,
  type BatchNormTrainingOptions,
} from "webgpu-batchnorm/tfjs";
import { createRandom } from "../../support/random.js";
import { openTensorFlow, toleranceOf, watchOurs, type TF } from "../../support/tfjs.js";
import "../../support/allclose.js";

type Tensor = import("@tensorflow/tfjs").Tensor;

let tf: TF;
let ours: () => number;
beforeAll(async () => {
  tf = await openTensorFlow();
  ours = watchOurs(tf);
  expect(() => batchNormTraining(tf.ones([2, 2]), null, null)).toThrow("register(tf) first");
  await register(tf);
});
afterAll(() => {
  unregister(tf);
});

const EPS = 1e-3;
const ACTIVATIONS: Readonly<Partial<Record<ActivationName, (z: Tensor) => Tensor>>> = {
  none: (z) => z,
  relu: (z) => tf.relu(z),
  relu6: (z) => tf.minimum(tf.relu(z), 6),
  "leaky-relu": (z) => tf.leakyRelu(z, 0.01),
  elu: (z) => tf.elu(z),
  tanh: (z) => tf.tanh(z),
  sigmoid: (z) => tf.sigmoid(z),
  silu: (z) => tf.div(z, tf.add(1, tf.exp(tf.neg(z)))),
  "hard-swish": (z) => tf.mul(z, tf.div(tf.minimum(tf.relu(tf.add(z, 3)), 6), 6)),
  gelu: (z) => tf.mul(z, tf.mul(0.5, tf.add(1, tf.erf(tf.div(z, Math.SQRT2))))),
};

interface Case {
  readonly shape: readonly number[];
  readonly axis?: number;
  readonly activation?: ActivationName;
  readonly residual?: boolean;
  readonly without?: readonly string[];
}

type Found = Record<"y" | "mean" | "variance", Tensor>;
type Operation = (of: Readonly<Record<string, Tensor | undefined>>) => Found;

const theirs =
  ({ shape, axis = -1, activation = "none" }: Case): Operation =>
  ({ x, gamma, beta, residual }) => {
    const at = axis < 0 ? axis + shape.length : axis;
    const axes = shape.map((_, i) => i).filter((i) => i !== at);
    const wide = (of: Tensor): Tensor =>
      tf.reshape(
        of,
        shape.map((size, i) => (i === at ? size : 1)),
      );
    const { mean, variance } = tf.moments(x!, axes, true);
    let z = tf.div(tf.sub(x!, mean), tf.sqrt(tf.add(variance, EPS)));
    if (gamma) z = tf.mul(z, wide(gamma));
    if (beta) z = tf.add(z, wide(beta));
    if (residual) z = tf.add(z, residual);
    const flat = [shape[at]!];
    return {
      y: ACTIVATIONS[activation]!(z),
      mean: tf.reshape(mean, flat),
      variance: tf.reshape(variance, flat),
    };
  };

const mine =
  ({ axis, activation }: Case): Operation =>
  ({ x, gamma, beta, residual }) => {
    const options: BatchNormTrainingOptions = {
      ...(axis === undefined ? {} : { axis }),
      ...(activation ? { activation } : {}),
      residual: residual ?? null,
    };
    return batchNormTraining(x!, gamma ?? null, beta ?? null, options);
  };

/** Outputs, and gradients of all inputs through y, or through mean and variance too. */
async function measure(each: Case, operation: Operation, statistics = false) {
  const { shape, axis = -1, residual = false, without = [] } = each;
  const random = createRandom(shape.length + (each.activation?.length ?? 0));
  const size = shape.reduce((a, b) => a * b, 1);
  const channels = shape.at(axis)!;
  const all = {
    x: tf.tensor(random.normals(size, 0.5, 1.5), [...shape]),
    gamma: tf.tensor1d(random.normals(channels, 1, 0.5)),
    beta: tf.tensor1d(random.normals(channels)),
    residual: tf.tensor(random.normals(size), [...shape]),
  };
  const dy = tf.tensor(random.normals(size), [...shape]);
  const weights = tf.tensor1d(random.normals(channels));
  const names = Object.keys(all).filter(
    (name) => !without.includes(name) && (residual || name !== "residual"),
  ) as (keyof typeof all)[];
  const run = (...of: Tensor[]): Found =>
    operation(Object.fromEntries(names.map((name, i) => [name, of[i]])));
  const inputs = names.map((name) => all[name]);
  const outputs = run(...inputs);
  const loss = (...of: Tensor[]): Tensor => {
    const { y, mean, variance } = run(...of);
    const main = tf.sum(tf.mul(y, dy));
    if (!statistics) return main;
    const both = tf.add(tf.mul(mean, weights), tf.mul(tf.mul(variance, variance), weights));
    return tf.add(main, tf.sum(tf.mul(both, 10)));
  };
  const gradients = tf.grads(loss)(inputs);
  const { y, mean, variance } = outputs;
  const read = await Promise.all(
    [y, mean, variance, ...gradients].map((tensor) => tensor.data() as Promise<Float32Array>),
  );
  tf.dispose([all, dy, weights, outputs, gradients]);
  return Object.fromEntries(["y", "mean", "variance", ...names].map((name, i) => [name, read[i]!]));
}

function compare(
  found: Record<string, Float32Array>,
  expected: Record<string, Float32Array>,
): void {
  expect(Object.keys(found)).toEqual(Object.keys(expected));
  for (const [name, values] of Object.entries(expected)) {
    expect(found[name], name).toBeAllclose(values, toleranceOf(values));
  }
}

const CASES: readonly Case[] = [
  { shape: [9, 4] },
  { shape: [9, 3], without: ["gamma"] },
  { shape: [5, 7, 3], without: ["beta"] },
  { shape: [4, 3, 5, 8], without: ["gamma", "beta"] },
  { shape: [4, 6, 5, 3], axis: 1 },
  { shape: [4, 6, 5, 3], axis: -2, residual: true },
  { shape: [2, 3, 4, 3, 4] },
  { shape: [2, 3, 4, 2, 5], axis: 1, residual: true, activation: "relu" },
  { shape: [4, 3, 5, 8], residual: true, activation: "silu" },
  ...(Object.keys(ACTIVATIONS) as ActivationName[]).map((activation) => ({
    shape: [6, 4, 4],
    activation,
  })),
];

test.each(CASES)("%j", async (each) => {
  ours();
  const found = await measure(each, mine(each));
  expect(ours()).toBeGreaterThan(2);
  compare(found, await measure(each, theirs(each)));
  expect(ours()).toBe(0);
});

test("gradients flow through mean and variance too", async () => {
  const each: Case = { shape: [4, 5, 3, 2], axis: 1, residual: true, activation: "tanh" };
  const expected = await measure(each, theirs(each), true);
  const plain = await measure(each, theirs(each));
  compare(await measure(each, mine(each), true), expected);
  expect(plain["x"]).not.toBeAllclose(expected["x"]!, { atol: 1e-2 });
});

test.each(["mean", "variance"] as const)("and through the %s alone", async (name) => {
  const x = tf.tensor2d(createRandom(14).normals(24, 0.5, 1.5), [6, 4]);
  const weights = tf.tensor1d([1, 2, -3, 4]);
  const slope = (of: (x: Tensor) => Tensor) =>
    tf
      .grad((x: Tensor) => tf.sum(tf.mul(of(x), weights)))(x)
      .data();
  const expected = await slope((x) => tf.moments(x, 0)[name]);
  const found = await slope((x) => batchNormTraining(x, null, null)[name]);
  expect(found).toBeAllclose(expected, { atol: 1e-5 });
});

test("one value per channel, and a constant channel, give beta and no gradient for x", async () => {
  for (const x of [tf.tensor2d([[3, -1e6]]), tf.fill([4, 2], 1e6)]) {
    const gamma = tf.tensor1d([2, 3]);
    const beta = tf.tensor1d([5, 7]);
    const y = batchNormTraining(x, gamma, beta).y;
    const rows = Array.from({ length: x.shape[0] }, () => [5, 7]).flat();
    expect(await y.data()).toBeAllclose(rows);
    const dx = tf.grad((of: Tensor) => batchNormTraining(of, gamma, beta).y)(x, tf.onesLike(x));
    expect(await dx.data()).toBeAllclose(new Float32Array(x.size));
  }
});

test("a mean of a million deviations costs no accuracy", async () => {
  const shape = [256, 3];
  const values = createRandom(5).normals(768, 1e6);
  const { y, xHat } = reference.forward(values, shape, { eps: EPS });
  const found = batchNormTraining(tf.tensor(values, shape), null, null);
  // The bound of README's Accuracy.
  const bound = (i: number): number => 2e-6 * Math.max(1, Math.abs(xHat[i]!)) + 2 ** -22;
  expect(await found.y.data()).toBeAllclose(y, { atol: bound });
});

describe("a gradient that is differentiated again", () => {
  const shape = [6, 4];
  const gamma = [1, 2, 0.5, 1.5];
  const beta = [0.3, -0.2, 0.4, 0.1];
  const values = createRandom(8).normals(24);

  /** The penalty of sum(y^3), in float64: its gradient's squares, summed. */
  const penaltyAt = (x: ArrayLike<number>, activation: ActivationName): number => {
    const options = { activation, gamma, beta, eps: EPS };
    const dy = reference.forward(x, shape, options).y.map((y) => 3 * y * y);
    return reference.backward(dy, x, shape, options).dx.reduce((sum, d) => sum + d * d, 0);
  };
  /** By differences. */
  const slopes = (of: (x: Float64Array) => number, x: ArrayLike<number>, h: number): number[] =>
    Array.from(x, (value, i) => {
      const at = (to: number): number => of(Float64Array.from(x).fill(to, i, i + 1));
      return (at(value + h) - at(value - h)) / (2 * h);
    });
  const penalty =
    (activation: ActivationName) =>
    (x: Tensor): Tensor => {
      const once = tf.grad((of: Tensor) => {
        const { y } = batchNormTraining(of, tf.tensor1d(gamma), tf.tensor1d(beta), { activation });
        return tf.sum(tf.mul(y, tf.mul(y, y)));
      });
      return tf.sum(tf.square(once(x)));
    };

  test.each(Object.keys(ACTIVATIONS) as ActivationName[])("%s", async (activation) => {
    const expected = slopes((x) => penaltyAt(x, activation), values, 1e-5);
    expect(expected.some((value) => Math.abs(value) > 1e-3)).toBe(true);
    for (const backend of ["webgpu", "cpu"]) {
      await tf.setBackend(backend);
      try {
        const found = await tf.grad(penalty(activation))(tf.tensor(values, shape)).data();
        expect(found, backend).toBeAllclose(expected, toleranceOf(expected));
      } finally {
        await tf.setBackend("webgpu");
      }
    }
  });

  test.each(["none", "tanh"] as const)("and once more, within another: %s", async (activation) => {
    const curvature = (x: Tensor): Tensor => tf.sum(tf.square(tf.grad(penalty(activation))(x)));
    const curvatureAt = (x: ArrayLike<number>): number =>
      slopes((each) => penaltyAt(each, activation), x, 1e-4).reduce((sum, d) => sum + d * d, 0);
    const { value, grad } = tf.valueAndGrad(curvature)(tf.tensor(values, shape));
    const expected = slopes(curvatureAt, values, 1e-3);
    const scale = Math.max(...expected.map(Math.abs));
    // Of three gradients in f32, and of differences of differences.
    expect((await value.data())[0]! / curvatureAt(values)).toBeCloseTo(1, 3);
    expect(await grad.data()).toBeAllclose(expected, { atol: 1e-3 * scale });
  });
});

describe("where our kernels do not serve, TensorFlow.js's operations do", () => {
  test("on another backend", async () => {
    await tf.setBackend("cpu");
    try {
      for (const each of CASES.slice(3, 9)) {
        compare(await measure(each, mine(each)), await measure(each, theirs(each)));
      }
      for (const activation of Object.keys(ACTIVATIONS) as ActivationName[]) {
        const each: Case = { shape: [6, 4], activation };
        compare(await measure(each, mine(each)), await measure(each, theirs(each)));
      }
      // What has no deviation, and no eps beside, has no gradient either.
      const constant = (x: Tensor): Tensor => batchNormTraining(x, null, null, { eps: 0 }).y;
      const same = tf.tensor2d([
        [3, 1],
        [3, 2],
      ]);
      expect(await constant(same).data()).toBeAllclose([0, -1, 0, 1], { atol: 1e-6 });
      const dx = tf.grad((x: Tensor) => tf.sum(tf.square(constant(x))))(same);
      expect(await dx.data()).toBeAllclose([0, 0, 0, 0], { atol: 1e-5 });
      const [below] = [
        batchNormTraining(tf.tensor2d([[-1], [1]]), null, null, {
          activation: "elu",
          slope: 2,
          eps: 0,
        }).y,
      ];
      expect(await below.data()).toBeAllclose([2 * (Math.exp(-1) - 1), 1], { atol: 1e-6 });
    } finally {
      await tf.setBackend("webgpu");
    }
  });
});

test("gradients that are asked for once another backend is set stay where they were made", async () => {
  const x = tf.tensor2d([1, 2, 3, 4, 5, 7], [3, 2]);
  const sum = (switches: boolean) => (x: Tensor) => {
    const total = tf.sum(batchNormTraining(x, null, null, { activation: "relu" }).y);
    if (switches) void tf.setBackend("cpu");
    return total;
  };
  const expected = await tf.grad(sum(false))(x).data();
  const dx = tf.grad(sum(true))(x);
  expect(tf.getBackend()).toBe("cpu");
  const found = await dx.data();
  await tf.setBackend("webgpu");
  expect(Math.max(...expected)).toBeGreaterThan(0.1);
  expect(found).toEqual(expected);
});

test("the same shape without gamma, without beta, and with a residual", async () => {
  const cases: Omit<Case, "shape">[] = [
    {},
    { without: ["gamma"] },
    { without: ["beta"] },
    { residual: true },
    { activation: "relu" },
    { activation: "relu", residual: true },
  ];
  for (const of of cases) {
    const each: Case = { shape: [6, 5], ...of };
    compare(await measure(each, mine(each)), await measure(each, theirs(each)));
  }
});

test("the same shape with another eps, and with another slope", async () => {
  const random = createRandom(12);
  const x = tf.tensor(random.normals(24), [6, 4]);
  for (const eps of [1e-3, 0.5, 0.1]) {
    const run = (of: Tensor) => batchNormTraining(of, null, null, { eps }).y;
    const xs = [...(await x.data())];
    const [y, dx] = [run(x), tf.grad(run)(x, x)];
    expect(await y.data()).toBeAllclose(reference.forward(xs, [6, 4], { eps }).y, { atol: 1e-5 });
    expect(await dx.data()).toBeAllclose(reference.backward(xs, xs, [6, 4], { eps }).dx, {
      atol: 1e-4,
    });
  }
  for (const slope of [0.01, 0.3, 2]) {
    for (const activation of ["leaky-relu", "elu"] as const) {
      const options = { activation, slope, eps: EPS };
      const run = (of: Tensor) => batchNormTraining(of, null, null, options).y;
      const xs = [...(await x.data())];
      const [y, dx] = [run(x), tf.grad(run)(x, x)];
      expect(await y.data()).toBeAllclose(reference.forward(xs, [6, 4], options).y, { atol: 1e-5 });
      expect(await dx.data()).toBeAllclose(reference.backward(xs, xs, [6, 4], options).dx, {
        atol: 1e-4,
      });
    }
  }
});

test("statistics do not come from what a buffer of TensorFlow.js's pool held before", async () => {
  const x = tf.tensor(createRandom(13).normals(24), [6, 4]);
  const expected = await batchNormTraining(x, null, null).mean.data();
  // Of the size of a plan's state: two rows of 64 and a counter.
  for (let i = 0; i < 4; i++) {
    const spoilt = tf.mul(tf.fill([132], NaN), 1);
    await spoilt.data();
    spoilt.dispose();
  }
  const { mean, variance, y } = batchNormTraining(x, null, null);
  expect(await mean.data()).toEqual(expected);
  for (const each of [variance, y])
    expect([...(await each.data())].every(Number.isFinite)).toBe(true);
});

test("an empty batch gives an empty y and gradients of zero", async () => {
  const x = tf.zeros([0, 3]);
  const gamma = tf.ones([3]);
  const { y } = batchNormTraining(x, gamma, null);
  expect(y.shape).toEqual([0, 3]);
  expect(await y.data()).toHaveLength(0);
  const [dx, dGamma] = tf.grads((a, b) => batchNormTraining(a, b, null).y)([x, gamma], x);
  expect(dx!.shape).toEqual([0, 3]);
  expect(await dGamma!.data()).toBeAllclose([0, 0, 0]);
});

test.each<[string, unknown, RegExp]>([
  ["x", null, /^batchNormTraining: x: a tensor of TensorFlow.js, got nothing;/],
  ["x", [[1]], /x: .* got an Array; make one with tf\.tensor/],
  ["x", Promise.resolve(), /x: .* got a Promise; await it/],
  ["gamma", new Float32Array(3), /gamma: .* got a Float32Array;/],
  ["beta", [1, 2, 3], /beta: .* got an Array;/],
  ["residual", 1, /residual: .* got a number;/],
])("%s that is no tensor is an error: %o", (name, given, message) => {
  const pick = (each: string, otherwise: Tensor | null): never =>
    (each === name ? given : otherwise) as never;
  const call = () =>
    batchNormTraining(pick("x", tf.ones([4, 3])), pick("gamma", null), pick("beta", null), {
      residual: pick("residual", null),
    });
  expect(call).toThrow(OptionError);
  expect(call).toThrow(message);
});

test("shapes and axes that do not fit are errors", () => {
  const x = tf.ones([4, 3]);
  expect(() => batchNormTraining(x, tf.ones([4]), null)).toThrow(ShapeError);
  expect(() => batchNormTraining(x, null, tf.ones([1, 3]))).toThrow("beta: shape [3], got [1, 3]");
  expect(() => batchNormTraining(x, null, null, { residual: tf.ones([3, 4]) })).toThrow(ShapeError);
  expect(() => batchNormTraining(tf.ones([4]), null, null)).toThrow("rank 2 or more");
  expect(() => batchNormTraining(x, null, null, { axis: 2 })).toThrow(OptionError);
});

test("options are checked on every backend, and for an empty x too", async () => {
  const check = (x: Tensor): void => {
    for (const [option, message] of [
      [{ eps: -1 }, "batchNormTraining: eps: a finite f32 >= 0, got -1;"],
      [{ eps: NaN }, "batchNormTraining: eps: "],
      [{ eps: "1e-3" }, "batchNormTraining: eps: "],
      [{ slope: Infinity }, "batchNormTraining: slope: a finite f32, got Infinity;"],
      [{ activation: "swish" }, "batchNormTraining: activation: "],
    ] as const) {
      const call = () => batchNormTraining(x, null, null, option as BatchNormTrainingOptions);
      expect(call).toThrow(OptionError);
      expect(call).toThrow(message);
    }
  };
  for (const backend of ["webgpu", "cpu"]) {
    await tf.setBackend(backend);
    try {
      check(tf.ones([4, 3]));
      check(tf.zeros([0, 3]));
    } finally {
      await tf.setBackend("webgpu");
    }
  }
});

test("integers that tf.cast calls float32 are normalised as the numbers that they are", async () => {
  const numbers = [1, 2, 3, 4, 6, 9];
  const run = async (type: "int32" | "float32"): Promise<number[]> => {
    const make = (): Tensor => tf.cast(tf.tensor2d(numbers, [3, 2], type), "float32");
    const y = (x: Tensor): Tensor => batchNormTraining(x, null, null).y;
    const dx = tf.grad(y)(tf.tensor2d([3, 1, 4, 1, 5, 9], [3, 2]), make());
    const all = await Promise.all([y(make()), dx].map((each) => each.data()));
    return all.flatMap((each) => [...each]);
  };
  const found = await run("int32");
  expect(found).toBeAllclose(await run("float32"), toleranceOf(found));
  expect(found[5]).toBeGreaterThan(1);
});
