import { describe, expect, test } from "vitest";
import {
  type BatchNormOptions,
  extentOf,
  type Layout,
  requireTrainable,
  requireInvertible,
  resolveOptions,
} from "../../src/descriptor.js";
import { BatchNormError, OptionError, ShapeError, SingleValueError } from "../../src/errors.js";
import { byteSizes, stateLayout } from "../../src/bindings.js";
import { ACTIVATIONS } from "../support/variants.js";

/** The error that `run` throws, of that class, with all four parts. */
function errorOf(run: () => unknown, Class: new (message: string) => BatchNormError): string {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(Class);
    expect(error).toBeInstanceOf(BatchNormError);
    expect((error as Error).name).toBe(Class.name);
    expect((error as Error).message).toMatch(/^[^:]+: .+, got .+; .+$/s);
    return (error as Error).message;
  }
  throw new Error("expected an error, got none");
}

describe("options", () => {
  test("have PyTorch's defaults", () => {
    expect(resolveOptions("test")).toMatchObject({
      eps: 1e-5,
      momentum: 0.1,
      affine: true,
      trackRunningStats: true,
      runningVariance: "unbiased",
      singleValue: "error",
      layout: "channels-first",
      activation: "none",
      slope: 0.01,
    });
  });

  test("undefined is the default, null momentum is not", () => {
    const options = { eps: undefined, momentum: undefined } as unknown as BatchNormOptions;
    expect(resolveOptions("test", options)).toEqual(resolveOptions("test"));
    expect(resolveOptions("test", { momentum: null }).momentum).toBeNull();
    expect(resolveOptions("test", { momentum: 0 }).momentum).toBe(0);
    expect(resolveOptions("test", { eps: 0 }).eps).toBe(0);
  });

  test("what works in place has a slope that is one as an f32", () => {
    const options = (slope: number) =>
      resolveOptions("test", { activation: "leaky-relu", slope, inPlace: true });
    requireInvertible("test", options(2 ** -126), false);
    for (const slope of [0, -1, 1e-46, 2 ** -127]) {
      expect(() => requireInvertible("test", options(slope), false)).toThrow(/with slope > 0/);
    }
  });

  test("the slope's default is the activation's", () => {
    expect(resolveOptions("test", { activation: "leaky-relu" }).slope).toBe(0.01);
    expect(resolveOptions("test", { activation: "elu" }).slope).toBe(1);
    expect(resolveOptions("test", { activation: "elu", slope: 0 }).slope).toBe(0);
    expect(resolveOptions("test", { activation: "leaky-relu", slope: -2 }).slope).toBe(-2);
  });

  test("every value that is offered is taken", () => {
    for (const activation of ACTIVATIONS)
      expect(resolveOptions("t", { activation }).activation).toBe(activation);
    for (const layout of ["channels-first", "channels-last"] as const)
      expect(resolveOptions("t", { layout }).layout).toBe(layout);
    for (const runningVariance of ["unbiased", "population"] as const)
      expect(resolveOptions("t", { runningVariance }).runningVariance).toBe(runningVariance);
    for (const singleValue of ["error", "zero"] as const)
      expect(resolveOptions("t", { singleValue }).singleValue).toBe(singleValue);
    for (const momentum of [0, 0.5, 1])
      expect(resolveOptions("t", { momentum }).momentum).toBe(momentum);
    for (const eps of [0, 1e-30, 1e10, 3.4e38]) expect(resolveOptions("t", { eps }).eps).toBe(eps);
  });

  test("are frozen, and the caller's stay as they are", () => {
    const given = { eps: 1e-3 };
    const resolved = resolveOptions("test", given);
    expect(Object.isFrozen(resolved)).toBe(true);
    expect(given).toEqual({ eps: 1e-3 });
    expect(Object.isFrozen(given)).toBe(false);
  });

  test("what is no option is not carried along", () => {
    expect(Object.keys(resolveOptions("t", { shape: [1] } as BatchNormOptions))).not.toContain(
      "shape",
    );
  });

  test.each<[string, unknown, string]>([
    ["eps", -1e-9, "S: eps: a finite f32 >= 0, got -1e-9; 1e-5 is usual"],
    ["eps", NaN, "S: eps: a finite f32 >= 0, got NaN; 1e-5 is usual"],
    ["eps", Infinity, "S: eps: a finite f32 >= 0, got Infinity; 1e-5 is usual"],
    ["eps", 1e39, "S: eps: a finite f32 >= 0, got 1e+39; 1e-5 is usual"],
    [
      "momentum",
      -0.1,
      "S: momentum: a number in [0, 1], or null for the cumulative average, got -0.1; it weighs the new batch: Keras's momentum is 1 minus this",
    ],
    ["momentum", 1.0001, "S: momentum: a number in [0, 1]"],
    ["momentum", NaN, "S: momentum: a number in [0, 1]"],
    ["slope", NaN, "S: slope: a finite f32, got NaN; 0.01 is usual"],
    ["slope", -1e39, "S: slope: a finite f32, got -1e+39; 0.01 is usual"],
    ["slope", -Infinity, "S: slope: a finite f32, got -Infinity"],
    [
      "runningVariance",
      "biased",
      'S: runningVariance: "unbiased" or "population", got "biased"; pass one of these',
    ],
    ["singleValue", "keras", 'S: singleValue: "error" or "zero", got "keras"; pass one of these'],
    [
      "layout",
      "NHWC",
      'S: layout: "channels-first" or "channels-last", got "NHWC"; pass one of these',
    ],
    ["activation", "mish", 'S: activation: "none" or "relu" or'],
    ["activation", "toString", "S: activation: "],
  ])("%s: %s is refused", (name, value, message) => {
    const found = errorOf(() => resolveOptions("S", { [name]: value }), OptionError);
    expect(found.startsWith(message), found).toBe(true);
  });

  test.each<[string, unknown]>([
    ["eps", "1e-5"],
    ["slope", "1"],
  ])("%s of another type is refused: %j", (name, value) => {
    errorOf(() => resolveOptions("S", { [name]: value }), OptionError);
  });
});

