/** Every error: its class, its message's four parts, and that the module works afterwards. */
import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import {
  BatchNorm,
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  BatchNormError,
  BufferError,
  byteSizes,
  CompileError,
  ContextError,
  createBackward,
  createBackwardSync,
  createForward,
  createForwardSync,
  createInferenceSync,
  DestroyedError,
  DeviceLostError,
  type ForwardResources,
  OptionError,
  OutOfMemoryError,
  OverlapError,
  ShapeError,
  SingleValueError,
  Tensor,
  tensor,
  stateLayout,
} from "../../src/index.js";
import { stateOf } from "../../src/device.js";
import {
  AccumulatedBatchNorm,
  createMergeSumsSync,
  createStatisticsBackwardSync,
  createStatisticsForwardSync,
  createStatisticsSync,
  ExtendedBatchNorm,
  mergeStatistics,
  StatisticsAccumulator,
  statisticsByteSizes,
} from "../../src/statistics/index.js";
import { baseOf, type Variant } from "../../src/kernels.js";
import { PLAIN } from "../../src/kernels.js";
import { backward, forward, statisticsForward } from "../../src/reference.js";
import { SyncBatchNorm } from "../../src/sync/index.js";
import { openDevice, takeUncaught } from "../support/device.js";
import { createRandom } from "../support/random.js";
import "../support/allclose.js";

const STORAGE = 0x80;
const COPY_SRC = 0x4;
const COPY_DST = 0x8;
const ALL = STORAGE | COPY_SRC | COPY_DST;

let device: GPUDevice;
let other: GPUDevice;
beforeAll(async () => {
  device = await openDevice();
  other = await openDevice();
});

// What a test made; freed at its end.
const made: { destroy(): void }[] = [];
function keep<T extends { destroy(): void }>(one: T): T {
  made.push(one);
  return one;
}
afterEach(() => {
  for (const each of made.splice(0)) each.destroy();
});

const random = createRandom(77);
const shape = [4, 3, 2, 3] as const;
const xs = random.normals(72, 1, 2);
const dys = random.normals(72);

function make(values: ArrayLike<number> = xs, of: readonly number[] = shape, on = device): Tensor {
  return keep(tensor(on, Array.from(values), of));
}
function zeros(of: readonly number[], options?: { dtype: "f32" | "f16" | "bf16" }): Tensor {
  return keep(Tensor.empty(device, of, options));
}
function buffer(size: number, usage = ALL, on = device): GPUBuffer {
  return keep(on.createBuffer({ size, usage }));
}
function module(options: ConstructorParameters<typeof BatchNorm2d>[2] = {}): BatchNorm2d {
  return keep(new BatchNorm2d(device, 3, options));
}

type ErrorClass = new (...given: never[]) => BatchNormError;
interface Complaint {
  /** What the message begins with. */
  readonly subject: string | RegExp;
  readonly expected: string;
  readonly received: string;
  readonly remedy?: string;
}

function check(error: unknown, Class: ErrorClass, parts: Complaint): void {
  expect(error).toBeInstanceOf(Class);
  expect(error).toBeInstanceOf(BatchNormError);
  const { message, name } = error as BatchNormError;
  expect(name).toBe(Class.name);
  const { subject } = parts;
  if (typeof subject === "string") {
    expect(message.startsWith(`${subject}: `), `subject ${subject} of: ${message}`).toBe(true);
  } else {
    expect(message).toMatch(subject);
  }
  const begin = typeof subject === "string" ? subject.length : subject.exec(message)![0].length;
  const found = /^: (.*?), got (.*); (.+)$/s.exec(message.slice(begin));
  expect(found, `four parts in: ${message}`).not.toBeNull();
  expect(found![1]).toContain(parts.expected);
  expect(found![2]).toContain(parts.received);
  expect(found![3]).toContain(parts.remedy ?? "");
}

/** Runs what must throw at once. */
function throws(run: () => unknown, Class: ErrorClass, parts: Complaint): void {
  let error: unknown = null;
  try {
    run();
  } catch (caught) {
    error = caught;
  }
  check(error, Class, parts);
}

async function rejects(
  promise: Promise<unknown>,
  Class: ErrorClass,
  parts: Complaint,
): Promise<void> {
  check(
    await promise.then(
      () => null,
      (error: unknown) => error,
    ),
    Class,
    parts,
  );
}

/** A training step of a fresh batch, against the reference. */
async function works(bn: BatchNorm, data = xs, of: readonly number[] = shape): Promise<void> {
  const { layout, singleValue } = bn.options;
  const gamma = bn.gamma ? await bn.gamma.read() : undefined;
  const beta = bn.beta ? await bn.beta.read() : undefined;
  const options = { layout, singleValue, gamma, beta, affine: gamma !== undefined };
  const [x, dy] = [
    tensor(bn.device, data, of),
    tensor(bn.device, dys.subarray(0, data.length), of),
  ];
  bn.train();
  const y = bn.forward(x);
  const dx = bn.backward(dy);
  const f = forward(data, of, options);
  const b = backward(dys.subarray(0, data.length), data, of, options);
  // gamma is 1 here: the README's bounds with the largest of their factors.
  const largest = f.xHat.reduce((a, v) => Math.max(a, Math.abs(v)), 1);
  expect(await y.read()).toBeAllclose(f.y, { atol: 2e-6 * largest, rtol: 2 ** -23 });
  const steepest = b.invStd.reduce((a, v) => Math.max(a, v), 0);
  const maxDz = b.maxAbsDz.reduce((a, v) => Math.max(a, v), 0);
  expect(await dx.read()).toBeAllclose(b.dx, { atol: 1e-5 * steepest * maxDz + 1e-30 });
  await bn.status();
  for (const each of [x, dy, y, dx]) each.destroy();
}

describe("a single value per channel", () => {
  test("is an error in training, for modules and plans", async () => {
    const bn = keep(new BatchNorm1d(device, 3));
    const x = make([1, 2, 3], [1, 3]);
    const parts = {
      subject: "forward: x",
      expected: "more than one value per channel in training",
      received: "1",
      remedy: 'singleValue: "zero"',
    };
    throws(() => bn.forward(x), SingleValueError, parts);
    throws(() => createForwardSync(device, { shape: [1, 3, 1, 1] }), SingleValueError, parts);
    throws(() => createBackwardSync(device, { shape: [1, 3] }), SingleValueError, {
      ...parts,
      subject: "backward: x",
    });
    // Plans of a shape serve every mode; what is asked of training is asked each time.
    await bn.prepare([1, 3]);
    throws(() => bn.forward(x), SingleValueError, parts);
    expect((await bn.stateDict()).num_batches_tracked).toBe(0n);
    await works(bn, xs.subarray(0, 12), [4, 3]);
    // In evaluation one value is enough.
    bn.loadStateDict({
      weight: [1, 1, 1],
      bias: [0, 0, 0],
      running_mean: [1, 1, 1],
      running_var: [4, 4, 4],
    });
    const y = keep(bn.eval().forward(x));
    expect(await y.read()).toBeAllclose([0, 0.5, 1], { atol: 2e-6 });
    throws(() => bn.train().forward(x), SingleValueError, parts);
  });

  test("is an error in training after an evaluation that used the batch's statistics", () => {
    const bn = keep(new BatchNorm1d(device, 3, { trackRunningStats: false }));
    const x = make([1, 2, 3], [1, 3]);
    keep(bn.eval().forward(x));
    throws(() => bn.train().forward(x), SingleValueError, {
      subject: "forward: x",
      expected: "more than one value per channel in training",
      received: "1",
    });
    const extended = keep(new ExtendedBatchNorm(device, 3, { trackRunningStats: false }));
    keep(extended.eval().forward(x));
    expect(() => extended.train().forward(x)).toThrow(SingleValueError);
  });

  test('is beta with singleValue "zero"', async () => {
    const bn = keep(new BatchNorm1d(device, 3, { singleValue: "zero", momentum: 0.5 }));
    bn.beta!.write([5, -6, 7]);
    const x = make([1e20, 2, -3], [1, 3]);
    const y = keep(bn.forward(x));
    expect([...(await y.read())]).toEqual([5, -6, 7]);
    const dx = keep(bn.backward(make([1, 2, 3], [1, 3])));
    expect([...(await dx.read())]).toEqual([0, 0, 0]);
    expect([...(await bn.gammaGrad!.read())]).toEqual([0, 0, 0]);
    expect([...(await bn.betaGrad!.read())]).toEqual([1, 2, 3]);
    const dict = await bn.stateDict();
    expect(dict.num_batches_tracked).toBe(1n);
    expect(dict.running_mean).toBeAllclose([5e19, 1, -1.5], { rtol: 2 ** -22 });
    expect([...dict.running_var!]).toEqual([0.5, 0.5, 0.5]);
  });
});

