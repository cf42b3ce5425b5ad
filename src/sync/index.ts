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
export type { GroupOptions } from "./group.js";
export type { Transport, TransportEvents } from "./transport.js";
export { sum } from "./sum.js";
export * from "./errors.js";
