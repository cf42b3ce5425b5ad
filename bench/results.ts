import type { Dtype, Layout } from "webgpu-batchnorm";
import type { Operation } from "./cases.js";
import type { Spread } from "./measure.js";
import type { HostCost } from "./host-cost.js";

/** One candidate on one case. */
export interface Row {
  readonly name: string;
  readonly group: string;
  /** As in memory. */
  readonly shape: readonly number[];
  readonly layout: Layout;
  readonly dtype: Dtype;
  readonly operation: Operation;
  readonly bytes: number;
  readonly candidate: string;
  readonly kind: "copy" | "command" | "ours" | "peer" | "cpu";
  /** From outside, the same for every candidate: submit, then wait for the queue. */
  readonly wall: Spread;
  /** By timestamps on the adapter. */
  readonly device?: Spread;
  /** Times of a plain copy of x's bytes by the faster of two kernels, measured the same way in the same rounds. */
  readonly copies: number;
  /** The same of the tenth in a hundred instead of the median: on a busy machine, what is left when it was not. */
  readonly bestCopies: number;
  /** {@link copies} by the adapter's clock. */
  readonly deviceCopies?: number;
  /** {@link copies} (by the adapter's clock, where there is one) over what the bytes of the floor would take. */
  readonly floors?: number;
  /** Bytes of the floor over the time, 10⁹ a second. */
  readonly gbps?: number;
  /** {@link gbps} by the adapter's clock. */
  readonly deviceGbps?: number;
  /** Most bytes of buffers that lived at once, in sizes of x. */
  readonly held?: number;
  /** Largest error against float64, checked before it was timed: of y over 1 + |y|, of gradients over what they sum. */
  readonly error?: number;
  readonly note?: string;
}

/** The candidate that runs this package's kernels under TensorFlow.js's names. */
export const DROP_IN = "TensorFlow.js, drop-in";

/** How the reason begins where a candidate was left out since it computes something else. */
export const WRONG = "wrong";

/** A case that a candidate was left out of. */
export interface Skipped {
  readonly name: string;
  readonly layout: Layout;
  readonly dtype: Dtype;
  readonly operation: Operation;
  readonly candidate: string;
  readonly reason: string;
}

/** What a run of the benchmark leaves. */
export interface Results {
  readonly adapter: string;
  readonly host: "node" | "browser" | "torch";
  readonly runtime: string;
  readonly date: string;
  /** Name and version of every peer that ran. */
  readonly peers: readonly string[];
  readonly timing: string;
  readonly rows: readonly Row[];
  readonly skipped: readonly Skipped[];
  readonly hostCost?: HostCost;
}

/** How times were taken, in words. */
export function timingOf(timestamps: boolean): string {
  const wall = "wall: submit and wait, all alike";
  return timestamps ? `${wall}; device: timestamp queries` : wall;
}

/** The file's name of these results. */
export function fileNameOf({ adapter, host }: Pick<Results, "adapter" | "host">): string {
  // What follows a comma is the driver's version.
  const [model] = adapter.split(",");
  const short = model!
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "");
  return `${short}-${host}.json`;
}