describe("shapes", () => {
  test("a wrong rank", async () => {
    const bn = module();
    throws(() => bn.forward(make(xs, [24, 3])), ShapeError, {
      subject: "forward: x",
      expected: "rank 4 (BatchNorm2d)",
      received: "rank 2 ([24, 3])",
    });
    const bn1 = keep(new BatchNorm1d(device, 3));
    throws(() => bn1.forward(make()), ShapeError, {
      subject: "forward: x",
      expected: "rank 2 or 3 (BatchNorm1d)",
      received: "rank 4",
    });
    const bn3 = keep(new BatchNorm3d(device, 3));
    throws(() => bn3.forward(make()), ShapeError, {
      subject: "forward: x",
      expected: "rank 5 (BatchNorm3d)",
      received: "rank 4",
    });
    await rejects(bn.prepare([4, 3]), ShapeError, {
      subject: "prepare: x",
      expected: "rank 4",
      received: "rank 2",
    });
    throws(() => createForwardSync(device, { shape: [3] }), ShapeError, {
      subject: "forward: shape",
      expected: "rank 2 to 5",
      received: "[3]",
    });
    await works(bn);
    await works(bn1, xs.subarray(0, 12), [4, 3]);
    await works(bn3, xs, [2, 3, 2, 2, 3]);
  });

  test("a wrong number of channels, by the layout too", async () => {
    const bn = module();
    throws(() => bn.forward(make(xs, [4, 2, 3, 3])), ShapeError, {
      subject: "forward: x",
      expected: "3 channels (channels-first)",
      received: "2 ([4, 2, 3, 3])",
    });
    const last = module({ layout: "channels-last" });
    throws(() => last.forward(make(xs, [4, 3, 3, 2])), ShapeError, {
      subject: "forward: x",
      expected: "3 channels (channels-last)",
      received: "2",
    });
    await rejects(bn.prepare([4, 5, 1, 1]), ShapeError, {
      subject: "prepare: x",
      expected: "3 channels",
      received: "5",
    });
    await works(bn);
    await works(last, xs, [4, 3, 2, 3]);
  });

  test("out, residual, dy and residualGrad of another shape or dtype", async () => {
    const bn = module();
    const x = make();
    throws(() => bn.forward(x, { out: zeros([4, 3, 3, 2]) }), ShapeError, {
      subject: "forward: out",
      expected: "shape [4, 3, 2, 3]",
      received: "[4, 3, 3, 2]",
    });
    throws(() => bn.forward(x, { out: zeros(shape, { dtype: "f16" }) }), ShapeError, {
      subject: "forward: out",
      expected: "dtype f32",
      received: "f16",
    });
    throws(() => bn.forward(x, { residual: zeros([4, 3, 6, 1]) }), ShapeError, {
      subject: "forward: residual",
      expected: "shape [4, 3, 2, 3]",
      received: "[4, 3, 6, 1]",
    });
    keep(bn.forward(x));
    throws(() => bn.backward(zeros([4, 3, 6, 1])), ShapeError, {
      subject: "backward: dy",
      expected: "shape [4, 3, 2, 3]",
      received: "[4, 3, 6, 1]",
    });
    throws(() => bn.backward(zeros(shape, { dtype: "bf16" })), ShapeError, {
      subject: "backward: dy",
      expected: "dtype f32",
      received: "bf16",
    });
    throws(() => bn.backward(x, { out: zeros([1, 3, 2, 3]) }), ShapeError, {
      subject: "backward: out",
      expected: "shape [4, 3, 2, 3]",
      received: "[1, 3, 2, 3]",
    });
    throws(() => bn.backward(x, { residualGrad: zeros([1, 3, 2, 3]) }), ShapeError, {
      subject: "backward: residualGrad",
      expected: "shape [4, 3, 2, 3]",
      received: "[1, 3, 2, 3]",
    });
    // The failures used nothing up.
    const dx = keep(bn.backward(make(dys)));
    const b = backward(dys, xs, shape);
    expect(await dx.read()).toBeAllclose(b.dx, { atol: 1e-5 });
    await works(bn);
  });

  test("numbers that are no sizes, no channels, data of another length", async () => {
    const bn = module();
    for (const bad of [
      [4, 3, 2, -1],
      [4, 3, 2, 1.5],
      [4, 3, 2, NaN],
    ]) {
      throws(() => byteSizes({ shape: bad }), ShapeError, {
        subject: "byteSizes: shape",
        expected: "whole numbers >= 0",
        received: `[${bad.join(", ")}]`,
      });
      throws(() => Tensor.empty(device, bad), ShapeError, {
        subject: "tensor: shape",
        expected: "whole numbers >= 0",
        received: `[${bad.join(", ")}]`,
      });
      await rejects(bn.prepare(bad), ShapeError, {
        subject: "prepare: shape",
        expected: "whole numbers >= 0",
        received: `[${bad.join(", ")}]`,
      });
    }
    throws(() => createForwardSync(device, { shape: [4, 0, 2, 2] }), ShapeError, {
      subject: "forward: shape",
      expected: "at least one channel",
      received: "[4, 0, 2, 2]",
    });
    throws(() => tensor(device, [1, 2, 3], [2, 2]), ShapeError, {
      subject: "tensor: data",
      expected: "4 values",
      received: "3",
    });
    throws(() => bn.gamma!.write([1, 2]), ShapeError, {
      subject: "write: data",
      expected: "3 values",
      received: "2",
    });
    throws(() => tensor(device, new Uint16Array(2), [2], { dtype: "f16" }), ShapeError, {
      subject: "tensor: data",
      expected: "numbers to be stored as f16",
      received: "Uint16Array",
      remedy: "raw: true",
    });
    throws(() => tensor(device, [15360, 0], [2], { dtype: "f16", raw: true }), ShapeError, {
      subject: "tensor: raw",
      expected: "bits of f16 or bf16 in a Uint16Array",
      received: "an Array for f16",
      remedy: "leave raw out",
    });
    throws(() => bn.gamma!.write(new Uint16Array(3), { raw: true }), ShapeError, {
      subject: "write: raw",
      expected: "bits of f16 or bf16 in a Uint16Array",
      received: "a Uint16Array for f32",
      remedy: "leave raw out",
    });
    await works(bn);
  });
});

describe("buffers", () => {
  const descriptor = { shape: [2, 64] };
  const sizes = byteSizes(descriptor);
  function resources(
    changes: Partial<Record<keyof ForwardResources, unknown>> = {},
  ): ForwardResources {
    const names = ["x", "gamma", "beta", "y", "saved", "state"] as const;
    return {
      ...Object.fromEntries(names.map((name) => [name, changes[name] ?? buffer(sizes[name])])),
      ...changes,
    } as unknown as ForwardResources;
  }

  /** Tries to record into an encoder, then records what is right into the same, and submits it. */
  async function refused(
    bad: ForwardResources,
    Class: ErrorClass,
    parts: Complaint,
  ): Promise<void> {
    const plan = keep(await createForward(device, descriptor));
    const encoder = device.createCommandEncoder();
    throws(() => plan.encode(encoder, bad), Class, parts);
    const good = resources();
    device.queue.writeBuffer(good.gamma as GPUBuffer, 0, new Float32Array(64).fill(1));
    device.queue.writeBuffer(
      good.x as GPUBuffer,
      0,
      Float32Array.from({ length: 128 }, (_, i) => (i < 64 ? 3 : 5)),
    );
    plan.encode(encoder, good);
    device.queue.submit([encoder.finish()]);
    const y = await Tensor.wrap(device, good.y as GPUBuffer, [128]).read();
    expect(y).toBeAllclose(
      Array.from({ length: 128 }, (_, i) => (i < 64 ? -1 : 1)),
      { atol: 1e-5 },
    );
  }

  test("too short, with the very message of the design", async () => {
    const plan = keep(await createForward(device, descriptor));
    const encoder = device.createCommandEncoder();
    expect(() => plan.encode(encoder, resources({ gamma: buffer(128) }))).toThrow(
      new BufferError(
        "forward: gamma: needs 256 bytes (64 channels, f32), got 128; byteSizes(descriptor).gamma tells the size",
      ),
    );
    encoder.finish();
    await refused(resources({ x: { buffer: buffer(1024), offset: 768 } }), BufferError, {
      subject: "forward: x",
      expected: "needs 512 bytes ([2, 64], f32)",
      received: "256",
      remedy: "byteSizes(descriptor).x",
    });
    await refused(resources({ saved: { buffer: buffer(4096), size: 1276 } }), BufferError, {
      subject: "forward: saved",
      expected: "needs 1280 bytes",
      received: "1276",
    });
    await refused(resources({ y: { buffer: buffer(1024), offset: 2048 } }), BufferError, {
      subject: "forward: y",
      expected: "needs 512 bytes",
      received: "0",
    });
    throws(() => Tensor.wrap(device, buffer(16), [5]), BufferError, {
      subject: "Tensor.wrap",
      expected: "20 bytes ([5], f32)",
      received: "16",
    });
    for (const range of [{ offset: 32, size: 64 }, { size: 32 }]) {
      throws(() => Tensor.wrap(device, { buffer: buffer(64), ...range }, [16]), BufferError, {
        subject: "Tensor.wrap",
        expected: "64 bytes ([16], f32)",
        received: "32",
      });
    }
    for (const size of [NaN, "none"]) {
      const range = { buffer: buffer(64), size: size as number };
      throws(() => Tensor.wrap(device, range, [16]), BufferError, {
        subject: "Tensor.wrap",
        expected: "64 bytes ([16], f32)",
        received: "NaN",
      });
    }
  });

  test("nothing that a tensor could be a view of", () => {
    for (const given of [undefined, 5, new Float32Array(5), Promise.resolve()]) {
      throws(() => Tensor.wrap(device, given as never, [5]), BufferError, {
        subject: "Tensor.wrap",
        expected: "a buffer, a binding or a tensor",
        received: "",
        remedy: given instanceof Promise ? "await it" : "make one with tensor(device, data, shape)",
      });
    }
    const gone = Tensor.empty(device, [2]);
    gone.destroy();
    throws(() => Tensor.wrap(device, gone, [1, 2]), DestroyedError, {
      subject: "Tensor.wrap",
      expected: "a live tensor",
      received: "a destroyed one",
    });
    throws(() => Tensor.wrap(device, make([1, 2], [2], other), [1, 2]), BufferError, {
      subject: "Tensor.wrap",
      expected: "a tensor on the device given",
      received: "one of another device",
    });
    expect(Tensor.wrap(device, zeros([4], { dtype: "f16" }), [2, 2]).dtype).toBe("f16");
  });

  test("missing", async () => {
    await refused(resources({ beta: undefined }), BufferError, {
      subject: "forward: beta",
      expected: "a buffer, a binding or a tensor",
      received: "nothing",
      remedy: "pass beta to encode()",
    });
    await refused(resources({ state: null }), BufferError, {
      subject: "forward: state",
      expected: "a buffer",
      received: "nothing",
    });
  });

  test("without the usage flag", async () => {
    await refused(resources({ y: buffer(512, COPY_SRC | COPY_DST) }), BufferError, {
      subject: "forward: y",
      expected: "usage GPUBufferUsage.STORAGE",
      received: "0xc",
    });
    const bn = module();
    const x = Tensor.wrap(device, buffer(288, COPY_SRC | COPY_DST), shape);
    throws(() => bn.forward(x), BufferError, {
      subject: "forward: x",
      expected: "usage GPUBufferUsage.STORAGE",
      received: "0xc",
    });
    await works(bn);
  });

  test("misaligned", async () => {
    await refused(resources({ x: { buffer: buffer(1024), offset: 128 } }), BufferError, {
      subject: "forward: x",
      expected: "an offset divisible by 256 (minStorageBufferOffsetAlignment)",
      received: "128",
    });
  });

  test("at a negative offset", async () => {
    await refused(resources({ x: { buffer: buffer(1024), offset: -256 } }), BufferError, {
      subject: "forward: x",
      expected: "",
      received: "",
    });
  });

  test("tensors that wrap a range no copy can reach", () => {
    for (const offset of [2, -4, 0.5, NaN]) {
      throws(() => Tensor.wrap(device, { buffer: buffer(64), offset }, [2]), BufferError, {
        subject: "Tensor.wrap",
        expected: "offset",
        received: `${offset}`,
      });
    }
  });

  test("read without its usage flag", async () => {
    const unread = Tensor.wrap(device, buffer(64, STORAGE | COPY_DST), [4]);
    await rejects(unread.read(), BufferError, {
      subject: "read",
      expected: "",
      received: "",
    });
  });

  test("write without its usage flag", () => {
    const unwritten = Tensor.wrap(device, buffer(64, STORAGE | COPY_SRC), [4]);
    throws(() => unwritten.write([1, 2, 3, 4]), BufferError, {
      subject: "write",
      expected: "COPY_DST",
      received: "",
    });
  });

  test("read of a wrapped buffer that its owner destroyed", async () => {
    const gone = buffer(64);
    const wrapped = Tensor.wrap(device, gone, [4]);
    gone.destroy();
    await rejects(wrapped.read(), BufferError, { subject: "read", expected: "", received: "" });
  });

  test("write to a wrapped buffer that its owner destroyed or mapped", async () => {
    const bn = module();
    for (const spoil of [
      (each: GPUBuffer) => each.destroy(),
      (each: GPUBuffer) => void each.mapAsync(0x1).catch(() => undefined),
    ]) {
      const theirs = buffer(64, COPY_DST | 0x1);
      const wrapped = Tensor.wrap(device, theirs, [4]);
      spoil(theirs);
      wrapped.write([1, 2, 3, 4]);
      await rejects(bn.status(), BufferError, {
        subject: "write",
        expected: "commands that the device accepts",
        received: "",
        remedy: "check that no buffer was destroyed or mapped",
      });
      expect(takeUncaught(), "nothing reaches the caller's device").toEqual([]);
    }
    await works(bn);
  });

  test("of another device", async () => {
    const foreign = keep(Tensor.empty(other, [2, 64]));
    await refused(resources({ x: foreign }), BufferError, {
      subject: "forward: x",
      expected: "a tensor on the plan's device",
      received: "one of another device",
    });
    const bn = module();
    throws(() => bn.forward(make(xs, shape, other)), BufferError, {
      subject: "forward: x",
      expected: "a tensor on the module's device",
      received: "one of another device",
    });
    await works(bn);
  });

  test("overlapping", async () => {
    const arena = buffer(4096);
    await refused(
      resources({ x: { buffer: arena, offset: 0 }, y: { buffer: arena, offset: 256 } }),
      OverlapError,
      {
        subject: "forward: y",
        expected: "a range of its own",
        received: "bytes 256 to 768, which overlap x (0 to 512)",
      },
    );
    await refused(
      resources({ y: { buffer: arena, offset: 0 }, saved: { buffer: arena, offset: 256 } }),
      OverlapError,
      { subject: "forward: y", expected: "a range of its own", received: "overlap saved" },
    );
    await refused(
      resources({ gamma: { buffer: arena, offset: 512 }, saved: { buffer: arena, offset: 0 } }),
      OverlapError,
      { subject: "forward: saved", expected: "a range of its own", received: "overlap gamma" },
    );
    const bn = module();
    const x = make();
    keep(bn.forward(x));
    const dy = make(dys);
    throws(() => bn.backward(dy, { out: x }), OverlapError, {
      subject: "backward: dx",
      expected: "a range of its own",
      received: "overlap x",
    });
    const dx = make();
    throws(() => bn.backward(dy, { out: dx, residualGrad: dx }), OverlapError, {
      subject: "backward: dx",
      expected: "a range of its own",
      received: "overlap dResidual",
    });
    keep(bn.backward(dy)); // the context is there still
    await works(bn);
    // Inputs may share.
    keep(bn.forward(x, { residual: x }));
    await works(bn);
  });

  test("that a plan was made without, where they would change the result", () => {
    const sizes = byteSizes({ shape });
    const bound = (names: readonly (keyof typeof sizes)[]): never =>
      Object.fromEntries(names.map((name) => [name, buffer(sizes[name])])) as never;
    const plain = { shape, affine: false, trackRunningStats: false } as const;
    const encoder = device.createCommandEncoder();
    for (const name of ["residual", "gamma", "beta"] as const) {
      const refused = {
        subject: `forward: ${name}`,
        expected: "none in this plan",
        received: "one",
      };
      const plan = keep(createForwardSync(device, plain));
      throws(() => plan.encode(encoder, bound(["x", "y", "saved", name])), OptionError, refused);
    }
    const inference = keep(createInferenceSync(device, { shape, affine: false }));
    throws(() => inference.encode(encoder, bound(["x", "y", "state", "residual"])), OptionError, {
      subject: "inference: residual",
      expected: "none in this plan",
      received: "one",
    });
    const names = ["x", "dy", "saved", "dx", "dGamma", "dBeta", "residual"] as const;
    const backward = keep(createBackwardSync(device, { shape }));
    throws(() => backward.encode(encoder, bound(names)), OptionError, {
      subject: "backward: residual",
      expected: "none in this plan",
      received: "one",
    });
    // Without an activation the residual's gradient does not look at it.
    const linear = keep(createBackwardSync(device, { shape, residual: true }));
    linear.encode(encoder, bound([...names, "dResidual"]));
    // Nor does it write what it was made without.
    const running = keep(createForwardSync(device, { ...plain, affine: true }));
    const affine = ["x", "y", "saved", "gamma", "beta"] as const;
    running.encode(encoder, bound(affine));
    throws(() => running.encode(encoder, bound([...affine, "state"])), OptionError, {
      subject: "forward: state",
      expected: "none in this plan",
      received: "one",
    });
    throws(() => inference.encode(encoder, bound(["x", "y", "state", "saved"])), OptionError, {
      subject: "inference: saved",
      expected: "none in this plan",
      received: "one",
    });
    const gradients = ["dx", "dGamma", "dBeta", "dResidual"] as const;
    for (const [name, options] of [
      ["dx", { wants: { x: false }, residualGrad: true }],
      ["dGamma", { wants: { gamma: false }, residualGrad: true }],
      ["dBeta", { wants: { beta: false }, residualGrad: true }],
      ["dResidual", {}],
    ] as const) {
      const plan = keep(createBackwardSync(device, { shape, ...options }));
      const known = gradients.filter((each) => each !== name);
      plan.encode(encoder, bound(["x", "dy", "saved", ...known]));
      const more = bound(["x", "dy", "saved", ...gradients]);
      throws(() => plan.encode(encoder, more), OptionError, {
        subject: `backward: ${name}`,
        expected: "none in this plan",
        received: "one",
      });
    }
    const masked = { x: make(), y: zeros(shape), saved: buffer(4096), mask: zeros([24]) };
    const own = keep(createStatisticsForwardSync(device, plain));
    throws(() => own.encode(encoder, masked), OptionError, {
      subject: "statisticsForward: mask",
      expected: "none in this plan",
      received: "one",
    });
    encoder.finish();
  });

  test("too large for the device", async () => {
    const { maxBufferSize } = device.limits;
    const elements = maxBufferSize / 4 + 1;
    const parts = {
      expected: `at most ${maxBufferSize} bytes (maxBufferSize)`,
      received: `${maxBufferSize + 16}`,
      remedy: "split the batch",
    };
    throws(() => Tensor.empty(device, [1, elements]), BufferError, {
      ...parts,
      subject: `tensor[1, ${elements}]`,
    });
    const plain = { trackRunningStats: false };
    throws(() => new BatchNorm1d(device, elements, plain), BufferError, {
      ...parts,
      subject: "bn.gamma",
    });
    // No array of the host's is made first.
    for (const trackRunningStats of [true, false])
      throws(() => new BatchNorm1d(device, 2 ** 40, { trackRunningStats }), BufferError, {
        ...parts,
        subject: trackRunningStats ? "bn.state" : "bn.gamma",
        received: `${trackRunningStats ? stateLayout(2 ** 40).bytes : 2 ** 42}`,
      });
    await works(module());
  });
});

