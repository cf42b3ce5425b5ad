import { BatchNormError } from "../errors.js";

/** A communicator cannot do what was asked of it. Its subclasses say why. */
export class CommunicatorError extends BatchNormError {
  override name = "CommunicatorError";
}

/** The time limit passed before every rank had contributed; `ranks` are those that had not. */
export class PeerTimeoutError extends CommunicatorError {
  override name = "PeerTimeoutError";

  /** @internal */
  constructor(
    message: string,
    /** Those that were missing. */
    readonly ranks: readonly number[],
  ) {
    super(message);
  }
}

/** A rank closed its communicator, gave up, or was restarted while others still counted on it. */
export class PeerLostError extends CommunicatorError {
  override name = "PeerLostError";

  /** @internal */
  constructor(
    message: string,
    /** The one that is lost. */
    readonly rank: number,
  ) {
    super(message);
  }
}

/** Two processes claim one rank, or ranks disagree about the size of their group. */
export class GroupError extends CommunicatorError {
  override name = "GroupError";
}

/** Ranks do not reduce the same thing: another tag, another length, or two parts of one rank that differ. */
export class PartMismatchError extends CommunicatorError {
  override name = "PartMismatchError";
}

/** The communicator was closed. */
export class CommunicatorClosedError extends CommunicatorError {
  override name = "CommunicatorClosedError";
}

/** What carries the messages is gone for good, such as a connection that was closed. */
export class TransportError extends CommunicatorError {
  override name = "TransportError";
}
