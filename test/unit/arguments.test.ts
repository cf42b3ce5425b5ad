/** Options that there are not, and words for what was passed in place of something else. */
import { describe, expect, test } from "vitest";
import { kindOf, requireKnown } from "../../src/arguments.js";
import { readOnnx, readSafetensors, writeSafetensors } from "../../src/files/index.js";
import { foldIntoConv, foldIntoLinear } from "../../src/fold/index.js";
import { BatchNormError, byteSizes, OptionError } from "../../src/index.js";
import { requestDevice } from "../../src/node.js";
import { backward, forward, inference } from "../../src/reference.js";
import { statisticsByteSizes } from "../../src/statistics/index.js";
import { register } from "../../src/tfjs/index.js";

const KNOWN = ["eps", "momentum", "affine", "trackRunningStats", "activation", "virtualBatchSize"];

function complaint(given: object, known: readonly string[] = KNOWN): string {
  try {
    requireKnown("module", given, known, { dtype: "pass dtype to tensor()" });
  } catch (error) {
    expect(error).toBeInstanceOf(OptionError);
    return (error as Error).message;
  }
  return "";
}

describe("requireKnown", () => {
  test("takes what is known, undefined too", () => {
    expect(complaint({})).toBe("");
    expect(complaint({ eps: undefined, momentum: null })).toBe("");
  });

  test("says all four parts", () => {
    expect(complaint({ eps: 1, momentun: 0.5 })).toBe(
      'module: momentun: one of eps, momentum, affine, trackRunningStats, activation, virtualBatchSize, got "momentun"; did you mean momentum?',
    );
    expect(complaint({ sacle: undefined })).toMatch(/got "sacle"; leave it out$/);
    expect(complaint({ dtype: "f16" })).toMatch(/got "dtype"; pass dtype to tensor\(\)$/);
  });

  test.each([
    ["track_running_stats", "trackRunningStats"],
    ["virtual_batch_size", "virtualBatchSize"],
    ["Momentum", "momentum"],
    ["momentm", "momentum"],
    ["mometnum", "momentum"],
    ["activaton", "activation"],
    ["act", "activation"],
    ["epsilon", "eps"],
    ["afine", "affine"],
  ])("%s: did you mean %s?", (slip, meant) => {
    expect(complaint({ [slip]: 1 })).toMatch(new RegExp(`; did you mean ${meant}\\?$`));
  });

  test.each(["y", "z", "beta", "mode", "apex", "training", "epoch"])(
    "%s is near nothing",
    (name) => {
      expect(complaint({ [name]: 1 })).toMatch(/; leave it out$/);
    },
  );

  test("short names are near by one slip at most", () => {
    expect(complaint({ gama: true }, ["x", "gamma", "beta"])).toMatch(/did you mean gamma\?$/);
    expect(complaint({ y: true }, ["x", "gamma", "beta"])).toMatch(/leave it out$/);
    expect(complaint({ want: {} }, ["wants", "out"])).toMatch(/did you mean wants\?$/);
    expect(complaint({ type: "f16" }, ["dtype", "raw"])).toMatch(/did you mean dtype\?$/);
    expect(complaint({ qiet: true }, ["adapter", "quiet"])).toMatch(/did you mean quiet\?$/);
  });

  test.each([null, undefined, 3, "eps"])("%s is no object of options", (given) => {
    expect(complaint(given as never)).toMatch(/^module: an object of options, got .+; pass one$/);
  });
});

test.each([
  [undefined, "nothing"],
  [null, "nothing"],
  ["", "a string"],
  [3, "a number"],
  [[], "an Array"],
  [{}, "an Object"],
  [Object.create(null), "an object"],
  [new Float32Array(1), "a Float32Array"],
  [Promise.resolve(), "a Promise"],
  [() => 1, "a function"],
])("%o is %s", (value, words) => {
  expect(kindOf(value)).toBe(words);
});

