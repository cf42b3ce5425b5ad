/**
 * Who owns what: recording into the caller's encoder or pass, ranges of one buffer, contexts, eviction, and the count
 * of live GPU buffers.
 */
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import {
  type ActivationName,
  BatchNorm1d,
  BatchNorm2d,
  byteSizes,
  createBackward,
  createForward,
  createInference,
  DestroyedError,
  type Dtype,
  type Layout,
  OptionError,
  type PlanDescriptor,
  type Resource,
  stateLayout,
  Tensor,
  tensor,
  type Tuning,
} from "../../src/index.js";
import { narrow, widen } from "../../src/half.js";
import { backward, forward, inference, type BackwardResult } from "../../src/reference.js";
import {
  AccumulatedBatchNorm,
  ExtendedBatchNorm,
  mergeStatistics,
  reestimate,
  StatisticsAccumulator,
} from "../../src/statistics/index.js";
import { openDevice } from "../support/device.js";
import { createRandom } from "../support/random.js";
import "../support/allclose.js";

let device: GPUDevice;
beforeAll(async () => {
  device = await openDevice();
});

/** Half of the distance between neighbouring values of a type, relative; and that of its smallest values. */
const HALF_UNIT = {
  f32: [2 ** -24, 2 ** -150],
  f16: [2 ** -11, 2 ** -25],
  bf16: [2 ** -9, 2 ** -134],
} as const;

interface Forward {
  y: Float64Array;
  xHat: Float64Array;
}

/** Which channel each element is of. */
function channelOf(shape: readonly number[], layout: Layout): (index: number) => number {
  const last = layout === "channels-last" || shape.length === 2;
  const channels = last ? shape[shape.length - 1]! : shape[1]!;
  const inner = last ? 1 : shape.slice(2).reduce((a, b) => a * b, 1);
  return (index) => Math.floor(index / inner) % channels;
}

/** The README's bounds, plus one rounding to the stored type. */
function boundsOf(
  shape: readonly number[],
  layout: Layout,
  dtype: Dtype,
  gamma: ArrayLike<number>,
) {
  const channel = channelOf(shape, layout);
  const [relative, absolute] = HALF_UNIT[dtype];
  const stored = (value: number): number => 2 * relative * Math.abs(value) + absolute;
  // 4: the slope of an activation and its own error of a few units, generously.
  const y =
    (expected: Forward) =>
    (i: number, value: number): number =>
      4 *
        2e-6 *
        Math.max(1, Math.abs(expected.xHat[i]!)) *
        Math.max(1, Math.abs(gamma[channel(i)]!)) +
      stored(value);
  const dx =
    (expected: BackwardResult) =>
    (i: number, value: number): number => {
      const c = channel(i);
      return (
        1e-5 * Math.abs(gamma[c]!) * expected.invStd[c]! * expected.maxAbsDz[c]! +
        (dtype === "f32" ? 0 : 2) * stored(value) +
        1e-30
      );
    };
  const dBeta = (expected: BackwardResult) => (c: number) => 1e-5 * expected.sumAbsDz[c]! + 1e-30;
  const dGamma = (expected: BackwardResult) => (c: number) =>
    1e-5 * expected.sumAbsDzXHat[c]! + 1e-30;
  return { y, dx, dBeta, dGamma };
}

/** Numbers as the device stores them. */
function rounded(values: Float32Array, dtype: Dtype): Float32Array {
  return dtype === "f32" ? values : values.map((value) => widen(narrow(value, dtype), dtype));
}

function rawBuffer(bytes: number, usage = 0x80 | 0x4 | 0x8): GPUBuffer {
  return device.createBuffer({ size: bytes, usage });
}

/** Runs `make` while every scratch buffer that it creates is filled with NaN. */
async function withPoisonedScratch<T>(make: () => Promise<T>): Promise<T> {
  const original = device.createBuffer.bind(device);
  const scratch: GPUBuffer[] = [];
  device.createBuffer = (descriptor) => {
    const isScratch = descriptor.label?.endsWith("/scratch") ?? false;
    const buffer = original(
      isScratch ? { ...descriptor, usage: descriptor.usage | 0x8 } : descriptor,
    );
    if (isScratch) scratch.push(buffer);
    return buffer;
  };
  try {
    return await make();
  } finally {
    delete (device as Partial<GPUDevice>).createBuffer;
    for (const each of scratch) {
      device.queue.writeBuffer(each, 0, new Uint8Array(each.size).fill(0xff));
    }
  }
}

/** Counts buffers of the device from now on. */
function countBuffers(): { live: Set<GPUBuffer>; created(): number; stop(): void } {
  const live = new Set<GPUBuffer>();
  let created = 0;
  const original = device.createBuffer.bind(device);
  const proto = GPUBuffer.prototype;
  // eslint-disable-next-line @typescript-eslint/unbound-method
  const destroy = proto.destroy;
  device.createBuffer = (descriptor) => {
    const buffer = original(descriptor);
    created += 1;
    live.add(buffer);
    return buffer;
  };
  proto.destroy = function (this: GPUBuffer) {
    live.delete(this);
    return destroy.call(this);
  };
  return {
    live,
    created: () => created,
    stop() {
      delete (device as Partial<GPUDevice>).createBuffer;
      proto.destroy = destroy;
    },
  };
}

let stopCounting: (() => void) | null = null;
afterEach(() => {
  stopCounting?.();
  stopCounting = null;
});

const SPLIT = {
  wholePerLane: 0,
  maxHeld: 0,
  minPerLane: 1,
  targetInvocations: 4096,
  mergedBytes: 2 ** 40,
} as const;

interface ArenaCase {
  readonly name: string;
  readonly shape: readonly number[];
  readonly layout?: Layout;
  readonly dtype?: Dtype;
  readonly activation?: ActivationName;
  readonly residual?: boolean;
  readonly affine?: boolean;
  readonly tuning?: Partial<Tuning>;
}

const GPU_LIKE = { workgroupSize: 64, maxTeam: 64, columnBytes: 128 } as const;

