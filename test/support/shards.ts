/** A batch cut into shards that share their statistics: what every device of a data-parallel step would run. */
import {
  createMergeStatisticsSync,
  createMergeSumsSync,
  createStatisticsBackwardSync,
  createStatisticsForwardSync,
  createStatisticsSync,
  createSumsSync,
  statisticsByteSizes,
} from "../../src/statistics/index.js";
import { extentOf } from "../../src/descriptor.js";
import { stateLayout } from "../../src/bindings.js";
import { tensor, type Tensor } from "../../src/tensor.js";
import type { Call, Inputs, Outputs } from "./tolerance.js";

export interface ShardOptions {
  /** Samples of each shard, in the order in which the parts are merged; 0 is an empty one. */
  readonly sizes: readonly number[];
  /** Whether a dispatch of its own merges the parts first. */
  readonly merged?: boolean;
  /** Runs on the parts' buffer between statistics and forward. */
  readonly meddle?: (statistics: Tensor) => void;
}

/** Runs forward and backward of every shard with the statistics of all, and joins their outputs. */
export async function runShards(
  device: GPUDevice,
  call: Call,
  inputs: Inputs,
  { sizes, merged = false, meddle }: ShardOptions,
): Promise<Outputs> {
  const { shape, options = {}, dtype = "f32", tuning } = call;
  const layout = options.layout ?? "channels-first";
  const { channels, size } = extentOf("test", shape, layout);
  const perSample = size / shape[0]!;
  const made: { destroy(): void }[] = [];
  const keep = <T extends { destroy(): void }>(each: T): T => {
    made.push(each);
    return each;
  };
  const put = (values: ArrayLike<number>, of: readonly number[], type = dtype): Tensor =>
    keep(tensor(device, Float32Array.from(values), of, { dtype: type }));
  const nan = (of: readonly number[], type = dtype): Tensor =>
    put(new Float32Array(of.reduce((a, b) => a * b, 1)).fill(NaN), of, type);
  const cut = (values: ArrayLike<number>, from: number, count: number): Float32Array =>
    Float32Array.from({ length: count * perSample }, (_, i) => values[from * perSample + i]!);

  const parts = sizes.length;
  const bytes = statisticsByteSizes({ shape, layout, dtype, parts });
  const given = merged ? 1 : parts;
  const statistics = nan([bytes.statistics / 4], "f32");
  const sums = nan([bytes.sums / 4], "f32");
  const oneStatistics = merged ? nan([4 * channels], "f32") : statistics;
  const oneSums = merged ? nan([2 * channels], "f32") : sums;
  const gamma = put(inputs.gamma ?? new Float32Array(channels).fill(1), [channels], "f32");
  const beta = put(inputs.beta ?? new Float32Array(channels), [channels], "f32");
  const dGamma = nan([channels], "f32");
  const dBeta = nan([channels], "f32");
  const where = stateLayout(channels);
  const initial = new Float32Array(where.bytes / 4);
  initial.fill(1, where.variance / 4, where.variance / 4 + channels);
  if (inputs.state) {
    initial.set(Float32Array.from(inputs.state.mean), where.mean / 4);
    initial.set(Float32Array.from(inputs.state.variance), where.variance / 4);
    new Uint32Array(initial.buffer)[where.counter / 4] = inputs.state.numBatchesTracked;
  }
  const residual = inputs.residual !== undefined;
  const { affine = true, trackRunningStats = true } = options;
  let from = 0;
  const shards = sizes.map((count, part) => {
    const own = [count, ...shape.slice(1)];
    const start = from;
    from += count;
    const common = { ...options, shape: own, dtype, ...(tuning ? { tuning } : {}) };
    return {
      x: put(cut(inputs.x, start, count), own),
      dy: put(cut(inputs.dy!, start, count), own),
      ...(residual ? { residual: put(cut(inputs.residual, start, count), own) } : {}),
      ...(residual ? { dResidual: nan(own) } : {}),
      y: nan(own),
      dx: nan(own),
      saved: nan([bytes.saved / 4], "f32"),
      state: put(initial, [initial.length], "f32"),
      look: keep(createStatisticsSync(device, { ...common, parts, part })),
      sum: keep(createSumsSync(device, { ...common, parts, part, residual })),
      forward: keep(
        createStatisticsForwardSync(device, {
          ...common,
          residual,
          statistics: "given",
          parts: given,
        }),
      ),
      backward: keep(
        createStatisticsBackwardSync(device, { ...common, residual, sums: "given", parts: given }),
      ),
    };
  });
  const mergeStatistics = keep(
    createMergeStatisticsSync(device, { channels, parts, ...(tuning ? { tuning } : {}) }),
  );
  const mergeSums = keep(
    createMergeSumsSync(device, { channels, parts, ...(tuning ? { tuning } : {}) }),
  );
  const submit = (record: (target: GPUCommandEncoder) => void): void => {
    const encoder = device.createCommandEncoder();
    record(encoder);
    device.queue.submit([encoder.finish()]);
  };
  submit((target) => {
    for (const { look, x } of shards) look.encode(target, { x, statistics });
  });
  meddle?.(statistics);
  submit((target) => {
    if (merged) mergeStatistics.encode(target, { parts: statistics, statistics: oneStatistics });
    for (const each of shards) {
      each.forward.encode(target, {
        ...each,
        statistics: oneStatistics,
        ...(affine ? { gamma, beta } : {}),
        ...(trackRunningStats ? {} : { state: undefined }),
      });
    }
    for (const each of shards) each.sum.encode(target, { ...each, sums });
    if (merged) mergeSums.encode(target, { parts: sums, sums: oneSums });
    for (const each of shards) {
      each.backward.encode(target, {
        ...each,
        sums: oneSums,
        ...(affine ? { dGamma, dBeta } : {}),
      });
    }
  });
  const joined = async (name: "y" | "dx" | "dResidual"): Promise<Float32Array> => {
    const all = new Float32Array(size);
    let at = 0;
    for (const each of shards) {
      all.set(await each[name]!.read(), at * perSample);
      at += each.x.shape[0]!;
    }
    return all;
  };
  try {
    const states = await Promise.all(shards.map(({ state }) => state.readRaw()));
    const bits: Record<string, Uint8Array> = {
      statistics: new Uint8Array(await statistics.readRaw()),
      sums: new Uint8Array(await sums.readRaw()),
    };
    states.forEach((state, i) => (bits[`state ${i}`] = new Uint8Array(state)));
    for (const [i, { saved }] of shards.entries()) {
      bits[`saved ${i}`] = new Uint8Array(await saved.readRaw());
    }
    const [state] = states;
    return {
      y: await joined("y"),
      dx: await joined("dx"),
      ...(residual ? { dResidual: await joined("dResidual") } : {}),
      ...(affine ? { dGamma: await dGamma.read(), dBeta: await dBeta.read() } : {}),
      ...(trackRunningStats
        ? {
            state: {
              mean: new Float32Array(state!, where.mean, channels),
              variance: new Float32Array(state!, where.variance, channels),
              numBatchesTracked: new Uint32Array(state!, where.counter, 1)[0]!,
            },
          }
        : {}),
      bits,
    };
  } finally {
    for (const each of made) each.destroy();
  }
}
