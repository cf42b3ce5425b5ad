/** `tf.batchNorm` and its five gradients against TensorFlow.js itself, on its WebGPU backend. */
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { register, unregister } from "webgpu-batchnorm/tfjs";
import { createRandom } from "../../support/random.js";
import { openTensorFlow, toleranceOf, watchOurs, type TF } from "../../support/tfjs.js";
import "../../support/allclose.js";

type Tensor = import("@tensorflow/tfjs").Tensor;
type Operation = (...of: Tensor[]) => Tensor;

let tf: TF;
let ours: () => number;
beforeAll(async () => {
  tf = await openTensorFlow();
  ours = watchOurs(tf);
});
afterEach(() => {
  unregister(tf);
  ours();
});

const NAMES = ["x", "mean", "variance", "offset", "scale"] as const;
const EPS = 1e-3;
const sizeOf = (of: readonly number[]): number => of.reduce((a, b) => a * b, 1);

/** The types name only ranks 1 to 4, and statistics of rank 1 or x's. */
const batchNorm: Operation = (...of) =>
  (tf.batchNorm as (...of: unknown[]) => Tensor)(of[0], of[1], of[2], of[3], of[4], EPS);

/** What it means, where the stock one has no gradient (rank 5, axes other than the last). */
const arithmetic: Operation = (x, mean, variance, offset, scale) => {
  const xHat = tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, EPS)));
  const scaled = scale ? tf.mul(xHat, scale) : xHat;
  return offset ? tf.add(scaled, offset) : scaled;
};

/** y and the gradients of all inputs. */
async function measure(
  operation: Operation,
  shape: readonly number[],
  statistics: readonly number[],
  without: readonly string[] = [],
): Promise<Record<string, Float32Array>> {
  const random = createRandom(shape.length);
  const count = sizeOf(statistics);
  const values = [
    random.normals(sizeOf(shape), 1, 0.5),
    random.normals(count),
    random.normals(count).map((value) => 0.3 + Math.abs(value)),
    random.normals(count),
    random.normals(count, 0.5, 1),
  ];
  const names = NAMES.filter((name) => !without.includes(name));
  const inputs = names.map((name) =>
    tf.tensor(values[NAMES.indexOf(name)]!, [...(name === "x" ? shape : statistics)]),
  );
  const dy = tf.tensor(random.normals(sizeOf(shape)), [...shape]);
  const run: Operation = (...of) =>
    operation(...NAMES.map((name) => of[names.indexOf(name as never)]!));
  const y = run(...inputs);
  const gradients = tf.grads(run)(inputs, dy);
  const read = await Promise.all([y, ...gradients].map((each) => each.data()));
  expect(gradients.map((each) => each.shape)).toEqual(inputs.map((each) => each.shape));
  tf.dispose([...inputs, dy, y, ...gradients]);
  return Object.fromEntries(["y", ...names].map((name, i) => [name, read[i] as Float32Array]));
}

function compare(found: Record<string, Float32Array>, stock: Record<string, Float32Array>): void {
  expect(Object.keys(found)).toEqual(Object.keys(stock));
  for (const [name, expected] of Object.entries(stock)) {
    expect(found[name], name).toBeAllclose(expected, toleranceOf(expected));
  }
}

describe("y and five gradients are those of the stock one", () => {
  test.each([
    [[9], [9]],
    [[6, 5], [5]],
    [[7, 4, 8], [8]],
    [[4, 3, 5, 8], [8]],
  ])("x %j, statistics %j", async (shape, statistics) => {
    const stock = await measure(batchNorm, shape, statistics);
    expect(ours()).toBe(0);
    await register(tf);
    const found = await measure(batchNorm, shape, statistics);
    expect(ours()).toBeGreaterThan(1);
    compare(found, stock);
  });
});

describe("ranks, axes and operands that the stock one does not differentiate", () => {
  test.each([
    [[2, 3, 4, 3, 4], [4], []],
    [[2, 3, 4, 3, 4], [1, 3, 1, 1, 1], []],
    [[3, 6, 4, 5], [1, 6, 1, 1], []],
    [[3, 6, 4, 5], [4, 1], []],
    [[3, 4, 2, 5], [4, 2, 5], []],
    [[6, 4, 5], [1, 4, 1], []],
    [[5, 7], [1, 1], []],
    [[4, 6, 3], [3], ["scale"]],
    [[4, 7, 3], [3], ["offset"]],
    [[4, 8, 3], [3], ["offset", "scale"]],
  ])("x %j, statistics %j, without %j", async (shape, statistics, without) => {
    const expected = await measure(arithmetic, shape, statistics, without);
    await register(tf);
    const found = await measure(batchNorm, shape, statistics, without);
    expect(ours()).toBeGreaterThan(1);
    compare(found, expected);
  });
});

