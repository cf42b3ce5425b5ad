/** An option that is undefined is one left out: at run time, and by types under exactOptionalPropertyTypes. */
import { beforeAll, expect, test } from "vitest";
import {
  type BackwardOptions,
  BatchNorm1d,
  type BatchNormOptions,
  byteSizes,
  createBackwardSync,
  createForwardSync,
  createInferenceSync,
  type ForwardOptions,
  type PlanDescriptor,
  type PrepareOptions,
  type StateDictInput,
  tensor,
  type Tensor,
  type TensorOptions,
  type Wants,
} from "../../src/index.js";
import {
  AccumulatedBatchNorm,
  type AccumulatedForwardOptions,
  createStatisticsBackwardSync,
  createStatisticsForwardSync,
  createStatisticsSync,
  ExtendedBatchNorm,
  type ExtendedForwardOptions,
  type ExtendedOptions,
  statisticsByteSizes,
  statisticsBytes,
} from "../../src/statistics/index.js";
import {
  createLocalCommunicators,
  SyncBatchNorm,
  type SyncBackwardOptions,
  type SyncForwardOptions,
} from "../../src/sync/index.js";
import { openDevice } from "../support/device.js";
import "../support/allclose.js";

/** Each of these, undefined. */
type Undefined<O> = { readonly [Name in keyof O]-?: undefined };

const ofTensor: Undefined<TensorOptions> = { dtype: undefined, raw: undefined, label: undefined };
const options: Undefined<BatchNormOptions> = {
  ...{ eps: undefined, momentum: undefined, affine: undefined, trackRunningStats: undefined },
  ...{ runningVariance: undefined, singleValue: undefined, layout: undefined },
  ...{ activation: undefined, slope: undefined, inPlace: undefined },
};
const extended: Undefined<ExtendedOptions> = {
  ...options,
  ...{ scale: undefined, center: undefined, virtualBatchSize: undefined },
  ...{ renorm: undefined, renormClipping: undefined, renormMomentum: undefined },
};
const ofForward: Undefined<ForwardOptions> = {
  ...{ out: undefined, residual: undefined, encoder: undefined, context: undefined },
};
const ofExtended: Undefined<ExtendedForwardOptions> = { ...ofForward, mask: undefined };
const ofAccumulated: Undefined<AccumulatedForwardOptions> = {
  ...{ out: undefined, residual: undefined, encoder: undefined },
};
const wants: Undefined<Wants> = { x: undefined, gamma: undefined, beta: undefined };
const ofBackward: Undefined<Omit<BackwardOptions, "wants">> = {
  ...{ context: undefined, out: undefined, residualGrad: undefined },
  ...{ accumulate: undefined, encoder: undefined },
};
const ofPrepare: Undefined<PrepareOptions> = { dtype: undefined, residual: undefined };
const ofSync: Undefined<SyncForwardOptions> = {
  ...{ out: undefined, residual: undefined, context: undefined, signal: undefined },
};
const ofSyncBackward: Undefined<Omit<SyncBackwardOptions, "wants">> = {
  ...{ context: undefined, out: undefined, residualGrad: undefined },
  ...{ accumulate: undefined, signal: undefined },
};
const state: Undefined<StateDictInput> = {
  ...{ weight: undefined, bias: undefined, running_mean: undefined, running_var: undefined },
  num_batches_tracked: undefined,
};

const shape = [4, 2];
const data = [1, -2, 3, 5, -4, 0, 2, 7];
let device: GPUDevice;
let x: Tensor;
let dy: Tensor;
let y: Float32Array;
let dx: Float32Array;
let dGamma: Float32Array;
beforeAll(async () => {
  device = await openDevice();
  x = tensor(device, data, shape);
  dy = tensor(device, [...data].reverse(), shape);
  const bn = new BatchNorm1d(device, 2);
  y = await bn.forward(x).read();
  dx = await bn.backward(dy).read();
  dGamma = await bn.gammaGrad!.read();
});

test("of tensors and modules", async () => {
  expect([...(await tensor(device, data, shape, ofTensor).read())]).toEqual(data);
  x.write(data, { raw: undefined });
  const bn = new BatchNorm1d(device, 2, options);
  expect(bn.options).toEqual(new BatchNorm1d(device, 2).options);
  await bn.prepare(shape, ofPrepare);
  for (const each of [wants, undefined]) {
    expect(await bn.forward(x, ofForward).read()).toEqual(y);
    expect(await bn.backward(dy, { ...ofBackward, wants: each }).read()).toEqual(dx);
  }
  expect(await bn.gammaGrad!.read()).toEqual(dGamma);
  const before = await bn.stateDict();
  bn.loadStateDict({ ...state, ...before }, { prefix: undefined });
  expect(await bn.stateDict()).toEqual(before);
  const bare = new BatchNorm1d(device, 2, { affine: false, trackRunningStats: false });
  bare.loadStateDict(state);
});