const ARENA: readonly ArenaCase[] = [
  { name: "scalar rows", shape: [4, 3, 5, 5] },
  { name: "rows of four, split", shape: [3, 4, 4, 4], tuning: SPLIT },
  { name: "rows of four, split, team 64", shape: [9, 4, 4, 4], tuning: { ...SPLIT, ...GPU_LIKE } },
  { name: "rows, held, team 64", shape: [6, 4, 8, 4], tuning: { maxHeld: 16, ...GPU_LIKE } },
  { name: "scalar columns, held", shape: [13, 7], tuning: { maxHeld: 16, ...GPU_LIKE } },
  { name: "scalar columns, team 1, held", shape: [13, 7], tuning: { maxHeld: 16 } },
  { name: "columns of four", shape: [6, 8] },
  { name: "columns of four, split, teams", shape: [70, 12], tuning: { ...SPLIT, ...GPU_LIKE } },
  { name: "one channel", shape: [7, 1, 3, 5] },
  { name: "no gamma", shape: [5, 6], affine: false },
  {
    name: "channels last, residual, silu",
    shape: [3, 4, 5, 6],
    layout: "channels-last",
    residual: true,
    activation: "silu",
  },
  {
    name: "residual, silu, split, teams",
    shape: [6, 3, 5, 5],
    residual: true,
    activation: "silu",
    tuning: { ...SPLIT, ...GPU_LIKE },
  },
  {
    name: "residual, no activation, held",
    shape: [6, 3, 4, 4],
    residual: true,
    tuning: { maxHeld: 16, ...GPU_LIKE },
  },
  { name: "f16 halves, odd size", shape: [3, 5, 3, 3], dtype: "f16" },
  {
    name: "f16 halves, residual, tanh, teams",
    shape: [3, 5, 3, 5],
    dtype: "f16",
    residual: true,
    activation: "tanh",
    tuning: { ...SPLIT, ...GPU_LIKE },
  },
  { name: "bf16 rows of two", shape: [3, 4, 2, 3], dtype: "bf16", tuning: SPLIT },
  { name: "f16 columns of two", shape: [3, 3, 3, 6], layout: "channels-last", dtype: "f16" },
  { name: "bf16 one channel, odd size", shape: [5, 1, 3, 3], dtype: "bf16" },
];

