/** Plans whose statistics are of ghosts, of what a mask leaves, or renormalised: runs, and bounds for them. */
import { stateLayout, type Resource } from "../../src/bindings.js";
import { extentOf, type Dtype } from "../../src/descriptor.js";
import type { Tuning } from "../../src/dispatch/choose.js";
import {
  statisticsBackward,
  statisticsForward,
  type RenormState,
  type StatisticsOptions,
} from "../../src/reference.js";
import {
  createStatisticsBackwardSync,
  createStatisticsForwardSync,
  statisticsByteSizes,
  type StatisticsForwardDescriptor,
} from "../../src/statistics/index.js";
import { tensor, type Tensor } from "../../src/tensor.js";
import { GRADIENT, ROUNDING, runningTolerance, ulp, yTolerance, type State } from "./tolerance.js";

export interface BeyondCall {
  /** Options of both plans. */
  readonly descriptor: StatisticsForwardDescriptor;
  readonly x: ArrayLike<number>;
  readonly dy: ArrayLike<number>;
  readonly mask?: ArrayLike<number> | undefined;
  readonly gamma?: ArrayLike<number> | undefined;
  readonly beta?: ArrayLike<number> | undefined;
  readonly residual?: ArrayLike<number> | undefined;
  readonly state: State;
  readonly renorm?: RenormState | undefined;
  /** The limits that the descriptor's schedule gives at this batch. */
  readonly limits?: StatisticsOptions["limits"];
  readonly tuning?: Partial<Tuning>;
}

export interface BeyondOutputs {
  y: Float32Array;
  dx: Float32Array;
  dGamma: Float32Array | null;
  dBeta: Float32Array | null;
  dResidual: Float32Array | null;
  state: State & { mean: Float32Array; variance: Float32Array };
  renorm: { mean: Float32Array; deviation: Float32Array } | null;
  saved: Uint8Array;
}

/** Runs forward and backward once, outputs and scratch poisoned with NaN. */
export async function runBeyond(device: GPUDevice, call: BeyondCall): Promise<BeyondOutputs> {
  const descriptor = { ...call.descriptor, ...(call.tuning ? { tuning: call.tuning } : {}) };
  const { shape, layout = "channels-first", dtype = "f32", affine = true } = descriptor;
  const { channels, count } = extentOf("test", shape, layout);
  const bytes = statisticsByteSizes(descriptor);
  const made: { destroy(): void }[] = [];
  const put = (values: ArrayLike<number>, of: readonly number[], type: Dtype = "f32"): Tensor => {
    const one = tensor(device, Float32Array.from(values), of, { dtype: type });
    made.push(one);
    return one;
  };
  const nan = (of: readonly number[], type: Dtype = "f32"): Tensor =>
    put(new Float32Array(of.reduce((a, b) => a * b, 1)).fill(NaN), of, type);
  const where = stateLayout(channels);
  const packed = new Float32Array(where.bytes / 4);
  packed.set(Float32Array.from(call.state.mean), where.mean / 4);
  packed.set(Float32Array.from(call.state.variance), where.variance / 4);
  new Uint32Array(packed.buffer)[where.counter / 4] = call.state.numBatchesTracked;
  const { scale = affine, center = affine } = descriptor;
  const residual = call.residual !== undefined;
  const x = put(call.x, shape, dtype);
  const dy = put(call.dy, shape, dtype);
  const [y, dx] = [nan(shape, dtype), nan(shape, dtype)];
  const dResidual = residual ? nan(shape, dtype) : null;
  const saved = nan([bytes.saved / 4]);
  const state = put(packed, [packed.length]);
  const renorm =
    call.renorm &&
    put([...Array.from(call.renorm.mean), ...Array.from(call.renorm.deviation)], [2 * channels]);
  const ones = new Float32Array(channels).fill(1);
  const shared: Record<string, Resource> = {
    ...(call.mask ? { mask: put(call.mask, [count]) } : {}),
    ...(residual ? { residual: put(call.residual, shape, dtype) } : {}),
  };
  const dGamma = scale ? nan([channels]) : null;
  const dBeta = center ? nan([channels]) : null;
  const mask = call.mask !== undefined;
  const forward = createStatisticsForwardSync(device, { ...descriptor, residual, mask });
  const backward = createStatisticsBackwardSync(device, { ...descriptor, residual, mask });
  made.push(forward, backward);
  const encoder = device.createCommandEncoder();
  forward.encode(encoder, {
    ...{ ...shared, x, y, saved, state },
    ...(renorm ? { renorm } : {}),
    ...(scale ? { gamma: put(call.gamma ?? ones, [channels]) } : {}),
    ...(center ? { beta: put(call.beta ?? new Float32Array(channels), [channels]) } : {}),
  });
  backward.encode(encoder, {
    ...{ ...shared, x, dy, dx, saved },
    ...(dGamma ? { dGamma } : {}),
    ...(dBeta ? { dBeta } : {}),
    ...(dResidual ? { dResidual } : {}),
  });
  device.queue.submit([encoder.finish()]);
  try {
    const words = (await state.readRaw()).slice(0);
    const averages = renorm && (await renorm.read());
    return {
      y: await y.read(),
      dx: await dx.read(),
      dGamma: dGamma && (await dGamma.read()),
      dBeta: dBeta && (await dBeta.read()),
      dResidual: dResidual && (await dResidual.read()),
      state: {
        mean: new Float32Array(words, where.mean, channels),
        variance: new Float32Array(words, where.variance, channels),
        numBatchesTracked: new Uint32Array(words, where.counter, 1)[0]!,
      },
      renorm: averages
        ? { mean: averages.slice(0, channels), deviation: averages.slice(channels) }
        : null,
      saved: new Uint8Array(await saved.readRaw()),
    };
  } finally {
    for (const each of made) each.destroy();
  }
}

