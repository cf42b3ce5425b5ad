/**
 * ONNX Runtime Web with a batch norm of ours between two of its models, all on its device: against PyTorch's float64 of the
 * same three layers. Once with the native WebGPU provider (onnxruntime-web/webgpu), once with the one written in
 * JavaScript (onnxruntime-web).
 */
import type * as Ort from "onnxruntime-web";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { BatchNorm2d, BufferError, ShapeError, Tensor, tensor } from "webgpu-batchnorm";
import { fromOrt, toOrt } from "webgpu-batchnorm/ort";
import { convolve } from "../support/convolution.js";
import { files, pipeline } from "../support/file-fixtures.js";
import { createRandom } from "../support/random.js";
import "../support/allclose.js";

const U = 2 ** -24;
const IMAGE = [2, 3, 6, 5];
const FEATURES = [2, 4, 6, 5];

/** Features of an image in float64, and how far f32 may be from them: 27 products and sums, and a rounding of each. */
function features(x: ArrayLike<number>): { y: Float64Array; error: number } {
  const layer = { ...pipeline.conv, groups: 1, stride: [1, 1], padding: [1, 1], transposed: false };
  const { y, magnitude } = convolve(layer, x, IMAGE, FEATURES);
  return { y, error: 56 * U * magnitude.reduce((a, b) => Math.max(a, b), 0) };
}

/** The largest that a score may be off, whose features are off by `error`. */
function scoreTolerance(
  y: ArrayLike<number>,
  error: number,
  mean: number[],
  variance: number[],
): number {
  const { weight, bias, eps } = pipeline.bn;
  let z = 0;
  let zError = 0;
  for (let i = 0; i < y.length; i += 1) {
    const c = Math.floor(i / 30) % 4;
    const scale = Math.abs(weight[c]!) / Math.sqrt(variance[c]! + eps);
    const xHat = Math.abs(y[i]! - mean[c]!) / Math.sqrt(variance[c]! + eps);
    const own = 2e-6 * Math.max(1, xHat) * Math.abs(weight[c]!);
    z = Math.max(z, scale * Math.abs(y[i]! - mean[c]!) + Math.abs(bias[c]!));
    zError = Math.max(zError, scale * error + own + 2 * U * z);
  }
  // A mean of 30 and a product of 4: 40 roundings of terms of at most |z|·|w|, and what z is off by.
  const w = pipeline.head.weight.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  const b = pipeline.head.bias.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  return 4 * w * (zError + 40 * U * z) + 40 * U * b;
}

