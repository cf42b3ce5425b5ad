import type { Case, Held } from "./cases.js";
import type { Inputs } from "./data.js";

/** What a candidate computed: f32 in the case's memory order; absent where the operation does not give it. */
export interface Outputs {
  y?: Float32Array;
  dx?: Float32Array;
  dGamma?: Float32Array;
  dBeta?: Float32Array;
}

/** A program that computes Batch Normalization, or what it is compared with. */
export interface Candidate {
  readonly name: string;
  /** `copy`: the yardstick, a kernel; `command`: a copy that is no dispatch; `ours`; `peer`: another library; `cpu`: no WebGPU at all. */
  readonly kind: "copy" | "command" | "ours" | "peer" | "cpu";
  /** Package and version, for the report. */
  readonly version?: string;
  /** Why a case is not for it; null where it is. */
  refuses(each: Case): string | null;
  /** Buffers it is known to hold, in sizes of x, so that what cannot fit is left out before it fails. */
  holds(each: Case): number;
  prepare(device: GPUDevice, each: Case, inputs: Inputs): Promise<Prepared>;
}

/** A candidate with its data on the device. */
export interface Prepared {
  /** Does the work `repeats` times and settles when the queue has done all of it. */
  run(repeats: number): Promise<void>;
  /** The same work with its time in nanoseconds by the adapter's own clock, where that can be had. */
  timestamped?(repeats: number): Promise<number>;
  /** Reads back what the last run left; null: nothing to compare. */
  outputs(): Promise<Outputs | null>;
  /** Whatever is worth knowing: the path that was chosen, say. */
  readonly note?: string;
  /** Lowers the floor. */
  readonly held?: Held;
  dispose(): void;
}
