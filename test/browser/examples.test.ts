/** The examples that need a browser: inference in a page, a worker, and ONNX Runtime Web; and folding a bias. */
import * as ort from "onnxruntime-web/webgpu";
import { expect, test, vi } from "vitest";
import { BatchNorm1d, BatchNorm2d, tensor } from "webgpu-batchnorm";
import { readSafetensors, writeSafetensors } from "webgpu-batchnorm/files";
import { backward, forward, inference } from "webgpu-batchnorm/reference";
import { anyDevice } from "../../examples/compatibility.js";
import { foldBlock } from "../../examples/fold.js";
import { adapt, classify } from "../../examples/onnxruntime.js";
import type { Batch } from "../../examples/worker.js";
import ExampleWorker from "../../examples/worker.js?worker";
import { files, pipeline } from "../support/file-fixtures.js";
import { createRandom } from "../support/random.js";
import "../support/allclose.js";

test("a page: trained weights from a file, in place", async () => {
  const random = createRandom(8);
  const [weight, bias, running_mean] = [1, 2, 3].map(() => Float32Array.from(random.normals(64)));
  const running_var = Float32Array.from(random.uniforms(64, 0.5, 2));
  const state = { weight, bias, running_mean, running_var };
  const file = writeSafetensors(
    Object.fromEntries(Object.entries(state).map(([name, data]) => [`bn1.${name}`, data!])),
  );
  const own = globalThis.fetch;
  const fetched = vi
    .spyOn(globalThis, "fetch")
    .mockImplementation((...given) =>
      given[0] === "model.safetensors" ? Promise.resolve(new Response(file)) : own(...given),
    );
  const log = vi.spyOn(console, "log").mockImplementation(() => undefined);
  try {
    await import("../../examples/browser.js");
    const wanted = inference(new Float32Array(64 * 56 * 56), [1, 64, 56, 56], {
      ...{ gamma: weight!, beta: bias!, mean: running_mean!, variance: running_var },
      activation: "relu",
    });
    // Accuracy's bound: 2e-6 of xHat and gamma, both below 5, and a unit of y below 32.
    expect(log.mock.calls[0]![0]).toBeAllclose(wanted.y, { atol: 2e-6 * 25 + 2 ** -19 });
    expect(wanted.y.some((y) => y > 1)).toBe(true);
  } finally {
    log.mockRestore();
    fetched.mockRestore();
  }
});

test("a page: a step of training", async () => {
  const log = vi.spyOn(console, "log").mockImplementation(() => undefined);
  try {
    await import("../../examples/training.js");
    const x = Float32Array.from({ length: 96 }, (_, i) => Math.sin(i));
    const shape = [2, 3, 4, 4];
    const { y } = forward(x, shape, { activation: "relu" });
    const dy = y.map((value) => value - 1);
    const { dx } = backward(dy, x, shape, { activation: "relu" });
    // Accuracy's bound: 1e-5 of |gamma| · invStd · max|dz| · |xHat|, each below 2.
    expect(log.mock.calls[0]![0]).toBeAllclose(dx, { atol: 1e-5 * 8 });
  } finally {
    log.mockRestore();
  }
});

test("any adapter: all that it has", async () => {
  const device = await anyDevice();
  // CI's has more than compatibility mode: it is not held to that.
  expect(device.limits.maxComputeInvocationsPerWorkgroup).toBe(256);
  const bn = new BatchNorm1d(device, 2, { eps: 0 });
  const y = bn.forward(tensor(device, [1, 10, 3, 30], [2, 2]));
  expect(await y.read()).toBeAllclose([-1, -1, 1, 1], { atol: 4e-6 });
  device.destroy();
});

test("folding a convolution that has a bias", () => {
  const file = writeSafetensors({
    ...Object.fromEntries(
      Object.entries({
        weight: [2, 1],
        bias: [0, 3],
        running_mean: [5, 1],
        running_var: [4, 1],
      }).map(([name, data]) => [`a.bn1.${name}`, Float32Array.from(data)]),
    ),
    "a.conv1.weight": { dtype: "F32", shape: [2, 1, 1, 1], data: Float32Array.of(1, 2) },
    "a.conv1.bias": Float32Array.of(7, 4),
  });
  const folded = readSafetensors(foldBlock(file, "a"));
  // scale = gamma/√(var + eps) is 1 in both, but for 1e-5/2 of itself; (bias - mean)·scale + beta is 2 and 6.
  const atol = 1e-5 * 4;
  expect(folded.get("a.conv1.weight")!.data).toBeAllclose([1, 2], { atol });
  expect(folded.get("a.conv1.bias")!.data).toBeAllclose([2, 6], { atol });
});

