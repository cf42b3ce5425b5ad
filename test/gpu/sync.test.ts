/** Synchronised batch normalization: the ranks' shards together are one batch, however they are cut. */
import { beforeAll, describe, expect, test, vi } from "vitest";
import {
  BatchNorm1d,
  BatchNorm2d,
  BufferError,
  ContextError,
  DestroyedError,
  DeviceLostError,
  OptionError,
  OverlapError,
  ShapeError,
  SingleValueError,
  tensor,
  Tensor,
  type BatchNormOptions,
} from "../../src/index.js";
import { AccumulatedBatchNorm, ExtendedBatchNorm } from "../../src/statistics/index.js";
import {
  CommunicatorClosedError,
  createLocalCommunicators,
  PartMismatchError,
  PeerLostError,
  sum,
  SyncBatchNorm,
  type Communicator,
} from "../../src/sync/index.js";
import { MOST_PENDING } from "../../src/sync/group.js";
import { stateOf } from "../../src/device.js";
import { openDevice } from "../support/device.js";
import { createRandom } from "../support/random.js";
import { pytorchFixtures } from "../support/fixtures.js";
import { runShards } from "../support/shards.js";
import {
  drawInputs,
  joinRanks,
  startsOf,
  stepOfRank,
  type RankOutputs,
} from "../support/sync-shards.js";
import { comparisons, runOnce, type Call, type Inputs } from "../support/tolerance.js";
import "../support/allclose.js";

let device: GPUDevice;
let second: GPUDevice;
beforeAll(async () => {
  device = await openDevice();
  second = await openDevice();
});

async function step(call: Call, inputs: Inputs, sizes: readonly number[]): Promise<RankOutputs[]> {
  const communicators = createLocalCommunicators(sizes.length);
  const starts = startsOf(sizes);
  const ranks = await Promise.all(
    communicators.map((each, rank) =>
      // Odd ranks on a device of their own.
      stepOfRank(rank % 2 ? second : device, each, call, inputs, starts[rank]!, sizes[rank]!),
    ),
  );
  await Promise.all(communicators.map((each) => each.close()));
  return ranks;
}

const bytesOf = (values: Float32Array): Uint8Array => new Uint8Array(values.slice().buffer);

describe("shards on two devices equal the whole batch in float64", () => {
  test.each([
    [[9, 3, 7, 5], {}, 0, 1],
    [[9, 3, 7, 5], {}, 1e6, 1],
    [[12, 4], {}, 100, 0.01],
    [[9, 4, 3, 4], { layout: "channels-last", momentum: null }, 3, 2],
    [[9, 2, 2, 3, 3], { runningVariance: "population" }, 0, 1],
    [[9, 3, 5], { affine: false, trackRunningStats: false }, -1, 1],
  ] as [number[], BatchNormOptions, number, number][])(
    "%j %j, %d +- %d",
    async (shape, options, offset, std) => {
      const call: Call = { shape, options };
      const inputs = drawInputs(call, shape.length, offset, std);
      const total = shape[0]!;
      for (const sizes of [
        [1, 0, total - 4, 3],
        [total - 2, 2],
      ]) {
        const ranks = await step(call, inputs, sizes);
        for (const { name, actual, expected, atol } of comparisons(
          call,
          inputs,
          joinRanks(ranks),
        )) {
          expect(actual, name).toBeAllclose(expected, { atol });
        }
        // All ranks have learned the same.
        for (const { running } of ranks) expect(running).toEqual(ranks[0]!.running);
        if (ranks[0]!.state)
          expect(ranks.map(({ state }) => state!.numBatchesTracked)).toEqual(sizes.map(() => 4));
      }
    },
  );

  test.each([
    ["f32", "silu"],
    ["f16", "relu"],
    ["bf16", "none"],
  ] as const)("%s with a residual and %s", async (dtype, activation) => {
    const call: Call = { shape: [7, 4, 3, 3], dtype, options: { activation } };
    const inputs = drawInputs(call, 5, 1, 2, true);
    const ranks = await step(call, inputs, [3, 0, 4]);
    for (const { name, actual, expected, atol } of comparisons(call, inputs, joinRanks(ranks))) {
      expect(actual, name).toBeAllclose(expected, { atol });
    }
  });
});

describe("shards of PyTorch's own batches give PyTorch's numbers", () => {
  test.each(pytorchFixtures.cases)("$name", async (fixture) => {
    const { shape, options, x, dy, residual, gamma, beta, state, training } = fixture;
    const call: Call = { shape, options };
    const inputs: Inputs = {
      ...{ x, dy },
      ...(residual ? { residual } : {}),
      ...(gamma && beta ? { gamma, beta } : {}),
      ...(state ? { state } : {}),
    };
    const total = shape[0]!;
    const [half, last] = [Math.floor(total / 2), Math.ceil(total / 2)];
    for (const sizes of [
      [half, last],
      [total - 1, 1],
      [half, 0, last],
    ]) {
      const ranks = await step(call, inputs, sizes);
      // Of gammaGrad and betaGrad this takes the sum over the ranks.
      const found = comparisons(call, inputs, joinRanks(ranks), training);
      for (const { name, actual, expected, atol } of found) {
        expect(actual, `${name} of ${sizes.join(" + ")}`).toBeAllclose(expected, { atol });
      }
      expect(found.map(({ name }) => name)).toEqual([
        "y",
        ...(training.state ? ["mean", "variance"] : []),
        "dx",
        ...(training.dGamma ? ["dGamma", "dBeta"] : []),
        ...(training.dResidual ? ["dResidual"] : []),
      ]);
      for (const { state: learned } of ranks) {
        expect(learned?.numBatchesTracked).toBe(training.state?.numBatchesTracked);
      }
    }
  });
});

