/** What a {@link Transport} tells. */
export interface TransportEvents {
  /** A message has come, perhaps one of our own. The bytes are the receiver's to keep. */
  message(bytes: Uint8Array): void;
  /** The way to the others is interrupted, for now. */
  interrupted(): void;
  /** The way to the others is back: what was under way may be lost. */
  restored(): void;
  /** The way to the others is gone for good. */
  lost(error: Error): void;
}

/**
 * Carries messages between the ranks of a group. May lose, repeat, delay and reorder them, but not alter them. The group
 * ends where it throws or rejects.
 */
export interface Transport {
  /** Bytes of the largest message, as it is now; 152 at least. */
  readonly maxBytes: number;
  /** Delivers from now on. Called once. */
  open(events: TransportEvents): void;
  /** Sends to one rank, or to all where `to` is null. A message that reaches more ranks than that does no harm. */
  send(message: Uint8Array<ArrayBuffer>, to: number | null): void | Promise<void>;
  /** Sends what is still to be sent, then stops. Called once. */
  close(): void | Promise<void>;
}

/** Time, so that tests can do without waiting. */
export interface Clock {
  /** Milliseconds, never backwards. */
  now(): number;
  /** Runs once after so many milliseconds; the result cancels. */
  after(ms: number, run: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};
