/** Modules whose statistics are not the batch's: ghosts, masks, renormalization, freezing, accumulation, re-estimation. */
import { beforeAll, describe, expect, test, vi } from "vitest";
import {
  BatchNorm1d,
  BatchNorm2d,
  type Context,
  OptionError,
  SingleValueError,
  tensor,
  Tensor,
} from "../../src/index.js";
import { ContextError, DestroyedError, OverlapError, ShapeError } from "../../src/errors.js";
import {
  AccumulatedBatchNorm,
  ExtendedBatchNorm,
  interpolate,
  readStatistics,
  reestimate,
  statisticsByteSizes,
  StatisticsAccumulator,
} from "../../src/statistics/index.js";
import { createLocalCommunicators, SyncBatchNorm } from "../../src/sync/index.js";
import {
  backward,
  forward,
  inference,
  type RenormState,
  type RunningState,
  statistics,
  statisticsBackward,
  statisticsForward,
} from "../../src/reference.js";
import { openDevice } from "../support/device.js";
import { createRandom } from "../support/random.js";
import "../support/allclose.js";

let device: GPUDevice;
beforeAll(async () => {
  device = await openDevice();
});

/**
 * Values of size 1 with |xHat| below 5 and |gamma| below 3: the bounds of tolerance.ts come to 2e-6 * 5 * 3 for y, and
 * to 1e-5 of sums of at most 100 terms for gradients.
 */
const Y = { atol: 3e-5 };
const GRADIENTS = { atol: 1e-3, rtol: 1e-5 };

const random = createRandom(77);
const made: { destroy(): void }[] = [];
const put = (values: ArrayLike<number>, shape: readonly number[]): Tensor => {
  const one = tensor(device, Float32Array.from(values), shape);
  made.push(one);
  return one;
};
const put2 = (size: number, shape: readonly number[], offset = 0, std = 1) => {
  const values = random.normals(size, offset, std);
  return { values, tensor: put(values, shape) };
};
const state = (channels: number): RunningState => ({
  mean: new Float32Array(channels),
  variance: new Float32Array(channels).fill(1),
  numBatchesTracked: 0n,
});