describe("bits", () => {
  test("are those of one process that merges the same parts in the same order", async () => {
    const call: Call = { shape: [9, 5, 6, 5], options: {} };
    const inputs = drawInputs(call, 9, 50, 3);
    const sizes = [2, 1, 0, 6];
    const ranks = joinRanks(await step(call, inputs, sizes));
    const alone = await runShards(device, call, inputs, { sizes });
    for (const name of ["y", "dx"] as const)
      expect(bytesOf(ranks[name]!)).toEqual(bytesOf(alone[name]!));
    expect(bytesOf(ranks.state!.mean)).toEqual(bytesOf(alone.state!.mean));
    expect(bytesOf(ranks.state!.variance)).toEqual(bytesOf(alone.state!.variance));
  });

  test("are the same on every run", async () => {
    const call: Call = { shape: [8, 3, 5, 5] };
    const inputs = drawInputs(call, 10);
    const text = async (): Promise<string> => {
      const { y, dx, dGamma, dBeta } = joinRanks(await step(call, inputs, [3, 5]));
      return [y, dx!, dGamma!, dBeta!].map((each) => bytesOf(each).join()).join();
    };
    expect(await text()).toBe(await text());
  });

  test("one rank alone stays within the bound as the plain module does", async () => {
    const call: Call = { shape: [6, 3, 4, 4] };
    const inputs = drawInputs(call, 11);
    for (const outputs of [
      joinRanks(await step(call, inputs, [6])),
      await runOnce(device, call, inputs),
    ]) {
      for (const { name, actual, expected, atol } of comparisons(call, inputs, outputs)) {
        expect(actual, name).toBeAllclose(expected, { atol });
      }
    }
  });
});

/** Two ranks on one device, with a layer each. */
function pair(channels = 2, options: BatchNormOptions = {}, others = channels) {
  const communicators = createLocalCommunicators(2) as [Communicator, Communicator];
  const modules = [channels, others].map((each) => new BatchNorm1d(device, each, options));
  const layers = modules.map((module, rank) => new SyncBatchNorm(module, communicators[rank]!));
  const [a, b] = layers as [SyncBatchNorm, SyncBatchNorm];
  return { a, b, communicators, modules };
}

const put = (values: readonly number[], shape: readonly number[]): Tensor =>
  tensor(device, [...values], shape);
const reasonsOf = async (pending: readonly Promise<unknown>[]): Promise<unknown[]> =>
  (await Promise.allSettled(pending)).map(
    (each) => (each.status === "rejected" ? each.reason : null) as unknown,
  );

describe("layers", () => {
  test("overlap in calls, forwards before their backwards, each with its context", async () => {
    const { a, b } = pair(1, { affine: false, eps: 0 });
    const xs = [
      [1, 2],
      [10, 30],
      [3, 5],
      [50, 70],
    ].map((values) => put(values, [2, 1]));
    const contexts = [a.context(), b.context(), a.context(), b.context()];
    const ys = await Promise.all([
      a.forward(xs[0]!, { context: contexts[0]! }),
      a.forward(xs[2]!, { context: contexts[2]! }),
      b.forward(xs[1]!, { context: contexts[1]! }),
      b.forward(xs[3]!, { context: contexts[3]! }),
    ]);
    const expected = (own: number[], other: number[]): number[] => {
      const all = [...own, ...other];
      const mean = all.reduce((sum, value) => sum + value) / 4;
      const std = Math.sqrt(all.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 4);
      return own.map((value) => (value - mean) / std);
    };
    const atol = 4e-6; // 2e-6 * max(1, |xHat|), which is below 2 here
    expect(await ys[0].read()).toBeAllclose(expected([1, 2], [10, 30]), { atol });
    expect(await ys[2].read()).toBeAllclose(expected([10, 30], [1, 2]), { atol });
    expect(await ys[1].read()).toBeAllclose(expected([3, 5], [50, 70]), { atol });
    expect(await ys[3].read()).toBeAllclose(expected([50, 70], [3, 5]), { atol });
    // Backward in the other order: every context has its own statistics.
    const dy = put([1, -1], [2, 1]);
    const gradients = await Promise.all(
      [
        [a, 2],
        [a, 0],
        [b, 3],
        [b, 1],
      ].map(([bn, i]) => (bn as SyncBatchNorm).backward(dy, { context: contexts[i as number]! })),
    );
    const sums = await Promise.all(gradients.map((each) => each.read()));
    // Sum dx = 0 over the whole batch, which is two ranks' shards.
    expect(sums[0]![0]! + sums[0]![1]! + sums[2]![0]! + sums[2]![1]!).toBeCloseTo(0, 5);
    expect(sums[1]![0]! + sums[1]![1]! + sums[3]![0]! + sums[3]![1]!).toBeCloseTo(0, 5);
    await expect(a.backward(dy, { context: contexts[0]! })).rejects.toThrow(ContextError);
  });

  test("in evaluation are the module itself, without a round", async () => {
    const { a, modules } = pair(2);
    modules[0]!.eval();
    const x = put([1, 2, 3, 4], [2, 2]);
    const y = await a.forward(x); // the other rank does nothing
    expect(await y.read()).toBeAllclose([1, 2, 3, 4], { rtol: 1e-5 });
    const dx = await a.backward(put([1, 1, 1, 1], [2, 2]));
    expect(await dx.read()).toBeAllclose([1, 1, 1, 1], { rtol: 1e-5 });
    expect(a.communicator.failure).toBeNull();
  });

  test("fill this rank's share of the gradients, added up where asked", async () => {
    const { a, b } = pair(1);
    const [x, dy] = [put([1, 3], [2, 1]), put([1, 2], [2, 1])];
    for (const accumulate of [false, true]) {
      await Promise.all([a.forward(x), b.forward(x)]);
      await Promise.all([a.backward(dy, { accumulate }), b.backward(dy, { accumulate })]);
    }
    expect([...(await a.module.betaGrad!.read())]).toEqual([6]);
    // xHat = -1, 1 up to eps: dGamma = (2 - 1) each time.
    expect(await a.module.gammaGrad!.read()).toBeAllclose([2], { atol: 4e-5 });
  });

  test("need no round where dx is not wanted", async () => {
    const { a, b } = pair(1);
    const x = put([1, 3], [2, 1]);
    await Promise.all([a.forward(x), b.forward(x)]);
    expect(await a.backward(put([1, 2], [2, 1]), { wants: { x: false } })).toBeNull();
    expect([...(await a.module.betaGrad!.read())]).toEqual([3]);
  });

  test("one value on all ranks together is an error on all of them, two are not", async () => {
    const empty = Tensor.empty(device, [0, 2]);
    const one = put([1, 2], [1, 2]);
    const { a, b } = pair(2);
    for (const reason of await reasonsOf([a.forward(one), b.forward(empty)])) {
      expect(reason).toBeInstanceOf(SingleValueError);
    }
    const [y] = await Promise.all([a.forward(one), b.forward(put([3, 2], [1, 2]))]);
    expect(await y.read()).toBeAllclose([-1, 0], { atol: 1e-5 });
    await expect(Promise.all([a.forward(one), b.forward(empty)])).rejects.toThrow();
    // It has come to its end, and left nothing.
    await expect(a.backward(one)).rejects.toThrow(/context: .* got a used one/);
    const zero = pair(2, { singleValue: "zero" });
    const [z] = await Promise.all([zero.a.forward(one), zero.b.forward(empty)]);
    expect([...(await z.read())]).toEqual([0, 0]);
  });

  test("an empty batch on all ranks leaves the statistics alone", async () => {
    const empty = Tensor.empty(device, [0, 2]);
    const { a, b } = pair(2);
    const ys = await Promise.all([a.forward(empty), b.forward(empty)]);
    expect(ys.map(({ size }) => size)).toEqual([0, 0]);
    await Promise.all([a.backward(empty), b.backward(empty)]);
    const { running_mean, running_var, num_batches_tracked } = await a.module.stateDict();
    expect([[...running_mean!], [...running_var!], num_batches_tracked]).toEqual([
      [0, 0],
      [1, 1],
      0n,
    ]);
    expect([...(await a.module.gammaGrad!.read())]).toEqual([0, 0]);
  });
});

