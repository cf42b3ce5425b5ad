/** What a rank is to measure. */
export interface Task {
  servers: string;
  group: string;
  rank: number;
  size: number;
  /** Of every rank's shard. */
  shape: readonly [number, number, number, number];
  steps: number;
}

/** Milliseconds of rank 0, medians over the steps. */
export interface Measured {
  adapter: string;
  /** Forward and backward without synchronisation, all ranks at once. */
  plainMs: number;
  /** Forward and backward, synchronised. */
  synchronisedMs: number;
  /** Of these: from a rank's part of a round to the result, others that are slower included. */
  waitedMs: number;
  /** The two rounds without any work around them. */
  roundsMs: number;
}