test.each(ARENA)(
  "ranges of one buffer hold all inputs and outputs, nothing else is touched: $name",
  async ({
    shape,
    layout = "channels-first",
    dtype = "f32",
    activation = "none",
    residual = false,
    affine = true,
    tuning,
  }) => {
    const random = createRandom(shape.reduce((a, b) => a * 31 + b, 7));
    const descriptor: PlanDescriptor = { shape, layout, dtype, activation, affine };
    const sizes = byteSizes(descriptor);
    const channels = sizes.gamma / 4;
    const size = shape.reduce((a, b) => a * b, 1);
    const data = {
      x: rounded(random.normals(size, 0.5, 2), dtype),
      dy: rounded(random.normals(size), dtype),
      residual: rounded(random.normals(size), dtype),
      gamma: random.uniforms(channels, 0.5, 1.5),
      beta: random.normals(channels),
    };
    const layoutOfState = stateLayout(channels);
    const element = dtype === "f32" ? 4 : 2;

    // The image of the arena: canaries everywhere, inputs and NaN-filled outputs in aligned ranges.
    const places = new Map<string, { offset: number; bytes: number }>();
    let end = 256;
    const place = (name: string, bytes: number): void => {
      places.set(name, { offset: end, bytes });
      end = Math.ceil((end + bytes) / 256) * 256 + 256;
    };
    const outputs: [string, number, number][] = []; // name, bytes bound, bytes written
    for (const name of ["x", "dy", "residual"] as const) place(name, sizes[name]);
    for (const name of ["gamma", "beta"] as const) place(name, sizes[name]);
    place("state", sizes.state);
    for (const suffix of ["", "2"]) {
      outputs.push(
        [`y${suffix}`, sizes.y, size * element],
        [`dx${suffix}`, sizes.dx, size * element],
      );
      outputs.push([`dResidual${suffix}`, sizes.dx, size * element]);
      outputs.push([`saved${suffix}`, sizes.saved, sizes.saved]);
      outputs.push(
        [`dGamma${suffix}`, sizes.dGamma, sizes.dGamma],
        [`dBeta${suffix}`, sizes.dBeta, sizes.dBeta],
      );
    }
    for (const [name, bytes] of outputs) place(name, bytes);
    const image = new Uint8Array(end).fill(0xa5);
    const put = (name: string, values: Float32Array, type: Dtype): void => {
      const bytes =
        type === "f32"
          ? new Uint8Array(values.slice().buffer)
          : new Uint8Array(Uint16Array.from(values, (value) => narrow(value, type)).buffer);
      image.set(bytes, places.get(name)!.offset);
    };
    put("x", data.x, dtype);
    put("dy", data.dy, dtype);
    put("residual", data.residual, dtype);
    put("gamma", data.gamma, "f32");
    put("beta", data.beta, "f32");
    const before = { mean: random.normals(channels), variance: random.uniforms(channels, 0.5, 2) };
    const stateAt = places.get("state")!.offset;
    image.set(new Uint8Array(before.mean.slice().buffer), stateAt + layoutOfState.mean);
    image.set(new Uint8Array(before.variance.slice().buffer), stateAt + layoutOfState.variance);
    image.set([41, 0, 0, 0, 0, 0, 0, 0], stateAt + layoutOfState.counter); // 64 bits
    for (const [name, bytes] of outputs) {
      const { offset } = places.get(name)!;
      image.fill(0xff, offset, offset + bytes);
    }
    const arena = rawBuffer(image.byteLength);
    device.queue.writeBuffer(arena, 0, image);
    const at = (name: string): Resource => {
      const { offset, bytes } = places.get(name)!;
      return { buffer: arena, offset, size: bytes };
    };

    const extra = tuning ? { tuning } : {};
    const plans = await withPoisonedScratch(() =>
      Promise.all([
        createForward(device, { ...descriptor, ...extra, residual }),
        createBackward(device, { ...descriptor, ...extra, residual }),
        createInference(device, { ...descriptor, ...extra, residual, save: true }),
        createBackward(device, { ...descriptor, ...extra, residual, mode: "evaluation" }),
      ]),
    );
    const [train, trainBack, infer, inferBack] = plans;
    const inputs = {
      x: at("x"),
      ...(residual ? { residual: at("residual") } : {}),
    };
    const affines = affine ? { gamma: at("gamma"), beta: at("beta") } : {};
    const gradients = (suffix: string) => ({
      dx: at(`dx${suffix}`),
      ...(residual ? { dResidual: at(`dResidual${suffix}`) } : {}),
      ...(affine ? { dGamma: at(`dGamma${suffix}`), dBeta: at(`dBeta${suffix}`) } : {}),
    });
    const encoder = device.createCommandEncoder();
    train.encode(encoder, {
      ...inputs,
      ...affines,
      y: at("y"),
      saved: at("saved"),
      state: at("state"),
    });
    const pass = encoder.beginComputePass();
    trainBack.encode(pass, { ...inputs, dy: at("dy"), saved: at("saved"), ...gradients("") });
    infer.encode(pass, {
      ...inputs,
      ...affines,
      y: at("y2"),
      saved: at("saved2"),
      state: at("state"),
    });
    pass.end();
    inferBack.encode(encoder, { ...inputs, dy: at("dy"), saved: at("saved2"), ...gradients("2") });
    device.queue.submit([encoder.finish()]);

    const whole = Tensor.wrap(device, arena, [image.byteLength / 4]);
    const result = new Uint8Array(await whole.readRaw());
    expect(result.length).toBe(image.length);
    const take = (name: string, count: number, type: Dtype, skip = 0): Float32Array => {
      const from = places.get(name)!.offset + skip;
      const bytes = result.slice(from, from + count * (type === "f32" ? 4 : 2)).buffer;
      return type === "f32"
        ? new Float32Array(bytes)
        : Float32Array.from(new Uint16Array(bytes), (half) => widen(half, type));
    };

    // Values.
    const options = {
      layout,
      activation,
      affine,
      ...(residual ? { residual: data.residual } : {}),
    };
    const scaled = { ...options, ...(affine ? { gamma: data.gamma, beta: data.beta } : {}) };
    const gamma = affine ? data.gamma : new Float32Array(channels).fill(1);
    const bounds = boundsOf(shape, layout, dtype, gamma);
    const f = forward(data.x, shape, { ...scaled, state: { ...before, numBatchesTracked: 41 } });
    expect(take("y", size, dtype)).toBeAllclose(f.y, { atol: bounds.y(f) });
    const mean = take("state", channels, "f32", layoutOfState.mean);
    const variance = take("state", channels, "f32", layoutOfState.variance);
    expect(mean).toBeAllclose(f.state!.mean, { atol: 2e-6 });
    expect(variance).toBeAllclose(f.state!.variance, { rtol: 4e-6 });
    const counter = new DataView(result.buffer).getBigUint64(stateAt + layoutOfState.counter, true);
    expect(counter).toBe(42n);
    const checkGradients = (suffix: string, b: BackwardResult): void => {
      expect(take(`dx${suffix}`, size, dtype)).toBeAllclose(b.dx, { atol: bounds.dx(b) });
      if (residual) {
        // dResidual = dz, of one activation's derivative.
        const [relative, absolute] = HALF_UNIT[dtype];
        expect(take(`dResidual${suffix}`, size, dtype)).toBeAllclose(b.dz, {
          atol: (i, value) =>
            2 * relative * Math.abs(value) +
            absolute +
            1e-5 * b.maxAbsDz[channelOf(shape, layout)(i)]!,
        });
      }
      if (affine) {
        expect(take(`dBeta${suffix}`, channels, "f32")).toBeAllclose(b.dBeta, {
          atol: bounds.dBeta(b),
        });
        expect(take(`dGamma${suffix}`, channels, "f32")).toBeAllclose(b.dGamma, {
          atol: bounds.dGamma(b),
        });
      }
    };
    // With 16 bits dResidual may stand for dz in dx: one more rounding, of half a unit of the largest dz.
    checkGradients("", backward(data.dy, data.x, shape, scaled));
    const running = { ...scaled, mean, variance };
    const e = inference(data.x, shape, running);
    expect(take("y2", size, dtype)).toBeAllclose(e.y, { atol: bounds.y(e) });
    checkGradients("2", backward(data.dy, data.x, shape, { ...running, mode: "evaluation" }));

    // Everything that is no output is as it was, to the byte: gaps, inputs, padding of halves and of state.
    const written = new Uint8Array(image.length);
    for (const [name, , bytes] of outputs) {
      const bound =
        (affine || !/^d(Gamma|Beta)/.test(name)) && (residual || !name.startsWith("dResidual"));
      const { offset } = places.get(name)!;
      if (bound) written.fill(1, offset, offset + bytes);
    }
    written.fill(1, stateAt + layoutOfState.mean, stateAt + layoutOfState.mean + 4 * channels);
    written.fill(
      1,
      stateAt + layoutOfState.variance,
      stateAt + layoutOfState.variance + 4 * channels,
    );
    written.fill(1, stateAt + layoutOfState.counter, stateAt + layoutOfState.counter + 8);
    const spoiled = image.findIndex((byte, i) => written[i] === 0 && result[i] !== byte);
    expect(spoiled, "first byte that was written outside of the outputs").toBe(-1);

    for (const plan of plans) plan.destroy();
    arena.destroy();
  },
);