test("of the modules of statistics", async () => {
  const ghosts = new ExtendedBatchNorm(device, 2, extended);
  expect(await ghosts.forward(x, ofExtended).read()).toBeAllclose(y, { atol: 1e-6, rtol: 1e-6 });
  const whole = await ghosts.backward(dy, { ...ofBackward, wants }).read();
  expect(whole).toBeAllclose(dx, { atol: 1e-6, rtol: 1e-6 });
  ghosts.freeze({ affine: undefined });
  expect(ghosts.frozen).toBe("fixed");
  const parts = new AccumulatedBatchNorm(device, 2, options);
  const { encoder, ...others } = ofAccumulated;
  parts.observe(x, { encoder });
  const sum = await parts.forward(x, { ...others, encoder }).read();
  expect(sum).toBeAllclose(y, { atol: 1e-6, rtol: 1e-6 });
  parts.observeGradient(dy, { x, residual: undefined, encoder });
  const given = { x, residual: undefined, out: undefined, wants, accumulate: undefined, encoder };
  const back = await parts.backward(dy, given).read();
  expect(back).toBeAllclose(dx, { atol: 1e-6, rtol: 1e-6 });
});

test("of the synchronised module", async () => {
  const [communicator] = createLocalCommunicators(1, { timeout: undefined });
  const sync = new SyncBatchNorm(new BatchNorm1d(device, 2), communicator!, { name: undefined });
  await sync.prepare(shape, ofPrepare);
  const read = async (of: Promise<Tensor>): Promise<Float32Array> => (await of).read();
  expect(await read(sync.forward(x, ofSync))).toBeAllclose(y, { atol: 1e-6, rtol: 1e-6 });
  const back = await read(sync.backward(dy, { ...ofSyncBackward, wants }));
  expect(back).toBeAllclose(dx, { atol: 1e-6, rtol: 1e-6 });
  sync.destroy();
  await communicator!.close();
});

/** What encode records, at once. */
function submit(record: (encoder: GPUCommandEncoder) => void): void {
  const encoder = device.createCommandEncoder();
  record(encoder);
  device.queue.submit([encoder.finish()]);
}

const buffer = (size: number): GPUBuffer =>
  device.createBuffer({
    size,
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
  });

test("of plans and what they bind", async () => {
  const plain: PlanDescriptor = {
    ...options,
    ...{ shape, dtype: undefined, tuning: undefined, limits: undefined },
    ...{ affine: false, trackRunningStats: false },
  };
  const forward = createForwardSync(device, {
    ...{ ...plain, residual: undefined, invertible: undefined },
  });
  const [out, back] = [tensor(device, new Float32Array(8), shape), tensor(device, data, shape)];
  const saved = buffer(byteSizes({ shape }).saved);
  const none = { gamma: undefined, beta: undefined, residual: undefined };
  submit((encoder) => forward.encode(encoder, { ...none, x, y: out, saved, state: undefined }));
  expect(await out.read()).toEqual(y);
  const backward = createBackwardSync(device, {
    ...{ ...plain, mode: undefined, wants, residual: undefined, residualGrad: undefined },
    ...{ accumulate: undefined, from: undefined },
  });
  const noGradients = { dGamma: undefined, dBeta: undefined, dResidual: undefined };
  const bound = { dy, x, y: undefined, residual: undefined, saved, dx: back, ...noGradients };
  submit((encoder) => backward.encode(encoder, bound));
  expect(await back.read()).toEqual(dx);
  const inference = createInferenceSync(device, {
    ...{ ...plain, trackRunningStats: true },
    ...{ residual: undefined, save: undefined, invertible: undefined },
  });
  const running = new BatchNorm1d(device, 2, { affine: false, eps: 0 });
  const { buffer: stored } = running.runningMean!;
  submit((encoder) =>
    inference.encode(encoder, { ...none, x, y: out, saved: undefined, state: stored }),
  );
  expect(await out.read()).toBeAllclose(Float32Array.from(data), { atol: 1e-4, rtol: 1e-5 });
});

test("of the plans of statistics and what they bind", async () => {
  const plain = { ...options, shape, affine: false, trackRunningStats: false, mask: undefined };
  const ghosts = { virtualBatchSize: undefined, renorm: undefined };
  const renorm = { renormClipping: undefined, renormMomentum: undefined };
  const counts = { parts: undefined, part: undefined };
  const sizes = statisticsByteSizes({ shape, parts: undefined, ...ghosts });
  const partial = createStatisticsSync(device, { ...plain, ...counts });
  const statistics = buffer(statisticsBytes(2));
  submit((encoder) => partial.encode(encoder, { x, mask: undefined, statistics }));
  const which = { scale: undefined, center: undefined, residual: undefined };
  const forward = createStatisticsForwardSync(device, {
    ...{ ...plain, ...ghosts, ...renorm, ...which, statistics: undefined, parts: undefined },
  });
  const out = tensor(device, data, shape);
  const saved = buffer(sizes.saved);
  const none = { mask: undefined, residual: undefined };
  submit((encoder) =>
    forward.encode(encoder, {
      ...{ ...none, x, y: out, saved, statistics: undefined, renorm: undefined },
      ...{ gamma: undefined, beta: undefined, state: undefined },
    }),
  );
  expect(await out.read()).toBeAllclose(y, { atol: 1e-6, rtol: 1e-6 });
  const backward = createStatisticsBackwardSync(device, {
    ...{ ...plain, ...ghosts, ...renorm, ...which, sums: undefined, parts: undefined },
    ...{ wants: undefined, residualGrad: undefined, accumulate: undefined },
  });
  submit((encoder) =>
    backward.encode(encoder, {
      ...{ ...none, dy, x, saved, sums: undefined, dx: out },
      ...{ dGamma: undefined, dBeta: undefined, dResidual: undefined },
    }),
  );
  expect(await out.read()).toBeAllclose(dx, { atol: 1e-6, rtol: 1e-6 });
});
