/**
 * Data-parallel training: groups of ranks that reduce together.
 *
 * @packageDocumentation
 */
export type { AllReduceOptions, Communicator, Merge } from "./communicator.js";
export { createLocalCommunicators } from "./local.js";
export { createBroadcastCommunicator } from "./broadcast.js";
export type { BroadcastOptions } from "./broadcast.js";
export { createCommunicator } from "./group.js";
export type { GroupOptions } from "./options.js";
export type { Transport, TransportEvents } from "./transport.js";
export { SyncBatchNorm, SyncContext } from "./sync-batchnorm.js";
export type {
  SyncBackwardOptions,
  SyncBatchNormOptions,
  SyncForwardOptions,
} from "./sync-batchnorm.js";
export { gather } from "./gather.js";
export { sum } from "./sum.js";
export * from "./errors.js";