describe("recording", () => {
  const shape = [4, 3, 5, 5] as const;
  const random = createRandom(5);
  const xs = random.normals(300, 1, 2);
  const dys = random.normals(300);

  test("the caller's encoder is recorded into and not submitted", async () => {
    const bn = new BatchNorm2d(device, 3);
    const [x, dy] = [tensor(device, xs, shape), tensor(device, dys, shape)];
    const poison = new Float32Array(300).fill(77);
    const [y, dx] = [tensor(device, poison, shape), tensor(device, poison, shape)];
    const encoder = device.createCommandEncoder();
    expect(bn.forward(x, { encoder, out: y })).toBe(y);
    expect(bn.backward(dy, { encoder, out: dx })).toBe(dx);
    expect([...(await y.read())]).toEqual([...poison]);
    expect([...(await dx.read())]).toEqual([...poison]);
    expect((await bn.stateDict()).num_batches_tracked).toBe(0n);
    const commands = encoder.finish(); // throws or reports where an encoder was finished by another
    device.queue.submit([commands]);
    const bounds = boundsOf(shape, "channels-first", "f32", [1, 1, 1]);
    const [f, b] = [forward(xs, shape), backward(dys, xs, shape)];
    expect(await y.read()).toBeAllclose(f.y, { atol: bounds.y(f) });
    expect(await dx.read()).toBeAllclose(b.dx, { atol: bounds.dx(b) });
    expect((await bn.stateDict()).num_batches_tracked).toBe(1n);
    bn.destroy();
    for (const each of [x, dy, y, dx]) each.destroy();
  });

  test("an open compute pass stays open and usable", async () => {
    const first = new BatchNorm2d(device, 3);
    const second = new BatchNorm2d(device, 3, { affine: false, eps: 0 });
    const [x, dy] = [tensor(device, xs, shape), tensor(device, dys, shape)];
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    const y = first.forward(x, { encoder: pass });
    const z = second.forward(y, { encoder: pass });
    const dz = second.backward(dy, { encoder: pass });
    const dx = first.backward(dz, { encoder: pass });
    pass.setBindGroup(0, null); // the pass is ours still
    pass.end();
    device.queue.submit([encoder.finish()]);
    const f = forward(xs, shape);
    const y32 = Float32Array.from(f.y);
    const g = forward(y32, shape, { affine: false, eps: 0 });
    const back = backward(dys, y32, shape, { affine: false, eps: 0 });
    const b = backward(Float32Array.from(back.dx), xs, shape);
    const bounds = boundsOf(shape, "channels-first", "f32", [1, 1, 1]);
    // Two layers: the second multiplies the first's error by its invStd (1 here) and adds its own.
    expect(await z.read()).toBeAllclose(g.y, { atol: (i, v) => 2 * bounds.y(g)(i, v) });
    expect(await dx.read()).toBeAllclose(b.dx, { atol: (i, v) => 8 * bounds.dx(b)(i, v) + 1e-6 });
    for (const each of [x, dy, y, z, dz, dx]) each.destroy();
    first.destroy();
    second.destroy();
  });

  test("the same plan recorded twice is run twice, running statistics included", async () => {
    const bn = new BatchNorm2d(device, 3, { momentum: 0.25 });
    const other = random.normals(300, -3, 0.5);
    const [x1, x2] = [tensor(device, xs, shape), tensor(device, other, shape)];
    const encoder = device.createCommandEncoder();
    const y1 = bn.forward(x1, { encoder });
    const y2 = bn.forward(x2, { encoder });
    device.queue.submit([encoder.finish()]);
    const f1 = forward(xs, shape, {
      momentum: 0.25,
      state: { mean: [0, 0, 0], variance: [1, 1, 1], numBatchesTracked: 0 },
    });
    const f2 = forward(other, shape, { momentum: 0.25, state: f1.state! });
    const bounds = boundsOf(shape, "channels-first", "f32", [1, 1, 1]);
    expect(await y1.read()).toBeAllclose(f1.y, { atol: bounds.y(f1) });
    expect(await y2.read()).toBeAllclose(f2.y, { atol: bounds.y(f2) });
    const dict = await bn.stateDict();
    expect(dict.num_batches_tracked).toBe(2n);
    expect(dict.running_mean).toBeAllclose(f2.state!.mean, { atol: 2e-6 });
    expect(dict.running_var).toBeAllclose(f2.state!.variance, { rtol: 4e-6 });
    for (const each of [x1, x2, y1, y2]) each.destroy();
    bn.destroy();
  });

  test("tensors may stand at offsets of wrapped buffers", async () => {
    const bn = new BatchNorm2d(device, 3);
    const buffer = rawBuffer(256 + 1280 + 1280 + 256);
    const canary = new Float32Array(buffer.size / 4).fill(-5);
    device.queue.writeBuffer(buffer, 0, canary);
    const x = Tensor.wrap(device, { buffer, offset: 256, size: 1200 }, shape);
    x.write(xs);
    const y = Tensor.wrap(device, { buffer, offset: 256 + 1280 }, shape);
    bn.forward(x, { out: y });
    const f = forward(xs, shape);
    const bounds = boundsOf(shape, "channels-first", "f32", [1, 1, 1]);
    expect(await y.read()).toBeAllclose(f.y, { atol: bounds.y(f) });
    const all = await Tensor.wrap(device, buffer, [buffer.size / 4]).read();
    const kept = [...all.subarray(0, 64), ...all.subarray(364, 384), ...all.subarray(684)];
    expect(kept.every((value) => value === -5)).toBe(true);
    expect(await x.read()).toBeAllclose(xs);
    bn.destroy();
    buffer.destroy();
  });

  test("a tensor can be seen in another shape", async () => {
    const x = tensor(device, [1, 2, 3, 4, 5, 6], [2, 3]);
    const row = Tensor.wrap(
      device,
      Tensor.wrap(device, { buffer: x.buffer, offset: 8 }, [4]),
      [2, 2],
    );
    expect([row.offset, row.ownsBuffer, ...row.shape]).toEqual([8, false, 2, 2]);
    expect([...(await row.read())]).toEqual([3, 4, 5, 6]);
    x.destroy();
  });

  test("of an array's part no more than that part is taken", async () => {
    const all = Float32Array.of(1, 2, 3, 4, 5, 6);
    const x = tensor(device, all.subarray(1, 4), [3]);
    expect([...(await x.read())]).toEqual([2, 3, 4]);
    x.write(all.subarray(3));
    expect([...(await x.read())]).toEqual([4, 5, 6]);
    x.destroy();
  });

  test("outputs that hold NaN do not matter, accumulate false", async () => {
    const bn = new BatchNorm2d(device, 3);
    const nan = new Float32Array(300).fill(NaN);
    const [x, dy] = [tensor(device, xs, shape), tensor(device, dys, shape)];
    const [y, dx] = [tensor(device, nan, shape), tensor(device, nan, shape)];
    bn.gammaGrad!.write([NaN, NaN, NaN]);
    bn.betaGrad!.write([NaN, NaN, NaN]);
    bn.forward(x, { out: y });
    bn.backward(dy, { out: dx });
    const bounds = boundsOf(shape, "channels-first", "f32", [1, 1, 1]);
    const [f, b] = [forward(xs, shape), backward(dys, xs, shape)];
    expect(await y.read()).toBeAllclose(f.y, { atol: bounds.y(f) });
    expect(await dx.read()).toBeAllclose(b.dx, { atol: bounds.dx(b) });
    expect(await bn.gammaGrad!.read()).toBeAllclose(b.dGamma, { atol: bounds.dGamma(b) });
    expect(await bn.betaGrad!.read()).toBeAllclose(b.dBeta, { atol: bounds.dBeta(b) });
    for (const each of [x, dy, y, dx]) each.destroy();
    bn.destroy();
  });
});