describe("errors", () => {
  test("different channel counts are an error on both ranks", async () => {
    const { a, b } = pair(2, {}, 3);
    const reasons = await reasonsOf([
      a.forward(put([1, 2, 3, 4], [2, 2])),
      b.forward(put([1, 2, 3], [1, 3])),
    ]);
    for (const reason of reasons) expect(reason).toBeInstanceOf(PartMismatchError);
    expect(String(reasons[0])).toMatch(/2 channels.*3 channels|3 channels.*2 channels/);
  });

  test("another order of layers is an error, not each other's statistics", async () => {
    const [first, other] = createLocalCommunicators(2) as [Communicator, Communicator];
    const layersOf = (communicator: Communicator): SyncBatchNorm[] =>
      ["conv1", "conv2"].map(
        (name) => new SyncBatchNorm(new BatchNorm1d(device, 1), communicator, { name }),
      );
    const x = put([1, 2], [2, 1]);
    const reasons = await reasonsOf([
      layersOf(first)[0]!.forward(x),
      layersOf(other)[1]!.forward(x),
    ]);
    for (const reason of reasons) expect(reason).toBeInstanceOf(PartMismatchError);
    expect(String(reasons[0])).toMatch(/conv1.*conv2|conv2.*conv1/);
  });

  test("a rank that closes is an error on the other, at once", async () => {
    const { a, b } = pair(1);
    await b.communicator.close();
    await expect(a.forward(put([1, 2], [2, 1]))).rejects.toThrow(PeerLostError);
  });

  test("an abort ends the round", async () => {
    const { a, b } = pair(1);
    const controller = new AbortController();
    const pending = a.forward(put([1, 2], [2, 1]), { signal: controller.signal });
    const reason = new Error("enough");
    controller.abort(reason);
    await expect(pending).rejects.toBe(reason);
    await expect(b.forward(put([1, 2], [2, 1]))).rejects.toThrow(PeerLostError);
  });

  test("wrong use is refused before a round is taken", async () => {
    const { a, b, modules } = pair(2);
    const x = put([1, 2, 3, 4], [2, 2]);
    await expect(a.forward(put([1, 2, 3], [1, 3]))).rejects.toThrow(ShapeError);
    await expect(a.forward(x, { out: x })).rejects.toThrow(OverlapError);
    await expect(a.forward(x, { context: b.context() })).rejects.toThrow(ContextError);
    await expect(a.backward(x)).rejects.toThrow(ContextError);
    expect(
      () => new SyncBatchNorm(new BatchNorm1d(device, 2, { inPlace: true }), a.communicator),
    ).toThrow(OptionError);
    await Promise.all([a.forward(x), b.forward(x)]);
    await expect(a.backward(x, { out: x })).rejects.toThrow(OverlapError);
    modules[0]!.eval();
    await expect(a.backward(x)).rejects.toThrow(ContextError);
    modules[0]!.train();
    x.write([5, 6, 7, 8]);
    await expect(a.backward(put([1, 2, 3, 4], [2, 2]))).rejects.toThrow(ContextError);
    await expect(
      new SyncBatchNorm(new BatchNorm2d(device, 2), a.communicator).forward(x),
    ).rejects.toThrow(ShapeError);
    a.destroy();
    a.destroy();
    await expect(a.forward(x)).rejects.toThrow(DestroyedError);
    // The module and the group are still there.
    expect(a.communicator.failure).toBeNull();
    expect(modules[0]!.forward(x).size).toBe(4);
  });

  test("an x that is written over while the others are waited for is an error", async () => {
    const { a, b } = pair(1);
    const [x, own] = [put([1, 2], [2, 1]), put([3, 4], [2, 1])];
    const pending = a.forward(x);
    await new Promise((resolve) => setTimeout(resolve, 50));
    x.write([9, 9]);
    const [first] = await reasonsOf([pending, b.forward(own)]);
    expect(first).toBeInstanceOf(ContextError);
  });
});

