/**
 * The committed fixtures with their types, in Node and in a browser alike. They are imported as text: the compiler would
 * otherwise infer a type from a megabyte of numbers.
 */
import type { ActivationName, BatchNormOptions, Layout } from "../../src/descriptor.js";
import activationsText from "../fixtures/activations.json?raw";
import halfText from "../fixtures/half.json?raw";
import kerasText from "../fixtures/keras.json?raw";
import pytorchText from "../fixtures/pytorch.json?raw";
import sequencesText from "../fixtures/sequences.json?raw";
import statisticsText from "../fixtures/statistics.json?raw";

/** What every file begins with. */
export interface FixtureHeader {
  readonly note: string;
  readonly generator: string;
  readonly versions: Readonly<Record<string, string>>;
}

/** Running statistics as `forward` takes and gives them. */
export interface FixtureState {
  readonly mean: readonly number[];
  readonly variance: readonly number[];
  readonly numBatchesTracked: number;
}

/** What PyTorch computed in one mode. Parameters' gradients are there with `affine` only. */
export interface FixtureExpectation {
  readonly y: readonly number[];
  readonly dx: readonly number[];
  readonly dGamma?: readonly number[];
  readonly dBeta?: readonly number[];
  readonly dResidual?: readonly number[];
  /** Training with running statistics: they, after the batch. */
  readonly state?: FixtureState;
  /** The batch's, where it was normalised by them. */
  readonly mean?: readonly number[];
  readonly varBiased?: readonly number[];
  /** Evaluation by running statistics: their gradients. */
  readonly dMean?: readonly number[];
  readonly dVar?: readonly number[];
}

/** One shape, its inputs (exact float32 values) and what PyTorch made of them in float64. */
export interface FixtureCase<E = FixtureExpectation, X = readonly number[]> {
  readonly name: string;
  /** In memory order: the channel is last with `layout: "channels-last"`. */
  readonly shape: readonly number[];
  readonly options: BatchNormOptions;
  readonly x: X;
  readonly dy: X;
  readonly residual?: X;
  readonly gamma?: readonly number[];
  readonly beta?: readonly number[];
  readonly state?: FixtureState;
  readonly training: E;
  readonly evaluation: E;
}

/** An activation alone. */
export interface FixtureScalars {
  readonly activation: ActivationName;
  readonly slope?: number;
  readonly z: readonly number[];
  readonly value: readonly number[];
  readonly gradient: readonly number[];
}

/** Running statistics from their start over several batches, then one evaluation. */
export interface FixtureSequence {
  readonly name: string;
  readonly options: BatchNormOptions;
  readonly steps: readonly {
    readonly shape: readonly number[];
    readonly x: readonly number[];
    readonly state: FixtureState;
  }[];
  readonly evaluation: {
    readonly shape: readonly number[];
    readonly x: readonly number[];
    readonly y: readonly number[];
  };
}

/** Whether PyTorch raises for a shape. */
export interface FixtureRefusal {
  readonly shape: readonly number[];
  readonly mode: "training" | "evaluation";
  readonly trackRunningStats: boolean;
  readonly refused: boolean;
}

/** As {@link FixtureExpectation}, and PyTorch's own 16-bit outputs, as bits, where no activation was fused. */
export interface HalfExpectation extends FixtureExpectation {
  readonly torchY?: readonly number[];
  readonly torchDx?: readonly number[];
}

/** x, dy and residual are the bits of 16-bit floats. */
export interface HalfCase extends FixtureCase<HalfExpectation> {
  readonly dtype: "f16" | "bf16";
}

/** Batches through one Keras layer that starts from moving statistics 0 and 1. */
export interface KerasCase {
  readonly name: string;
  readonly shape: readonly number[];
  readonly layout: Layout;
  /** In Keras's words; its momentum weighs the old value. */
  readonly keras: { readonly momentum: number; readonly epsilon: number; readonly axis: number };
  readonly gamma?: readonly number[];
  readonly beta?: readonly number[];
  readonly batches: readonly {
    readonly x: readonly number[];
    readonly dy: readonly number[];
    readonly y: readonly number[];
    readonly dx: readonly number[];
    readonly dGamma?: readonly number[];
    readonly dBeta?: readonly number[];
    readonly movingMean: readonly number[];
    readonly movingVariance: readonly number[];
  }[];
  readonly evaluation: { readonly x: readonly number[]; readonly y: readonly number[] };
}

/** Batches through one Keras layer with a mask or with batch renormalization. */
export interface KerasStatisticsCase {
  readonly name: string;
  readonly shape: readonly number[];
  readonly layout: Layout;
  /** In Keras's words; its momenta weigh the old value. */
  readonly keras: {
    readonly momentum: number;
    readonly epsilon: number;
    readonly renormMomentum?: number;
    readonly renormClipping?: { rmax?: number; rmin?: number; dmax?: number } | null;
  };
  readonly gamma?: readonly number[];
  readonly beta?: readonly number[];
  readonly batches: readonly (KerasCase["batches"][number] & {
    readonly mask?: readonly number[];
    readonly renormMean?: readonly number[];
    readonly renormDeviation?: readonly number[];
  })[];
}

export const statisticsFixtures = JSON.parse(statisticsText) as FixtureHeader & {
  readonly cases: readonly KerasStatisticsCase[];
};

export const pytorchFixtures = JSON.parse(pytorchText) as FixtureHeader & {
  readonly cases: readonly FixtureCase[];
};

export const activationFixtures = JSON.parse(activationsText) as FixtureHeader & {
  readonly cases: readonly FixtureCase[];
  readonly scalars: readonly FixtureScalars[];
};

export const sequenceFixtures = JSON.parse(sequencesText) as FixtureHeader & {
  readonly cases: readonly FixtureSequence[];
  readonly refusals: readonly FixtureRefusal[];
};

export const halfFixtures = JSON.parse(halfText) as FixtureHeader & {
  readonly cases: readonly HalfCase[];
};

export const kerasFixtures = JSON.parse(kerasText) as FixtureHeader & {
  readonly cases: readonly KerasCase[];
};

/** The values of 16-bit floats given by their bits; exact. */
export function decodeHalf(bits: ArrayLike<number>, dtype: "f16" | "bf16"): Float64Array {
  return Float64Array.from(bits, (word) => {
    const [exponentBits, fractionBits] = dtype === "f16" ? [5, 10] : [8, 7];
    const bias = 2 ** (exponentBits - 1) - 1;
    const exponent = (word >> fractionBits) & (2 ** exponentBits - 1);
    const fraction = (word & (2 ** fractionBits - 1)) / 2 ** fractionBits;
    const sign = word & 0x8000 ? -1 : 1;
    if (exponent === 2 ** exponentBits - 1) return fraction === 0 ? sign * Infinity : NaN;
    if (exponent === 0) return sign * fraction * 2 ** (1 - bias);
    return sign * (1 + fraction) * 2 ** (exponent - bias);
  });
}

/** The distance between `|value|` and the next 16-bit float above it, that of subnormals included. */
export function halfUlp(value: number, dtype: "f16" | "bf16"): number {
  const [fractionBits, lowest] = dtype === "f16" ? [10, -14] : [7, -126];
  const exponent = value === 0 ? lowest : Math.floor(Math.log2(Math.abs(value)));
  return 2 ** (Math.max(exponent, lowest) - fractionBits);
}