describe("ExtendedBatchNorm", () => {
  test("ghosts: several contexts, accumulate, a smaller last batch", async () => {
    const bn = new ExtendedBatchNorm(device, 3, { virtualBatchSize: 4 });
    let learned = state(3);
    const contexts: Context[] = [];
    const batches = [10, 8].map((batch) => ({
      shape: [batch, 3, 5],
      x: put2(batch * 15, [batch, 3, 5], 2),
      dy: put2(batch * 15, [batch, 3, 5]),
    }));
    for (const { shape, x } of batches) {
      const context = bn.context();
      contexts.push(context);
      const y = bn.forward(x.tensor, { context });
      const want = statisticsForward(x.values, shape, { virtualBatchSize: 4, state: learned });
      expect(await y.read()).toBeAllclose(want.y, Y);
      learned = want.state!;
      y.destroy();
    }
    const dict = await bn.stateDict();
    expect(dict.running_mean).toBeAllclose(learned.mean, Y);
    expect(dict.running_var).toBeAllclose(learned.variance, Y);
    expect(dict.num_batches_tracked).toBe(5n);
    const total = new Float64Array(3);
    for (const [i, { shape, x, dy }] of batches.entries()) {
      const dx = bn.backward(dy.tensor, { context: contexts[i]!, accumulate: i > 0 });
      const want = statisticsBackward(dy.values, x.values, shape, { virtualBatchSize: 4 });
      expect(await dx.read()).toBeAllclose(want.dx, GRADIENTS);
      want.dGamma.forEach((value, c) => (total[c]! += value));
      dx.destroy();
    }
    expect(await bn.gammaGrad!.read()).toBeAllclose(total, GRADIENTS);
    expect(() => bn.backward(batches[0]!.dy.tensor, { context: contexts[0]! })).toThrow(
      ContextError,
    );
    for (const each of [bn, ...contexts]) each.destroy();
  });

  test("a larger batch that is refused leaves the one before as it was", async () => {
    const bn = new ExtendedBatchNorm(device, 3, { virtualBatchSize: 2 });
    const [x, dy] = [put2(12, [4, 3]), put2(12, [4, 3])];
    const larger = put2(24, [8, 3]).tensor;
    const y = bn.forward(x.tensor);
    const out = Tensor.wrap(device, larger, [8, 3]);
    expect(() => bn.forward(larger, { out })).toThrow(OverlapError);
    const dx = bn.backward(dy.tensor);
    const want = statisticsBackward(dy.values, x.values, [4, 3], { virtualBatchSize: 2 });
    expect(await dx.read()).toBeAllclose(want.dx, GRADIENTS);
    expect(await bn.gammaGrad!.read()).toBeAllclose(want.dGamma, GRADIENTS);
    for (const each of [bn, y, dx]) each.destroy();
  });

  test("a mask for one forward, none for the next, and in evaluation none", async () => {
    const bn = new ExtendedBatchNorm(device, 4, { layout: "channels-last", momentum: 1 });
    const shape = [3, 6, 4];
    const x = put2(72, shape, 1);
    const dy = put2(72, shape);
    const mask = Float32Array.from({ length: 18 }, (_, i) =>
      i % 6 < [6, 2, 3][Math.floor(i / 6)]! ? 1 : 0,
    );
    const options = { layout: "channels-last" as const, mask };
    const y = bn.forward(x.tensor, { mask: put(mask, [3, 6]) });
    expect(await y.read()).toBeAllclose(statisticsForward(x.values, shape, options).y, Y);
    const dx = bn.backward(dy.tensor);
    const want = statisticsBackward(dy.values, x.values, shape, options);
    expect(await dx.read()).toBeAllclose(want.dx, GRADIENTS);
    const part = statistics(x.values, shape, options);
    expect(await bn.runningMean!.read()).toBeAllclose(part.mean, Y);
    const plain = bn.forward(x.tensor, { out: y });
    expect(await plain.read()).toBeAllclose(
      forward(x.values, shape, { layout: "channels-last" }).y,
      Y,
    );
    expect(() => bn.forward(x.tensor, { mask: put([1, 1], [2]) })).toThrow(ShapeError);
    const stale = put(mask, [3, 6]);
    bn.forward(x.tensor, { mask: stale, out: y });
    stale.write(mask);
    expect(() => bn.backward(dy.tensor)).toThrow(/mask was written over/);
    for (const each of [bn, y, dx]) each.destroy();
  });

  test("a mask is until the backward what it was at the forward", () => {
    const bn = new ExtendedBatchNorm(device, 4);
    const [x, dy] = [put2(24, [6, 4]).tensor, put2(24, [6, 4]).tensor];
    const mask = put([1, 1, 1, 1, 1, 0], [6]);
    const values = [1, 0, 1, 1, 0, 1];
    mask.write(values);
    bn.forward(x, { mask }).destroy();
    bn.backward(dy).destroy();
    bn.forward(x, { mask }).destroy();
    mask.write(values);
    expect(() => bn.backward(dy)).toThrow(/one whose mask was written over/);
    bn.forward(x, { mask }).destroy();
    mask.destroy();
    expect(() => bn.backward(dy)).toThrow(/one whose mask was destroyed/);
    bn.destroy();
  });

  test("renormalization trains, saves and loads its averages", async () => {
    const options = {
      renorm: true,
      renormMomentum: 0.5,
      renormClipping: { rMax: 1.5, rMin: 0.6, dMax: 0.7 },
    };
    const bn = new ExtendedBatchNorm(device, 3, options);
    const other = new ExtendedBatchNorm(device, 3, options);
    let learned = state(3);
    let renorm: RenormState = { mean: new Float64Array(3), deviation: new Float64Array(3).fill(1) };
    for (let step = 0; step < 3; step++) {
      const shape = [5 + step, 3];
      const x = put2(15 + 3 * step, shape, 3, 2);
      const of = { state: learned, renorm, renormMomentum: 0.5, limits: options.renormClipping };
      const want = statisticsForward(x.values, shape, of);
      const y = bn.forward(x.tensor);
      expect(await y.read()).toBeAllclose(want.y, Y);
      learned = want.state!;
      renorm = want.renorm!;
      y.destroy();
    }
    const dict = await bn.stateDict();
    expect(Object.keys(dict)).toEqual([
      ...["weight", "bias", "running_mean", "running_var", "num_batches_tracked"],
      ...["renorm_mean", "renorm_stddev"],
    ]);
    expect(dict.renorm_mean).toBeAllclose(renorm.mean, Y);
    expect(dict.renorm_stddev).toBeAllclose(renorm.deviation, Y);
    other.loadStateDict(dict);
    expect(await other.stateDict()).toEqual(dict);
    const { renorm_mean: _m, renorm_stddev: _s, ...plain } = dict;
    other.loadStateDict(plain);
    const derived = (await other.stateDict()).renorm_stddev;
    expect(derived).toBeAllclose(
      dict.running_var!.map((v) => Math.sqrt(v + 1e-5)),
      Y,
    );
    const core = new BatchNorm1d(device, 3);
    expect(() => core.loadStateDict(dict as never)).toThrow(ShapeError);
    for (const each of [bn, other, core]) each.destroy();
  });

  test.each([
    [true, false],
    [false, true],
    [false, false],
  ])("scale %s, center %s", async (scale, center) => {
    const bn = new ExtendedBatchNorm(device, 3, { scale, center });
    const shape = [7, 3];
    const x = put2(21, shape);
    const dy = put2(21, shape);
    const y = bn.forward(x.tensor);
    const dx = bn.backward(dy.tensor);
    const want = backward(dy.values, x.values, shape);
    expect(await dx.read()).toBeAllclose(want.dx, GRADIENTS);
    const zero = new Float32Array(3);
    if (scale || center) {
      expect(await bn.gammaGrad!.read()).toBeAllclose(scale ? want.dGamma : zero, GRADIENTS);
      expect(await bn.betaGrad!.read()).toBeAllclose(center ? want.dBeta : zero, GRADIENTS);
    } else expect(bn.gamma).toBeNull();
    const dict = await bn.stateDict();
    expect("weight" in dict).toBe(scale);
    expect("bias" in dict).toBe(center);
    bn.loadStateDict(dict);
    for (const each of [bn, y, dx]) each.destroy();
  });

  test("keeps its options, whatever becomes of the object that they came in", async () => {
    const options = { virtualBatchSize: 4 };
    const bn = new ExtendedBatchNorm(device, 3, options);
    options.virtualBatchSize = 8;
    const x = put2(48, [16, 3], 3);
    const y = bn.forward(x.tensor);
    const want = statisticsForward(x.values, [16, 3], { virtualBatchSize: 4 });
    expect(await y.read()).toBeAllclose(want.y, Y);
    for (const each of [bn, y]) each.destroy();
  });

  test("frozen: running statistics in training, and they stay", async () => {
    const bn = new ExtendedBatchNorm(device, 3, { virtualBatchSize: 2 });
    const dict = {
      weight: [1, 2, -1],
      bias: [0, 1, 2],
      running_mean: [1, -1, 0.5],
      running_var: [2, 0.5, 1],
      num_batches_tracked: 9n,
    };
    bn.loadStateDict(dict);
    const shape = [6, 3];
    const x = put2(18, shape);
    const dy = put2(18, shape);
    const running = { mean: dict.running_mean, variance: dict.running_var };
    const options = { gamma: dict.weight, beta: dict.bias, ...running };
    const want = backward(dy.values, x.values, shape, { ...options, mode: "evaluation" });
    const zero = new Float32Array(3);
    for (const affine of ["fixed", "trainable"] as const) {
      bn.freeze({ affine }).train();
      expect([bn.training, bn.frozen]).toEqual([false, affine]);
      const y = bn.forward(x.tensor);
      expect(await y.read()).toBeAllclose(inference(x.values, shape, options).y, Y);
      const dx = bn.backward(dy.tensor);
      expect(await dx.read()).toBeAllclose(want.dx, GRADIENTS);
      expect(await bn.gammaGrad!.read()).toBeAllclose(
        affine === "fixed" ? zero : want.dGamma,
        GRADIENTS,
      );
      y.destroy();
      dx.destroy();
    }
    expect((await bn.stateDict()).running_mean).toEqual(Float32Array.from(dict.running_mean));
    expect(bn.unfreeze().training).toBe(true);
    expect(bn.freeze().freeze({ affine: "trainable" }).unfreeze().training).toBe(true);
    bn.freeze().eval().unfreeze();
    expect(bn.training).toBe(false);
    const untracked = new ExtendedBatchNorm(device, 3, { trackRunningStats: false });
    expect(() => untracked.freeze()).toThrow(OptionError);
    bn.destroy();
    untracked.destroy();
  });

  test("records into an encoder, and says what it cannot do", async () => {
    const bn = new ExtendedBatchNorm(device, 4);
    const x = put2(40, [10, 4]);
    const dy = put2(40, [10, 4]);
    const encoder = device.createCommandEncoder();
    const y = bn.forward(x.tensor, { encoder });
    const dx = bn.backward(dy.tensor, { encoder });
    device.queue.submit([encoder.finish()]);
    expect(await y.read()).toBeAllclose(forward(x.values, [10, 4]).y, Y);
    expect(await dx.read()).toBeAllclose(backward(dy.values, x.values, [10, 4]).dx, GRADIENTS);
    expect(() => bn.forward(x.tensor, { out: x.tensor })).toThrow(/another tensor than x/);
    for (const context of [0, "", false] as never[]) {
      expect(() => bn.forward(x.tensor, { context })).toThrow(ContextError);
    }
    expect(() => new ExtendedBatchNorm(device, 4, { inPlace: true })).toThrow(OptionError);
    expect(() => new ExtendedBatchNorm(device, 4, { renormMomentum: 0.5 })).toThrow(OptionError);
    bn.forward(x.tensor, { out: y });
    bn.eval();
    expect(() => bn.backward(dy.tensor)).toThrow(ContextError);
    for (const each of [bn, y, dx]) each.destroy();
  });
});

test.each([0, -1, 0.3])("%s parts are refused", (parts) => {
  const sizes = () => statisticsByteSizes({ shape: [4, 4], parts });
  expect(sizes).toThrow(`statisticsByteSizes: parts: a whole number >= 1, got ${parts}`);
});

test.each([0, -1, 1.5, NaN])("a ghost of %s samples is refused at once", (virtualBatchSize) => {
  for (const make of [
    () => new ExtendedBatchNorm(device, 4, { virtualBatchSize }),
    () => statisticsByteSizes({ shape: [4, 4], virtualBatchSize }),
  ]) {
    expect(make).toThrow(OptionError);
    expect(make).toThrow(
      `virtualBatchSize: a whole number >= 1, got ${virtualBatchSize}; count again`,
    );
  }
});