describe("what is refused before its round changes nothing", () => {
  const [dyA, dyB] = [[1, 2] as const, [3, 4] as const];
  /** Two ranks after a forward, the first with a context, and what the first has called. */
  async function forwarded(options: BatchNormOptions = {}) {
    const ranks = pair(1, options);
    const { a, b, communicators } = ranks;
    const x = put([1, 3], [2, 1]);
    const context = a.context();
    await Promise.all([a.forward(x, { context }), b.forward(put([2, 6], [2, 1]))]);
    return { ...ranks, x, context, reduce: vi.spyOn(communicators[0], "allReduce") };
  }
  /** The group goes on: the first's context was not used up, and its gradients hold this backward alone. */
  async function goesOn({ a, b, context }: Awaited<ReturnType<typeof forwarded>>): Promise<void> {
    const options = { context, accumulate: true };
    await Promise.all([
      a.backward(put(dyA, [2, 1]), options),
      b.backward(put(dyB, [2, 1]), { accumulate: true }),
    ]);
    expect([...(await a.module.betaGrad!.read())]).toEqual([3]);
    expect(a.communicator.failure).toBeNull();
  }

  test("a signal that was aborted", async () => {
    const ranks = await forwarded();
    const { a, context, reduce } = ranks;
    const reason = new Error("no more");
    const signal = AbortSignal.abort(reason);
    const dy = put(dyA, [2, 1]);
    await expect(a.backward(dy, { context, signal, accumulate: true })).rejects.toBe(reason);
    // Whose part would find it destroyed, and reject with nobody to see it.
    const lost = put([1, 2], [2, 1]);
    await expect(a.forward(lost, { signal })).rejects.toBe(reason);
    lost.destroy();
    await device.queue.onSubmittedWorkDone();
    expect(reduce).not.toHaveBeenCalled();
    expect([...(await a.module.betaGrad!.read())]).toEqual([0]);
    await goesOn(ranks);
  });

  test("too many rounds at a time", async () => {
    const ranks = await forwarded();
    const { a, b, context, reduce } = ranks;
    const fill = ({ communicator }: SyncBatchNorm): Promise<unknown>[] =>
      Array.from({ length: MOST_PENDING }, () => communicator.allReduce(new Float32Array(1), sum));
    const pending = fill(a);
    const dy = put(dyA, [2, 1]);
    const refused = a.backward(dy, { context, accumulate: true });
    await expect(refused).rejects.toThrow(OptionError);
    await expect(refused).rejects.toThrow(/^backward: .*room for a round, got a full one;/);
    await expect(a.forward(dy)).rejects.toThrow(/^forward: .*room for a round, got a full one;/);
    await device.queue.onSubmittedWorkDone();
    expect(reduce).toHaveBeenCalledTimes(MOST_PENDING);
    expect([...(await a.module.betaGrad!.read())]).toEqual([0]);
    await Promise.all([...pending, ...fill(b)]);
    await goesOn(ranks);
  });

  test("a communicator that was closed", async () => {
    const { a, b, context, reduce } = await forwarded();
    await Promise.all([a.communicator.close(), b.communicator.close()]);
    const dy = put(dyA, [2, 1]);
    const accumulate = true;
    await expect(a.backward(dy, { context, accumulate })).rejects.toThrow(CommunicatorClosedError);
    const lost = put([1, 2], [2, 1]);
    await expect(a.forward(lost)).rejects.toThrow(CommunicatorClosedError);
    lost.destroy();
    await device.queue.onSubmittedWorkDone();
    expect(reduce).not.toHaveBeenCalled();
    expect([...(await a.module.betaGrad!.read())]).toEqual([0]);
    // What needs no round still works.
    expect(await a.backward(dy, { context, wants: { x: false } })).toBeNull();
    expect([...(await a.module.betaGrad!.read())]).toEqual([3]);
  });

  test("tensors of another shape or dtype, of other bytes than their own, destroyed, or unaligned", async () => {
    const ranks = await forwarded();
    const { a, x, context, reduce } = ranks;
    const dy = put(dyA, [2, 1]);
    const longer = put([1, 2, 3], [3, 1]);
    const half = tensor(device, [1, 2], [2, 1], { dtype: "f16" });
    const gone = put(dyA, [2, 1]);
    gone.destroy();
    const view = ({ buffer }: Tensor, offset = 0): Tensor =>
      Tensor.wrap(device, { buffer, offset }, [2, 1]);
    const room = put(Array<number>(8).fill(0), [8]);
    for (const [wrong, error] of [
      [longer, ShapeError],
      [half, ShapeError],
      [gone, DestroyedError],
      [view(room, 4), BufferError],
    ] as const) {
      await expect(a.backward(wrong, { context })).rejects.toThrow(error);
      await expect(a.backward(dy, { context, out: wrong })).rejects.toThrow(error);
      await expect(a.backward(dy, { context, residualGrad: wrong })).rejects.toThrow(error);
      await expect(a.forward(x, { out: wrong })).rejects.toThrow(error);
    }
    for (const shared of [dy, view(dy), x, view(x)]) {
      await expect(a.backward(dy, { context, out: shared })).rejects.toThrow(OverlapError);
      const residualGrad = shared;
      await expect(a.backward(dy, { context, residualGrad })).rejects.toThrow(OverlapError);
    }
    const both = { out: view(room), residualGrad: view(room) };
    await expect(a.backward(dy, { context, ...both })).rejects.toThrow(OverlapError);
    await expect(a.forward(x, { out: view(x) })).rejects.toThrow(OverlapError);
    expect(reduce).not.toHaveBeenCalled();
    await goesOn(ranks);
  });

  test("a residual that the backward reads is not written over, one that it does not may be", async () => {
    for (const activation of ["relu", "none"] as const) {
      const { a, b } = pair(1, { activation });
      const [x, residual] = [put([1, 3], [2, 1]), put([0, 1], [2, 1])];
      await Promise.all([a.forward(x, { residual }), b.forward(x, { residual })]);
      const out = Tensor.wrap(device, residual.buffer, [2, 1]);
      const first = a.backward(put(dyA, [2, 1]), { out });
      if (activation === "relu") await expect(first).rejects.toThrow(OverlapError);
      else await Promise.all([first, b.backward(put(dyB, [2, 1]))]);
      expect(a.communicator.failure).toBeNull();
    }
  });

  test("no gradient at all", async () => {
    const { a, context, reduce } = await forwarded();
    const dy = put(dyA, [2, 1]);
    const wants = { x: false, gamma: false, beta: false };
    const none = a.backward(dy, { context, wants });
    await expect(none).rejects.toThrow(OptionError);
    await expect(none).rejects.toThrow("backward: wants: at least one gradient, got none");
    // dResidual is one.
    const residualGrad = put([0, 0], [2, 1]);
    await a.backward(dy, { context, wants, residualGrad });
    expect([...(await residualGrad.read())]).toEqual(dyA);
    expect(reduce).not.toHaveBeenCalled();
    expect(a.communicator.failure).toBeNull();
  });

  test("a module that was destroyed", async () => {
    const { a, context, modules, reduce } = await forwarded();
    modules[0]!.destroy();
    await expect(a.backward(put(dyA, [2, 1]), { context })).rejects.toThrow(DestroyedError);
    expect(reduce).not.toHaveBeenCalled();
    expect(a.communicator.failure).toBeNull();
  });

  test("a context that was destroyed", async () => {
    const ranks = await forwarded();
    const { a, x, reduce } = ranks;
    const context = a.context();
    expect(context.destroyed).toBe(false);
    context.destroy();
    expect(context.destroyed).toBe(true);
    const message = /context: a live one, got a destroyed one/;
    for (const pending of [a.forward(x, { context }), a.backward(put(dyA, [2, 1]), { context })]) {
      await expect(pending).rejects.toThrow(DestroyedError);
      await expect(pending).rejects.toThrow(message);
    }
    expect(reduce).not.toHaveBeenCalled();
    await goesOn(ranks);
  });
});