describe("shapes", () => {
  test.each<[readonly number[], Layout, [number, number, number]]>([
    [[4, 3], "channels-first", [4, 3, 1]],
    [[4, 3], "channels-last", [4, 3, 1]],
    [[4, 3, 5], "channels-first", [4, 3, 5]],
    [[4, 5, 3], "channels-last", [20, 3, 1]],
    [[4, 3, 5, 7], "channels-first", [4, 3, 35]],
    [[4, 5, 7, 3], "channels-last", [140, 3, 1]],
    [[4, 3, 5, 7, 2], "channels-first", [4, 3, 70]],
    [[4, 5, 7, 2, 3], "channels-last", [280, 3, 1]],
    [[1, 1], "channels-first", [1, 1, 1]],
    [[0, 3], "channels-first", [0, 3, 1]],
    [[4, 3, 0], "channels-first", [4, 3, 0]],
    [[4, 0, 3], "channels-last", [0, 3, 1]],
    [[2 ** 20, 2, 2 ** 12], "channels-first", [2 ** 20, 2, 2 ** 12]],
  ])("%j %s is (outer, channels, inner) = %j", (shape, layout, [outer, channels, inner]) => {
    const count = outer * inner;
    expect(extentOf("t", shape, layout)).toEqual({
      outer,
      channels,
      inner,
      count,
      size: count * channels,
    });
    expect(Object.isFrozen(extentOf("t", shape, layout))).toBe(true);
  });

  test.each([[[]], [[3]], [[1, 2, 3, 4, 5, 6]]])("rank of %j is refused", (shape) => {
    const message = errorOf(() => extentOf("S", shape, "channels-first"), ShapeError);
    expect(message).toBe(`S: shape: rank 2 to 5, got [${shape.join(", ")}]; reshape it first`);
  });

  test.each([[[2, -3]], [[2.5, 3]], [[NaN, 3]], [[2, Infinity]], [[2, 2 ** 53]], [["2", 3]]])(
    "%j are no sizes",
    (shape) => {
      const message = errorOf(() => extentOf("S", shape as number[], "channels-first"), ShapeError);
      expect(message).toContain("S: shape: whole numbers >= 0, got ");
    },
  );

  test("no channels are refused in either layout", () => {
    expect(errorOf(() => extentOf("S", [4, 0, 2], "channels-first"), ShapeError)).toBe(
      "S: shape: at least one channel, got [4, 0, 2]; check the layout",
    );
    errorOf(() => extentOf("S", [4, 2, 0], "channels-last"), ShapeError);
  });

  test("one value per channel trains only where zero is asked for", () => {
    const one = extentOf("t", [1, 3, 1, 1], "channels-first");
    expect(errorOf(() => requireTrainable("S", one, "error"), SingleValueError)).toBe(
      'S: x: more than one value per channel in training, got 1; use a larger batch, eval(), or singleValue: "zero"',
    );
    expect(() => requireTrainable("S", one, "zero")).not.toThrow();
    for (const shape of [
      [2, 3],
      [1, 3, 2],
      [0, 3],
    ]) {
      const extent = extentOf("t", shape, "channels-first");
      expect(() => requireTrainable("S", extent, "error")).not.toThrow();
    }
  });
});

describe("sizes in bytes", () => {
  test("are those of the tensor, its channels, and the state", () => {
    const sizes = byteSizes({ shape: [32, 64, 56, 56] });
    const data = 32 * 64 * 56 * 56 * 4;
    for (const name of ["x", "y", "dy", "dx", "residual", "dResidual"] as const)
      expect(sizes[name]).toBe(data);
    for (const name of ["gamma", "beta", "dGamma", "dBeta"] as const) expect(sizes[name]).toBe(256);
    expect(sizes.saved).toBe(5 * 256);
    expect(sizes.state).toBe(stateLayout(64).bytes);
  });

  test.each([
    [[3, 5], "f16", 32], // 15 halves: whole words
    [[3, 5], "bf16", 32],
    [[4, 5], "f16", 40],
    [[1, 1], "f16", 4],
    [[0, 5], "f16", 0],
    [[0, 5], "f32", 0],
  ] as const)("%j %s takes %i", (shape, dtype, bytes) => {
    expect(byteSizes({ shape, dtype }).x).toBe(bytes);
  });

  test.each([1, 3, 63, 64, 65, 1000, 70_001])(
    "the state of %i channels can be bound part by part",
    (channels) => {
      const { mean, variance, counter, bytes } = stateLayout(channels);
      expect(mean).toBe(0);
      expect(variance % 256).toBe(0);
      expect(counter % 256).toBe(0);
      expect(variance).toBeGreaterThanOrEqual(4 * channels);
      expect(counter - variance).toBeGreaterThanOrEqual(4 * channels);
      expect(bytes).toBeGreaterThanOrEqual(counter + 4);
      expect(bytes % 16).toBe(0); // whole vec4s of channels
    },
  );

  test("a bad shape is refused under its own name", () => {
    expect(errorOf(() => byteSizes({ shape: [3] }), ShapeError)).toContain("byteSizes: shape: ");
  });
});