describe("AccumulatedBatchNorm", () => {
  test("micro-batches, uneven and many, are one batch", async () => {
    const sizes = Array.from({ length: 37 }, (_, i) => 1 + (i % 3));
    const batch = sizes.reduce((a, b) => a + b);
    const gamma = random.normals(3, 1, 0.5);
    const [x, dy] = [random.normals(batch * 6, 5, 2), random.normals(batch * 6)];
    const bn = new AccumulatedBatchNorm(device, 3, { activation: "relu" });
    bn.loadStateDict({
      weight: gamma,
      bias: new Float32Array(3),
      running_mean: new Float32Array(3),
      running_var: new Float32Array(3).fill(1),
    });
    let at = 0;
    const parts = sizes.map((size) => {
      const cut = (all: Float32Array): Tensor => put(all.subarray(at, at + 6 * size), [size, 3, 2]);
      const part = { x: cut(x), dy: cut(dy) };
      at += 6 * size;
      return part;
    });
    const options = { gamma, activation: "relu" as const };
    const want = forward(x, [batch, 3, 2], { ...options, state: state(3) });
    const gradients = backward(dy, x, [batch, 3, 2], options);
    const join = async (tensors: Tensor[]): Promise<number[]> => {
      const all: number[] = [];
      for (const each of tensors) {
        all.push(...(await each.read()));
        each.destroy();
      }
      return all;
    };
    // Twice: the second batch begins where the first ended.
    for (const counter of [1n, 2n]) {
      for (const part of parts) bn.observe(part.x);
      expect(await join(parts.map((part) => bn.forward(part.x)))).toBeAllclose(want.y, Y);
      for (const { x, dy } of parts) bn.observeGradient(dy, { x });
      const dx = await join(parts.map(({ x, dy }) => bn.backward(dy, { x })));
      expect(dx).toBeAllclose(gradients.dx, { atol: 1e-5 });
      expect(await bn.gammaGrad!.read()).toBeAllclose(gradients.dGamma, GRADIENTS);
      expect(await bn.betaGrad!.read()).toBeAllclose(gradients.dBeta, GRADIENTS);
      const dict = await bn.stateDict();
      expect(dict.num_batches_tracked).toBe(counter);
      if (counter === 1n) {
        expect(dict.running_mean).toBeAllclose(want.state!.mean, Y);
        expect(dict.running_var).toBeAllclose(want.state!.variance, Y);
      }
    }
    bn.destroy();
  });

  test("sweeps out of order are errors; one encoder holds them all", async () => {
    const bn = new AccumulatedBatchNorm(device, 4);
    const [x, dy] = [put2(24, [6, 4]), put2(24, [6, 4])];
    expect(() => bn.forward(x.tensor)).toThrow(ContextError);
    expect(() => bn.observeGradient(dy.tensor, { x: x.tensor })).toThrow(ContextError);
    const encoder = device.createCommandEncoder();
    const out: Tensor[] = [];
    for (let again = 0; again < 2; again++) {
      bn.observe(x.tensor, { encoder });
      out.push(bn.forward(x.tensor, { encoder }));
      expect(() => bn.backward(dy.tensor, { x: x.tensor })).toThrow(/observeGradient/);
      bn.observeGradient(dy.tensor, { x: x.tensor, encoder });
      out.push(bn.backward(dy.tensor, { x: x.tensor, encoder }));
    }
    device.queue.submit([encoder.finish()]);
    const want = [forward(x.values, [6, 4]).y, backward(dy.values, x.values, [6, 4]).dx];
    for (const [i, each] of out.entries()) {
      expect(await each.read()).toBeAllclose(want[i % 2]!, i % 2 ? GRADIENTS : Y);
    }
    bn.eval();
    expect(() => bn.observe(x.tensor)).toThrow(ContextError);
    const y = bn.forward(x.tensor);
    for (const each of [bn, y, ...out]) each.destroy();
  });
});

describe("AccumulatedBatchNorm refuses, and loses nothing", () => {
  const make = (options = {}) => {
    const bn = new AccumulatedBatchNorm(device, 4, options);
    const one = () => put2(24, [6, 4]);
    return { bn, x: one(), dy: one(), residual: one(), other: one() };
  };

  test("what was written over since it was observed", () => {
    const { bn, x, dy, residual } = make({ activation: "relu" });
    const given = { x: x.tensor, residual: residual.tensor };
    const toObserve = () => bn.observe(x.tensor);
    const toForward = () => bn.forward(x.tensor, { residual: residual.tensor }).destroy();
    const toObserveGradient = () => bn.observeGradient(dy.tensor, given);
    const sweeps = [toObserve, toForward, toObserveGradient];
    const begin = (count: number, change: Tensor) => {
      // A forward ends the observing: the next observe begins a batch.
      const fresh = put2(24, [6, 4]).tensor;
      bn.observe(fresh);
      bn.forward(fresh).destroy();
      for (const sweep of sweeps.slice(0, count)) sweep();
      change.touch();
    };
    const stale = (what: string) => new RegExp(`${what}: one as it was observed, got one that was`);
    for (const [count, sweep] of [
      [1, toObserve],
      [1, toForward],
      [2, toObserveGradient],
      [3, () => bn.backward(dy.tensor, given)],
    ] as const) {
      begin(count, x.tensor);
      expect(sweep).toThrow(ContextError);
      expect(sweep).toThrow(stale("x"));
    }
    begin(2, residual.tensor);
    expect(toObserveGradient).toThrow(stale("residual"));
    begin(3, residual.tensor);
    expect(() => bn.backward(dy.tensor, given)).toThrow(stale("residual"));
    begin(3, dy.tensor);
    expect(toObserveGradient).toThrow(stale("dy"));
    expect(() => bn.backward(dy.tensor, given)).toThrow(stale("dy"));
    bn.destroy();
  });

  test("what was never observed", () => {
    const { bn, x, dy, residual, other } = make({ activation: "relu" });
    const given = { x: x.tensor, residual: residual.tensor };
    expect(() => bn.forward(x.tensor)).toThrow(/got none observed/);
    bn.observe(x.tensor);
    expect(() => bn.forward(other.tensor)).toThrow(
      /x: one as it was observed, got one that was not/,
    );
    bn.forward(x.tensor, { residual: residual.tensor }).destroy();
    for (const [wrong, why] of [
      [{ ...given, x: other.tensor }, /x: one as it was observed, got one that was not/],
      [{ x: x.tensor }, /residual: that of its forward, got none/],
      [{ ...given, residual: other.tensor }, /residual: that of its forward, got another/],
    ] as const) {
      expect(() => bn.observeGradient(dy.tensor, wrong)).toThrow(why);
    }
    bn.observeGradient(dy.tensor, given);
    expect(() => bn.backward(dy.tensor, { ...given, x: other.tensor })).toThrow(ContextError);
    expect(() => bn.backward(other.tensor, given)).toThrow(/dy: one as it was observed/);
    bn.backward(dy.tensor, given).destroy();
    bn.destroy();
  });

  test("gradients of some micro-batches alone, and of another micro-batch", async () => {
    const { bn, x, dy, other } = make();
    const second = put2(24, [6, 4]);
    for (const each of [x, other]) bn.observe(each.tensor);
    for (const each of [x, other]) made.push(bn.forward(each.tensor));
    bn.observeGradient(dy.tensor, { x: x.tensor });
    const alone = () => bn.backward(dy.tensor, { x: x.tensor });
    expect(alone).toThrow(ContextError);
    expect(alone).toThrow(/gradients of the 12 values per channel that were observed, got 6; obs/);
    bn.observeGradient(second.tensor, { x: other.tensor });
    const swapped = () => bn.backward(dy.tensor, { x: other.tensor });
    expect(swapped).toThrow(ContextError);
    expect(swapped).toThrow(/x, beside dy: one of those that observeGradient\(\) had it for/);
    const found = [
      bn.backward(dy.tensor, { x: x.tensor }),
      bn.backward(second.tensor, { x: other.tensor }),
    ];
    made.push(...found);
    const whole = (...of: { values: ArrayLike<number> }[]) =>
      Float32Array.from(of.flatMap(({ values }) => Array.from(values)));
    const { dx } = backward(whole(dy, second), whole(x, other), [12, 4]);
    const read = await Promise.all(found.map((each) => each.read()));
    expect(whole(...read.map((values) => ({ values })))).toBeAllclose(dx, GRADIENTS);
    bn.destroy();
  });

  test("one gradient serves several micro-batches, and those of parameters wait until they are wanted", async () => {
    const { bn, x, dy, other } = make();
    for (const each of [x, other]) bn.observe(each.tensor);
    for (const each of [x, other]) made.push(bn.forward(each.tensor));
    for (const each of [x, other]) bn.observeGradient(dy.tensor, { x: each.tensor });
    const sums = async () => [await bn.gammaGrad!.read(), await bn.betaGrad!.read()] as const;
    const none = { gamma: false, beta: false };
    made.push(bn.backward(dy.tensor, { x: x.tensor, wants: none }));
    expect(await sums()).toEqual([new Float32Array(4), new Float32Array(4)]);
    made.push(bn.backward(dy.tensor, { x: other.tensor, wants: { gamma: false } }));
    made.push(bn.backward(dy.tensor, { x: x.tensor, accumulate: true }));
    const twice = (values: Float32Array) => Float32Array.of(...values, ...values);
    const both = Float32Array.of(...x.values, ...other.values);
    const want = backward(twice(dy.values), both, [12, 4]);
    const [gammaGrad, betaGrad] = await sums();
    expect(gammaGrad).toBeAllclose(want.dGamma, GRADIENTS);
    expect(betaGrad).toBeAllclose(want.dBeta, GRADIENTS);
    bn.destroy();
  });

  test("a tensor for a dx that is not wanted", () => {
    const { bn, x, dy, other: out } = make();
    bn.observe(x.tensor);
    made.push(bn.forward(x.tensor));
    bn.observeGradient(dy.tensor, { x: x.tensor });
    const extended = new ExtendedBatchNorm(device, 4);
    made.push(extended.forward(x.tensor));
    for (const wants of [{ x: false }, { x: false, gamma: false, beta: false }] as const) {
      const given = { wants, out: out.tensor };
      expect(() => bn.backward(dy.tensor, { x: x.tensor, ...given })).toThrow(OptionError);
      expect(() => extended.backward(dy.tensor, given)).toThrow(OptionError);
    }
    for (const each of [bn, extended]) each.destroy();
  });

  test("after destroy", () => {
    const { bn, x, dy } = make();
    bn.destroy();
    for (const sweep of [
      () => bn.observe(x.tensor),
      () => bn.forward(x.tensor),
      () => bn.observeGradient(dy.tensor, { x: x.tensor }),
      () => bn.backward(dy.tensor, { x: x.tensor }),
    ]) {
      expect(sweep).toThrow(DestroyedError);
    }
    const extended = new ExtendedBatchNorm(device, 4, { affine: false });
    const context = extended.context();
    made.push(extended.forward(x.tensor, { context }));
    extended.destroy();
    expect(() => extended.backward(dy.tensor, { context })).toThrow(DestroyedError);
    context.destroy();
    const all = new StatisticsAccumulator(device, 4);
    all.destroy();
    expect(() => all.add(x.tensor)).toThrow(DestroyedError);
    expect(() => all.total()).toThrow(DestroyedError);
  });

  test("a sweep that fails leaves no tensor behind, and can be repeated", async () => {
    const { bn, x, dy } = make();
    const bad = put2(12, [3, 4]).tensor;
    const empty = vi.spyOn(Tensor, "empty");
    const leaks = () => empty.mock.results.filter(({ value }) => !(value as Tensor).destroyed);
    bn.observe(x.tensor);
    expect(() => bn.forward(x.tensor, { residual: bad })).toThrow(ShapeError);
    expect(leaks()).toEqual([]);
    const y = bn.forward(x.tensor);
    empty.mockClear();
    bn.observeGradient(dy.tensor, { x: x.tensor });
    const wrong = { x: x.tensor, encoder: {} as GPUCommandEncoder };
    expect(() => bn.backward(dy.tensor, wrong)).toThrow();
    expect(empty).toHaveBeenCalledTimes(1);
    expect(leaks()).toEqual([]);
    empty.mockRestore();
    const dx = bn.backward(dy.tensor, { x: x.tensor });
    expect(await y.read()).toBeAllclose(forward(x.values, [6, 4]).y, Y);
    const want = backward(dy.values, x.values, [6, 4]);
    expect(await dx.read()).toBeAllclose(want.dx, GRADIENTS);
    expect(await bn.gammaGrad!.read()).toBeAllclose(want.dGamma, GRADIENTS);
    for (const each of [bn, y, dx]) each.destroy();
  });
});