describe("contexts", () => {
  const random = createRandom(9);
  const shape = [6, 4] as const;
  const batches = [0, 1, 2].map((i) => ({
    xs: random.normals(24, i, 1 + i),
    dys: random.normals(24),
  }));
  const bounds = boundsOf(shape, "channels-first", "f32", [1, 1, 1, 1]);

  async function checkBackward(bn: BatchNorm1d, dx: Tensor, i: number): Promise<void> {
    const b = backward(batches[i]!.dys, batches[i]!.xs, shape);
    expect(await dx.read(), `dx of forward ${i}`).toBeAllclose(b.dx, { atol: bounds.dx(b) });
    expect(await bn.gammaGrad!.read()).toBeAllclose(b.dGamma, { atol: bounds.dGamma(b) });
    expect(await bn.betaGrad!.read()).toBeAllclose(b.dBeta, { atol: bounds.dBeta(b) });
  }

  test("two forwards come before two backwards, in either order", async () => {
    const bn = new BatchNorm1d(device, 4);
    for (const order of [
      [0, 1],
      [1, 0],
    ]) {
      const contexts = [bn.context(), bn.context()];
      const tensors: Tensor[] = [];
      for (const i of [0, 1]) {
        const x = tensor(device, batches[i]!.xs, shape);
        tensors.push(x, bn.forward(x, { context: contexts[i]! }));
      }
      for (const i of order) {
        const dy = tensor(device, batches[i]!.dys, shape);
        const dx = bn.backward(dy, { context: contexts[i]! });
        await checkBackward(bn, dx, i);
        tensors.push(dy, dx);
      }
      for (const each of [...tensors, ...contexts]) each.destroy();
    }
    bn.destroy();
  });

  test("contexts recorded into one encoder keep apart", async () => {
    const bn = new BatchNorm1d(device, 4);
    const encoder = device.createCommandEncoder();
    const contexts = [bn.context(), bn.context()];
    const xs = [0, 1].map((i) => tensor(device, batches[i]!.xs, shape));
    const dys = [0, 1].map((i) => tensor(device, batches[i]!.dys, shape));
    const ys = [0, 1].map((i) => bn.forward(xs[i]!, { context: contexts[i]!, encoder }));
    const dxs = [1, 0].map((i) => bn.backward(dys[i]!, { context: contexts[i]!, encoder }));
    device.queue.submit([encoder.finish()]);
    await checkBackward(bn, dxs[1]!, 0);
    for (const each of [...xs, ...ys, ...dys, ...dxs, ...contexts]) each.destroy();
    bn.destroy();
  });

  test.each([
    { kind: "BatchNorm1d", training: true },
    { kind: "BatchNorm1d", training: false },
    { kind: "ExtendedBatchNorm", training: true },
    { kind: "ExtendedBatchNorm", training: false },
  ])(
    "a recorded backward is of its own forward, whatever comes before it is submitted: %j",
    async (each) => {
      const counter = countBuffers();
      stopCounting = () => counter.stop();
      const bn =
        each.kind === "BatchNorm1d"
          ? new BatchNorm1d(device, 4)
          : new ExtendedBatchNorm(device, 4, { virtualBatchSize: 6 });
      bn.train(each.training);
      const [x0, x1] = [0, 1].map((i) => tensor(device, batches[i]!.xs, shape)) as [Tensor, Tensor];
      const dy = tensor(device, batches[0]!.dys, shape);
      const before = await bn.stateDict();
      const ys = [bn.forward(x0)];
      const dxs = [bn.backward(dy)];
      const wanted = await dxs[0]!.read();
      for (let step = 0; step < 2; step++) {
        bn.loadStateDict(before);
        ys.push(bn.forward(x0));
        const encoder = device.createCommandEncoder();
        const dx = bn.backward(dy, { encoder });
        bn.loadStateDict({ ...before, running_var: [9, 9, 9, 9] });
        ys.push(bn.forward(x1));
        device.queue.submit([encoder.finish()]);
        expect(await dx.read()).toEqual(wanted);
        dxs.push(dx);
      }
      for (const one of [...ys, ...dxs, x0, x1, dy, bn]) one.destroy();
      // The first step's was lent to an encoder, and what is lent is left to the collector once another is.
      expect([...counter.live].map(({ label }) => label)).toEqual(["bn.context/saved"]);
    },
  );

  test("lastContext survives later forwards", async () => {
    const bn = new BatchNorm1d(device, 4);
    expect(bn.lastContext).toBeNull();
    const [x0, x1] = [0, 1].map((i) => tensor(device, batches[i]!.xs, shape)) as [Tensor, Tensor];
    const y0 = bn.forward(x0);
    const first = bn.lastContext!;
    expect(first).not.toBeNull();
    expect(bn.lastContext).toBe(first);
    const y1 = bn.forward(x1);
    expect(bn.lastContext).not.toBe(first);
    const [dy0, dy1] = [0, 1].map((i) => tensor(device, batches[i]!.dys, shape)) as [
      Tensor,
      Tensor,
    ];
    const dx0 = bn.backward(dy0, { context: first });
    await checkBackward(bn, dx0, 0);
    const dx1 = bn.backward(dy1);
    await checkBackward(bn, dx1, 1);
    first.destroy();
    first.destroy();
    bn.lastContext?.destroy();
    bn.destroy();
    for (const each of [x0, x1, y0, y1, dy0, dy1, dx0, dx1]) each.destroy();
  });

  test("a forward with its own context does not free what an unsubmitted encoder of the caller's holds", async () => {
    const bn = new BatchNorm1d(device, 4);
    const [x0, x1] = [0, 1].map((i) => tensor(device, batches[i]!.xs, shape)) as [Tensor, Tensor];
    const encoder = device.createCommandEncoder();
    const y0 = bn.forward(x0, { encoder });
    const context = bn.context();
    const y1 = bn.forward(x1, { context });
    device.queue.submit([encoder.finish()]);
    const f = forward(batches[0]!.xs, shape);
    expect(await y0.read()).toBeAllclose(f.y, { atol: bounds.y(f) });
    context.destroy();
    bn.destroy();
    for (const each of [x0, x1, y0, y1]) each.destroy();
  });

  test("a context can be used again after its backward", async () => {
    const bn = new BatchNorm1d(device, 4);
    const context = bn.context();
    for (const i of [2, 0]) {
      const x = tensor(device, batches[i]!.xs, shape);
      const dy = tensor(device, batches[i]!.dys, shape);
      const y = bn.forward(x, { context });
      const dx = bn.backward(dy, { context });
      await checkBackward(bn, dx, i);
      for (const each of [x, dy, y, dx]) each.destroy();
    }
    context.destroy();
    bn.destroy();
  });

  test("gamma may change between forward and backward: the forward's one counts", async () => {
    const bn = new BatchNorm1d(device, 4);
    const x = tensor(device, batches[1]!.xs, shape);
    const dy = tensor(device, batches[1]!.dys, shape);
    const y = bn.forward(x);
    bn.gamma!.write([9, 9, 9, 9]);
    const dx = bn.backward(dy);
    await checkBackward(bn, dx, 1);
    bn.destroy();
    for (const each of [x, dy, y, dx]) each.destroy();
  });
});