describe("what is handed on to the stock kernel", () => {
  test("statistics of x's full rank", async () => {
    const stock = await measure(batchNorm, [2, 3, 4, 5], [2, 3, 4, 5]);
    await register(tf);
    compare(await measure(batchNorm, [2, 3, 4, 5], [2, 3, 4, 5]), stock);
    expect(ours()).toBe(0);
  });

  test("integers that tf.cast calls float32, whose numbers stay integers", async () => {
    const whole = (): Tensor =>
      tf.cast(tf.tensor2d([1, 2, 3, 4, 5, 6], [3, 2], "int32"), "float32");
    const run = async (): Promise<number[]> => {
      const [zero, one] = [tf.zeros([2]), tf.ones([2])];
      const y = (x: Tensor): Tensor => batchNorm(x, zero, one, zero, one);
      const scaled = batchNorm(
        tf.ones([3, 2]),
        zero,
        one,
        zero,
        tf.cast(tf.ones([2], "int32"), "float32"),
      );
      const dx = tf.grad(y)(tf.ones([3, 2]), whole());
      const all = await Promise.all([y(whole()), scaled, dx].map((each) => each.data()));
      return all.flatMap((each) => [...each]);
    };
    const stock = await run();
    await register(tf);
    expect(await run()).toBeAllclose(stock, { rtol: 1e-6 });
    expect(stock[5]).toBeGreaterThan(5.9);
  });

  test("such a gradient, along any axis", async () => {
    await register(tf);
    const whole = tf.cast(tf.tensor3d([1, 2, 3, 4, 5, 6], [2, 3, 1], "int32"), "float32");
    const operation: Operation = (x, mean) => batchNorm(x, mean, tf.ones([1, 3, 1]));
    const inputs = [tf.ones([2, 3, 1]), tf.zeros([1, 3, 1])];
    const [found, expected] = await Promise.all(
      [whole, tf.mul(whole, 1)].map(async (dy) => {
        const all = tf
          .grads(operation)(inputs, dy)
          .map((each) => each.data());
        return (await Promise.all(all)).flatMap((each) => [...each]);
      }),
    );
    expect(found).toEqual(expected);
    expect(found![0]).toBeCloseTo(1, 2);
  });

  test("statistics of unlike sizes", async () => {
    const x = tf.tensor2d([1, 2, 3, 4, 5, 6], [3, 2]);
    const run = () => batchNorm(x, tf.tensor1d([1, 2]), tf.tensor1d([4])).data();
    const stock = await run();
    await register(tf);
    expect(await run()).toBeAllclose(stock, { rtol: 1e-6 });
    expect(ours()).toBe(0);
  });

  test("an empty x", async () => {
    await register(tf);
    const y = batchNorm(tf.zeros([0, 3]), tf.zeros([3]), tf.ones([3]));
    expect(y.shape).toEqual([0, 3]);
    expect(await y.data()).toHaveLength(0);
    expect(ours()).toBe(0);
  });

  test.each([-0.1, -Infinity, Infinity, 1e39, NaN])("an epsilon of %d", async (eps) => {
    const run = async (): Promise<Float32Array[]> => {
      const x = tf.tensor2d(createRandom(1).normals(12), [6, 2]);
      const [zero, one, variance] = [tf.zeros([2]), tf.ones([2]), tf.tensor1d([0.05, 2])];
      const inputs = [x, zero, variance, zero, one];
      const operation: Operation = (...of) =>
        (tf.batchNorm as (...of: unknown[]) => Tensor)(...of, eps);
      const all = [operation(...inputs), ...tf.grads(operation)(inputs)];
      return Promise.all(all.map(async (each) => (await each.data()) as Float32Array));
    };
    const stock = await run();
    await register(tf);
    const found = await run();
    for (const [i, values] of stock.entries()) {
      expect(found[i], `${i}`).toBeAllclose(values, { nan: true });
    }
    expect(ours()).toBe(0);
  });

  test("another backend, whose tensors come back to this one", async () => {
    await register(tf);
    // Without a scale, of which the other backend's call knows nothing.
    batchNorm(tf.ones([2, 2]), tf.zeros([2]), tf.ones([2]));
    ours();
    await tf.setBackend("cpu");
    const expected = await measure(batchNorm, [5, 3, 4], [4]);
    const made = tf.tensor([1, 2, 3, 4], [2, 2]);
    expect(ours()).toBe(0);
    await tf.setBackend("webgpu");
    compare(await measure(batchNorm, [5, 3, 4], [4]), expected);
    expect(ours()).toBeGreaterThan(1);
    const y = batchNorm(made, tf.tensor1d([0, 0]), tf.tensor1d([1 - EPS, 1 - EPS]));
    expect(await y.data()).toBeAllclose([1, 2, 3, 4], { rtol: 1e-6 });
  });
});