describe("destroyed", () => {
  test("a module", async () => {
    const bn = new BatchNorm2d(device, 3);
    const x = make();
    const y = keep(bn.forward(x));
    bn.destroy();
    const parts = (subject: string): Complaint => ({
      subject,
      expected: "a live BatchNorm2d",
      received: "a destroyed one",
    });
    throws(() => bn.forward(x), DestroyedError, parts("forward"));
    throws(() => bn.backward(y), DestroyedError, parts("backward"));
    throws(() => bn.train(), DestroyedError, parts("train"));
    throws(() => bn.eval(), DestroyedError, parts("eval"));
    throws(() => bn.context(), DestroyedError, parts("context"));
    throws(() => bn.loadStateDict({}), DestroyedError, parts("loadStateDict"));
    await rejects(bn.stateDict(), DestroyedError, parts("stateDict"));
    await rejects(bn.prepare(shape), DestroyedError, parts("prepare"));
    await rejects(bn.status(), DestroyedError, parts("status"));
    await rejects(bn.gamma!.read(), DestroyedError, {
      subject: "read",
      expected: "a live tensor [3]",
      received: "a destroyed one",
    });
    await rejects(bn.runningMean!.read(), DestroyedError, {
      subject: "read",
      expected: "a live tensor",
      received: "a destroyed one",
    });
    expect((await y.read()).every(Number.isFinite)).toBe(true);
  });

  test("a plan", async () => {
    const plans = [
      createForwardSync(device, { shape }),
      createInferenceSync(device, { shape }),
      await createBackward(device, { shape }),
    ];
    const encoder = device.createCommandEncoder();
    for (const [i, subject] of ["forward", "inference", "backward"].entries()) {
      plans[i]!.destroy();
      throws(() => plans[i]!.encode(encoder, {} as never), DestroyedError, {
        subject,
        expected: "a live plan",
        received: "a destroyed one",
      });
    }
    encoder.finish();
  });

  test("a tensor, in every place", async () => {
    const bn = module();
    const gone = make();
    gone.destroy();
    const live = { expected: "a live tensor", received: "a destroyed one" };
    const x = make();
    throws(() => bn.forward(gone), DestroyedError, { subject: "forward: x", ...live });
    throws(() => bn.forward(x, { out: gone }), DestroyedError, {
      subject: "forward: out",
      ...live,
    });
    throws(() => bn.forward(x, { residual: gone }), DestroyedError, {
      subject: "forward: residual",
      ...live,
    });
    keep(bn.forward(x));
    throws(() => bn.backward(gone), DestroyedError, { subject: "backward: dy", ...live });
    throws(() => bn.backward(x, { out: gone }), DestroyedError, {
      subject: "backward: out",
      ...live,
    });
    throws(() => bn.backward(x, { residualGrad: gone }), DestroyedError, {
      subject: "backward: residualGrad",
      ...live,
    });
    await rejects(gone.read(), DestroyedError, { subject: "read", ...live });
    await rejects(gone.readRaw(), DestroyedError, { subject: "readRaw", ...live });
    throws(() => gone.write(xs), DestroyedError, { subject: "write", ...live });
    keep(bn.backward(x));
    await works(bn);
  });

  test("parameters that the caller destroyed", () => {
    const bn = new BatchNorm2d(device, 3);
    bn.gamma!.destroy();
    throws(() => bn.forward(make()), DestroyedError, {
      subject: "forward: gamma",
      expected: "a live tensor",
      received: "a destroyed one",
    });
    bn.destroy();
  });
});