test("a context that is destroyed while the others are waited for is an error", async () => {
  const { a, b } = pair(1);
  const [x, dy] = [put([1, 3], [2, 1]), put([1, 2], [2, 1])];
  const context = a.context();
  const pending = a.forward(x, { context });
  context.destroy();
  await Promise.all([expect(pending).rejects.toThrow(DestroyedError), b.forward(x)]);
  const { a: c, b: d } = pair(1);
  const kept = c.context();
  await Promise.all([c.forward(x, { context: kept }), d.forward(x)]);
  const sent = vi.spyOn(c.communicator, "allReduce");
  const last = c.backward(dy, { context: kept });
  await (sent.mock.calls[0]![0] as Promise<unknown>);
  kept.destroy();
  await Promise.all([expect(last).rejects.toThrow(DestroyedError), d.backward(dy)]);
  // The other rank has moved on: they are no more in step.
  await expect(d.forward(x)).rejects.toThrow(PeerLostError);
});

test.each([false, true])(
  "a layer that is destroyed meanwhile is an error: compiled, %s",
  async (compiled) => {
    const { a, b } = pair(1);
    const x = put([1, 3], [2, 1]);
    if (compiled) await a.prepare([2, 1]);
    const pending = [a.forward(x), b.forward(x)];
    a.destroy();
    const [own, other] = await reasonsOf(pending);
    expect(own).toBeInstanceOf(DestroyedError);
    expect(String(own)).toMatch(/forward: a live SyncBatchNorm, got a destroyed one/);
    expect(other).toBeInstanceOf(PeerLostError);
  },
);

