/** The examples that run in Node and in a browser alike, against the reference. */
import { beforeAll, expect, test } from "vitest";
import { BatchNorm2d, tensor } from "webgpu-batchnorm";
import {
  findBatchNorms,
  prefixed,
  readSafetensors,
  writeSafetensors,
} from "webgpu-batchnorm/files";
import { backward, forward, inference } from "webgpu-batchnorm/reference";
import { loadAll, saveAll } from "../../examples/files.js";
import { foldBlock } from "../../examples/fold.js";
import * as tf from "@tensorflow/tfjs";
import { fromLayer, weightsOf, type KerasConfig } from "../../examples/keras.js";
import { fromOnnx } from "../../examples/onnx.js";
import { trainingStep } from "../../examples/raw-webgpu.js";
import { normalize } from "../../examples/typegpu.js";
import { convolve } from "../support/convolution.js";
import { openDevice } from "../support/device.js";
import { message } from "../support/protobuf.js";
import { expected, files } from "../support/file-fixtures.js";
import { createRandom } from "../support/random.js";
import { yTolerance } from "../support/tolerance.js";
import "../support/allclose.js";

let device: GPUDevice;
beforeAll(async () => {
  device = await openDevice();
});
const random = createRandom(12);

test("raw WebGPU: forward and backward in the caller's pass", async () => {
  const shape = [3, 4, 5, 2] as const;
  const x = new Float32Array(random.normals(120, 2, 3));
  const dy = new Float32Array(random.normals(120));
  const got = await trainingStep(device, shape, x, dy);
  const options = { activation: "relu" } as const;
  const state = {
    mean: new Float32Array(4),
    variance: new Float32Array(4).fill(1),
    numBatchesTracked: 0,
  };
  const wanted = forward(x, shape, { ...options, state });
  const gradients = backward(dy, x, shape, { ...options, mode: "training" });
  expect(got.y).toBeAllclose(wanted.y, { atol: (i, y) => yTolerance(wanted.xHat[i]!, 1, y) });
  expect(got.dx).toBeAllclose(gradients.dx, {
    atol: (i) => {
      const c = Math.floor(i / 10) % 4;
      return 1e-5 * gradients.invStd[c]! * gradients.maxAbsDz[c]!;
    },
  });
  // A tenth of the mean, which is off by 2e-6 deviations of about 3.
  expect(got.runningMean).toBeAllclose(wanted.state!.mean, { atol: 1e-6, rtol: 2 ** -22 });
});

test("TypeGPU: in place in its buffer", async () => {
  const rows = random.normals(21, 1, 2);
  const wanted = forward(rows, [7, 3], {});
  expect(await normalize(device, [...rows], [7, 3])).toBeAllclose(wanted.y, {
    atol: (i, y) => yTolerance(wanted.xHat[i]!, 1, y),
  });
});

test("a file: all loaded, one trained, all saved, the rest untouched", async () => {
  const bytes = files["model.safetensors"]!();
  const two = new Map(
    [...loadAll(device, bytes)].filter(([prefix]) => prefix.startsWith("layer1.")),
  );
  expect([...two.keys()]).toEqual(["layer1.0.bn1.", "layer1.1.bn1."]);
  const bn = two.get("layer1.0.bn1.")!;
  bn.forward(tensor(device, random.normals(30), [2, 5, 3, 1])).destroy();
  const [before, after] = [readSafetensors(bytes), readSafetensors(await saveAll(bytes, two))];
  expect(new Set(after.keys())).toEqual(new Set(before.keys()));
  const changed = [...before.keys()].filter(
    (name) => String(before.get(name)!.bytes) !== String(after.get(name)!.bytes),
  );
  expect(changed.sort()).toEqual(
    ["num_batches_tracked", "running_mean", "running_var"].map((name) => `layer1.0.bn1.${name}`),
  );
  for (const each of two.values()) each.destroy();
});

test("a file whose layer has a weight and no bias is loaded", async () => {
  const one = Float32Array.of(2);
  const bytes = writeSafetensors(
    prefixed("bn1.", { weight: one, running_mean: one, running_var: one }),
  );
  const bn = loadAll(device, bytes).get("bn1.")!;
  expect([...(await bn.beta!.read()), ...(await bn.gamma!.read())]).toEqual([0, 2]);
  bn.destroy();
});