describe("contexts", () => {
  const expected = "one of a forward not yet differentiated";
  const subject = "backward: context";

  test("none", async () => {
    const bn = module();
    throws(() => bn.backward(make(dys)), ContextError, {
      subject,
      expected,
      received: "none",
      remedy: "call forward first",
    });
    await works(bn);
    const empty = keep(bn.context());
    throws(() => bn.backward(make(dys), { context: empty }), ContextError, {
      subject,
      expected,
      received: "",
    });
  });

  test("used", async () => {
    const bn = module();
    keep(bn.forward(make()));
    keep(bn.backward(make(dys)));
    throws(() => bn.backward(make(dys)), ContextError, {
      subject,
      expected,
      received: "a used one",
    });
    const context = keep(bn.context());
    keep(bn.forward(make(), { context }));
    keep(bn.backward(make(dys), { context }));
    throws(() => bn.backward(make(dys), { context }), ContextError, {
      subject,
      expected,
      received: "a used one",
    });
    context.destroy();
    throws(() => bn.backward(make(dys), { context }), ContextError, {
      subject,
      expected,
      received: "",
    });
    await works(bn);
  });

  test("destroyed before its backward", async () => {
    const bn = module();
    const context = bn.context();
    keep(bn.forward(make(), { context }));
    context.destroy();
    throws(() => bn.backward(make(dys), { context }), ContextError, {
      subject,
      expected,
      received: "",
    });
    throws(() => bn.backward(make(dys)), ContextError, { subject, expected, received: "" });
    await works(bn);
  });

  test("destroyed before its forward", async () => {
    const bn = module();
    const context = bn.context();
    context.destroy();
    throws(() => bn.forward(make(), { context }), DestroyedError, {
      subject: "forward: context",
      expected: "a live one",
      received: "a destroyed one",
      remedy: "make it anew or destroy it later",
    });
    await works(bn);
  });

  test("whose x a plan has written over", async () => {
    const bn = module();
    const x = make();
    keep(bn.forward(x));
    const plan = keep(createInferenceSync(device, { shape, affine: false }));
    const encoder = device.createCommandEncoder();
    plan.encode(encoder, { x: make(), y: x, state: buffer(byteSizes({ shape }).state) });
    device.queue.submit([encoder.finish()]);
    throws(() => bn.backward(make(dys)), ContextError, {
      subject,
      expected,
      received: "one whose x was written over",
    });
    await works(bn);
  });

  test("foreign", async () => {
    const [bn, stranger] = [module(), module()];
    const context = keep(stranger.context());
    keep(stranger.forward(make(), { context }));
    throws(() => bn.backward(make(dys), { context }), ContextError, {
      subject,
      expected,
      received: "another module's",
    });
    throws(() => bn.forward(make(), { context }), ContextError, {
      subject: "forward: context",
      expected: "one from this module's context()",
      received: "another module's",
    });
    for (const other of [0, "", false]) {
      throws(() => bn.forward(make(), { context: other as never }), ContextError, {
        subject: "forward: context",
        expected: "one from this module's context()",
        received: "another module's",
      });
    }
    keep(stranger.backward(make(dys), { context }));
    await works(bn);
    await works(stranger);
  });

  test("of another mode", async () => {
    const bn = module();
    keep(bn.forward(make()));
    bn.eval();
    throws(() => bn.backward(make(dys)), ContextError, {
      subject,
      expected,
      received: "one of training mode",
    });
    bn.train();
    keep(bn.backward(make(dys)));
    keep(bn.eval().forward(make()));
    bn.train();
    throws(() => bn.backward(make(dys)), ContextError, {
      subject,
      expected,
      received: "one of evaluation mode",
    });
    await works(bn);
  });

  test("whose x or residual was destroyed", async () => {
    const bn = module({ activation: "silu" });
    const x = make();
    keep(bn.forward(x));
    x.destroy();
    throws(() => bn.backward(make(dys)), ContextError, {
      subject,
      expected,
      received: "one whose x was destroyed",
      remedy: "keep x until backward",
    });
    const residual = make();
    keep(bn.forward(make(), { residual }));
    residual.destroy();
    throws(() => bn.backward(make(dys)), ContextError, {
      subject,
      expected,
      received: "one whose residual was destroyed",
    });
    const plain = module();
    await works(plain);
  });

  test("whose x or residual was written over, by write, by a forward or by a backward", async () => {
    const bn = module({ activation: "silu" });
    const wrote: Complaint = { subject, expected, received: "one whose x was written over" };
    const x = make();
    keep(bn.forward(x));
    x.write(dys);
    throws(() => bn.backward(make(dys)), ContextError, wrote);

    const stranger = module();
    keep(bn.forward(x));
    stranger.forward(make(), { out: x });
    throws(() => bn.backward(make(dys)), ContextError, wrote);

    keep(bn.forward(x));
    stranger.backward(make(dys), { out: x });
    throws(() => bn.backward(make(dys)), ContextError, wrote);

    // In place, without the option that lets the backward begin from y.
    const own = make();
    bn.forward(own, { out: own });
    throws(() => bn.backward(make(dys)), ContextError, {
      ...wrote,
      remedy: "keep x as it is until backward, or use inPlace: true",
    });
    keep(bn.forward(own));
    own.write(dys);
    throws(() => bn.backward(make(dys)), ContextError, {
      ...wrote,
      remedy: "keep x as it is until backward",
    });

    const residual = make();
    keep(bn.forward(x, { residual }));
    residual.write(dys);
    throws(() => bn.backward(make(dys)), ContextError, {
      ...wrote,
      received: "one whose residual was written over",
    });
    keep(bn.forward(x, { residual }));
    keep(bn.backward(make(dys)));
    await works(stranger);
  });
});

