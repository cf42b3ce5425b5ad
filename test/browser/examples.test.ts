/** The examples that need a browser: a worker, and ONNX Runtime Web. */
import * as ort from "onnxruntime-web/webgpu";
import { expect, test } from "vitest";
import { BatchNorm2d } from "webgpu-batchnorm";
import { readSafetensors } from "webgpu-batchnorm/files";
import { forward } from "webgpu-batchnorm/reference";
import { adapt, classify } from "../../examples/onnxruntime.js";
import type { Batch } from "../../examples/worker.js";
import ExampleWorker from "../../examples/worker.js?worker";
import { files, pipeline } from "../support/file-fixtures.js";
import { createRandom } from "../support/random.js";
import "../support/allclose.js";

test("a worker trains on batches and gives a file", async () => {
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
  const adapted = await adapt(models, images);
  const anew = await classify({ ...models, bn: adapted }, images[0]!);
  expect(anew.data as Float32Array).toBeAllclose(pipeline.images[0]!.scoresAnew, { atol });
  bn.destroy();
  adapted.destroy();
  await conv.release();
  await head.release();
});