describe.each([
  ["the native provider", () => import("onnxruntime-web/webgpu")],
  ["the JavaScript provider", () => import("onnxruntime-web")],
] as const)("%s", (_, load) => {
  let ort: typeof Ort;
  let device: GPUDevice;
  let conv: Ort.InferenceSession;
  let head: Ort.InferenceSession;
  const uncaught: string[] = [];
  const made: { destroy(): void }[] = [];
  const keep = <T extends { destroy(): void }>(one: T): T => {
    made.push(one);
    return one;
  };

  beforeAll(async () => {
    ort = await load();
    ort.env.logLevel = "error";
    ort.env.wasm.numThreads = 1;
    const options = {
      executionProviders: [{ name: "webgpu", preferredLayout: "NCHW" }],
      preferredOutputLocation: "gpu-buffer",
    } as const;
    conv = await ort.InferenceSession.create(files["conv.onnx"]!(), options);
    head = await ort.InferenceSession.create(files["head.onnx"]!(), {
      ...options,
      preferredOutputLocation: "cpu",
    });
    device = await ort.env.webgpu.device;
    device.addEventListener("uncapturederror", (event) => uncaught.push(event.error.message));
  });
  afterEach(async () => {
    for (const each of made.splice(0)) each.destroy();
    device.pushErrorScope("validation");
    await device.popErrorScope();
    expect(uncaught.splice(0)).toEqual([]);
  });
  afterAll(async () => {
    await conv.release();
    await head.release();
  });

  const image = (index: number): Ort.Tensor =>
    new ort.Tensor("float32", Float32Array.from(pipeline.images[index]!.x), IMAGE);
  const norm = (options = {}): BatchNorm2d => {
    const bn = keep(new BatchNorm2d(device, 4, { eps: pipeline.bn.eps, ...options }));
    const { weight, bias, running_mean, running_var } = pipeline.bn;
    bn.loadStateDict({ weight, bias, running_mean, running_var });
    return bn;
  };

  test("a model's output is normalised in place and goes into another model", async () => {
    const bn = norm().eval();
    for (const [index, { x, scores }] of pipeline.images.entries()) {
      const { features: found } = await conv.run({ image: image(index) });
      expect(found!.location).toBe("gpu-buffer");
      const view = fromOrt(device, found!);
      expect(view.buffer).toBe(found!.gpuBuffer);
      expect([view.shape, view.dtype, view.ownsBuffer]).toEqual([FEATURES, "f32", false]);
      expect(bn.forward(view, { out: view })).toBe(view);
      const fed = toOrt(ort.Tensor, view);
      expect(fed.gpuBuffer).toBe(found!.gpuBuffer);
      const { scores: got } = await head.run({ features: fed });
      const { y, error } = features(x);
      const atol = scoreTolerance(
        y,
        error,
        [...pipeline.bn.running_mean],
        [...pipeline.bn.running_var],
      );
      // Far below the differences between images and statistics.
      expect(atol).toBeLessThan(5e-3);
      expect(got!.data as Float32Array).toBeAllclose(scores, { atol });
      found!.dispose();
    }
  });

  test("statistics are taken anew from the images, and nothing is read back", async () => {
    const bn = norm({ momentum: null });
    const maps = mapsOf(device);
    for (const index of pipeline.images.keys()) {
      const { features: found } = await conv.run({ image: image(index) });
      keep(bn.forward(fromOrt(device, found!)));
      // The forward is submitted: ONNX Runtime may have its buffer back.
      found!.dispose();
    }
    bn.eval();
    const own = keep(Tensor.empty(device, FEATURES));
    const { features: found } = await conv.run({ image: image(0) });
    bn.forward(fromOrt(device, found!), { out: own });
    found!.dispose();
    expect(maps.stop()).toBe(0);
    const { scores } = await head.run({ features: toOrt(ort.Tensor, own) });

    const state = await bn.stateDict();
    const all = pipeline.images.map(({ x }) => features(x));
    const error = Math.max(...all.map((each) => each.error));
    const { anew } = pipeline;
    expect(state.num_batches_tracked).toBe(BigInt(anew.num_batches_tracked));
    // Ours: 2e-6 deviations and a few roundings; ONNX Runtime's features enter the mean as they are, the variance with
    // twice the deviation.
    const deviation = anew.running_var.map(Math.sqrt);
    const meanError = (c: number, value: number): number =>
      error + 2e-6 * deviation[c]! + 24 * U * Math.abs(value);
    const varError = (c: number, value: number): number =>
      (60 / 59) * (2 * deviation[c]! * error + error ** 2) * 2 +
      4e-6 * value +
      24 * U * (1 + value);
    expect(state.running_mean).toBeAllclose(anew.running_mean, { atol: meanError });
    expect(state.running_var).toBeAllclose(anew.running_var, { atol: varError });

    // What the statistics are off by moves xHat by (mean's error + |xHat|/2·variance's/deviation)/deviation.
    const shift = Math.max(
      ...anew.running_var.map(
        (value, c) =>
          meanError(c, anew.running_mean[c]!) + (4 * varError(c, value)) / deviation[c]!,
      ),
    );
    const atol = scoreTolerance(all[0]!.y, error + shift, anew.running_mean, anew.running_var);
    expect(atol).toBeLessThan(1e-2);
    expect(scores!.data as Float32Array).toBeAllclose(pipeline.images[0]!.scoresAnew, { atol });
    // They are not what the module came with.
    expect(Math.abs(state.running_mean![0]! - pipeline.bn.running_mean[0]!)).toBeGreaterThan(0.1);
  });

  test("work of both is in order without waiting: twenty rounds in the same buffers", async () => {
    const bn = norm().eval();
    const shared = keep(Tensor.empty(device, FEATURES));
    const target = toOrt(ort.Tensor, shared);
    for (let round = 0; round < 20; round += 1) {
      const index = round % 3;
      await conv.run({ image: image(index) }, { features: target });
      bn.forward(shared, { out: shared });
      const { scores } = await head.run({ features: target });
      const { x, scores: wanted } = pipeline.images[index]!;
      const { y, error } = features(x);
      const atol = scoreTolerance(
        y,
        error,
        [...pipeline.bn.running_mean],
        [...pipeline.bn.running_var],
      );
      expect(scores!.data as Float32Array, `round ${round}`).toBeAllclose(wanted, { atol });
    }
  });

  test("when run comes back, its commands have been submitted", async () => {
    const { features: found } = await conv.run({ image: image(0) });
    // What is submitted behind it reads its results, with nothing in between.
    const values = await fromOrt(device, found!).read();
    const { y, error } = features(pipeline.images[0]!.x);
    expect(values).toBeAllclose(y, { atol: error });
    found!.dispose();
  });

  test("views own nothing: the buffers outlive them on both sides", async () => {
    const random = createRandom(4);
    const data = random.normals(2 * 4 * 6 * 5);
    const x = keep(tensor(device, data, FEATURES));
    const view = toOrt(ort.Tensor, x);
    await head.run({ features: view });
    view.dispose();
    expect(await x.read()).toEqual(data);

    const { features: found } = await conv.run({ image: image(0) });
    const ours = fromOrt(device, found!);
    const before = await ours.read();
    ours.destroy();
    expect((await found!.getData()) as Float32Array).toEqual(before);
    found!.dispose();
  });

  test("another shape of as many values, f16, and reading back through ONNX Runtime", async () => {
    const x = keep(tensor(device, [1, 2, 3, 4, 5, 6], [2, 3]));
    const flat = toOrt(ort.Tensor, x, [6]);
    expect([...flat.dims]).toEqual([6]);
    expect(fromOrt(device, flat, [3, 2]).shape).toEqual([3, 2]);
    expect(await flat.getData()).toEqual(Float32Array.of(1, 2, 3, 4, 5, 6));
    const half = keep(tensor(device, [0.5, -2, 65504], [3], { dtype: "f16" }));
    const theirs = toOrt(ort.Tensor, half);
    expect(theirs.type).toBe("float16");
    const back = fromOrt(device, theirs);
    expect([back.dtype, [...(await back.read())]]).toEqual(["f16", [0.5, -2, 65504]]);
    const raw = (await theirs.getData()) as unknown as ArrayBufferView;
    expect(new Uint16Array(raw.buffer, raw.byteOffset, 3)).toEqual(
      Uint16Array.of(0x3800, 0xc000, 0x7bff),
    );
  });

  test("what has no counterpart is refused in words", () => {
    const onCpu = new ort.Tensor("float32", new Float32Array(2), [2]);
    const integers = ort.Tensor.fromGpuBuffer(keep(Tensor.empty(device, [2])).buffer, {
      dataType: "int32",
      dims: [2],
    });
    const within = Tensor.wrap(
      device,
      { buffer: keep(Tensor.empty(device, [200])).buffer, offset: 256 },
      [2],
    );
    const floats = ort.Tensor.fromGpuBuffer(within.buffer, { dataType: "float32", dims: [2] });
    const gone = Tensor.empty(device, [2]);
    gone.destroy();
    const short = Tensor.wrap(device, device.createBuffer({ size: 12, usage: 0x80 | 0x4 }), [3]);
    for (const [run, type, message] of [
      [
        () => fromOrt(device, onCpu),
        BufferError,
        /at "cpu"; create the session with preferredOutputLocation/,
      ],
      [() => fromOrt(device, integers), ShapeError, /type: float32 or float16, got int32/],
      [() => fromOrt(device, floats, [3]), ShapeError, /2 values \(\[2\]\), got 3/],
      [
        () => toOrt(ort.Tensor, keep(Tensor.empty(device, [2], { dtype: "bf16" }))),
        ShapeError,
        /f32 or f16, got bf16/,
      ],
      [() => toOrt(ort.Tensor, short), BufferError, /16 bytes, .* got 12; make it as large/],
      [() => toOrt(ort.Tensor, within), BufferError, /256 bytes into it/],
      [() => toOrt(ort.Tensor, within, [3]), BufferError, /at the start/],
      [() => toOrt(ort.Tensor, keep(Tensor.empty(device, [2])), [3]), ShapeError, /dims: 2 values/],
      [() => toOrt(ort.Tensor, gone), Error, /toOrt: a live tensor/],
    ] as const) {
      expect(run).toThrow(type);
      expect(run).toThrow(message);
    }
  });
});

/** Counts what is mapped for reading on a device: nothing may be read back. */
function mapsOf(device: GPUDevice): { stop(): number } {
  const original = device.createBuffer.bind(device);
  let count = 0;
  device.createBuffer = (descriptor: GPUBufferDescriptor): GPUBuffer => {
    if (descriptor.usage & GPUBufferUsage.MAP_READ) count += 1;
    return original(descriptor);
  };
  return {
    stop: () => {
      device.createBuffer = original;
      return count;
    },
  };
}