describe("options", () => {
  test.each([
    [{ eps: -1 }, "eps", "a finite f32 >= 0", "-1"],
    [{ eps: NaN }, "eps", "a finite f32 >= 0", "NaN"],
    [{ momentum: 1.5 }, "momentum", "[0, 1]", "1.5"],
    [{ momentum: NaN }, "momentum", "[0, 1]", "NaN"],
    [{ slope: Infinity }, "slope", "a finite f32", "Infinity"],
    [{ runningVariance: "biased" }, "runningVariance", '"unbiased" or "population"', '"biased"'],
    [{ singleValue: "ignore" }, "singleValue", '"error" or "zero"', '"ignore"'],
    [{ layout: "NCHW" }, "layout", '"channels-first" or "channels-last"', '"NCHW"'],
    [{ activation: "mish" }, "activation", '"relu"', '"mish"'],
    [{ eps: "1e-3" }, "eps", "a finite f32 >= 0", '"1e-3"'],
    [{ affine: "false" }, "affine", "true or false", '"false"'],
    [{ trackRunningStats: 0 }, "trackRunningStats", "true or false", "0"],
    [{ inPlace: "no" }, "inPlace", "true or false", '"no"'],
  ])("%o", async (options, name, expected, received) => {
    const given = options as ConstructorParameters<typeof BatchNorm2d>[2];
    throws(() => new BatchNorm2d(device, 3, given), OptionError, {
      subject: `BatchNorm2d: ${name}`,
      expected,
      received,
    });
    throws(() => createForwardSync(device, { shape, ...given }), OptionError, {
      subject: `forward: ${name}`,
      expected,
      received,
    });
    throws(() => createInferenceSync(device, { shape, ...given }), OptionError, {
      subject: `inference: ${name}`,
      expected,
      received,
    });
    throws(() => createBackwardSync(device, { shape, ...given }), OptionError, {
      subject: `backward: ${name}`,
      expected,
      received,
    });
  });

  test("of plans alone", () => {
    const given = (options: object): never => ({ shape, ...options }) as never;
    const plans = {
      forward: (options: object) => createForwardSync(device, given(options)),
      inference: (options: object) => createInferenceSync(device, given(options)),
      backward: (options: object) => createBackwardSync(device, given(options)),
      statisticsForward: (options: object) => createStatisticsForwardSync(device, given(options)),
      statisticsBackward: (options: object) => createStatisticsBackwardSync(device, given(options)),
    };
    const boolean = "true or false";
    const own = '"own" or "given"';
    for (const [kind, options, name, expected, received] of [
      ["forward", { residual: "no" }, "residual", boolean, '"no"'],
      ["forward", { invertible: 1 }, "invertible", boolean, "1"],
      ["inference", { save: "yes" }, "save", boolean, '"yes"'],
      ["backward", { mode: "eval" }, "mode", '"training" or "evaluation"', '"eval"'],
      ["backward", { from: "Y" }, "from", '"x" or "y"', '"Y"'],
      ["backward", { residualGrad: 0 }, "residualGrad", boolean, "0"],
      ["backward", { accumulate: "" }, "accumulate", boolean, '""'],
      ["backward", { wants: { x: "no" } }, "wants: x", boolean, '"no"'],
      ["statisticsForward", { statistics: "gven" }, "statistics", own, '"gven"'],
      ["statisticsForward", { renorm: "no" }, "renorm", boolean, '"no"'],
      ["statisticsForward", { mask: 1 }, "mask", boolean, "1"],
      ["statisticsBackward", { sums: "gven" }, "sums", own, '"gven"'],
      [
        "forward",
        { tuning: { columnSlots: 8 } },
        "tuning: columnSlots",
        "columnBytes",
        "columnSlots",
      ],
    ] as const) {
      const parts = { subject: `${kind}: ${name}`, expected, received };
      throws(() => plans[kind](options), OptionError, parts);
    }
    throws(() => new ExtendedBatchNorm(device, 2, { scale: "no" } as never), OptionError, {
      subject: "ExtendedBatchNorm: scale",
      expected: boolean,
      received: '"no"',
    });
  });

  test("a mode that is none", async () => {
    const bn = module();
    for (const mode of [null, "no", 0, 1]) {
      throws(() => bn.train(mode as never), OptionError, {
        subject: "train",
        expected: "true or false",
        received: mode === "no" ? '"no"' : String(mode),
      });
      expect(bn.training).toBe(true);
    }
    expect(bn.train(false).training).toBe(false);
    await works(bn);
  });

  test("a tensor for dx where dx is not wanted", async () => {
    const bn = module();
    for (const each of [bn, module({ inPlace: true }), bn.eval()]) {
      keep(each.forward(make()));
      throws(
        () => each.backward(make(dys), { wants: { x: false }, out: make() } as never),
        OptionError,
        { subject: "backward: dx", expected: "none", received: "one", remedy: "leave it out" },
      );
      expect(each.backward(make(dys), { wants: { x: false } })).toBeNull();
    }
    await works(bn);
  });

  test("a tuning that no kernel can have", () => {
    const plan = (tuning: object) => () => createForwardSync(device, { shape, tuning });
    for (const name of ["workgroupSize", "maxTeam", "columnBytes", "maxHeldTeam"]) {
      for (const value of [24, 6, 0, -8, 0.5, NaN, Infinity, undefined, "64"]) {
        throws(plan({ [name]: value }), OptionError, {
          subject: `tuning: ${name}`,
          expected: "a power of two",
          received: String(value),
        });
      }
    }
    for (const name of ["minPerLane", "targetInvocations", "mergedBytes", "maxHeld", "subgroup"]) {
      for (const value of [-1, NaN, Infinity, undefined]) {
        throws(plan({ [name]: value }), OptionError, {
          subject: `tuning: ${name}`,
          expected: "a finite number >= 0",
          received: String(value),
        });
      }
    }
    for (const tuning of [{ maxTeam: 1 }, { columnBytes: 4 }, { subgroup: 0 }, { minPerLane: 0.5 }])
      keep(plan({ ...tuning, fence: true })());
  });

  test("limits that no device has", () => {
    const plain = { affine: false, trackRunningStats: false };
    const plan = (limits: object) => () => createForwardSync(device, { ...plain, shape, limits });
    for (const [name, value, least] of [
      ["maxBindingBytes", 511, 512],
      ["maxBindingBytes", 700.5, 512],
      ["maxWorkgroups", 0, 1],
      ["maxWorkgroups", 2.5, 1],
      ["maxWorkgroups", "4", 1],
    ] as const) {
      throws(plan({ [name]: value }), OptionError, {
        subject: `limits: ${name}`,
        expected: `a whole number >= ${least}`,
        received: String(value),
      });
    }
    throws(plan({ maxWorkgroup: 3 }), OptionError, {
      subject: "limits: maxWorkgroup",
      expected: "one of maxBindingBytes, maxWorkgroups",
      received: '"maxWorkgroup"',
    });
  });

  test("limits above the device's are the device's", async () => {
    // A workgroup for each channel: more than the device has in a row.
    const channels = device.limits.maxComputeWorkgroupsPerDimension + 2;
    const descriptor = {
      ...{ affine: false, trackRunningStats: false, shape: [2, channels] },
      tuning: { workgroupSize: 1, maxTeam: 1 },
      limits: { maxWorkgroups: 2 ** 40, maxBindingBytes: 2 ** 40 },
    };
    const plan = keep(createForwardSync(device, descriptor));
    const x = make(new Float32Array(2 * channels).fill(1, channels), descriptor.shape);
    const y = zeros(descriptor.shape);
    const encoder = device.createCommandEncoder();
    plan.encode(encoder, { x, y, saved: buffer(byteSizes(descriptor).saved) });
    device.queue.submit([encoder.finish()]);
    expect((await y.read()).every((value) => Math.abs(value) > 0.9)).toBe(true);
  });

  test("that there are not, of modules", async () => {
    const given = (options: object): never => options as never;
    const unknown = (subject: string, name: string, remedy: string): Complaint => ({
      subject: `${subject}: ${name}`,
      expected: "one of ",
      received: `"${name}"`,
      remedy,
    });
    const make1 = (options: object) => () => keep(new BatchNorm1d(device, 2, given(options)));
    for (const [options, name, remedy] of [
      [{ dtype: "f16" }, "dtype", "pass dtype to tensor()"],
      [{ track_running_stats: false }, "track_running_stats", "did you mean trackRunningStats?"],
      [{ eps: 1e-5, momentun: 0.5 }, "momentun", "did you mean momentum?"],
      [{ virtualBatchSize: 2 }, "virtualBatchSize", "leave it out"],
    ] as const) {
      throws(make1(options), OptionError, unknown("BatchNorm1d", name, remedy));
    }
    const extended = (options: object) => () =>
      keep(new ExtendedBatchNorm(device, 2, given(options)));
    throws(
      extended({ virtual_batch_size: 2 }),
      OptionError,
      unknown("ExtendedBatchNorm", "virtual_batch_size", "did you mean virtualBatchSize?"),
    );
    throws(
      extended({ renorm: true, renormClipping: { rmax: 3 } }),
      OptionError,
      unknown("ExtendedBatchNorm: renormClipping", "rmax", "did you mean rMax?"),
    );
    throws(extended({ renorm: true, trackRunningStats: false }), OptionError, {
      subject: "ExtendedBatchNorm: renorm",
      expected: "trackRunningStats: true",
      received: "false",
    });
    throws(extended({ virtualBatchSize: 0 }), OptionError, {
      subject: "ExtendedBatchNorm: virtualBatchSize",
      expected: "a whole number >= 1",
      received: "0",
    });
    throws(
      () => keep(new AccumulatedBatchNorm(device, 2, given({ momentun: 1 }))),
      OptionError,
      unknown("AccumulatedBatchNorm", "momentun", "did you mean momentum?"),
    );

    const bn = module();
    const x = make();
    const counter = async () => (await bn.stateDict()).num_batches_tracked;
    for (const [options, name, remedy] of [
      [{ residul: x }, "residul", "did you mean residual?"],
      [{ mask: x }, "mask", "ExtendedBatchNorm"],
      [{ dtype: "f16" }, "dtype", "pass dtype to tensor()"],
    ] as const) {
      const parts = unknown("forward", name, remedy);
      throws(() => bn.forward(x, given(options)), OptionError, parts);
    }
    expect(await counter()).toBe(0n);
    keep(bn.forward(x, given({ residual: undefined, out: undefined })));
    throws(
      () => bn.backward(make(dys), given({ want: { x: true } })),
      OptionError,
      unknown("backward", "want", "did you mean wants?"),
    );
    throws(
      () => bn.backward(make(dys), given({ wants: { gama: true } })),
      OptionError,
      unknown("backward: wants", "gama", "did you mean gamma?"),
    );
    await rejects(
      bn.prepare(shape, given({ dtpye: "f16" })),
      OptionError,
      unknown("prepare", "dtpye", "did you mean dtype?"),
    );
    throws(
      () => bn.loadStateDict({}, given({ Prefix: "a." })),
      OptionError,
      unknown("loadStateDict", "Prefix", "did you mean prefix?"),
    );
    keep(bn.backward(make(dys)));
    const masked = keep(new ExtendedBatchNorm(device, 3));
    throws(
      () => masked.forward(x, given({ masc: x })),
      OptionError,
      unknown("forward", "masc", "did you mean mask?"),
    );
    throws(() => masked.freeze(given({ affine: "no" })), OptionError, {
      subject: "freeze: affine",
      expected: '"trainable" or "fixed"',
      received: "no",
    });
    expect(masked.frozen).toBeNull();
    await works(bn);
    await works(masked);
  });

  test("that there are not, of plans and tensors", () => {
    const given = (options: object): never => options as never;
    for (const [run, message] of [
      [
        () => createForwardSync(device, given({ shape, activaton: "relu" })),
        /^forward: activaton: one of .*\bactivation\b.*, got "activaton"; did you mean activation\?$/,
      ],
      [() => createForwardSync(device, given({ shape, mode: "training" })), /^forward: mode: /],
      [() => createInferenceSync(device, given({ shape, wants: {} })), /^inference: wants: /],
      [
        () => createBackwardSync(device, given({ shape, from_: "y" })),
        /^backward: from_: .*from\?$/,
      ],
      [
        () => createBackwardSync(device, given({ shape, invertible: true })),
        /^backward: invertible: /,
      ],
      [
        () => createBackwardSync(device, given({ shape, wants: { dx: true } })),
        /^backward: wants: dx: /,
      ],
      [
        () => createStatisticsForwardSync(device, given({ shape, ghosts: 2 })),
        /^statisticsForward: ghosts: .*\bvirtualBatchSize\b/,
      ],
      [() => createMergeSumsSync(device, given({ channels: 2, part: 1, parts: 1 })), /parts\?$/],
      [
        () => tensor(device, [1, 2], [2], given({ type: "f16" })),
        /^tensor: type: one of dtype, raw, label, got "type"; did you mean dtype\?$/,
      ],
      [() => Tensor.empty(device, [2], given({ Dtype: "f16" })), /^tensor: Dtype: /],
      [() => Tensor.wrap(device, buffer(16), [2], given({ dtpe: "f16" })), /^Tensor.wrap: dtpe: /],
      [() => make().write(xs, given({ row: true })), /^write: row: .*raw\?$/],
      [() => new StatisticsAccumulator(device, 2, given({ layuot: 1 })), /layout\?$/],
    ] as const) {
      expect(run).toThrow(OptionError);
      expect(run).toThrow(message);
    }
  });

  test("channels that are no count, and more than memory is for", () => {
    for (const channels of [0, -3, 2.5, NaN, Infinity]) {
      throws(() => new BatchNorm1d(device, channels), OptionError, {
        subject: "BatchNorm1d: channels",
        expected: "a whole number >= 1",
        received: String(channels),
      });
    }
    const makes = vi.spyOn(device, "createBuffer");
    try {
      throws(() => new BatchNorm1d(device, device.limits.maxBufferSize / 8 + 256), BufferError, {
        subject: "bn.state",
        expected: "(maxBufferSize)",
        received: "",
      });
      expect(makes).not.toHaveBeenCalled();
    } finally {
      makes.mockRestore();
    }
  });

  test("an accumulator of no channels, or in no layout", () => {
    for (const channels of [0, -3, 2.5, NaN, "64", null, undefined]) {
      throws(() => new StatisticsAccumulator(device, channels as number), OptionError, {
        subject: "StatisticsAccumulator: channels",
        expected: "a whole number >= 1",
        received: String(channels),
      });
    }
    throws(() => new StatisticsAccumulator(device, 2, { layout: "NCHW" as never }), OptionError, {
      subject: "StatisticsAccumulator: layout",
      expected: '"channels-first"',
      received: '"NCHW"',
    });
  });

  test("a render bundle's encoder", () => {
    const encoder = device.createRenderBundleEncoder({ colorFormats: ["rgba8unorm"] });
    const plan = keep(
      createForwardSync(device, { shape, affine: false, trackRunningStats: false }),
    );
    throws(() => plan.encode(encoder as never, {} as ForwardResources), OptionError, {
      subject: "forward: encoder",
      expected: "an open GPUComputePassEncoder",
      received: "GPURenderBundleEncoder",
    });
    encoder.finish();
  });

  test("a dtype that there is not", () => {
    const dtype = "f64" as "f32";
    for (const run of [
      () => tensor(device, [1, 2], [1, 2], { dtype }),
      () => Tensor.empty(device, [1, 2], { dtype }),
      () => createForwardSync(device, { shape, dtype }),
      () => byteSizes({ shape, dtype }),
    ]) {
      let error: unknown;
      try {
        run();
      } catch (caught) {
        error = caught;
      }
      expect(error).toBeInstanceOf(OptionError);
      expect((error as Error).message).toMatch(/dtype: .*"f32".*, got "f64"; ./);
    }
  });

  test("no gradient wanted, or one that does not exist", async () => {
    const bn = module();
    keep(bn.forward(make()));
    throws(
      () => bn.backward(make(dys), { wants: { x: false, gamma: false, beta: false } as never }),
      OptionError,
      {
        subject: "backward: wants",
        expected: "at least one gradient",
        received: "none",
      },
    );
    keep(bn.backward(make(dys)));
    await works(bn);
    const plain = module({ affine: false });
    keep(plain.forward(make()));
    throws(() => plain.backward(make(dys), { wants: { gamma: true } }), OptionError, {
      subject: "backward: wants",
      expected: "no gamma or beta (affine is false)",
      received: "one",
    });
    keep(plain.backward(make(dys)));
    throws(
      () => createBackwardSync(device, { shape, wants: { x: false, gamma: false, beta: false } }),
      OptionError,
      { subject: "backward: wants", expected: "at least one gradient", received: "none" },
    );
  });
});