test("more than a thousand micro-batches that round one way, beside one that is large", async () => {
  const bn = new AccumulatedBatchNorm(device, 1);
  const all = new StatisticsAccumulator(device, 1);
  const [large, small] = [4096, 0.25].map((each) => put([-each, each], [2, 1]));
  const [steep, flat] = [2 ** 23, 1 / 32].map((each) => put([each, each], [2, 1]));
  const few = 1200;
  const encoder = device.createCommandEncoder();
  for (let i = 0; i <= few; i++) {
    all.add(i === 0 ? large! : small!, { encoder });
    bn.observe(i === 0 ? large! : small!, { encoder });
  }
  made.push(bn.forward(large!, { encoder }));
  for (let i = 0; i <= few; i++) {
    const [x, dy] = i === 0 ? [large!, steep!] : [small!, flat!];
    bn.observeGradient(dy, { x, encoder });
  }
  bn.backward(steep!, { x: large!, wants: { x: false }, encoder });
  const total = all.total(encoder);
  device.queue.submit([encoder.finish()]);
  const [whole] = await readStatistics(device, total, { channels: 1 });
  // Fifteen of the small ones come to less than half of what an f32 of the large one's size can tell.
  const near = { rtol: 8 * 2 ** -24 };
  const count = 2 * (few + 1);
  expect([whole!.varBiased[0]! * count]).toBeAllclose([2 ** 25 + few / 8], near);
  expect(await bn.betaGrad!.read()).toBeAllclose([2 ** 24 + few / 16], near);
  for (const each of [bn, all]) each.destroy();
});

test("the next batch of as many micro-batches makes no buffers anew", () => {
  const bn = new AccumulatedBatchNorm(device, 1);
  // Sixteen places of a part and three shapes by turns: each shape comes to each place.
  const all = [4, 3, 2].map((size) => {
    const [x, y, dx] = [0, 1, 2].map(() => put2(size, [size, 1]).tensor);
    return { x: x!, y: y!, dx: dx! };
  });
  const batch = Array.from({ length: 290 }, (_, i) => all[i % 3]!);
  const step = (): void => {
    for (const { x } of batch) bn.observe(x);
    for (const { x, y } of all) bn.forward(x, { out: y });
    for (const { x, y } of batch) bn.observeGradient(y, { x });
    for (const { x, y, dx } of all) bn.backward(y, { x, out: dx });
  };
  step();
  const create = vi.spyOn(device, "createBuffer");
  step();
  const made = create.mock.calls.map(([{ label }]) => label);
  create.mockRestore();
  expect(made).toEqual([]);
  bn.destroy();
});

test("a sweep that cannot be recorded leaves the sums of the one before whole", async () => {
  const bn = new AccumulatedBatchNorm(device, 3);
  const [x, dy] = [put2(12, [4, 3]), put2(12, [4, 3])];
  for (const each of [x, x]) bn.observe(each.tensor);
  made.push(bn.forward(x.tensor));
  // Two parts, which backward has to merge.
  for (const each of [dy, dy]) bn.observeGradient(each.tensor, { x: x.tensor });
  const wrong = put(new Float32Array(12), [2, 6]);
  expect(() => bn.backward(dy.tensor, { x: x.tensor, out: wrong })).toThrow(ShapeError);
  made.push(bn.backward(dy.tensor, { x: x.tensor }));
  const { dBeta } = backward(dy.values, x.values, [4, 3]);
  expect(await bn.betaGrad!.read()).toBeAllclose(
    dBeta.map((sum) => 2 * sum),
    GRADIENTS,
  );
  bn.destroy();
  const all = new StatisticsAccumulator(device, 3);
  expect(() => all.add(wrong)).toThrow(/add: x: 3 channels \(channels-first\), got 6/);
  all.destroy();
});