test("a worker runs batches and gives a file", async () => {
  const worker = new ExampleWorker();
  const next = (): Promise<unknown> =>
    new Promise((resolve, reject) => {
      worker.onmessage = (event) => resolve(event.data);
      worker.onerror = (event) => reject(new Error(event.message));
    });
  expect(await next()).toBe("ready");
  const random = createRandom(3);
  const shape = [8, 5] as const;
  const batches = Array.from({ length: 3 }, () => new Float32Array(random.normals(40, 2, 3)));
  for (const values of batches) worker.postMessage({ values, shape } satisfies Batch);
  worker.postMessage("save");
  const file = readSafetensors((await next()) as Uint8Array);
  worker.terminate();

  let state = {
    mean: new Float32Array(5) as ArrayLike<number>,
    variance: new Float32Array(5).fill(1) as ArrayLike<number>,
    numBatchesTracked: 0 as number | bigint,
  };
  for (const values of batches) state = forward(values, shape, { state }).state!;
  expect(file.get("num_batches_tracked")!.data).toEqual(BigInt64Array.of(3n));
  // Three updates by a tenth of a batch's, off by 2e-6 deviations (variance: 4e-6) and 8 roundings of numbers below 4 and 20.
  const data = (name: string): number[] => Array.from(file.get(name)!.data, Number);
  expect(data("running_mean")).toBeAllclose(state.mean, {
    atol: 0.3 * 2e-6 * 5 + 24 * 2 ** -24 * 4,
  });
  expect(data("running_var")).toBeAllclose(state.variance, {
    atol: 0.3 * 4e-6 * 20 + 24 * 2 ** -24 * 20,
  });
});

const FEATURES = [2, 4, 6, 5];

test("ONNX Runtime Web: classify, adapt, classify", async () => {
  ort.env.wasm.numThreads = 1;
  const executionProviders = ["webgpu"];
  const conv = await ort.InferenceSession.create(files["conv.onnx"]!(), {
    executionProviders,
    preferredOutputLocation: "gpu-buffer",
  });
  const head = await ort.InferenceSession.create(files["head.onnx"]!(), { executionProviders });
  const device = await ort.env.webgpu.device;
  const bn = new BatchNorm2d(device, 4, { eps: pipeline.bn.eps });
  const { weight, bias, running_mean, running_var } = pipeline.bn;
  bn.loadStateDict({ weight, bias, running_mean, running_var });
  const images = pipeline.images.map(
    ({ x }) => new ort.Tensor("float32", Float32Array.from(x), [2, 3, 6, 5]),
  );
  const models = { ort, conv, head, bn };
  // As onnxruntime.test.ts derives: scores are off by less than this.
  const atol = 1e-2;
  const own = await classify(models, images[0]!);
  expect(own.data as Float32Array).toBeAllclose(pipeline.images[0]!.scores, { atol });
  await adapt(models, images);
  const after = await bn.stateDict();
  expect(after.weight).toEqual(Float32Array.from(weight));
  expect(after.bias).toEqual(Float32Array.from(bias));

  // The mean of all images is the mean of theirs; the variance is that of all their values together.
  const features: number[] = [];
  for (const image of images) {
    const { features: found } = await conv.run({ image });
    features.push(...((await found!.getData(true)) as Float32Array));
  }
  const dims = [2 * images.length, 4, features.length / (8 * images.length)];
  const whole = forward(features, dims, {
    momentum: 1,
    state: { mean: [0, 0, 0, 0], variance: [1, 1, 1, 1], numBatchesTracked: 0 },
  });
  // Off by 2e-6 deviations (variance: 4e-6) below 8 and 64, and a few roundings.
  expect(after.running_mean).toBeAllclose(whole.state!.mean, { atol: 1.6e-5, rtol: 2 ** -22 });
  expect(after.running_var).toBeAllclose(whole.state!.variance, { atol: 2.6e-4, rtol: 2 ** -22 });
  expect(after.running_mean).toBeAllclose(pipeline.anew.running_mean, { atol });

  const anew = await classify(models, images[0]!);
  const y = inference(features.slice(0, features.length / images.length), [2, 4, dims[2]!], {
    gamma: weight,
    beta: bias,
    mean: whole.state!.mean,
    variance: whole.state!.variance,
    eps: pipeline.bn.eps,
  });
  const { scores } = await head.run({
    features: new ort.Tensor("float32", Float32Array.from(y.y), FEATURES),
  });
  expect(anew.data as Float32Array).toBeAllclose(scores!.data as Float32Array, { atol });
  bn.destroy();
  await conv.release();
  await head.release();
});