describe("arguments of another kind", () => {
  test("encoders", () => {
    const plan = keep(
      createForwardSync(device, { shape, affine: false, trackRunningStats: false }),
    );
    const sizes = byteSizes({ shape });
    const resources = { x: make(), y: zeros(shape), saved: buffer(sizes.saved) };
    for (const [encoder, received] of [
      [device, "a GPUDevice"],
      [device.queue, "a GPUQueue"],
      [{}, "an Object"],
      [null, "nothing"],
      ["pass", "a string"],
    ] as const) {
      const parts = { subject: "forward: encoder", expected: "GPUCommandEncoder", received };
      throws(() => plan.encode(encoder as never, resources), OptionError, parts);
      if (encoder === null) continue;
      throws(() => module().forward(make(), { encoder: encoder as never }), OptionError, parts);
    }
  });

  const wrong = (value: unknown): never => value as never;

  test("no tensor", async () => {
    const bn = module();
    const x = make();
    const noTensor = (subject: string, received: string): Complaint => ({
      subject,
      expected: "a Tensor",
      received,
      remedy: "tensor(device, data, shape)",
    });
    for (const [value, received] of [
      [new Float32Array(96), "a Float32Array"],
      [buffer(288), "a GPUBuffer"],
      [undefined, "nothing"],
      [null, "nothing"],
      [[1, 2], "an Array"],
    ] as const) {
      throws(() => bn.forward(wrong(value)), OptionError, noTensor("forward: x", received));
      keep(bn.forward(x));
      throws(() => bn.backward(wrong(value)), OptionError, noTensor("backward: dy", received));
      if (value === undefined) continue;
      const { residual, out } = { residual: wrong(value), out: wrong(value) };
      throws(
        () => bn.forward(x, { residual }),
        OptionError,
        noTensor("forward: residual", received),
      );
      throws(() => bn.forward(x, { out }), OptionError, noTensor("forward: out", received));
      throws(() => bn.backward(x, { out }), OptionError, noTensor("backward: out", received));
      throws(
        () => bn.backward(x, { residualGrad: out }),
        OptionError,
        noTensor("backward: residualGrad", received),
      );
    }
    const masked = keep(new ExtendedBatchNorm(device, 3));
    throws(
      () => masked.forward(x, { mask: wrong([1, 1, 1, 0]) }),
      OptionError,
      noTensor("forward: mask", "an Array"),
    );
    throws(() => masked.forward(wrong(undefined)), OptionError, noTensor("forward: x", "nothing"));
    throws(() => masked.forward(make(xs, shape, other)), BufferError, {
      subject: "forward: x",
      expected: "a tensor on the module's device",
      received: "one of another device",
    });
    await works(bn);
    await works(masked);
  });

  test("no buffer for a plan", () => {
    const descriptor = { shape: [2, 64], affine: false, trackRunningStats: false };
    const plan = keep(createForwardSync(device, descriptor));
    const over = keep(createForwardSync(device, { ...descriptor, inPlace: true }));
    const encoder = device.createCommandEncoder();
    for (const [value, received] of [
      [new Float32Array(128), "a Float32Array"],
      [3, "a number"],
      [null, "nothing"],
      // Another library's, with a method of that name.
      [{ dtype: "float32", shape: [2, 64], buffer: () => 0 }, "an Object"],
    ] as const) {
      for (const run of [
        () => plan.encode(encoder, wrong({ x: value })),
        () => over.encode(encoder, wrong({ x: value, y: value })),
      ]) {
        throws(run, BufferError, {
          subject: "forward: x",
          expected: "a buffer, a binding or a tensor",
          received,
        });
      }
      throws(() => over.encode(encoder, wrong({ x: buffer(512), y: value })), OverlapError, {
        subject: "forward: y",
        expected: "the plan works in place",
        received: "another",
      });
    }
    for (const value of [null, undefined, 3]) {
      throws(() => plan.encode(encoder, wrong(value)), BufferError, {
        subject: "forward: x",
        expected: "a buffer, a binding or a tensor",
        received: "nothing",
      });
    }
    encoder.finish();
  });

  test("no device", () => {
    const late = Promise.resolve(device);
    for (const [value, received, remedy] of [
      [undefined, "nothing", "requestDevice()"],
      [late, "a Promise", "await it"],
      [[1, 2], "an Array", "requestDevice()"],
    ] as const) {
      const parts = { subject: "device", expected: "a GPUDevice", received, remedy };
      for (const run of [
        () => new BatchNorm2d(wrong(value), 3),
        () => tensor(wrong(value), [1, 2], [2]),
        () => Tensor.empty(wrong(value), [2]),
        () => Tensor.wrap(wrong(value), buffer(16), [2]),
        () => createForwardSync(wrong(value), { shape }),
        () => createInferenceSync(wrong(value), { shape }),
        () => createStatisticsForwardSync(wrong(value), { shape }),
      ]) {
        throws(run, OptionError, parts);
      }
    }
  });

  test("no shape", async () => {
    const none = { expected: "whole numbers >= 0", received: "nothing" };
    throws(() => tensor(device, xs, wrong(undefined)), ShapeError, {
      ...none,
      subject: "tensor: shape",
      remedy: "tensor(device, data, shape)",
    });
    throws(() => tensor(device, [...shape], wrong(xs)), ShapeError, {
      ...none,
      subject: "tensor: shape",
      received: `a ${xs.constructor.name}`,
      remedy: "tensor(device, data, shape)",
    });
    throws(() => createForwardSync(device, wrong({})), ShapeError, {
      ...none,
      subject: "forward: shape",
    });
    throws(() => byteSizes(wrong({})), ShapeError, { ...none, subject: "byteSizes: shape" });
    throws(() => createForwardSync(device, wrong(undefined)), OptionError, {
      subject: "forward",
      expected: "an object of options",
      received: "nothing",
    });
    await rejects(module().prepare(wrong(undefined)), ShapeError, {
      ...none,
      subject: "prepare: shape",
    });
  });

  test("no options of statistics, and no list of parts", () => {
    for (const [subject, run] of [
      ["ExtendedBatchNorm", (options: never) => new ExtendedBatchNorm(device, 3, options)],
      ["AccumulatedBatchNorm", (options: never) => new AccumulatedBatchNorm(device, 3, options)],
      ["statisticsForward", (options: never) => createStatisticsForwardSync(device, options)],
      ["statisticsBackward", (options: never) => createStatisticsBackwardSync(device, options)],
      ["statistics", (options: never) => createStatisticsSync(device, options)],
      ["statisticsByteSizes", statisticsByteSizes],
      ["statisticsForward", (options: never) => statisticsForward(xs, shape, options)],
    ] as const) {
      throws(() => run(wrong(null)), OptionError, {
        subject,
        expected: "an object of options",
        received: "nothing",
      });
    }
    for (const [parts, received] of [
      [null, "nothing"],
      ["x", "a string"],
      [buffer(64), "a GPUBuffer"],
    ] as const) {
      throws(() => mergeStatistics(device, 3, wrong(parts)), OptionError, {
        subject: "mergeStatistics: parts",
        expected: "a list of parts",
        received,
      });
    }
  });

  test("no numbers", async () => {
    for (const [data, received] of [
      [["a", "b"], "a string at 0"],
      [[1, undefined], "nothing at 1"],
      [[1, 2n], "a bigint at 1"],
      [new Array(2), "nothing at 0"],
      [new BigInt64Array(2), "a BigInt64Array"],
      [undefined, "nothing"],
      ["ab", "a string"],
      [2, "a number"],
    ] as const) {
      throws(() => tensor(device, wrong(data), [2]), ShapeError, {
        subject: "tensor: data",
        expected: "an array or a typed array of numbers",
        received,
      });
    }
    const nan = keep(tensor(device, [NaN, 1], [2]));
    expect([...(await nan.read())]).toEqual([NaN, 1]);
  });

  test("no communicator", () => {
    throws(() => new SyncBatchNorm(module(), wrong(undefined)), OptionError, {
      subject: "SyncBatchNorm: communicator",
      expected: "a Communicator",
      received: "nothing",
    });
    throws(() => new SyncBatchNorm(wrong(device), wrong(undefined)), OptionError, {
      subject: "SyncBatchNorm: module",
      expected: "a BatchNorm",
      received: "a GPUDevice",
    });
  });
});

describe("state dictionaries", () => {
  const good = {
    weight: [1, 1, 1],
    bias: [0, 0, 0],
    running_mean: [0, 0, 0],
    running_var: [1, 1, 1],
  };

  test("missing, unexpected and wrongly sized entries change nothing", async () => {
    const bn = module();
    const before = await bn.stateDict();
    const { bias, running_mean, running_var } = good;
    throws(() => bn.loadStateDict({ bias, running_mean, running_var }), ShapeError, {
      subject: "loadStateDict: weight",
      expected: "3 values",
      received: "nothing",
    });
    for (const name of Object.keys(good)) {
      throws(() => bn.loadStateDict({ ...good, [name]: null }), ShapeError, {
        subject: `loadStateDict: ${name}`,
        expected: "3 values",
        received: "nothing",
      });
    }
    throws(
      () => bn.loadStateDict({ ...good, weight: [9, 9, 9], running_var: [1, 1] }),
      ShapeError,
      {
        subject: "loadStateDict: running_var",
        expected: "3 values",
        received: "2",
      },
    );
    for (const [name, values, expected, received] of [
      ["weight", [1, "2", 3], "numbers", '"2"'],
      ["bias", [0, undefined, 0], "numbers", "undefined"],
      ["running_var", [1, -1, 1], "numbers >= 0", "-1"],
      ["running_mean", make([1, 2, 3], [3]), "3 values", "a Tensor"],
    ] as const) {
      const dict = { ...good, [name]: values } as never;
      const parts = { subject: `loadStateDict: ${name}`, expected, received };
      throws(() => bn.loadStateDict(dict), ShapeError, parts);
    }
    throws(() => bn.loadStateDict(bn.stateDict() as never), OptionError, {
      subject: "loadStateDict",
      expected: "a dictionary",
      received: "a Promise",
      remedy: "await",
    });
    for (const counter of [-1, -1n, 1n << 63n]) {
      throws(
        () => bn.loadStateDict({ ...good, weight: [9, 9, 9], num_batches_tracked: counter }),
        ShapeError,
        {
          subject: "loadStateDict: num_batches_tracked",
          expected: "a count of 63 bits",
          received: String(counter),
        },
      );
    }
    expect(await bn.stateDict()).toEqual(before);
    const plain = module({ affine: false });
    throws(() => plain.loadStateDict(good), ShapeError, {
      subject: "loadStateDict: weight",
      expected: "no such entry",
      received: "3 values",
    });
    const untracked = module({ trackRunningStats: false });
    throws(() => untracked.loadStateDict(good), ShapeError, {
      subject: "loadStateDict: running_mean",
      expected: "no such entry",
      received: "3 values",
    });
    await works(bn);
    await works(plain);
  });

  test("a parameter that the caller destroyed leaves the others as they are", async () => {
    const bn = module();
    const [gamma, mean] = [await bn.gamma!.read(), await bn.runningMean!.read()];
    bn.runningVar!.destroy();
    const dict = { ...good, weight: [9, 9, 9], running_mean: [9, 9, 9] };
    throws(() => bn.loadStateDict(dict), DestroyedError, {
      subject: "loadStateDict",
      expected: "a live tensor",
      received: "a destroyed one",
    });
    expect(await bn.gamma!.read()).toEqual(gamma);
    expect(await bn.runningMean!.read()).toEqual(mean);
  });

  test("a prefix that was forgotten, or is another", async () => {
    const bn = module();
    const file = (...prefixes: string[]): Record<string, number[]> =>
      Object.fromEntries(
        prefixes.flatMap((prefix) =>
          Object.entries(good).map(([name, values]) => [prefix + name, values]),
        ),
      );
    const two = { ...file("layer1.bn1.", "layer1.bn2.", "layer2.bn1."), "conv1.weight": [1] };
    const parts = {
      expected: "3 values",
      received: 'none by that name, but under "layer1.bn1." and "layer1.bn2."',
      remedy: 'pass { prefix: "layer1.bn1." }',
    };
    throws(() => bn.loadStateDict(two), ShapeError, { ...parts, subject: "loadStateDict: weight" });
    throws(() => bn.loadStateDict(new Map(Object.entries(two))), ShapeError, {
      ...parts,
      subject: "loadStateDict: weight",
    });
    throws(() => bn.loadStateDict(two, { prefix: "layer1.bn1" }), ShapeError, {
      ...parts,
      subject: "loadStateDict: layer1.bn1weight",
    });
    throws(() => bn.loadStateDict(file("bn."), { prefix: "bn1." }), ShapeError, {
      ...parts,
      subject: "loadStateDict: bn1.weight",
      received: 'none by that name, but under "bn."',
      remedy: 'pass { prefix: "bn." }',
    });
    const plain = module({ affine: false });
    throws(() => plain.loadStateDict(two), ShapeError, {
      ...parts,
      subject: "loadStateDict: running_mean",
    });
    throws(() => bn.loadStateDict(undefined as never), OptionError, {
      subject: "loadStateDict",
      expected: "a dictionary",
      received: "nothing",
    });
    bn.loadStateDict(two, { prefix: "layer2.bn1." });
    await works(bn);
  });

  test("an unknown entry", async () => {
    const bn = module();
    throws(() => bn.loadStateDict({ ...good, weigth: [1, 1, 1] }), ShapeError, {
      subject: "loadStateDict: weigth",
      expected: "no such entry",
      received: "",
    });
    await works(bn);
  });

  test("a counter that is no whole number", async () => {
    const bn = module();
    for (const counter of [1.5, NaN]) {
      throws(() => bn.loadStateDict({ ...good, num_batches_tracked: counter }), ShapeError, {
        subject: "loadStateDict: num_batches_tracked",
        expected: "a count of 63 bits",
        received: String(counter),
      });
    }
    await works(bn);
  });

  test("a counter where nothing is tracked", async () => {
    const untracked = module({ trackRunningStats: false });
    throws(
      () => untracked.loadStateDict({ weight: [1, 1, 1], bias: [0, 0, 0], num_batches_tracked: 3 }),
      ShapeError,
      { subject: "loadStateDict: num_batches_tracked", expected: "no such entry", received: "3" },
    );
    await works(untracked);
  });
});

