/** One training step of a batch that is cut into shards, one for each rank of a group. */
import { BatchNorm1d, BatchNorm2d, BatchNorm3d, type BatchNorm } from "../../src/batchnorm.js";
import { extentOf } from "../../src/descriptor.js";
import type { Communicator } from "../../src/sync/communicator.js";
import { sum } from "../../src/sync/sum.js";
import { SyncBatchNorm } from "../../src/sync/sync-batchnorm.js";
import { tensor, type Tensor } from "../../src/tensor.js";
import { createRandom } from "./random.js";
import { rounded, type Call, type Inputs, type Outputs } from "./tolerance.js";

/** What one rank has after a step. */
export interface RankOutputs extends Omit<Outputs, "bits"> {
  /** running_mean and running_var, as they stand on the device. */
  readonly running: Uint8Array | null;
  /** Its own share of dGamma and dBeta; the others' added is what `dGamma` and `dBeta` say. */
  readonly shares: readonly Float32Array[];
}

const MODULES = { 2: BatchNorm1d, 3: BatchNorm1d, 4: BatchNorm2d, 5: BatchNorm3d } as const;

/** A module of a call's options with the parameters and running statistics that the inputs say. */
export function moduleOf(
  device: GPUDevice,
  { shape, options = {} }: Call,
  inputs: Inputs,
): BatchNorm {
  const { channels } = extentOf("test", shape, options.layout ?? "channels-first");
  const bn = new MODULES[shape.length as 2 | 3 | 4 | 5](device, channels, options);
  if (inputs.gamma) bn.gamma?.write(Float32Array.from(inputs.gamma));
  if (inputs.beta) bn.beta?.write(Float32Array.from(inputs.beta));
  if (inputs.state && bn.runningMean) {
    const { mean, variance, numBatchesTracked } = inputs.state;
    const filled = (values: ArrayLike<number> | undefined, otherwise: number): Float32Array =>
      Float32Array.from({ length: channels }, (_, c) => values?.[c] ?? otherwise);
    bn.loadStateDict({
      ...(bn.gamma ? { weight: filled(inputs.gamma, 1), bias: filled(inputs.beta, 0) } : {}),
      running_mean: mean,
      running_var: variance,
      num_batches_tracked: numBatchesTracked,
    });
  }
  return bn;
}

/** Inputs of a whole batch, the same for the same seed in every process. */
export function drawInputs(
  call: Call,
  seed: number,
  offset = 0,
  std = 1,
  residual = false,
): Inputs {
  const { shape, options, dtype = "f32" } = call;
  const random = createRandom(seed);
  const size = shape.reduce((a, b) => a * b, 1);
  const { channels } = extentOf("test", shape, options?.layout ?? "channels-first");
  return {
    x: rounded(random.normals(size, offset, std), dtype),
    dy: rounded(random.normals(size, 0.2), dtype),
    ...(residual ? { residual: rounded(random.normals(size), dtype) } : {}),
    gamma: random.normals(channels, 0.2, 1),
    beta: random.normals(channels),
    state: {
      mean: random.normals(channels, offset, std),
      variance: random.uniforms(channels, 0.5, 2).map((value) => value * std * std),
      numBatchesTracked: 3,
    },
  };
}

/** Runs the step of one rank, whose shard begins at sample `start` and has `count` of them. */
export async function stepOfRank(
  device: GPUDevice,
  communicator: Communicator,
  call: Call,
  inputs: Inputs,
  start: number,
  count: number,
): Promise<RankOutputs> {
  const { shape, options = {}, dtype = "f32" } = call;
  const perSample = shape.slice(1).reduce((a, b) => a * b, 1);
  const cut = (values: ArrayLike<number>): Tensor => {
    const own = Float32Array.from(
      { length: count * perSample },
      (_, i) => values[start * perSample + i]!,
    );
    return tensor(device, own, [count, ...shape.slice(1)], { dtype });
  };
  const module = moduleOf(device, call, inputs);
  const bn = new SyncBatchNorm(module, communicator);
  const x = cut(inputs.x);
  const dy = cut(inputs.dy!);
  const residual = inputs.residual ? cut(inputs.residual) : null;
  const residualGrad = residual ? cut(inputs.residual!) : null;
  const y = await bn.forward(x, residual ? { residual } : {});
  const dx = await bn.backward(dy, residualGrad ? { residualGrad } : {});
  const { affine = true } = options;
  const shares = affine
    ? await Promise.all([module.gammaGrad!.read(), module.betaGrad!.read()])
    : [];
  const gradients = await Promise.all(
    shares.map((share, i) => communicator.allReduce(share, sum, { tag: `gradient ${i}` })),
  );
  const state = await module.stateDict();
  const running = state.running_mean
    ? new Uint8Array(Float32Array.of(...state.running_mean, ...state.running_var!).buffer)
    : null;
  const outputs = {
    y: await y.read(),
    dx: await dx.read(),
    ...(residualGrad ? { dResidual: await residualGrad.read() } : {}),
    ...(affine ? { dGamma: gradients[0]!, dBeta: gradients[1]! } : {}),
    ...(state.running_mean
      ? {
          state: {
            mean: state.running_mean,
            variance: state.running_var!,
            numBatchesTracked: Number(state.num_batches_tracked),
          },
        }
      : {}),
    running,
    shares,
  };
  for (const each of [x, dy, residual, residualGrad, y, dx, bn, module]) each?.destroy();
  return outputs;
}

/** All numbers of a rank's outputs as 32-bit words, so that a single bit shows. */
export function bitsOf({ y, dx, dGamma, dBeta, state }: RankOutputs): number[] {
  const all = [y, dx!, dGamma!, dBeta!, state!.mean, state!.variance];
  return all.flatMap((values) => [...new Uint32Array(values.slice().buffer)]);
}

/** Where each shard begins. */
export function startsOf(sizes: readonly number[]): number[] {
  return sizes.map((_, rank) => sizes.slice(0, rank).reduce((a, b) => a + b, 0));
}

/** The ranks' outputs as those of one batch. */
export function joinRanks(ranks: readonly RankOutputs[]): Outputs {
  const all = (name: "y" | "dx" | "dResidual"): Float32Array =>
    Float32Array.from(ranks.flatMap((rank) => [...(rank[name] ?? [])]));
  const [{ dGamma, dBeta, dResidual, state }] = ranks as [RankOutputs];
  return {
    y: all("y"),
    dx: all("dx"),
    ...(dResidual ? { dResidual: all("dResidual") } : {}),
    ...(dGamma && dBeta ? { dGamma, dBeta } : {}),
    ...(state ? { state } : {}),
    bits: {},
  };
}