test("a sweep that throws takes back what it has merged in an encoder that is dropped", async () => {
  const bn = new AccumulatedBatchNorm(device, 3);
  const [x, dy] = [put2(12, [4, 3], 5), put2(12, [4, 3], 1)];
  const wrong = put(new Float32Array(12), [2, 6]);
  const fails = (run: (encoder: GPUCommandEncoder) => unknown): void => {
    expect(() => run(device.createCommandEncoder())).toThrow(ShapeError);
  };
  // Two parts to merge; seventeen, the last of which has no room before the others are merged.
  for (const times of [2, 17]) {
    for (let i = 0; i < times; i++) {
      bn.observe(x.tensor);
    }
    fails((encoder) => bn.forward(x.tensor, { residual: wrong, encoder }));
    const y = bn.forward(x.tensor);
    expect(await y.read()).toBeAllclose(forward(x.values, [4, 3]).y, Y);
    for (let i = 0; i < times; i++) {
      if (i === 16) fails((encoder) => bn.observeGradient(wrong, { x: x.tensor, encoder }));
      bn.observeGradient(dy.tensor, { x: x.tensor });
    }
    fails((encoder) => bn.backward(dy.tensor, { x: x.tensor, out: wrong, encoder }));
    const dx = bn.backward(dy.tensor, { x: x.tensor });
    const want = backward(dy.values, x.values, [4, 3]);
    expect(await dx.read()).toBeAllclose(want.dx, GRADIENTS);
    expect(await bn.betaGrad!.read()).toBeAllclose(
      want.dBeta.map((sum) => times * sum),
      GRADIENTS,
    );
    made.push(y, dx);
  }
  bn.destroy();
});