describe("unknown options without a device", () => {
  const options = (more: object): never => more as never;
  test.each<[string, () => unknown, RegExp]>([
    [
      "byteSizes",
      () => byteSizes(options({ shape: [2, 2], layuot: "channels-last" })),
      /^byteSizes: layuot: .*layout\?$/,
    ],
    [
      "statisticsByteSizes",
      () => statisticsByteSizes(options({ shape: [2, 2], virtual_batch_size: 1 })),
      /^statisticsByteSizes: virtual_batch_size: .*virtualBatchSize\?$/,
    ],
    [
      "forward",
      () => forward([1, 2], [2, 1], options({ gama: [1] })),
      /^forward: gama: .*gamma\?$/,
    ],
    [
      "inference",
      () => inference([1, 2], [2, 1], options({ running_mean: [1] })),
      /^inference: running_mean: .*leave it out$/,
    ],
    [
      "backward",
      () => backward([1, 2], [1, 2], [2, 1], options({ Mode: "evaluation" })),
      /^backward: Mode: .*mode\?$/,
    ],
  ])("%s", (_, run, message) => {
    expect(run).toThrow(OptionError);
    expect(run).toThrow(message);
  });

  test("requestDevice", async () => {
    const wrong = requestDevice(options({ qiet: true }));
    await expect(wrong).rejects.toThrow(OptionError);
    await expect(wrong).rejects.toThrow(
      /^requestDevice: qiet: one of .*, got "qiet"; did you mean quiet\?$/,
    );
  });

  test("byteSizes takes the descriptor of any plan", () => {
    const all = { residual: true, save: true, invertible: false, mode: "training", from: "x" };
    const rest = { wants: {}, residualGrad: true, accumulate: true, tuning: {}, limits: {} };
    expect(byteSizes(options({ shape: [2, 3], ...all, ...rest })).x).toBe(24);
  });
});

describe("arguments of another kind without a device", () => {
  const wrong = (value: unknown): never => value as never;
  const bn = { running_mean: [1], running_var: [1], eps: 0 };
  const layer = { weight: { data: [1], shape: [1, 1] }, layout: "OI" } as const;
  test.each<[string, () => unknown, RegExp]>([
    [
      "foldIntoLinear",
      () => foldIntoLinear(wrong({ weight: new Float32Array(4), layout: "OI" }), bn),
      /^foldIntoLinear: weight: \{ data, shape \}, got a Float32Array; /,
    ],
    [
      "foldIntoConv",
      () => foldIntoConv(wrong({ layout: "OIHW" }), bn),
      /^foldIntoConv: weight: \{ data, shape \}, got nothing; /,
    ],
    [
      "foldIntoLinear, no data",
      () => foldIntoLinear(wrong({ weight: { data: undefined, shape: [1, 1] }, layout: "OI" }), bn),
      /^foldIntoLinear: weight: 1 values, got nothing; /,
    ],
    [
      "foldIntoLinear, no state",
      () => foldIntoLinear(layer, wrong(undefined)),
      /^foldIntoLinear: bn: a state dictionary and its eps, got nothing; pass \{ \.\.\.state, eps/,
    ],
    [
      "foldIntoLinear, a promise of the state",
      () => foldIntoLinear(layer, wrong(Promise.resolve(bn))),
      /^foldIntoLinear: bn: .*, got a Promise; await it/,
    ],
    [
      "writeSafetensors, an array",
      () => writeSafetensors({ a: wrong([1, 2]) }),
      /^writeSafetensors: "a": a typed array, .*, got an Array; /,
    ],
    [
      "readSafetensors, a name",
      () => readSafetensors(wrong("model.safetensors")),
      /^readSafetensors: a file's bytes, .*, got a string; read it first/,
    ],
    [
      "readSafetensors, nothing",
      () => readSafetensors(wrong(undefined)),
      /^readSafetensors: a file's bytes, .*, got nothing; /,
    ],
    [
      "readOnnx, a name",
      () => readOnnx(wrong("model.onnx")),
      /^file: a file's bytes, .*, got a string; /,
    ],
    [
      "readOnnx, nothing",
      () => readOnnx(wrong(undefined)),
      /^file: a file's bytes, .*, got nothing; /,
    ],
    [
      "writeSafetensors, nothing",
      () => writeSafetensors({ a: wrong(undefined) }),
      /^writeSafetensors: "a": a typed array, .*, got nothing; /,
    ],
  ])("%s", (_, run, message) => {
    expect(run).toThrow(BatchNormError);
    expect(run).toThrow(message);
  });

  test("register", async () => {
    const none = register(wrong(undefined));
    await expect(none).rejects.toThrow(OptionError);
    await expect(none).rejects.toThrow(/^register: tf: TensorFlow.js, got nothing; pass import/);
  });
});