describe("a gradient that is differentiated again", () => {
  /** Of the squares of all gradients of the sum of y^3, by all inputs. */
  const second = async (
    operation: Operation,
    shape: readonly number[],
    statistics: readonly number[],
    without: readonly string[],
  ): Promise<Float32Array[]> => {
    const random = createRandom(2);
    const names = NAMES.filter((name) => !without.includes(name));
    const inputs = names.map((name) => {
      const of = name === "x" ? shape : statistics;
      return tf.tensor(random.uniforms(sizeOf(of), 0.5, 1.5), [...of]);
    });
    const cube: Operation = (...of) => {
      const y = operation(...NAMES.map((name) => of[names.indexOf(name)]!));
      return tf.sum(tf.mul(y, tf.mul(y, y)));
    };
    const squares: Operation = (...of) =>
      tf
        .grads(cube)(of)
        .map((each) => tf.sum(tf.square(each)))
        .reduce((a, b) => tf.add(a, b));
    const all = tf.grads(squares)(inputs);
    return Promise.all(all.map(async (each) => (await each.data()) as Float32Array));
  };

  test.each([
    [[6, 4], [4], []],
    [[3, 6, 4, 5], [1, 6, 1, 1], []],
    [[3, 4, 2, 5], [4, 2, 5], []],
    [[2, 3, 4, 3, 4], [1, 3, 1, 1, 1], []],
    [[6, 4, 5], [1, 4, 1], ["scale"]],
    [[6, 4, 5], [5], ["offset", "scale"]],
  ])("x %j, statistics %j, without %j", async (shape, statistics, without) => {
    const expected = await second(arithmetic, shape, statistics, without);
    await register(tf);
    const found = await second(batchNorm, shape, statistics, without);
    expect(ours()).toBeGreaterThan(0);
    for (const [i, values] of expected.entries()) {
      expect(found[i], `${i}`).toBeAllclose(values, toleranceOf(values));
    }
    expect(Math.max(...expected[0]!)).toBeGreaterThan(1e-2);
  });

  // Over x of rank 5 the stock operations do not broadcast what is of rank 1: theirs is of the full rank.
  test("x of rank 5, statistics of rank 1", async () => {
    const expected = await second(arithmetic, [2, 3, 4, 3, 4], [1, 1, 1, 1, 4], []);
    await register(tf);
    const found = await second(batchNorm, [2, 3, 4, 3, 4], [4], []);
    expect(ours()).toBeGreaterThan(0);
    for (const [i, values] of expected.entries()) {
      expect(found[i], `${i}`).toBeAllclose(values, toleranceOf(values));
    }
  });

  test("a variance of -eps has none, one below has NaN", async () => {
    await register(tf);
    const variance = tf.tensor1d([-EPS, -0.5, 1]);
    const once = tf.grad((x: Tensor) => {
      const y = batchNorm(x, tf.zeros([3]), variance);
      return tf.sum(tf.mul(y, y));
    });
    const twice = tf.grad((x: Tensor) => tf.sum(once(x)))(tf.ones([1, 3]));
    const expected = [0, NaN, 2 / (1 + EPS)];
    expect(await twice.data()).toBeAllclose(expected, { rtol: 1e-5, nan: true });
  });
});