test("an accumulator takes back what it has merged for a tensor that it could not add", async () => {
  const all = new StatisticsAccumulator(device, 3);
  const x = put2(12, [4, 3], 5);
  const mask = put(new Float32Array(5), [5]);
  expect(() => all.add(x.tensor, { mask })).toThrow(
    /add: mask: \[4\], f32 \(x's shape.* got \[5\]/,
  );
  // What is wrong here is seen when it is recorded.
  const plain = device.createBuffer({ size: 48, usage: 0x4 });
  const unusable = Tensor.wrap(device, plain, [4, 3]);
  for (let i = 0; i < 17; i++) {
    const encoder = device.createCommandEncoder();
    if (i === 16) expect(() => all.add(unusable, { encoder })).toThrow(/STORAGE/);
    all.add(x.tensor);
  }
  plain.destroy();
  expect(() => all.total({} as GPUCommandEncoder)).toThrow(OptionError);
  const [whole] = await readStatistics(device, all.total(), { channels: 3 });
  expect(whole!.count[0]).toBe(68);
  expect(whole!.mean).toBeAllclose(statistics(x.values, [4, 3]).mean, Y);
  all.destroy();
});

test("what a sweep refuses leaves the batch before whole", async () => {
  const bn = new AccumulatedBatchNorm(device, 3);
  const { values, tensor: x } = put2(12, [4, 3]);
  const other = put2(12, [4, 3]).tensor;
  const dy = put2(12, [4, 3]);
  bn.observe(x);
  expect(() => bn.observeGradient(dy.tensor, { x })).toThrow(ContextError);
  bn.forward(x);
  bn.observeGradient(dy.tensor, { x });
  expect(() => bn.observe(other, { encoder: {} as GPUCommandEncoder })).toThrow(OptionError);
  expect(() => bn.observeGradient(undefined as never, { x })).toThrow(OptionError);
  expect(() => bn.backward(undefined as never, { x })).toThrow(OptionError);
  const dx = bn.backward(dy.tensor, { x });
  const expected = backward(dy.values, values, [4, 3]);
  expect(await dx.read()).toBeAllclose(expected.dx, GRADIENTS);
  bn.destroy();
});

test("one value per channel in all micro-batches is an error, unless it may be single", async () => {
  const x = put([1, 2, 3], [1, 3]);
  const bn = new AccumulatedBatchNorm(device, 3);
  bn.observe(x);
  expect(() => bn.forward(x)).toThrow(SingleValueError);
  expect([...(await bn.runningVar!.read())]).toEqual([1, 1, 1]);
  bn.observe(put([4, 5, 6], [1, 3]));
  bn.forward(x).destroy();
  const single = new AccumulatedBatchNorm(device, 3, { singleValue: "zero" });
  single.observe(x);
  expect([...(await single.forward(x).read())]).toEqual([0, 0, 0]);
  for (const each of [bn, single]) each.destroy();
});

test("gradients that a module does not have are refused in every mode", () => {
  const x = put2(12, [4, 3]).tensor;
  const wants = { gamma: true };
  const bn = new ExtendedBatchNorm(device, 3, { scale: false });
  for (const training of [true, false]) {
    bn.train(training).forward(x).destroy();
    expect(() => bn.backward(x, { wants })).toThrow(/wants: no gamma \(scale is false\), got one/);
  }
  const plain = new AccumulatedBatchNorm(device, 3, { affine: false });
  plain.observe(x);
  plain.forward(x).destroy();
  plain.observeGradient(x, { x });
  expect(() => plain.backward(x, { x, wants })).toThrow(/no gamma or beta \(affine is false\)/);
  for (const each of [bn, plain]) each.destroy();
});

test("a mask beside ghosts is refused, however few there are", () => {
  const bn = new ExtendedBatchNorm(device, 3, { virtualBatchSize: 4 });
  const x = put2(12, [4, 3]).tensor;
  const mask = put([1, 1, 0, 1], [4]);
  expect(() => bn.forward(x, { mask })).toThrow(/virtualBatchSize or mask, got both/);
  bn.destroy();
});

test("a frozen module that is destroyed says so", () => {
  const bn = new ExtendedBatchNorm(device, 3).freeze();
  bn.destroy();
  expect(() => bn.train()).toThrow(DestroyedError);
});

test("a state is loaded whole or not at all where an average was destroyed", async () => {
  const bn = new ExtendedBatchNorm(device, 3, { renorm: true });
  const state = await bn.stateDict();
  bn.renormDeviation!.destroy();
  const load = () => bn.loadStateDict({ ...state, weight: [7, 7, 7] });
  expect(load).toThrow(DestroyedError);
  expect([...(await bn.gamma!.read())]).toEqual([1, 1, 1]);
  bn.destroy();
});

test("train takes the mode as PyTorch's does", () => {
  const bn = new ExtendedBatchNorm(device, 3);
  expect(bn.train(false).training).toBe(false);
  expect(bn.freeze().train(true).training).toBe(false);
  expect(() => bn.train("no" as unknown as boolean)).toThrow(/train: true or false, got "no"/);
  expect(bn.unfreeze().training).toBe(true);
  bn.destroy();
});

test("what is recorded leaves the backward of what ran before it alone", async () => {
  for (const bn of [new BatchNorm1d(device, 3), new ExtendedBatchNorm(device, 3)]) {
    const a = put2(12, [4, 3], 1000).tensor;
    const b = put2(12, [4, 3]);
    const dy = put2(12, [4, 3]);
    const encoder = device.createCommandEncoder();
    bn.forward(a, { encoder });
    bn.forward(b.tensor);
    device.queue.submit([encoder.finish()]);
    const expected = backward(dy.values, b.values, [4, 3]);
    expect(await bn.backward(dy.tensor).read()).toBeAllclose(expected.dx, GRADIENTS);
    bn.destroy();
  }
});

test("entries of a file that are no numbers, or too many, change nothing", async () => {
  const bn = new ExtendedBatchNorm(device, 3, { scale: false, renorm: true });
  const file = await bn.stateDict();
  const wrong: Record<string, unknown>[] = [
    { weight: [1, 1, 1, 1, 1] },
    { weight: 7 },
    { renorm_mean: ["a", "b", "c"] },
    { renorm_stddev: [-1, -1, -1] },
    { renorm_stddev: undefined },
    { renorm_mean: [Symbol("1"), 1, 1] },
    { num_batches_tracked: [] },
    { num_batches_tracked: [5, 6] },
  ];
  for (const each of wrong) {
    const given = { ...file, bias: [7, 7, 7], ...each };
    expect(() => bn.loadStateDict(given as never), Object.keys(each)[0]).toThrow(ShapeError);
  }
  expect([...(await bn.beta!.read())]).toEqual([0, 0, 0]);
  bn.destroy();
});

describe("re-estimation", () => {
  test("leaves parameters as its run has left them", async () => {
    const bn = new BatchNorm1d(device, 2);
    const x = put2(12, [6, 2]).tensor;
    await reestimate([bn], [x], (each) => {
      bn.forward(each).destroy();
      bn.gamma!.write([7, 7]);
    });
    expect([...(await bn.gamma!.read())]).toEqual([7, 7]);
    bn.destroy();
  });

  test("every value counts the same, whatever its batch", async () => {
    const bn = new BatchNorm2d(device, 3);
    bn.eval();
    const sizes = [5, 1, 7, ...Array<number>(30).fill(2)];
    const xs = sizes.map((size) => put2(size * 12, [size, 3, 2, 2], 4, 3));
    const all = Float64Array.from(xs.flatMap(({ values }) => [...values]));
    const whole = statistics(all, [all.length / 12, 3, 2, 2]);
    const seen: number[] = [];
    const counts = await reestimate(
      bn,
      xs,
      (x) => {
        bn.forward(x.tensor).destroy();
      },
      { onProgress: (done) => seen.push(done) },
    );
    expect(counts).toEqual([whole.count]);
    expect(seen).toEqual(sizes.map((_, i) => i + 1));
    const dict = await bn.stateDict();
    expect(dict.running_mean).toBeAllclose(whole.mean, { atol: 1e-6 * 3 });
    const variance = whole.m2.map((sum) => sum / (whole.count - 1));
    expect(dict.running_var).toBeAllclose(variance, { rtol: 4e-6 });
    expect(dict.num_batches_tracked).toBe(0n);
    expect(bn.training).toBe(false);
    expect(Object.keys(bn)).not.toContain("forward");
    bn.destroy();
  });

  test("a module that works in place, by what it is given", async () => {
    const bn = new BatchNorm2d(device, 3, { inPlace: true, layout: "channels-last" });
    const x = put2(48, [4, 2, 2, 3], 3, 2);
    await reestimate(bn, [x.tensor], (each) => void bn.forward(each));
    const { mean } = statistics(x.values, [4, 2, 2, 3], { layout: "channels-last" });
    expect(await bn.runningMean!.read()).toBeAllclose(mean, Y);
    bn.destroy();
  });

  test("two layers, asynchronous batches, a mask and an encoder", async () => {
    const first = new ExtendedBatchNorm(device, 3);
    const second = new BatchNorm1d(device, 3, { runningVariance: "population" });
    const xs = [6, 4].map((size) => ({ size, ...put2(size * 3, [size, 3], -2, 2) }));
    const masks = xs.map(({ size }) => Float32Array.from({ length: size }, (_, i) => i % 2));
    async function* batches() {
      for (const each of xs) yield await Promise.resolve(each);
    }
    await reestimate([first, second], batches(), ({ tensor: x, size }, index) => {
      const encoder = device.createCommandEncoder();
      const y = first.forward(x, { mask: put(masks[index]!, [size]), encoder });
      second.forward(y, { encoder });
      device.queue.submit([encoder.finish()]);
    });
    const kept = xs.flatMap(({ values, size }, b) =>
      Array.from({ length: size }, (_, i) =>
        masks[b]![i] ? [...values.subarray(3 * i, 3 * i + 3)] : [],
      ).flat(),
    );
    const whole = statistics(kept, [kept.length / 3, 3]);
    expect(await first.runningMean!.read()).toBeAllclose(whole.mean, Y);
    const ys = xs.map(
      ({ values, size }, b) => statisticsForward(values, [size, 3], { mask: masks[b] }).y,
    );
    const next = statistics(Float64Array.from(ys.flatMap((y) => [...y])), [10, 3]);
    expect(await second.runningMean!.read()).toBeAllclose(next.mean, Y);
    expect(await second.runningVar!.read()).toBeAllclose(
      next.m2.map((m2) => m2 / 10),
      Y,
    );
    first.destroy();
    second.destroy();
  });

  test("what fails or is aborted leaves everything as it was", async () => {
    const bn = new BatchNorm1d(device, 4);
    const x = put2(32, [8, 4], 3);
    bn.forward(x.tensor).destroy();
    const before = await bn.stateDict();
    const run = () => bn.forward(x.tensor).destroy();
    await expect(
      reestimate(bn, [1, 2], (index) => {
        run();
        if (index === 2) throw new Error("no more");
      }),
    ).rejects.toThrow("no more");
    expect(await bn.stateDict()).toEqual(before);
    const abort = new AbortController();
    const onProgress = () => abort.abort(new Error("stop"));
    const { signal } = abort;
    await expect(reestimate(bn, [1, 2, 3], run, { onProgress, signal })).rejects.toThrow("stop");
    expect(await bn.stateDict()).toEqual(before);
    await expect(reestimate(bn, [], run)).rejects.toThrow(OptionError);
    const untracked = new BatchNorm1d(device, 4, { trackRunningStats: false });
    await expect(reestimate(untracked, [1], run)).rejects.toThrow(OptionError);
    bn.destroy();
    untracked.destroy();
  });

  test("a last batch of one value per channel is an error, unless it may be single", async () => {
    const batches = [[1, 3], [8]].map((x) => put(Float32Array.from(x), [x.length, 1]));
    const bn = new BatchNorm1d(device, 1).eval();
    const before = await bn.stateDict();
    const run = (of: BatchNorm1d) => (x: Tensor) => of.forward(x).destroy();
    await expect(reestimate(bn, batches, run(bn))).rejects.toThrow(SingleValueError);
    expect(await bn.stateDict()).toEqual(before);
    expect(await reestimate(bn, batches.slice(0, 1), run(bn))).toEqual([2]);
    const single = new BatchNorm1d(device, 1, { singleValue: "zero" });
    expect(await reestimate(single, batches, run(single))).toEqual([3]);
    expect([...(await single.runningMean!.read())]).toEqual([4]);
    bn.destroy();
    single.destroy();
  });

  test("a module that cannot be read leaves the others alone", async () => {
    const [bn, dead] = [new BatchNorm1d(device, 4).eval(), new BatchNorm1d(device, 4)];
    dead.destroy();
    await expect(reestimate([bn, dead], [1], () => undefined)).rejects.toThrow(DestroyedError);
    await bn.stateDict();
    expect(bn.training).toBe(false);
    expect(Object.keys(bn)).not.toContain("forward");
    bn.destroy();
  });

  test("a module that is destroyed meanwhile hides no error, and the others are as they were", async () => {
    const modules = [new BatchNorm1d(device, 4), new BatchNorm1d(device, 4).eval()] as const;
    const [dead, bn] = modules;
    const x = put2(32, [8, 4], 3);
    const before = await bn.stateDict();
    const run = (failure?: Error) => () => {
      for (const each of modules) each.forward(x.tensor).destroy();
      dead.destroy();
      if (failure) throw failure;
    };
    await expect(reestimate(modules, [1], run(new Error("mine")))).rejects.toThrow("mine");
    expect(bn.training).toBe(false);
    expect(Object.keys(bn)).not.toContain("forward");
    expect(await bn.stateDict()).toEqual(before);
    bn.destroy();
  });

  test("modes are what they were, whatever run made of them", async () => {
    const x = put2(32, [8, 4], 3);
    const trained = new BatchNorm1d(device, 4);
    const evaluated = new BatchNorm1d(device, 4).eval();
    const [thawing, resting] = [new ExtendedBatchNorm(device, 4), new ExtendedBatchNorm(device, 4)];
    thawing.freeze();
    resting.eval().freeze();
    const modules = [trained, evaluated, thawing, resting];
    await reestimate(modules, [1], () => {
      for (const each of modules) each.forward(x.tensor).destroy();
      for (const each of modules) each.eval();
    });
    expect(modules.map(({ training }) => training)).toEqual([true, false, false, false]);
    expect([thawing.unfreeze().training, resting.unfreeze().training]).toEqual([true, false]);
    for (const each of modules) each.destroy();
  });

  test("a batch whose forward throws does not count, whatever it was recorded into", async () => {
    const bn = new BatchNorm1d(device, 3);
    const xs = Array.from({ length: 20 }, (_, i) => put2(12, [4, 3], i));
    const wrong = put(new Float32Array(6), [2, 3]);
    const failing = [0, 15, 16, 19];
    const counts = await reestimate(bn, xs, (x, i) => {
      if (failing.includes(i)) {
        for (const encoder of [undefined, device.createCommandEncoder()]) {
          const given = { residual: wrong, ...(encoder ? { encoder } : {}) };
          expect(() => bn.forward(xs[0]!.tensor, given)).toThrow(ShapeError);
        }
        expect(() => bn.forward(undefined as never)).toThrow(OptionError);
      }
      bn.forward(x.tensor).destroy();
    });
    const all = Float32Array.from(xs.flatMap(({ values }) => [...values]));
    const { mean, count } = statistics(all, [80, 3]);
    expect(counts).toEqual([count]);
    expect(await bn.runningMean!.read()).toBeAllclose(mean, { atol: 1e-5 });
    bn.destroy();
  });

  test("counts on where one accumulator has no room", async () => {
    const bn = new ExtendedBatchNorm(device, 3, { runningVariance: "population" });
    const xs = Array.from({ length: 7 }, (_, i) => put2(12, [4, 3], 10 * i));
    const nothing = put(new Float32Array(4), [4]);
    // Room for 8 values: four accumulators, the last of which gets a batch that is masked out.
    const rooms: number[] = [];
    // eslint-disable-next-line @typescript-eslint/unbound-method -- it is called on what it was asked of
    const { hasRoomFor } = StatisticsAccumulator.prototype;
    const spy = vi
      .spyOn(StatisticsAccumulator.prototype, "hasRoomFor")
      .mockImplementation(function (this: StatisticsAccumulator, count: number) {
        const fits = hasRoomFor.call(this, count + 2 ** 32 - 1 - 8);
        if (!fits) rooms.push(count);
        return fits;
      });
    const counts = await reestimate(bn, xs, ({ tensor: x }, i) => {
      bn.forward(x, i === 6 ? { mask: nothing } : {}).destroy();
    });
    spy.mockRestore();
    expect(rooms).toEqual([4, 4, 4]);
    const all = Float32Array.from(xs.slice(0, 6).flatMap(({ values }) => [...values]));
    const { mean, m2, count } = statistics(all, [24, 3]);
    expect(counts).toEqual([count]);
    expect(await bn.runningMean!.read()).toBeAllclose(mean, { rtol: 1e-6 });
    expect(await bn.runningVar!.read()).toBeAllclose(
      m2.map((sum) => sum / count),
      { rtol: 1e-6 },
    );
    bn.destroy();
  });

  test("a module's own forward is there again, and two at once are refused", async () => {
    const bn = new BatchNorm1d(device, 4).eval();
    const x = put2(32, [8, 4], 3);
    const own = (given: Tensor): Tensor => BatchNorm1d.prototype.forward.call(bn, given);
    bn.forward = own;
    const run = () => bn.forward(x.tensor).destroy();
    const first = reestimate([bn, bn], [1, 2], run);
    await expect(reestimate(bn, [1], run)).rejects.toThrow(
      /reestimate: modules\[0\]: one that no other reestimate\(\) watches, got one that is watched/,
    );
    expect(await first).toEqual([16, 16]);
    expect(Object.getOwnPropertyDescriptor(bn, "forward")!.value).toBe(own);
    expect(bn.training).toBe(false);
    expect(Object.keys(bn)).not.toContain("requireInput");
    expect(await reestimate(bn, [1], run)).toEqual([8]);
    await expect(reestimate(bn, [], run)).rejects.toThrow(OptionError);
    expect(await reestimate(bn, [1], run)).toEqual([8]);
    bn.destroy();
  });

  test("says what is missing: a batch, a module's own forward", async () => {
    const [bn, other] = [new BatchNorm1d(device, 4), new BatchNorm1d(device, 4)];
    const x = put2(32, [8, 4], 3);
    const run = () => bn.forward(x.tensor).destroy();
    await expect(reestimate(bn, [], run)).rejects.toThrow(/batches: one at least, got no batch/);
    await expect(reestimate([bn, other], [1], run)).rejects.toThrow(/got none for modules\[1\]/);
    const [communicator] = createLocalCommunicators(1);
    const layer = new SyncBatchNorm(bn, communicator!);
    await expect(
      reestimate(bn, [1], async () => (await layer.forward(x.tensor)).destroy()),
    ).rejects.toThrow(/the module's own forward, got one of a layer over it \(SyncBatchNorm\)/);
    await reestimate(layer.module, [1], () => layer.module.forward(x.tensor).destroy());
    expect(await bn.runningMean!.read()).toBeAllclose(statistics(x.values, [8, 4]).mean, Y);
    const y = await layer.forward(x.tensor);
    for (const each of [y, layer, bn, other]) each.destroy();
    await communicator!.close();
  });

  test("interpolates between old and new statistics", async () => {
    const a = {
      weight: Float32Array.of(1, 2),
      running_mean: Float32Array.of(0, 4),
      running_var: Float32Array.of(1, 1),
    };
    const b = { running_mean: Float32Array.of(2, 0), running_var: Float32Array.of(3, 5) };
    expect(interpolate(a, b, 0.25)).toEqual({
      weight: a.weight,
      running_mean: Float32Array.of(0.5, 3),
      running_var: Float32Array.of(1.5, 2),
    });
    expect(interpolate(a, b, 0)).toEqual(a);
    expect(interpolate({ ...a, running_mean: Float32Array.of(Infinity, 1) }, b, 1)).toEqual({
      ...a,
      ...b,
    });
    for (const alpha of [2, NaN, null, true, "0.5"])
      expect(() => interpolate(a, b, alpha as number)).toThrow(OptionError);
    expect(() => interpolate(a, { running_mean: Float32Array.of(1) }, 0.5)).toThrow(ShapeError);
  });

  test("an accumulator begins anew after reset, and of nothing has count 0 and no mean", async () => {
    const all = new StatisticsAccumulator(device, 4);
    const [first, second] = [put2(12, [3, 4]), put2(20, [5, 4])];
    const read = async () => (await readStatistics(device, all.total(), { channels: 4 }))[0]!;
    const nothing = await read();
    expect([...nothing.count]).toEqual([0, 0, 0, 0]);
    for (const each of [nothing.mean, nothing.varBiased])
      expect([...each]).toEqual([NaN, NaN, NaN, NaN]);
    all.add(first.tensor);
    expect((await read()).count[0]).toBe(3);
    all.add(second.tensor);
    expect((await read()).count[0]).toBe(8);
    all.reset();
    all.add(second.tensor);
    const { count, mean } = await read();
    expect(count[0]).toBe(5);
    expect(mean).toBeAllclose(statistics(second.values, [5, 4]).mean, Y);
    all.destroy();
    for (const each of made.splice(0)) each.destroy();
  });
});

describe("what the core's module does, those of many statistics do too", () => {
  test("micro-batches in evaluation: a backward after each forward", async () => {
    const bn = new AccumulatedBatchNorm(device, 3, { activation: "relu" });
    made.push(bn);
    bn.loadStateDict({
      ...{ weight: [1, -2, 0.5], bias: [0, 1, -1] },
      ...{ running_mean: [1, 0, 2], running_var: [4, 1, 0.25] },
    });
    bn.eval();
    const own = await bn.stateDict();
    const shape = [4, 3, 5];
    const running = { mean: own.running_mean!, variance: own.running_var! };
    const options = { ...running, mode: "evaluation", activation: "relu" } as const;
    for (let turn = 0; turn < 2; turn++) {
      const [x, dy, residual] = [put2(60, shape, 1), put2(60, shape), put2(60, shape)];
      made.push(bn.forward(x.tensor, { residual: residual.tensor }));
      const dx = bn.backward(dy.tensor, { x: x.tensor, residual: residual.tensor });
      made.push(dx);
      const want = backward(dy.values, x.values, shape, {
        ...options,
        ...{ gamma: own.weight!, beta: own.bias!, residual: residual.values },
      });
      expect(await dx.read()).toBeAllclose(want.dx, GRADIENTS);
    }
    const [x, other, dy] = [put2(60, shape), put2(60, shape), put2(60, shape)];
    made.push(bn.forward(x.tensor));
    expect(() => bn.backward(dy.tensor, { x: other.tensor })).toThrow(
      /backward: x: the x of the last forward, got another tensor/,
    );
    expect(() => bn.train().observe(x.tensor, { mask: other.tensor } as never)).toThrow(
      /observe: mask/,
    );
  });

  test("micro-batches in evaluation, one after another, make no buffers anew", () => {
    const bn = new AccumulatedBatchNorm(device, 3).eval();
    const [x, y, dx] = [put2(12, [4, 3]).tensor, put2(12, [4, 3]).tensor, put2(12, [4, 3]).tensor];
    const turn = () => {
      bn.forward(x, { out: y });
      bn.backward(y, { x, out: dx });
    };
    turn();
    const create = vi.spyOn(device, "createBuffer");
    for (let again = 0; again < 3; again++) turn();
    expect(create).not.toHaveBeenCalled();
    create.mockRestore();
    bn.destroy();
  });

  test("the versions of what is learned grow with each forward that learns", () => {
    const x = put2(24, [6, 4]).tensor;
    const extended = new ExtendedBatchNorm(device, 4, { renorm: true });
    const accumulated = new AccumulatedBatchNorm(device, 4);
    const { renormMean, renormDeviation } = extended;
    const learned = [extended, accumulated].flatMap((bn) => [bn.runningMean, bn.runningVar]);
    const versions = (): number[] =>
      [...learned, renormMean, renormDeviation].map((each) => each!.version);
    const before = versions();
    extended.forward(x).destroy();
    accumulated.observe(x);
    accumulated.forward(x).destroy();
    const after = before.map((each) => each + 1);
    expect(versions()).toEqual(after);
    // Of the same batch, and in evaluation: neither learns.
    accumulated.forward(x).destroy();
    for (const bn of [extended, accumulated]) bn.eval().forward(x).destroy();
    expect(versions()).toEqual(after);
    for (const bn of [extended, accumulated]) bn.destroy();
  });

  test("a state of renormalization comes from a model's file, whole or not at all", async () => {
    const bn = new ExtendedBatchNorm(device, 2, { renorm: true, scale: false });
    made.push(bn);
    const tensors = (entries: Record<string, number[]>) =>
      new Map(
        Object.entries(entries).map(([name, values]) => [
          `layer1.bn.${name}`,
          { data: Float32Array.from(values) },
        ]),
      );
    const file = {
      ...{ bias: [1, 2], running_mean: [3, 4], running_var: [5, 6] },
      ...{ renorm_mean: [7, 8], renorm_stddev: [9, 10] },
    };
    bn.loadStateDict(tensors(file), { prefix: "layer1.bn." });
    const loaded = await bn.stateDict();
    for (const [name, values] of Object.entries(file))
      expect(loaded[name as keyof typeof file]).toEqual(Float32Array.from(values));

    expect(() => {
      bn.loadStateDict(tensors({ ...file, weight: [1, 5] }), { prefix: "layer1.bn." });
    }).toThrow(/loadStateDict: layer1.bn.weight: 1 alone, got 5; make the module with scale: true/);
    bn.loadStateDict(tensors({ ...file, weight: [1, 1] }), { prefix: "layer1.bn." });
    expect(() => bn.loadStateDict(tensors(file))).toThrow(/pass \{ prefix: "layer1.bn." \}/);
    expect(() => {
      const wrong = { ...file, bias: [0, 0], renorm_stddev: [1, 1, 1] };
      bn.loadStateDict(tensors(wrong), { prefix: "layer1.bn." });
    }).toThrow(/loadStateDict: layer1.bn.renorm_stddev: 2 values, got 3;/);
    expect(() => {
      const { running_var: _, ...wrong } = { ...file, renorm_mean: [0, 0] };
      bn.loadStateDict(tensors(wrong), { prefix: "layer1.bn." });
    }).toThrow(/running_var/);
    expect(() => {
      bn.loadStateDict({ ...file, bias: [0, 0], renorm_mean: 0 });
    }).toThrow(ShapeError);
    expect(await bn.stateDict()).toEqual(loaded);

    const { renorm_mean: _, renorm_stddev: __, ...plain } = file;
    bn.loadStateDict(tensors(plain), { prefix: "layer1.bn." });
    const { renorm_mean, renorm_stddev } = await bn.stateDict();
    expect(renorm_mean).toEqual(Float32Array.from(file.running_mean));
    const spread = file.running_var.map((value) => Math.sqrt(value + 1e-5));
    expect(renorm_stddev).toBeAllclose(spread, { rtol: 1e-7 });

    const whole = { ...plain, running_var: new BigInt64Array([4n, 9n]) };
    bn.loadStateDict(
      new Map(Object.entries({ ...whole, renorm_mean: [1n, -2n], renorm_stddev: [2n, 3n] })),
    );
    const last = await bn.stateDict();
    expect(last.renorm_mean).toEqual(Float32Array.of(1, -2));
    expect(last.renorm_stddev).toEqual(Float32Array.of(2, 3));
  });

  test("what is prepared is not compiled again", async () => {
    const own = await openDevice();
    const create = vi.spyOn(own, "createComputePipeline");
    const shape = [4, 3, 5, 5];
    const [x, dy] = [0, 1].map(() => tensor(own, random.normals(300), shape));
    const extended = new ExtendedBatchNorm(own, 3, { virtualBatchSize: 2, activation: "relu" });
    const accumulated = new AccumulatedBatchNorm(own, 3, { activation: "elu" });
    for (const bn of [extended, accumulated]) await bn.prepare(shape);
    extended.forward(x!);
    extended.backward(dy!);
    // Parts are merged in fours and more in other ways than in twos, 16 at most and the rest of those below.
    for (const micro of [1, 2, 4, 5, 9, 16, 40, 260]) {
      for (let i = 0; i < micro; i++) accumulated.observe(x!);
      accumulated.forward(x!);
      for (let i = 0; i < micro; i++) accumulated.observeGradient(dy!, { x: x! });
      accumulated.backward(dy!, { x: x! });
    }
    extended.eval().forward(x!);
    extended.backward(dy!);
    accumulated.eval().forward(x!);
    accumulated.backward(dy!, { x: x! });
    await accumulated.status();
    expect(create.mock.calls.map(([{ label }]) => label)).toEqual([]);
    // For evaluation a single value will do.
    for (const bn of [extended, accumulated]) await bn.train().prepare([1, 3]);
  });

  test("a destroyed context takes no forward", () => {
    const bn = new ExtendedBatchNorm(device, 3, { virtualBatchSize: 2 });
    const context = bn.context();
    context.destroy();
    const x = put2(12, [4, 3]).tensor;
    for (const mode of ["train", "eval"] as const)
      expect(() => bn[mode]().forward(x, { context })).toThrow(DestroyedError);
    bn.destroy();
    expect(() => bn.context()).toThrow(DestroyedError);
  });
});
