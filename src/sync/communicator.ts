/** Makes one result of all ranks' parts, which come in rank order. Must depend on them alone. */
export type Merge = (parts: readonly Float32Array<ArrayBuffer>[]) => Float32Array<ArrayBuffer>;

/** Options of {@link Communicator.allReduce}. */
export interface AllReduceOptions {
  /** What is reduced, in a few words. Ranks that meet in a round with different tags get an error, not each other's numbers. */
  readonly tag?: string | undefined;
  /** Gives up, for the whole group: ranks that no longer count together must not go on. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * One rank of a group that reduces together. Every rank calls {@link allReduce} as often as every other, in
 * the same order; calls may overlap.
 */
export interface Communicator {
  /** 0 to `size - 1`. */
  readonly rank: number;
  /** Ranks of the group. */
  readonly size: number;
  /** Why no call succeeds any more; null while all is well. */
  readonly failure: Error | null;
  /** Calls that may be made before one that is pending comes back. Absent: any number. */
  readonly room?: number;
  /**
   * Gives every rank `merge` of all ranks' parts. Each rank calls the same function on the same parts in the
   * same order, so all hold the same bits.
   *
   * A call that rejects ends the communicator: later ones reject with the same error, and the other ranks get
   * an error of their own. Only one that is refused before its round begins changes nothing: by an aborted `signal`, or
   * with OptionError, where arguments are of another kind, the tag is too long for a message or 256 calls are pending.
   *
   * @param part this rank's numbers, copied at once; as many as on every other rank, 256 MiB at most. A promise of them
   * takes its place in the order of calls now, and the time limit counts from when it resolves. A part that is too large,
   * cannot be copied or turns out to be something else ends the communicator.
   */
  allReduce(
    part: Float32Array | Promise<Float32Array>,
    merge: Merge,
    options?: AllReduceOptions,
  ): Promise<Float32Array<ArrayBuffer>>;
  /**
   * Ends the group for a reason of this rank's own, which the others are told: it cannot go on in step with them. Absent:
   * they wait for it in vain.
   */
  abandon?(reason: unknown): void;
  /**
   * Rejects what is pending and says goodbye. Idempotent. Stays to answer those who may still need this rank's last part:
   * until they have completed its round or are silent, which nobody is while the connection is interrupted; `timeout` at
   * most, which it takes where they never call it.
   */
  close(): Promise<void>;
}