test("a layer that is destroyed before its call's turn leaves no buffer behind", async () => {
  const [communicator] = createLocalCommunicators(1) as [Communicator];
  const [module, x] = [new BatchNorm1d(device, 1), put([1, 3], [2, 1])];
  const makes = vi.spyOn(device, "createBuffer");
  const frees = vi.spyOn(GPUBuffer.prototype, "destroy");
  const bn = new SyncBatchNorm(module, communicator);
  const pending = bn.forward(x);
  bn.destroy();
  await expect(pending).rejects.toThrow(DestroyedError);
  await module.status();
  const made = makes.mock.results.map(({ value }) => value as GPUBuffer);
  const left = made.filter((each) => !frees.mock.contexts.includes(each));
  expect(left.map(({ label }) => label)).toEqual([]);
  makes.mockRestore();
  frees.mockRestore();
});

test("a rank that cannot use what has come of a round ends the group, and its device's loss does", async () => {
  const x = put([1, 3], [2, 1]);
  const { a, b } = pair(1);
  const failing = vi.spyOn(Tensor, "empty").mockImplementationOnce(() => {
    throw new BufferError("pretended");
  });
  const results = await reasonsOf([a.forward(x), b.forward(x)]);
  failing.mockRestore();
  expect(results.filter((each) => each instanceof BufferError)).toHaveLength(1);
  for (const each of [a, b]) expect(each.communicator.failure).not.toBeNull();
  expect((await reasonsOf([a.forward(x), b.forward(x)])).map((each) => String(each))).toEqual(
    expect.arrayContaining([expect.stringMatching(/gave up/)]),
  );

  const own = await openDevice();
  const [first, other] = createLocalCommunicators(2) as [Communicator, Communicator];
  const lost = new SyncBatchNorm(new BatchNorm1d(own, 1), first);
  const left = new SyncBatchNorm(new BatchNorm1d(device, 1), other);
  const there = tensor(own, [1, 3], [2, 1]);
  await Promise.all([lost.forward(there), left.forward(x)]);
  own.destroy();
  await own.lost;
  const pending = left.forward(x);
  await expect(lost.forward(there)).rejects.toThrow(DeviceLostError);
  // At once, not when it has waited for half a minute.
  await expect(pending).rejects.toThrow(PeerLostError);
});

describe("what overlaps is done in the order of the calls", () => {
  /** As where a compiler has to be waited for: whatever is not there yet takes long. */
  async function slowly<T>(run: () => Promise<T>): Promise<T> {
    // eslint-disable-next-line @typescript-eslint/unbound-method -- it is called on what it was asked of
    const { pending } = stateOf(device);
    const spy = vi.spyOn(stateOf(device), "pending").mockImplementation(async function (
      this: ReturnType<typeof stateOf>,
    ) {
      await new Promise((resolve) => setTimeout(resolve, 30));
      await pending.call(this);
    });
    return run().finally(() => spy.mockRestore());
  }

  test("gradients replace, then add, whichever plan is there first", async () => {
    const { a, b } = pair(1, { eps: 0 });
    const [wide, narrow] = [put([1, 3, 5], [3, 1]), put([2, 8], [2, 1])];
    for (const each of [a, b]) await each.prepare([2, 1]);
    const views = [a.context(), a.context(), b.context(), b.context()];
    await Promise.all([
      a.forward(wide, { context: views[0]! }),
      a.forward(narrow, { context: views[1]! }),
      b.forward(wide, { context: views[2]! }),
      b.forward(narrow, { context: views[3]! }),
    ]);
    const [dWide, dNarrow] = [put([1, 2, 4], [3, 1]), put([10, 20], [2, 1])];
    // Those of the second are there.
    for (const each of [a, b]) {
      const view = each.context();
      await Promise.all(
        [a, b].map((one) => one.forward(narrow, one === each ? { context: view } : {})),
      );
      await each.backward(dNarrow, { context: view, accumulate: true, wants: { x: false } });
    }
    await slowly(() =>
      Promise.all([
        a.backward(dWide, { context: views[0]! }),
        a.backward(dNarrow, { context: views[1]!, accumulate: true }),
        b.backward(dWide, { context: views[2]! }),
        b.backward(dNarrow, { context: views[3]!, accumulate: true }),
      ]),
    );
    for (const { module } of [a, b]) expect([...(await module.betaGrad!.read())]).toEqual([37]);
  });

  test("running statistics, though each rank has other plans to make", async () => {
    const { a, b } = pair(1, { momentum: 0.5, runningVariance: "population" });
    await Promise.all([a.prepare([5, 1]), b.prepare([5, 1])]);
    const [four, five] = [put([1, 1, 1, 1], [4, 1]), put([5, 5, 5, 5, 5], [5, 1])];
    // The first round is of four and five values, the second of five and four.
    const [first4, second5] = [put([2, 2, 2, 2], [4, 1]), put([9, 9, 9, 9, 9], [5, 1])];
    await slowly(() =>
      Promise.all([a.forward(four), a.forward(five), b.forward(second5), b.forward(first4)]),
    );
    const means = [49 / 9, 33 / 9];
    const expected = means.reduce((running, mean) => (running + mean) / 2, 0);
    const [first, other] = await Promise.all([a, b].map((each) => each.module.runningMean!.read()));
    expect(first).toBeAllclose([expected], { rtol: 1e-6 });
    expect(other).toEqual(first);
  });

  test("a forward saves its statistics after a backward that still needs those before", async () => {
    const run = async (overlap: boolean): Promise<number[]> => {
      const { a, b } = pair(1);
      const [x1, x2] = [put([1, 3], [2, 1]), put([10, 50], [2, 1])];
      const dy = put([1, 2], [2, 1]);
      await Promise.all([a.forward(x1), b.forward(x1)]);
      const gradients = [a.backward(dy), b.backward(dy)];
      if (!overlap) await Promise.all(gradients);
      const ys = await Promise.all([a.forward(x2), b.forward(x2)]);
      const dxs = await Promise.all(gradients);
      const tensors = [...dxs, ...ys, a.module.gammaGrad!, b.module.gammaGrad!];
      return (await Promise.all(tensors.map((each) => each.read()))).flatMap((each) => [...each]);
    };
    expect(await run(true)).toEqual(await run(false));
    // One that has been called takes the context with it.
    const { a, b } = pair(1);
    const x = put([1, 3], [2, 1]);
    await Promise.all([a.forward(x), b.forward(x)]);
    const pending = [a.forward(x), b.forward(x)];
    await expect(a.backward(put([1, 2], [2, 1]))).rejects.toThrow(
      /context: .* got one whose last forward is not done/,
    );
    await Promise.all(pending);
  });

  test.each(["its own", "given"])(
    "a backward is of the last forward, in a context that is %s",
    async (of) => {
      const [communicator] = createLocalCommunicators(1) as [Communicator];
      const bn = new SyncBatchNorm(new BatchNorm1d(device, 1), communicator);
      const options = of === "its own" ? {} : { context: bn.context() };
      const [x1, x2] = [put([1, 2, 4], [3, 1]), put([100, 900, 300], [3, 1])];
      const dy = put([1, -2, 0.5], [3, 1]);
      await bn.forward(x2, options);
      const expected = await (await bn.backward(dy, options)).read();
      const pending = [bn.forward(x1, options), bn.forward(x2, options)];
      await pending[0];
      // The first is done, and the second saves its statistics in its place.
      await expect(bn.backward(dy, options)).rejects.toThrow(ContextError);
      await pending[1];
      expect(await (await bn.backward(dy, options)).read()).toEqual(expected);
      expect(communicator.failure).toBeNull();
    },
  );

  test.each(["without a context", "in the same one"])(
    "a forward in evaluation, %s, is later than one in training that is not done",
    async (of) => {
      const [communicator] = createLocalCommunicators(1) as [Communicator];
      const module = new BatchNorm1d(device, 1);
      const bn = new SyncBatchNorm(module, communicator);
      const [x, dy] = [put([1, 3], [2, 1]), put([1, 2], [2, 1])];
      const context = bn.context();
      const pending = bn.forward(x, { context });
      module.eval();
      const options = of === "without a context" ? {} : { context };
      await bn.forward(x, options);
      await pending;
      // By the running variance as it was then: 1.
      expect(await (await bn.backward(dy, options)).read()).toBeAllclose([1, 2], { rtol: 1e-5 });
    },
  );

  test("more shapes at once than plans are kept of", async () => {
    const { a, b } = pair(1);
    const shapes = Array.from({ length: 10 }, (_, i) => [i + 2, 1]);
    const xs = shapes.map(([size]) =>
      put(
        Array.from({ length: size! }, (_, i) => i),
        [size!, 1],
      ),
    );
    const contexts = [a, b].map((each) => xs.map(() => each.context()));
    await Promise.all(
      [a, b].flatMap((each, rank) =>
        xs.map((x, i) => each.forward(x, { context: contexts[rank]![i]! })),
      ),
    );
    const gradients = await Promise.all(
      [a, b].flatMap((each, rank) =>
        xs.map((x, i) => each.backward(x, { context: contexts[rank]![i]! })),
      ),
    );
    // dy is x: nothing is left of it but what eps makes.
    for (const dx of gradients)
      expect(await dx.read()).toBeAllclose(new Float32Array(dx.size), { atol: 1e-4 });
  });
});