/** The reference's options of a call. */
export function optionsOf({ descriptor, ...call }: BeyondCall): StatisticsOptions {
  const { shape: _s, dtype: _d, tuning: _t, limits: _l, renorm: _r, ...rest } = descriptor;
  const { renormClipping: _c, statistics: _g, parts: _p, mask: _m, ...more } = rest;
  const { residual: _e, scale: _a, center: _b, ...options } = more;
  const { mask, gamma, beta, residual, state, renorm, limits } = call;
  return {
    ...options,
    affine: true,
    ...{ mask, gamma, beta, residual, renorm, limits },
    state,
  };
}

export interface Bounded {
  readonly name: string;
  readonly actual: ArrayLike<number>;
  readonly expected: ArrayLike<number>;
  readonly atol: ArrayLike<number>;
}

/**
 * Every output beside the reference's, each with its bound. The core's bounds (see tolerance.ts) hold with gamma * r in
 * gamma's place. What r and d add: r goes with a deviation that is off by 2e-6 as invStd is, d = (muB - mu) / sigma is
 * off by 2e-6 of sigmaB / sigma = r (before clipping) as the mean is, and by 4 roundings of |muB| + |mu| over sigma.
 */
export function bounds(call: BeyondCall, outputs: BeyondOutputs): Bounded[] {
  const { shape, layout = "channels-first", dtype = "f32", momentum = 0.1 } = call.descriptor;
  const { activation = "none", eps = 1e-5 } = call.descriptor;
  const { channels, inner, size } = extentOf("test", shape, layout);
  const options = optionsOf(call);
  const want = statisticsForward(call.x, shape, options);
  const gradients = statisticsBackward(call.dy, call.x, shape, options);
  const ghostSize = (size / Math.max(1, shape[0]!)) * (options.virtualBatchSize ?? shape[0]!);
  const channel = (i: number): number => Math.floor(i / inner) % channels;
  const entry = (i: number): number => Math.floor(i / ghostSize) * channels + channel(i);
  const gammaAt = (c: number): number => Math.abs(call.gamma?.[c] ?? 1);
  const dError = (e: number): number => {
    if (!call.renorm) return 0;
    const c = e % channels;
    const sigma = Math.max(call.renorm.deviation[c]!, Math.sqrt(eps));
    const size = Math.abs(want.mean[e]!) + Math.abs(call.renorm.mean[c]!);
    const ratio = Math.sqrt(want.varBiased[e]! + eps) / sigma;
    return 2e-6 * ratio + 4 * ROUNDING * (size / sigma + Math.abs(want.d[e]!));
  };
  const rError = (e: number): number => (call.renorm ? 2e-6 * want.r[e]! : 0);
  const half = dtype === "f32" ? 0 : 0.5;
  const stored = (value: number): number => half * ulp(value, dtype);
  const curved = activation === "none" ? 0 : 1;
  const zError = (i: number): number => {
    const e = entry(i);
    const gamma = gammaAt(channel(i));
    const residual = call.residual ? 2 * ulp(want.z[i]!) : 0;
    return (
      yTolerance(want.xHat[i]!, gamma * Math.max(1, want.r[e]!), want.z[i]!) +
      gamma * (dError(e) + rError(e) * Math.abs(want.xHat[i]!)) +
      residual +
      curved * 2e-6 * Math.max(1, Math.abs(want.z[i]!))
    );
  };
  const dzError = (i: number): number => curved * Math.abs(call.dy[i]!) * (zError(i) + 2e-6);
  const sumError = new Float64Array(channels);
  const sumErrorXHat = new Float64Array(channels);
  for (let i = 0; i < size; i++) {
    const [c, e] = [channel(i), entry(i)];
    sumError[c]! += dzError(i);
    sumErrorXHat[c]! +=
      dzError(i) * (Math.abs(want.xHat[i]!) * want.r[e]! + Math.abs(want.d[e]!)) +
      Math.abs(gradients.dz[i]!) * (dError(e) + rError(e) * Math.abs(want.xHat[i]!));
  }
  const list: Bounded[] = [];
  const add = (
    name: string,
    actual: ArrayLike<number> | null,
    expected: ArrayLike<number>,
    tolerance: (i: number, value: number) => number,
  ): void => {
    if (!actual) return;
    const atol = Float64Array.from(expected, (value, i) => tolerance(i, value) + 2 ** -126);
    list.push({ name, actual, expected, atol });
  };
  add("y", outputs.y, want.y, (i, value) => 1.13 * zError(i) + stored(value));
  add("dx", outputs.dx, gradients.dx, (i, value) => {
    const e = entry(i);
    const factor = gammaAt(channel(i)) * Math.max(want.r[e]!, 2 ** -20) * want.invStd[e]!;
    // With a mask the sums run over all positions and M counts some: their shares of dx grow by that.
    const share = call.mask ? size / channels / Math.max(1, want.counts[0]!) : 1;
    const most = gradients.maxAbsDz[channel(i)]!;
    const ghostCount = want.counts[Math.floor(i / ghostSize)]! || 1;
    const means = (sumError[channel(i)]! * (1 + Math.abs(want.xHat[i]!) * 4)) / ghostCount;
    const spread = share * (1 + Math.abs(want.xHat[i]!));
    return (
      factor * (GRADIENT * most * spread + dzError(i) + means + rError(e) * most * spread) +
      stored(value)
    );
  });
  add(
    "dGamma",
    outputs.dGamma,
    gradients.dGamma,
    (c) => GRADIENT * gradients.sumAbsDzXHat[c]! + sumErrorXHat[c]!,
  );
  add(
    "dBeta",
    outputs.dBeta,
    gradients.dBeta,
    (c) => GRADIENT * gradients.sumAbsDz[c]! + sumError[c]!,
  );
  add(
    "dResidual",
    outputs.dResidual,
    gradients.dz,
    (i, value) => dzError(i) + stored(value) + ulp(value),
  );
  const weight = momentum ?? 1;
  const largest = (values: ArrayLike<number>, c: number): number => {
    let most = 0;
    for (let e = c; e < values.length; e += channels) most = Math.max(most, Math.abs(values[e]!));
    return most;
  };
  const ghosts = want.counts.length;
  const least = Math.min(...want.counts);
  const bessel = least > 1 ? least / (least - 1) : 1;
  add(
    "mean",
    outputs.state.mean,
    want.state!.mean,
    (c) =>
      ghosts *
      runningTolerance.mean(
        weight,
        call.state.mean[c]!,
        largest(want.mean, c),
        largest(want.varBiased, c),
      ),
  );
  // As squares of deviations: twice the roundings, and eps taken off again.
  const squared = call.renorm ? 3 : 1;
  add(
    "variance",
    outputs.state.variance,
    want.state!.variance,
    (c) =>
      squared *
      ghosts *
      (runningTolerance.variance(
        weight,
        call.state.variance[c]!,
        bessel * largest(want.varBiased, c),
      ) +
        8 * ROUNDING * eps),
  );
  if (want.renorm && outputs.renorm) {
    add(
      "renorm mean",
      outputs.renorm.mean,
      want.renorm.mean,
      (c) =>
        ghosts *
        runningTolerance.mean(
          1,
          call.renorm!.mean[c]!,
          largest(want.mean, c),
          largest(want.varBiased, c),
        ),
    );
    add(
      "renorm deviation",
      outputs.renorm.deviation,
      want.renorm.deviation,
      (c) =>
        4e-6 * (call.renorm!.deviation[c]! + Math.sqrt(largest(want.varBiased, c) + eps)) * ghosts,
    );
  }
  return list;
}