describe("a lost device", () => {
  const lost = { expected: "a working GPUDevice", received: "one lost (destroyed" };
  const parts = (subject: string | RegExp): Complaint => ({ ...lost, subject });

  test("destroyed in mid-work: what was begun rejects, what comes after throws", async () => {
    const own = await openDevice();
    const bn = new BatchNorm2d(own, 3);
    const x = tensor(own, xs, shape);
    const y = bn.forward(x);
    await y.read();
    const dx = bn.backward(x);
    const readings = [y.read(), dx.read(), bn.status(), bn.stateDict(), bn.prepare([7, 3, 5, 5])];
    own.destroy();
    for (const settled of await Promise.allSettled(readings)) {
      const reason: unknown = settled.status === "rejected" ? settled.reason : null;
      check(reason, DeviceLostError, parts(/^(\w+: )?device/));
    }
    await own.lost;
    throws(() => bn.forward(x), DeviceLostError, parts("forward: device"));
    throws(() => bn.backward(x), DeviceLostError, parts("backward: device"));
    throws(() => bn.train(), DeviceLostError, parts("train: device"));
    throws(() => x.write(xs), DeviceLostError, parts("write: device"));
    await rejects(y.read(), DeviceLostError, parts("read: device"));
    await rejects(bn.status(), DeviceLostError, parts("status: device"));
    await rejects(bn.prepare(shape), DeviceLostError, parts("prepare: device"));
    await rejects(bn.stateDict(), DeviceLostError, parts("stateDict: device"));
    throws(() => new BatchNorm2d(own, 3), DeviceLostError, parts("BatchNorm2d: device"));
    throws(() => tensor(own, xs, shape), DeviceLostError, {
      ...lost,
      subject: "tensor[4, 3, 2, 3]: device",
    });
    throws(() => createForwardSync(own, { shape }), DeviceLostError, parts("forward: device"));
    await rejects(
      Promise.resolve().then(() => createForward(own, { shape })),
      DeviceLostError,
      parts("forward: device"),
    );
    // Freeing still works.
    bn.destroy();
    for (const each of [x, y, dx]) each.destroy();
  });

  test("calls between the loss and its notice do not hang, and none reads numbers", async () => {
    const own = await openDevice();
    const bn = new BatchNorm2d(own, 3);
    const x = tensor(own, xs, shape);
    const y0 = bn.forward(x);
    await y0.read();
    own.destroy();
    let thrown: unknown = null;
    try {
      const y = bn.forward(x);
      const dx = bn.backward(x);
      expect([y, dx].every((each) => each instanceof Tensor)).toBe(true);
    } catch (error) {
      thrown = error;
    }
    if (thrown !== null) expect(thrown).toBeInstanceOf(DeviceLostError);
    const early = "navigator" in globalThis && navigator.userAgent.includes("Firefox");
    const reason = (promise: Promise<unknown>): Promise<unknown> =>
      promise.then(
        (value) => value ?? null,
        (error: unknown) => error,
      );
    // Firefox tells of what came of it first.
    expect(await reason(y0.read())).toBeInstanceOf(early ? BatchNormError : DeviceLostError);
    if (early) takeUncaught();
    expect(await reason(bn.status())).toBeInstanceOf(DeviceLostError);
    expect(await reason(bn.prepare([2, 3, 2, 2]))).toBeInstanceOf(DeviceLostError);
    bn.destroy();
  });

  test("a plan made before it is lost", async () => {
    const own = await openDevice();
    const plan = await createForward(own, { shape });
    const encoder = own.createCommandEncoder();
    own.destroy();
    await own.lost;
    throws(() => plan.encode(encoder, {} as never), DeviceLostError, parts("forward: device"));
    plan.destroy();
  });

  test("leaves other devices alone", async () => {
    const own = await openDevice();
    new BatchNorm2d(own, 3);
    own.destroy();
    await own.lost;
    await works(module());
  });
});

describe("out of memory", () => {
  /** The next allocation of such a label fails as WebGPU says: an invalid buffer, and an error in the scope. */
  function failNext(on: GPUDevice, valid: boolean, label = /^/): void {
    const create = on.createBuffer.bind(on);
    const pop = on.popErrorScope.bind(on);
    on.createBuffer = (descriptor) => {
      if (!label.test(descriptor.label ?? "")) return create(descriptor);
      delete (on as Partial<GPUDevice>).createBuffer;
      on.popErrorScope = () => {
        delete (on as Partial<GPUDevice>).popErrorScope;
        void pop();
        return Promise.resolve(new GPUOutOfMemoryError("pretended"));
      };
      if (valid) return create(descriptor);
      on.pushErrorScope("validation");
      // 0x1 | 0x80: MAP_READ does not go with STORAGE.
      const invalid = create({ ...descriptor, usage: 0x81 });
      void pop();
      return invalid;
    };
  }
  const parts = (subject: string | RegExp): Complaint => ({
    subject,
    expected: "bytes of memory",
    received: '"pretended"',
    remedy: "free tensors, or use a smaller batch",
  });

  test("arrives at read()", async () => {
    const bn = module();
    await works(bn);
    failNext(device, true);
    const x = make();
    await rejects(x.read(), OutOfMemoryError, parts("tensor[4, 3, 2, 3]"));
    await works(bn);
  });

  test("arrives at status(), once", async () => {
    const bn = module();
    await works(bn);
    failNext(device, true);
    make();
    await rejects(bn.status(), OutOfMemoryError, parts("tensor[4, 3, 2, 3]"));
    await bn.status();
    await works(bn);
  });

  test("twice: the first is told", async () => {
    const bn = module();
    failNext(device, true);
    make();
    failNext(device, true);
    keep(tensor(device, [1], [1]));
    await rejects(bn.status(), OutOfMemoryError, parts("tensor[4, 3, 2, 3]"));
    await bn.status();
  });

  test("arrives at prepare() and at createForward()", async () => {
    const bn = module();
    failNext(device, true);
    make();
    await rejects(bn.prepare(shape), OutOfMemoryError, parts("tensor[4, 3, 2, 3]"));
    await works(bn);
    failNext(device, true);
    // The label tells the path, which the adapter decides.
    const subject = /^bn\.forward.*\/(params|scratch)/;
    await rejects(createForward(device, { shape }), OutOfMemoryError, parts(subject));
    await works(bn);
  });

  test("leaves nothing of the plan that could not be made", async () => {
    const create = device.createBuffer.bind(device);
    for (const tuning of [{}, { minPerLane: 1, wholePerLane: 0, maxHeld: 0 }]) {
      let live = 0;
      failNext(device, true);
      let next = device.createBuffer.bind(device);
      const counting: typeof create = (descriptor) => {
        const made = next(descriptor);
        next = create;
        device.createBuffer = counting;
        const destroy = made.destroy.bind(made);
        made.destroy = () => {
          live -= 1;
          destroy();
        };
        live += 1;
        return made;
      };
      device.createBuffer = counting;
      const plan = createForward(device, { shape: [64, 3, 8, 8], tuning });
      await rejects(plan, OutOfMemoryError, parts(/^bn\.forward.*\/(params|scratch)/));
      delete (device as Partial<GPUDevice>).createBuffer;
      expect(live).toBe(0);
    }
  });

  test("of y: the invalid buffer raises no other error, and the next forward works", async () => {
    const bn = module();
    await works(bn);
    const x = make();
    failNext(device, false);
    const y = keep(bn.forward(x));
    await rejects(y.read(), OutOfMemoryError, parts("tensor[4, 3, 2, 3]"));
    expect(takeUncaught(), "nothing reaches the caller's device").toEqual([]);
    await works(bn);
  });

  test.each([
    ["forward", /^bn\.\w*forward\/scratch/i],
    ["forward", /^bn\.context\/saved/],
    ["backward", /^bn\.\w*backward\/scratch/i],
  ])("of a module's own in %s: %s is made anew", async (pass, label) => {
    // Large enough to be cut everywhere but on the largest GPUs.
    const of = [16, 3, 64, 64];
    const data = Float32Array.from({ length: 16 * 3 * 64 * 64 }, (_, i) => Math.sin(i * i));
    for (const bn of [module(), new ExtendedBatchNorm(device, 3)]) {
      const [x, dy] = [keep(tensor(device, data, of)), keep(tensor(device, data, of))];
      if (pass === "forward") failNext(device, false, label);
      keep(bn.forward(x));
      if (pass === "backward") failNext(device, false, label);
      keep(bn.backward(dy));
      await rejects(bn.status(), OutOfMemoryError, parts(label));
      expect(takeUncaught(), "nothing reaches the caller's device").toEqual([]);
      // What followed from it may be told as well, once.
      await bn.status().catch(() => undefined);
      const y = keep(bn.forward(x));
      const dx = keep(bn.backward(dy));
      await bn.status();
      expect(await y.read()).toBeAllclose(forward(data, of).y, { atol: 4e-6, rtol: 2 ** -23 });
      expect(await dx.read()).toBeAllclose(backward(data, data, of).dx, { atol: 2e-5 });
      bn.destroy();
    }
  });

  test("has room for what is saved made anew once", async () => {
    const bn = module();
    const [x, y] = [make(), make()];
    failNext(device, true);
    make();
    await rejects(bn.status(), OutOfMemoryError, parts("tensor[4, 3, 2, 3]"));
    bn.forward(x, { out: y });
    const allocate = vi.spyOn(device, "createBuffer");
    try {
      bn.forward(x, { out: y });
      expect(allocate).not.toHaveBeenCalled();
    } finally {
      allocate.mockRestore();
    }
  });

  test.each([/^bn\.gamma/, /^bn\.state/])(
    "of a parameter, %s, while a module is made",
    async (label) => {
      failNext(device, false, label);
      const bn = module();
      await rejects(bn.status(), OutOfMemoryError, parts(label));
      expect(takeUncaught(), "nothing reaches the caller's device").toEqual([]);
      bn.destroy();
    },
  );

  test("an allocation that throws", async () => {
    const bn = module();
    const x = make();
    device.createBuffer = () => {
      delete (device as Partial<GPUDevice>).createBuffer;
      throw new RangeError("array buffer allocation failed");
    };
    throws(() => bn.forward(x), OutOfMemoryError, {
      subject: /^(bn|tensor)[^:]*/,
      expected: "bytes of memory",
      received: "array buffer allocation failed",
      remedy: "free tensors",
    });
    await expect(device.popErrorScope(), "no scope is left open").rejects.toThrow();
    await works(bn);
  });

  test("since a forward, and then one that is refused: the backward is of the first", async () => {
    const bn = module();
    const x = make();
    keep(bn.forward(x));
    failNext(device, true);
    await rejects(make().read(), OutOfMemoryError, parts("tensor[4, 3, 2, 3]"));
    throws(() => bn.forward(x, { out: Tensor.wrap(device, x, shape) }), OverlapError, {
      subject: "forward: y",
      expected: "a range of its own",
      received: "overlap x",
    });
    const dx = keep(bn.backward(make(dys)));
    expect(await dx.read()).toBeAllclose(backward(dys, xs, shape).dx, { atol: 1e-5 });
    await works(bn);
  });
});