test("a variance below 0, or NaN, gives NaN in its channel alone, as the stock one has it", async () => {
  const run = async (): Promise<Float32Array[]> => {
    const variance = tf.tensor1d([-0.5, 1 - EPS, NaN]);
    const inputs = [tf.ones([2, 3]), tf.zeros([3]), variance, tf.zeros([3]), tf.ones([3])];
    const all = [batchNorm(...inputs), ...tf.grads(batchNorm)(inputs)];
    return Promise.all(all.map(async (each) => (await each.data()) as Float32Array));
  };
  const stock = await run();
  await register(tf);
  const found = await run();
  expect(ours()).toBeGreaterThan(1);
  for (const [i, expected] of stock.entries()) {
    expect(found[i], `${i}`).toBeAllclose(expected, { rtol: 1e-6, nan: true });
  }
  expect(Array.from(found[0]!, Number.isNaN)).toEqual([true, false, true, true, false, true]);
});

test("the same shape with another epsilon", async () => {
  const x = tf.tensor2d([
    [1, 2],
    [3, 6],
  ]);
  const [mean, variance] = [tf.tensor1d([2, 4]), tf.tensor1d([1, 4])];
  const [offset, scale] = [tf.tensor1d([1, 2]), tf.tensor1d([3, 4])];
  const run = async (): Promise<number[]> => {
    const found: number[] = [];
    for (const epsilon of [1e-3, 3, 0.5]) {
      const y = (of: Tensor): Tensor => tf.batchNorm(of, mean, variance, offset, scale, epsilon);
      for (const each of [y(x), tf.grad(y)(x)]) found.push(...(await each.data()));
    }
    return found;
  };
  const stock = await run();
  await register(tf);
  expect(await run()).toBeAllclose(stock, { rtol: 1e-6 });
  expect(ours()).toBeGreaterThan(0);
});

test("the same shape without scale and offset", async () => {
  const x = tf.tensor2d([
    [1, 2],
    [3, 6],
  ]);
  const [mean, variance] = [tf.tensor1d([2, 4]), tf.tensor1d([1, 4])];
  const both = [tf.tensor1d([1, 2]), tf.tensor1d([3, 4])] as const;
  const run = async (): Promise<number[]> => {
    const found: number[] = [];
    for (const [offset, scale] of [both, []] as const)
      found.push(...(await tf.batchNorm(x, mean, variance, offset, scale).data()));
    return found;
  };
  const stock = await run();
  await register(tf);
  expect(await run()).toBeAllclose(stock, { rtol: 1e-6 });
  expect(ours()).toBeGreaterThan(0);
});

test("a register that fails has replaced nothing", async () => {
  const stock = [tf.getKernel("FusedBatchNorm", "webgpu"), tf.getGradient("FusedBatchNorm")];
  const wrong = { layers: tf } as never;
  await expect(register(tf, wrong)).rejects.toThrow(/register: layers: tf\.layers, got an? /);
  expect([tf.getKernel("FusedBatchNorm", "webgpu"), tf.getGradient("FusedBatchNorm")]).toEqual(
    stock,
  );
});

test("unregister leaves the registry as it was, and register may be called again", async () => {
  const stock = [tf.getKernel("FusedBatchNorm", "webgpu"), tf.getGradient("FusedBatchNorm")];
  const { call } = Object.getPrototypeOf(tf.layers.batchNormalization({ name: "probe" })) as {
    call: unknown;
  };
  await register(tf);
  await register(tf);
  expect(tf.getKernel("FusedBatchNorm", "webgpu")).not.toBe(stock[0]);
  unregister(tf);
  expect([tf.getKernel("FusedBatchNorm", "webgpu"), tf.getGradient("FusedBatchNorm")]).toEqual(
    stock,
  );
  expect(tf.getKernel("FusedBatchNorm", "webgpu")).toBe(stock[0]);
  expect(tf.getGradient("FusedBatchNorm")).toBe(stock[1]);
  const probe = tf.layers.batchNormalization({ name: "probe" }) as object;
  expect((Object.getPrototypeOf(probe) as { call: unknown }).call).toBe(call);
  unregister(tf);
});

test("register tells what is missing", async () => {
  const without = { ...tf, getKernel: () => undefined } as unknown as TF;
  await expect(register(without)).rejects.toThrow('import "@tensorflow/tfjs-backend-webgpu" first');
  const other = { ...tf, engine: () => ({ backend: {} }) } as unknown as TF;
  await expect(register(other)).rejects.toThrow("use @tensorflow/tfjs-backend-webgpu 4.22");
  unregister(tf);
  expect(batchNorm(tf.ones([2, 2]), tf.zeros([2]), tf.ones([2])).shape).toEqual([2, 2]);
});