test("contexts in evaluation and of frozen modules, and of one mode for the other", async () => {
  const [communicator] = createLocalCommunicators(1) as [Communicator];
  const module = new ExtendedBatchNorm(device, 1).freeze({ affine: "trainable" });
  const plain = new BatchNorm1d(device, 1);
  for (const each of [module, plain]) {
    each.eval();
    each.loadStateDict({ ...(await each.stateDict()), running_mean: [2], running_var: [4] });
  }
  const x = [put([1, 3], [2, 1]), put([4, 8], [2, 1])] as const;
  const dy = [put([1, 2], [2, 1]), put([3, 5], [2, 1])] as const;
  for (const each of [module, plain]) {
    const bn = new SyncBatchNorm(each, communicator);
    const contexts = [bn.context(), bn.context()] as const;
    for (const i of [0, 1] as const) await bn.forward(x[i], { context: contexts[i] });
    for (const i of [1, 0] as const) {
      const dx = await bn.backward(dy[i], { context: contexts[i] });
      const expected = (await dy[i].read()).map((value) => value / 2);
      expect(await dx.read()).toBeAllclose(expected, { rtol: 1e-5 });
      const dGamma = (await x[i].read()).map((value, k) => ((value - 2) / 2) * 2 * expected[k]!);
      expect(await each.gammaGrad!.read()).toBeAllclose([dGamma[0]! + dGamma[1]!], { rtol: 1e-5 });
    }
    await expect(bn.backward(dy[0], { context: contexts[0] })).rejects.toThrow(ContextError);
    for (const context of contexts) context.destroy();
    bn.destroy();
  }
  const bn = new SyncBatchNorm(plain, communicator);
  const context = bn.context();
  plain.train();
  await bn.forward(x[0], { context });
  plain.eval();
  await expect(bn.backward(dy[0], { context })).rejects.toThrow(/one of training mode/);
  await bn.forward(x[1], { context });
  plain.train();
  await expect(bn.backward(dy[0], { context })).rejects.toThrow(/one of evaluation mode/);
  expect(communicator.failure).toBeNull();
  for (const each of [context, bn, module, plain]) each.destroy();
});