test("a smaller last batch is another shape of the same module", async () => {
  const random = createRandom(21);
  const bn = new BatchNorm2d(device, 3);
  let state = {
    mean: [0, 0, 0] as ArrayLike<number>,
    variance: [1, 1, 1] as ArrayLike<number>,
    numBatchesTracked: 0 as number | bigint,
  };
  for (const n of [8, 8, 3, 8, 1]) {
    const shape = [n, 3, 4, 5];
    const xs = random.normals(n * 60, 2, 3);
    const dys = random.normals(n * 60);
    const [x, dy] = [tensor(device, xs, shape), tensor(device, dys, shape)];
    const y = bn.forward(x);
    const dx = bn.backward(dy);
    const f = forward(xs, shape, { state });
    const b = backward(dys, xs, shape);
    const bounds = boundsOf(shape, "channels-first", "f32", [1, 1, 1]);
    expect(await y.read()).toBeAllclose(f.y, { atol: bounds.y(f) });
    expect(await dx.read()).toBeAllclose(b.dx, { atol: bounds.dx(b) });
    state = f.state!;
    for (const each of [x, dy, y, dx]) each.destroy();
  }
  const dict = await bn.stateDict();
  expect(dict.num_batches_tracked).toBe(5n);
  expect(dict.running_mean).toBeAllclose(state.mean, { atol: 5e-6 });
  expect(dict.running_var).toBeAllclose(state.variance, { rtol: 1e-5 });
  bn.destroy();
});

describe("eviction", () => {
  test("a caller's encoder outlives the eviction of the plans it holds", async () => {
    const random = createRandom(3);
    const bn = new BatchNorm1d(device, 3);
    const shape = [10, 3];
    const xs = random.normals(30);
    const dys = random.normals(30);
    const [x, dy] = [tensor(device, xs, shape), tensor(device, dys, shape)];
    const encoder = device.createCommandEncoder();
    const context = bn.context();
    const y = bn.forward(x, { encoder, context });
    const dx = bn.backward(dy, { encoder, context });
    for (let n = 11; n < 31; n++) {
      const other = tensor(device, random.normals(3 * n), [n, 3]);
      bn.forward(other).destroy();
      bn.backward(other, { wants: { x: false } });
      other.destroy();
    }
    device.queue.submit([encoder.finish()]);
    const [f, b] = [forward(xs, shape), backward(dys, xs, shape)];
    const bounds = boundsOf(shape, "channels-first", "f32", [1, 1, 1]);
    expect(await y.read()).toBeAllclose(f.y, { atol: bounds.y(f) });
    expect(await dx.read()).toBeAllclose(b.dx, { atol: bounds.dx(b) });
    await bn.status();
    context.destroy();
    bn.destroy();
    for (const each of [x, dy, y, dx]) each.destroy();
  });

  test("plans of a shape that comes back are made anew and right", async () => {
    const random = createRandom(4);
    const bn = new BatchNorm1d(device, 3);
    for (const n of [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 5, 6, 13]) {
      const xs = random.normals(3 * n);
      const x = tensor(device, xs, [n, 3]);
      const y = bn.forward(x);
      const f = forward(xs, [n, 3]);
      const bounds = boundsOf([n, 3], "channels-first", "f32", [1, 1, 1]);
      expect(await y.read()).toBeAllclose(f.y, { atol: bounds.y(f) });
      x.destroy();
      y.destroy();
    }
    bn.destroy();
  });

  test("shapes without end keep the number of live buffers bounded", async () => {
    const counter = countBuffers();
    stopCounting = () => counter.stop();
    const bn = new BatchNorm1d(device, 3);
    const step = (n: number): void => {
      const x = tensor(device, new Float32Array(3 * n), [n, 3]);
      const y = bn.forward(x);
      bn.backward(y).destroy();
      x.destroy();
      y.destroy();
    };
    for (let n = 2; n < 22; n++) step(n);
    const live = counter.live.size;
    for (let n = 22; n < 62; n++) step(n);
    await bn.status();
    expect(counter.live.size).toBe(live);
    bn.destroy();
    expect(counter.live.size).toBe(0);
  });
});

