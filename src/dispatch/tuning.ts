/**
 * What suits an adapter. Two sets are kept, each value with its reason; a descriptor's `tuning`
 * overrides any of them, for sweeps.
 */
export interface Tuning {
  /** Invocations of a workgroup, a power of two. */
  readonly workgroupSize: number;
  /** Lanes that share a chunk at most, a power of two <= workgroupSize. 1: no barrier anywhere. */
  readonly maxTeam: number;
  /** Bytes of neighbouring channels that a workgroup reads together where rows are short, a power of two; at most. */
  readonly columnBytes: number;
  /** Values of four numbers that a lane should have at least before a channel is cut further. */
  readonly minPerLane: number;
  /** Invocations to aim for: enough to fill the device. */
  readonly targetInvocations: number;
  /** Invocations that are enough for each channel to be taken whole. */
  readonly wholeInvocations: number;
  /** Invocations to aim for where nothing is merged. */
  readonly targetMapped: number;
  /** Chunks of one channel at most: every team merges them all. */
  readonly maxChunks: number;
  /** Bytes for each element that all teams together may read to merge chunks; x and y take 12. */
  readonly mergedBytes: number;
  /**
   * Bytes that a cache keeps between two dispatches: above, it pays to hold a channel with larger teams, and to merge
   * chunks by a dispatch of its own where teams would read a 36th of `mergedBytes`.
   */
  readonly cacheBytes: number;
  /** Values of a lane up to which a whole channel goes through one dispatch in any case. */
  readonly wholePerLane: number;
  /** Values of a lane at most before a channel is cut further. */
  readonly mostPerLane: number;
  /** Values that a lane may hold in registers, so that one dispatch does. 0: none. */
  readonly maxHeld: number;
  /**
   * Lanes of a team at most where only so many can hold a channel: a power of two. The device must allow workgroups of
   * as many (`maxComputeInvocationsPerWorkgroup`, 256 unless more was asked for).
   */
  readonly maxHeldTeam: number;
  /**
   * Lanes whose statistics merge by shuffles, a power of two and at most the adapter's `subgroupMinSize`; 0: none. The device
   * needs the feature `subgroups`, and subgroups of neighbouring invocations, which all known adapters have and WGSL does
   * not promise. The results are the same to the bit.
   */
  readonly subgroup: number;
  /** Keep the order of additions by force (adapters whose compiler reassociates). */
  readonly fence: boolean;
}

/** GPUs: lanes read neighbours (coalesced), barriers are cheap, tens of thousands of invocations hide latency. */
export const GPU_TUNING: Tuning = Object.freeze({
  workgroupSize: 256,
  maxTeam: 256,
  columnBytes: 256, // what half a subgroup of 32 reads
  minPerLane: 16, // four blocks of four loads in flight
  targetInvocations: 1048576, // 128 multiprocessors of 2048, four times
  wholeInvocations: 131072, // half of them: two dispatches less their second start
  targetMapped: 2 ** 40, // four Values a lane, and the scheduler does the rest
  maxChunks: 4096,
  mergedBytes: 1, // a twelfth of the rest, and mostly from a cache
  cacheBytes: 2 ** 25,
  wholePerLane: 8,
  mostPerLane: 4096,
  maxHeld: 16, // 64 registers of four bytes
  maxHeldTeam: 1024, // where a lane may hold 8: a multiprocessor has 64 registers for each of 1024
  subgroup: 0, // saves log2(32) of 9 barriers, which are not what takes time: no faster on an H100 or H200
  fence: true,
});

/** Software adapters: an invocation alone walks contiguous Values, and there is no barrier. */
export const SOFTWARE_TUNING: Tuning = Object.freeze({
  workgroupSize: 8, // two SIMD groups
  maxTeam: 1,
  columnBytes: 128, // the two cache lines that a CPU fetches together
  minPerLane: 64,
  targetInvocations: 64,
  wholeInvocations: 64,
  targetMapped: 64,
  maxChunks: 64,
  mergedBytes: 1, // few chunks, so it seldom matters
  cacheBytes: 2 ** 40, // a dispatch more costs more than it gains
  wholePerLane: 256,
  mostPerLane: 8192,
  maxHeld: 0, // its registers are memory
  maxHeldTeam: 1,
  subgroup: 0, // its lanes are alone
  fence: false, // SwiftShader was measured to keep the order; any other adapter gets the fence
});