describe("modules of webgpu-batchnorm/statistics", () => {
  const [communicator] = createLocalCommunicators(1) as [Communicator];

  test("are refused: what they add is not synchronised", () => {
    for (const options of [
      { renorm: true },
      { virtualBatchSize: 2 },
      { scale: false },
      { center: false },
    ]) {
      const module = new ExtendedBatchNorm(device, 2, options);
      const make = (): SyncBatchNorm => new SyncBatchNorm(module, communicator);
      expect(make).toThrow(OptionError);
      expect(make).toThrow(Object.keys(options)[0]!);
      module.destroy();
    }
    const accumulated = new AccumulatedBatchNorm(device, 2);
    expect(() => new SyncBatchNorm(accumulated, communicator)).toThrow(
      /SyncBatchNorm: module: .* got an AccumulatedBatchNorm; micro-batches/,
    );
    accumulated.destroy();
  });

  test("are taken where they are frozen, until they learn again", async () => {
    const module = new ExtendedBatchNorm(device, 1, { renorm: true }).freeze({
      affine: "trainable",
    });
    const bn = new SyncBatchNorm(module, communicator);
    const x = put([1, 3], [2, 1]);
    const y = await bn.forward(x);
    expect(await y.read()).toBeAllclose([1, 3], { rtol: 1e-5 });
    const dx = await bn.backward(put([1, 2], [2, 1]));
    expect(await dx.read()).toBeAllclose([1, 2], { rtol: 1e-5 });
    expect([...(await module.betaGrad!.read())]).toEqual([3]);
    module.unfreeze();
    const learning = bn.forward(x);
    await expect(learning).rejects.toThrow(OptionError);
    await expect(learning).rejects.toThrow(/forward: module: .*renorm/);
    module.eval();
    expect(await (await bn.forward(x)).read()).toBeAllclose([1, 3], { rtol: 1e-5 });
    expect(communicator.failure).toBeNull();
    for (const each of [x, y, dx, bn, module]) each.destroy();
  });
});

test.each(["x", "dy", "residual"] as const)(
  "a backward's %s that is written over while the others are waited for is an error",
  async (name) => {
    const { a, b, communicators } = pair(1, { activation: "relu" });
    const own = {
      x: put([1, 2], [2, 1]),
      dy: put([1, -1], [2, 1]),
      residual: put([1, 1], [2, 1]),
    };
    const [x, dy, residual] = [put([3, 4], [2, 1]), put([1, 2], [2, 1]), put([0, 1], [2, 1])];
    await Promise.all([a.forward(own.x, { residual: own.residual }), b.forward(x, { residual })]);
    const sent = vi.spyOn(communicators[0], "allReduce");
    const pending = a.backward(own.dy);
    // Its part is read and on its way before anything is changed.
    await (sent.mock.calls[0]![0] as Promise<unknown>);
    own[name].write([9, 9]);
    const [first, other] = await reasonsOf([pending, b.backward(dy)]);
    expect(first).toBeInstanceOf(ContextError);
    expect(String(first)).toMatch(`${name} was written over`);
    expect(other).toBeNull();
  },
);

test("a network of two layers trains to the same numbers on two ranks as on one", async () => {
  const random = createRandom(3);
  const [channels, batch] = [4, 12];
  const data = random.normals(channels * batch);
  const target = random.normals(channels * batch);
  const train = async (sizes: readonly number[]): Promise<Float32Array[]> => {
    const communicators = createLocalCommunicators(sizes.length);
    const starts = startsOf(sizes);
    const all = await Promise.all(
      communicators.map(async (communicator, rank) => {
        const share = (values: Float32Array): Float32Array =>
          values.slice(starts[rank]! * channels, (starts[rank]! + sizes[rank]!) * channels);
        const modules = ["relu", "none"].map(
          (activation) => new BatchNorm1d(device, channels, { activation } as BatchNormOptions),
        );
        const layers = modules.map((module) => new SyncBatchNorm(module, communicator));
        const x = tensor(device, share(data), [sizes[rank]!, channels]);
        for (let iteration = 0; iteration < 4; iteration += 1) {
          const hidden = await layers[0]!.forward(x);
          const y = await layers[1]!.forward(hidden);
          const wanted = share(target);
          const error = (await y.read()).map((value, i) => (value - wanted[i]!) / batch);
          const dHidden = await layers[1]!.backward(tensor(device, error, x.shape));
          await layers[0]!.backward(dHidden);
          for (const { gamma, beta, gammaGrad, betaGrad } of modules) {
            for (const [parameter, gradient] of [
              [gamma!, gammaGrad!],
              [beta!, betaGrad!],
            ]) {
              const whole = await communicator.allReduce(await gradient!.read(), sum, {
                tag: "gradient",
              });
              const old = await parameter!.read();
              parameter!.write(old.map((value, c) => value - 0.1 * whole[c]!));
            }
          }
        }
        return Promise.all(
          modules.flatMap(({ gamma, beta, runningVar }) => [
            gamma!.read(),
            beta!.read(),
            runningVar!.read(),
          ]),
        );
      }),
    );
    for (const each of all) expect(each).toEqual(all[0]);
    return all[0]!;
  };
  const whole = await train([batch]);
  // Every step's gradients differ by 1e-5 of sums below 10 at most, times the rate 0.1, through 4 steps of two layers.
  for (const sizes of [
    [5, 7],
    [12, 0],
    [3, 4, 5],
  ]) {
    const split = await train(sizes);
    split.forEach((values, i) => expect(values).toBeAllclose(whole[i]!, { atol: 1e-4 }));
  }
});