describe("live buffers", () => {
  const shape = [4, 3, 5, 5];
  const random = createRandom(8);
  const xs = random.normals(300);

  test("1,000 steps leave as many as 10 do", async () => {
    const counter = countBuffers();
    stopCounting = () => counter.stop();
    const bn = new BatchNorm2d(device, 3);
    const [x, dy] = [tensor(device, xs, shape), tensor(device, xs, shape)];
    const step = (): void => {
      const y = bn.forward(x);
      const dx = bn.backward(dy);
      y.destroy();
      dx.destroy();
    };
    for (let i = 0; i < 10; i++) step();
    await bn.status();
    const live = counter.live.size;
    expect(live).toBeGreaterThan(0);
    for (let i = 10; i < 1000; i++) {
      step();
      if (i % 100 === 0) await bn.status();
    }
    await bn.status();
    expect(counter.live.size).toBe(live);
    expect((await bn.stateDict()).num_batches_tracked).toBe(1000n);
    expect(counter.live.size).toBe(live);
    bn.destroy();
    x.destroy();
    dy.destroy();
    expect(counter.live.size).toBe(0);
  });

  test("a steady state with out allocates none", async () => {
    const counter = countBuffers();
    stopCounting = () => counter.stop();
    const bn = new BatchNorm2d(device, 3);
    const small = [2, 3, 5, 5];
    const make = (s: number[]): Tensor[] =>
      [0, 1, 2, 3].map(() =>
        tensor(
          device,
          xs.subarray(
            0,
            s.reduce((a, b) => a * b),
          ),
          s,
        ),
      );
    const sets = [make(shape), make(small)];
    const context = bn.context();
    const step = (): void => {
      for (const [x, dy, y, dx] of sets as [Tensor, Tensor, Tensor, Tensor][]) {
        bn.train().forward(x, { out: y });
        bn.backward(dy, { out: dx });
        bn.forward(x, { out: y, context });
        bn.backward(dy, { out: dx, context });
        bn.forward(x, { out: y });
        bn.backward(dy, { out: dx, accumulate: true });
        bn.eval().forward(x, { out: y });
        bn.backward(dy, { out: dx });
      }
    };
    step();
    step();
    const before = counter.created();
    for (let i = 0; i < 20; i++) step();
    expect(counter.created()).toBe(before);
    await bn.status();
    context.destroy();
    bn.destroy();
    for (const each of sets.flat()) each.destroy();
    expect(counter.live.size).toBe(0);
  });

  test.each([
    ["BatchNorm2d", BatchNorm2d],
    ["ExtendedBatchNorm", ExtendedBatchNorm],
  ] as const)("a failing call leaves no buffer behind: %s", (_, Module) => {
    const bn = new Module(device, 3);
    const x = tensor(device, xs, shape);
    const y = bn.forward(x);
    bn.backward(x).destroy();
    bn.forward(x, { out: y });
    const counter = countBuffers();
    stopCounting = () => counter.stop();
    const wrong = Tensor.empty(device, [4, 3, 5, 6]);
    expect(() => bn.forward(x, { residual: wrong })).toThrow();
    bn.forward(x, { out: y });
    expect(() => bn.backward(wrong)).toThrow();
    // Refused once there is room for what it would have returned, and for its statistics.
    const encoder = {} as GPUCommandEncoder;
    expect(() => bn.forward(x, { encoder })).toThrow(OptionError);
    expect(() => bn.backward(x, { encoder })).toThrow(OptionError);
    // What only the plan finds wrong: no storage.
    const bare = rawBuffer(1200, 0x8);
    const unfit = Tensor.wrap(device, bare, shape);
    expect(() => bn.forward(x, { residual: unfit })).toThrow(/STORAGE/);
    bn.forward(x, { out: y });
    expect(() => bn.backward(unfit)).toThrow(/STORAGE/);
    bare.destroy();
    // Plans of another kind may have been made, tensors not: those stay with the module.
    wrong.destroy();
    bn.destroy();
    expect([...counter.live].map((each) => each.label)).toEqual([]);
    x.destroy();
    y.destroy();
  });

  test("destroy is idempotent and frees what is owned, no more", async () => {
    const counter = countBuffers();
    stopCounting = () => counter.stop();
    const foreign = rawBuffer(1200);
    const given = Tensor.wrap(device, foreign, shape);
    given.write(xs);
    const bn = new BatchNorm2d(device, 3);
    const y = bn.forward(given);
    const dx = bn.backward(given);
    const encoder = device.createCommandEncoder();
    bn.forward(given, { out: y, encoder });
    device.queue.submit([encoder.finish()]);
    // Asked for, that of what is recorded is the caller's; the other stays the module's.
    const asked = bn.lastContext!;
    const kept = bn.context();
    const z = bn.forward(given, { context: kept });
    bn.destroy();
    bn.destroy();
    const left = new Set([foreign, y.buffer, dx.buffer, z.buffer]);
    const others = [...counter.live].filter((each) => !left.has(each));
    const callers = ["bn.context/saved", "bn.context/saved"]; // asked and kept
    expect(others.map((each) => each.label)).toEqual(callers);
    for (const each of left) expect(counter.live.has(each)).toBe(true);
    // What was returned is alive after its module.
    const f = forward(xs, shape);
    const bounds = boundsOf(shape, "channels-first", "f32", [1, 1, 1]);
    expect(await y.read()).toBeAllclose(f.y, { atol: bounds.y(f) });
    asked.destroy();
    kept.destroy();
    kept.destroy();
    for (const each of [y, dx, z]) {
      each.destroy();
      each.destroy();
      expect(each.destroyed).toBe(true);
    }
    given.destroy();
    given.destroy();
    expect([...counter.live]).toEqual([foreign]);
    // A wrapped buffer is never destroyed by us.
    expect(await Tensor.wrap(device, foreign, shape).read()).toBeAllclose(xs);
    await expect(given.read()).rejects.toBeInstanceOf(DestroyedError);
    foreign.destroy();
  });

  test("views of running statistics do not own their buffer", async () => {
    const bn = new BatchNorm2d(device, 3);
    expect(bn.runningMean!.ownsBuffer).toBe(false);
    expect(bn.runningMean!.buffer).toBe(bn.runningVar!.buffer);
    bn.runningMean!.destroy();
    expect(await bn.runningVar!.read()).toBeAllclose([1, 1, 1]);
    bn.destroy();
  });

  test("the version of what is written grows, and of nothing else", () => {
    const bn = new BatchNorm2d(device, 3);
    const [x, dy] = [tensor(device, xs, shape), tensor(device, xs, shape)];
    const tensors = Object.entries({
      ...{ x, dy, gamma: bn.gamma!, beta: bn.beta!, mean: bn.runningMean! },
      ...{ variance: bn.runningVar!, dGamma: bn.gammaGrad!, dBeta: bn.betaGrad! },
    });
    const grown = (work: () => Tensor): string[] => {
      const before = tensors.map(([, each]) => each.version);
      work().destroy();
      return tensors.filter(([, each], i) => each.version > before[i]!).map(([name]) => name);
    };
    expect(grown(() => bn.forward(x))).toEqual(["mean", "variance"]);
    expect(grown(() => bn.backward(dy))).toEqual(["dGamma", "dBeta"]);
    expect(grown(() => bn.eval().forward(x))).toEqual([]);
    expect(grown(() => bn.backward(dy))).toEqual(["dGamma", "dBeta"]);
    for (const each of [bn, x, dy]) each.destroy();
  });

  test("a plan frees its uniforms and scratch once, not what it binds", async () => {
    const counter = countBuffers();
    stopCounting = () => counter.stop();
    const descriptor = { shape: [64, 3, 4, 4], tuning: { ...SPLIT, maxTeam: 1 } };
    const plan = await createForward(device, descriptor);
    expect(plan.scratchBytes).toBeGreaterThan(0);
    const own = counter.live.size;
    expect(own).toBe(3); // two dispatches' uniforms, scratch
    expect([...counter.live].reduce((sum, each) => Math.max(sum, each.size), 0)).toBe(
      plan.scratchBytes,
    );
    const sizes = byteSizes(descriptor);
    const buffers = (["x", "gamma", "beta", "y", "saved", "state"] as const).map(
      (name) => [name, rawBuffer(sizes[name])] as const,
    );
    const encoder = device.createCommandEncoder();
    plan.encode(
      encoder,
      Object.fromEntries(buffers) as unknown as Parameters<typeof plan.encode>[1],
    );
    expect(counter.live.size, "encode allocates nothing").toBe(own + 6);
    device.queue.submit([encoder.finish()]);
    plan.destroy();
    plan.destroy();
    expect(counter.live.size).toBe(6);
    for (const [, buffer] of buffers) buffer.destroy();
    expect(counter.live.size).toBe(0);
  });

  test("prepare makes what the first step needs, and no module keeps plans after destroy", async () => {
    const counter = countBuffers();
    stopCounting = () => counter.stop();
    const bn = new BatchNorm2d(device, 3);
    const [x, y, dx] = [0, 1, 2].map(() => tensor(device, xs, shape)) as [Tensor, Tensor, Tensor];
    await bn.prepare(shape);
    await bn.prepare(shape);
    bn.forward(x, { out: y });
    bn.backward(x, { out: dx });
    const before = counter.created();
    bn.eval().forward(x, { out: y });
    bn.backward(x, { out: dx });
    expect(counter.created()).toBe(before);
    bn.destroy();
    for (const each of [x, y, dx]) each.destroy();
    expect(counter.live.size).toBe(0);

    const late = new BatchNorm2d(device, 3);
    const preparing = late.prepare(shape).catch(() => undefined);
    late.destroy();
    await preparing;
    expect([...counter.live].map((each) => each.label)).toEqual([]);
  });

  test("modules of statistics free what they own", async () => {
    const [x, dy] = [tensor(device, xs, shape), tensor(device, xs, shape)];
    const counter = countBuffers();
    stopCounting = () => counter.stop();
    const labels = (): string[] => [...counter.live].map((each) => each.label);
    const extended = new ExtendedBatchNorm(device, 3, { renorm: true });
    const accumulated = new AccumulatedBatchNorm(device, 3);
    for (const each of [extended, accumulated]) await each.prepare(shape);
    for (const training of [true, false]) {
      extended.train(training).forward(x).destroy();
      extended.backward(dy).destroy();
    }
    accumulated.observe(x);
    accumulated.forward(x).destroy();
    accumulated.observeGradient(dy, { x });
    accumulated.backward(dy, { x }).destroy();
    for (const each of [extended, accumulated]) each.destroy();
    expect(labels()).toEqual([]);

    const bn = new BatchNorm2d(device, 3);
    const accumulator = new StatisticsAccumulator(device, 3);
    accumulator.add(x);
    bn.forward(x).destroy();
    await bn.status();
    const own = labels();
    mergeStatistics(device, 3, [accumulator.total()]).destroy();
    await reestimate(bn, [x], (batch) => {
      bn.forward(batch).destroy();
    });
    expect(labels()).toEqual(own);
    for (const each of [bn, accumulator, x, dy]) each.destroy();
    expect(labels()).toEqual([]);
  });
});

test("the caller's device keeps its handlers, and has none of ours", async () => {
  const own = await openDevice();
  const added: string[] = [];
  const listen = own.addEventListener.bind(own) as (...given: unknown[]) => void;
  (own as { addEventListener: unknown }).addEventListener = (...given: unknown[]) => {
    added.push(String(given[0]));
    listen(...given);
  };
  const handler = (): void => undefined;
  own.onuncapturederror = handler;
  const bn = new BatchNorm1d(own, 2);
  const x = tensor(own, [1, 2, 3, 4], [2, 2]);
  const y = bn.forward(x);
  await y.read();
  expect(added).toEqual([]);
  expect(own.onuncapturederror).toBe(handler);
  // No error scope is left open.
  await expect(own.popErrorScope()).rejects.toThrow();
  bn.destroy();
  x.destroy();
  y.destroy();
});
