/**
 * Statistics beyond the batch: partial statistics as a value on the GPU, and what is built on them.
 *
 * @packageDocumentation
 */
export { createStatistics, createStatisticsSync } from "./statistics.js";
export type { StatisticsDescriptor, StatisticsPlan, StatisticsResources } from "./statistics.js";
export {
  createMergeStatistics,
  createMergeStatisticsSync,
  createMergeSums,
  createMergeSumsSync,
  mergeStatistics,
} from "./merge.js";
export type { MergeDescriptor, MergeStatisticsPlan, MergeSumsPlan } from "./merge.js";
export { createStatisticsForward, createStatisticsForwardSync } from "./forward.js";
export type {
  StatisticsForwardDescriptor,
  StatisticsForwardPlan,
  StatisticsForwardResources,
} from "./forward.js";
export {
  createStatisticsBackward,
  createStatisticsBackwardSync,
  createSums,
  createSumsSync,
} from "./backward.js";
export type {
  StatisticsBackwardDescriptor,
  StatisticsBackwardPlan,
  StatisticsBackwardResources,
  SumsDescriptor,
  SumsPlan,
  SumsResources,
} from "./backward.js";
export { readStatistics } from "./read.js";
export type { HostStatistics } from "./read.js";
export { statisticsBytes, statisticsByteSizes, sumsBytes } from "./sizes.js";
export type { SizesDescriptor, StatisticsByteSizes } from "./sizes.js";
export type { GhostDescriptor, StatisticsPlanDescriptor } from "./outline.js";
export type { Limit, RenormOptions } from "./renorm.js";
export { StatisticsAccumulator } from "./accumulator.js";
export { AccumulatedBatchNorm } from "./accumulated.js";
export type { AccumulatedBackwardOptions, AccumulatedForwardOptions } from "./accumulated.js";
export { ExtendedBatchNorm } from "./extended.js";
export type {
  ExtendedForwardOptions,
  ExtendedOptions,
  ExtendedStateDict,
  ExtendedStateDictInput,
} from "./extended.js";
export { interpolate } from "./interpolate.js";
export { reestimate } from "./reestimate.js";
export type { ReestimateOptions } from "./reestimate.js";