describe("a shader that does not compile", () => {
  const variant = {
    ...PLAIN,
    kernel: {
      name: "broken",
      specOf: (v: Variant) => ({
        fragments: [...baseOf(v), "broken"],
        bindings: [{ name: "x", write: false } as const],
      }),
      fragments: () => ({
        broken:
          "@compute @workgroup_size(1)\nfn main() {\n  let x: f32 = 1u;\n}\nfn open(v: Value) {}\n",
      }),
    },
    dtype: "f32",
    value: "row4",
    workgroupSize: 64,
    team: 1,
    lanesAdjacent: true,
    subgroup: 0,
    held: 0,
    fence: false,
    even: false,
  } as const;
  const parts: Complaint = {
    subject: "bn.broken[f32 row4 team 1]",
    expected: "a shader that compiles",
    received: "broken.wgsl:3: ",
    remedy: "report it",
  };

  test("names fragment and line, and is tried anew", async () => {
    for (let turn = 0; turn < 2; turn++)
      await rejects(stateOf(device).kernel(variant), CompileError, parts);
    const mended: Variant = {
      ...variant,
      kernel: {
        ...variant.kernel,
        fragments: () => ({ broken: "@compute @workgroup_size(1)\nfn main() {}\n" }),
      },
    };
    await stateOf(device).kernel(mended);
  });

  test("says more than the commands that it spoils", async () => {
    const bn = module({ activation: "gelu" });
    const compile = device.createShaderModule.bind(device);
    const compiles = vi
      .spyOn(device, "createShaderModule")
      .mockImplementation((of) => compile({ ...of, code: `${of.code}\nfn (` }));
    try {
      keep(bn.forward(make(dys, [3, 3, 2, 4])));
      await rejects(bn.status(), CompileError, {
        subject: /^bn\.forward[^:]*/,
        expected: "a shader that compiles",
        received: "",
      });
    } finally {
      compiles.mockRestore();
    }
    keep(bn.forward(make(dys, [3, 3, 2, 4])));
    await bn.status();
  });

  test("on the spot arrives at status(), and is tried anew", async () => {
    const bn = module();
    for (let turn = 0; turn < 2; turn++) {
      stateOf(device).kernelSync({ ...variant, workgroupSize: 32 });
      await rejects(bn.status(), CompileError, parts);
    }
    await works(bn);
  });
});

test("what a channel has must fit one binding", () => {
  const channels = Math.ceil((device.limits.maxStorageBufferBindingSize + 1) / 20);
  const most = String(device.limits.maxStorageBufferBindingSize);
  throws(() => createForwardSync(device, { shape: [2, channels] }), BufferError, {
    subject: "forward: saved",
    expected: `at most ${most} bytes (maxStorageBufferBindingSize)`,
    received: String(20 * channels),
    remedy: "split the channels",
  });
  // A region a row, each of which leaves 16 bytes a channel.
  const shape = [
    Math.ceil((device.limits.maxStorageBufferBindingSize + 1) / (16 * 40_000)),
    40_000,
  ];
  const limits = { maxBindingBytes: 200_000 };
  throws(() => createForwardSync(device, { shape, limits }), BufferError, {
    subject: "forward: partial results",
    expected: `at most ${most} bytes (maxStorageBufferBindingSize)`,
    received: String(16 * shape[0]! * 40_000),
    remedy: "split the channels",
  });
});

test("a tensor must fit one buffer", () => {
  const most = device.limits.maxBufferSize;
  const tooLarge = { shape: [Math.floor(most / 1024) + 1, 256] };
  for (const create of [createForwardSync, createInferenceSync, createBackwardSync])
    throws(() => create(device, tooLarge), BufferError, {
      subject: "shape",
      expected: `at most ${most} bytes (maxBufferSize)`,
      received: String(tooLarge.shape[0]! * 1024),
      remedy: "split the batch",
    });
});

describe("what an encode found good is looked at again", () => {
  const shape = [2, 4];
  const usage = 0x80 | 0x8 | 0x4;
  const at = (offset: number, size = 32): GPUBufferBinding => ({
    buffer: device.createBuffer({ size: 1024, usage }),
    offset,
    size,
  });
  const given = () => ({ x: tensor(device, xs.subarray(0, 8), shape), y: at(0), saved: at(0, 80) });

  test("a tensor that was destroyed since, a binding that was changed, something else altogether", () => {
    const plan = createForwardSync(device, { shape, affine: false, trackRunningStats: false });
    const resources = given();
    const encode = (): void => {
      plan.encode(device.createCommandEncoder(), resources);
    };
    encode();
    encode();
    resources.y.size = 28;
    throws(encode, BufferError, { subject: "forward: y", expected: "needs 32", received: "28" });
    resources.y.size = 32;
    resources.y.offset = 1008;
    throws(encode, BufferError, { subject: "forward: y", expected: "an offset", received: "1008" });
    resources.y.offset = 256;
    encode();
    for (const wrong of ["y", 1, null, undefined, {}]) {
      throws(
        () => {
          plan.encode(device.createCommandEncoder(), { ...resources, y: wrong as never });
        },
        BufferError,
        { subject: "forward: y", expected: "a buffer, a binding or a tensor", received: "" },
      );
    }
    const gamma = at(0);
    throws(
      () => {
        plan.encode(device.createCommandEncoder(), { ...resources, gamma });
      },
      OptionError,
      { subject: "forward: gamma", expected: "none in this plan", received: "one" },
    );
    resources.x.destroy();
    throws(encode, DestroyedError, {
      subject: "forward: x",
      expected: "a live tensor",
      received: "a destroyed one",
    });
    plan.destroy();
  });

  test("another output where the plan works in place", () => {
    const plan = createForwardSync(device, {
      shape,
      affine: false,
      trackRunningStats: false,
      inPlace: true,
    });
    const { x, saved, y } = given();
    plan.encode(device.createCommandEncoder(), { x, saved });
    plan.encode(device.createCommandEncoder(), { x, saved, y: x });
    throws(
      () => {
        plan.encode(device.createCommandEncoder(), { x, saved, y });
      },
      OverlapError,
      { subject: "forward: y", expected: "the plan works in place", received: "another" },
    );
    plan.destroy();
  });

  test("a binding that was moved since is written where it is now", async () => {
    const plan = createForwardSync(device, { shape, affine: false, trackRunningStats: false });
    const resources = given();
    const run = (): void => {
      const encoder = device.createCommandEncoder();
      plan.encode(encoder, resources);
      device.queue.submit([encoder.finish()]);
    };
    run();
    resources.y.offset = 512;
    run();
    const [first, second] = await Promise.all(
      [0, 512].map((offset) =>
        Tensor.wrap(device, { buffer: resources.y.buffer, offset }, shape).read(),
      ),
    );
    expect(second!.some((value) => value !== 0)).toBe(true);
    expect(second).toEqual(first);
    plan.destroy();
  });

  test("the same resources, in up to four sets, make no bind group anew", () => {
    const plan = createForwardSync(device, { shape, affine: false, trackRunningStats: false });
    const create = vi.spyOn(device, "createBindGroup");
    const sets = [0, 1, 2, 3].map(given);
    const round = (): void => {
      for (const { x, y, saved } of sets)
        plan.encode(device.createCommandEncoder(), { x, y: { ...y }, saved });
    };
    round();
    const made = create.mock.calls.length;
    expect(made).toBeGreaterThanOrEqual(4);
    round();
    round();
    expect(create.mock.calls.length).toBe(made);
    create.mockRestore();
    plan.destroy();
  });
});

test("inputs may overlap, but not in the buffer of an output", async () => {
  const own = { shape, affine: false, trackRunningStats: false, residual: true };
  const plan = keep(createForwardSync(device, own));
  const sizes = byteSizes(own);
  const x = make();
  const [y, saved] = [zeros(shape), buffer(sizes.saved)];
  const encoder = device.createCommandEncoder();
  plan.encode(encoder, { x, residual: x, y, saved });
  device.queue.submit([encoder.finish()]);
  const f = forward(xs.subarray(0, x.size), shape, { residual: xs.subarray(0, x.size) });
  expect(await y.read()).toBeAllclose(f.y, { atol: 1e-5 });

  const arena = buffer(1024 + sizes.y);
  const both = { buffer: arena, offset: 0, size: sizes.x };
  throws(
    () => {
      const given = { x: both, residual: both, y: { buffer: arena, offset: 1024 }, saved };
      plan.encode(device.createCommandEncoder(), given);
    },
    OverlapError,
    {
      subject: "forward: x",
      expected: "a range of its own",
      received: "which overlap residual",
      remedy: "use another buffer or disjoint ranges",
    },
  );
});

test("inputs that overlap may stand beside others in the buffer of an output", async () => {
  const own = { shape, trackRunningStats: false, residual: true };
  const plan = keep(createForwardSync(device, own));
  const sizes = byteSizes(own);
  const x = make();
  const y = zeros(shape);
  const arena = buffer(256 + sizes.saved);
  const gamma = [2, -1, 0.5];
  device.queue.writeBuffer(arena, 0, new Float32Array(gamma));
  const beta = zeros([3]);
  const saved = { buffer: arena, offset: 256 };
  const encoder = device.createCommandEncoder();
  plan.encode(encoder, { x, residual: x, gamma: { buffer: arena }, beta, y, saved });
  device.queue.submit([encoder.finish()]);
  const f = forward(xs.subarray(0, x.size), shape, { gamma, residual: xs.subarray(0, x.size) });
  expect(await y.read()).toBeAllclose(f.y, { atol: 1e-5 });
});

test("a range in place may be named twice", () => {
  const plan = keep(createInferenceSync(device, { shape, affine: false, inPlace: true }));
  const range = buffer(1024);
  const state = buffer(byteSizes({ shape }).state);
  const encoder = device.createCommandEncoder();
  plan.encode(encoder, { x: { buffer: range }, y: { buffer: range, offset: 0 }, state });
  throws(
    () => {
      plan.encode(encoder, { x: { buffer: range }, y: { buffer: range, offset: 256 }, state });
    },
    OverlapError,
    {
      subject: "inference: y",
      expected: "the plan works in place",
      received: "another",
    },
  );
  device.queue.submit([encoder.finish()]);
});