test("folding a block of a file", () => {
  const bytes = files["model.safetensors"]!();
  const [before, after] = [bytes, foldBlock(bytes, "layer1.0")].map((each) =>
    readSafetensors(each),
  );
  const shape = [1, 3, 4, 4];
  const x = random.normals(48);
  const layer = { groups: 1, stride: [1, 1], padding: [0, 0], transposed: false };
  const numbers = (file: typeof before, name: string): number[] =>
    Array.from(file!.get(`layer1.0.conv1.${name}`)!.data, Number);
  const convolved = (file: typeof before, bias?: number[]) =>
    convolve(
      { ...layer, weight: numbers(file, "weight"), weightShape: [5, 3, 3, 3], bias },
      x,
      shape,
      [1, 5, 2, 2],
    );
  const { state } = findBatchNorms(before!).find(({ prefix }) => prefix === "layer1.0.bn1.")!;
  const two = inference(convolved(before).y, [1, 5, 2, 2], {
    gamma: state.weight!,
    beta: state.bias!,
    mean: state.running_mean,
    variance: state.running_var,
  });
  const one = convolved(after, numbers(after, "bias"));
  // As test/unit/fold.test.ts derives: one rounding of each folded weight.
  expect(one.y).toBeAllclose(two.y, { atol: one.magnitude.map((m) => 2 ** -24 * m + 2 ** -35) });
  expect([...after!.keys()].filter((name) => name.startsWith("layer1.0.bn1"))).toEqual([]);
  expect(after!.metadata).toEqual({ note: "ü" });
});

test("nodes of a model of ONNX", async () => {
  const modules = fromOnnx(device, files["external.onnx"]!(), {
    "external.onnx.data": files["external.onnx.data"]!(),
  });
  expect(modules.size).toBe(2);
  const wanted = expected.exported[0]!;
  const bn = [...modules.values()][0]!;
  expect(bn.training).toBe(false);
  expect([...(await bn.runningVar!.read())]).toEqual(wanted.runningVar);
  expect(Math.abs(bn.options.momentum! - wanted.momentum)).toBeLessThan(1e-7);
  for (const each of modules.values()) each.destroy();
});

test("a node that trains becomes a module that does", () => {
  const one = new Uint8Array(Float32Array.of(1).buffer);
  const names = ["s", "b", "m", "v"];
  const training = message([1, "training_mode"], [3, 1]);
  const node = [...["x", ...names].map((each) => [1, each] as const), [2, "y"]] as const;
  const graph = message(
    [1, message(...node, [4, "BatchNormalization"], [5, training])],
    ...names.map((each) => [5, message([1, 1], [2, 1], [8, each], [9, one])] as const),
  );
  const bn = fromOnnx(device, message([7, graph])).get("y")!;
  expect(bn.training).toBe(true);
  bn.destroy();
});

test("a layer of TensorFlow.js and back", async () => {
  const data = [
    random.normals(3, 1),
    random.normals(3),
    random.normals(3),
    random.uniforms(3, 1, 2),
  ];
  const layer = { getWeights: () => data.map((each) => ({ data: async () => each })) };
  const bn = await fromLayer(device, layer as never, { epsilon: 1e-3, momentum: 0.99 });
  expect(bn).toBeInstanceOf(BatchNorm2d);
  expect((await weightsOf(bn)).map((each) => Float32Array.from(each))).toEqual(data);
  expect(Math.abs(bn.options.momentum! - 0.01)).toBeLessThan(1e-12);
  bn.destroy();

  await tf.setBackend("cpu");
  const real = tf.layers.batchNormalization({ epsilon: 1e-3 });
  real.build([null, 3]);
  real.setWeights(data.map((each) => tf.tensor1d(each)));
  const own = await fromLayer(device, real, real.getConfig() as unknown as KerasConfig);
  own.gamma!.write([7, 8, 9]);
  real.setWeights((await weightsOf(own)).map((each) => tf.tensor1d(each)));
  const after = await Promise.all(real.getWeights().map((each) => each.data()));
  expect(after).toEqual([Float32Array.of(7, 8, 9), ...data.slice(1)]);
  own.destroy();

  for (const [axis, layout] of [
    [undefined, "channels-last"],
    [-1, "channels-last"],
    [[3], "channels-last"],
    [[1], "channels-first"],
    [-3, "channels-first"],
  ] as const) {
    const config = { epsilon: 1e-3, momentum: 0.99, axis };
    const made = await fromLayer(device, layer as never, config as KerasConfig);
    expect(made.options.layout, String(axis)).toBe(layout);
    made.destroy();
  }
  for (const axis of [2, [1, 2], []]) {
    const config = { epsilon: 1e-3, momentum: 0.99, axis };
    await expect(fromLayer(device, layer as never, config)).rejects.toThrow(
      /^axis: -1, 3, 1 or -3/,
    );
  }
});
