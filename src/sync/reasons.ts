/** Why a group ends, in words; and how one rank tells the others. */
import { complain } from "../errors.js";
import {
  CommunicatorClosedError,
  CommunicatorError,
  GroupError,
  PartMismatchError,
  PeerLostError,
  PeerTimeoutError,
  TransportError,
} from "./errors.js";
import type { Message } from "./message.js";
import type { Peer } from "./roster.js";

export function closed(): CommunicatorClosedError {
  return new CommunicatorClosedError(
    complain("communicator", "an open one", "a closed one", "create it anew"),
  );
}

/** @param what happened, and `where`: its cause is what the caller of that round gets. */
export function abandoned(what: string, where: string, cause: unknown): CommunicatorError {
  const received = `${what} in ${where}`;
  return new CommunicatorError(
    complain("allReduce", "a group that goes on", received, "create it anew"),
    { cause },
  );
}

/** @param cause whatever a transport has thrown. */
export function disconnected(cause: unknown): TransportError {
  const received = `"${cause instanceof Error ? cause.message : String(cause)}"`;
  return new TransportError(complain("communicator", "a connection", received, "create it anew"), {
    cause,
  });
}

export function rankTaken(rank: number): GroupError {
  const remedy = "give every process a rank of its own, or its own group name";
  return new GroupError(complain("group", `one process with rank ${rank}`, "two", remedy));
}

export function sizesDiffer(size: number, { rank, code }: Message): GroupError {
  const remedy = "start every rank with the same size, or in a group of another name";
  return new GroupError(complain("group", `size ${size}`, `rank ${rank} of ${code}`, remedy));
}

export function contradicted(message: Message, received: string): PartMismatchError {
  const { rank, round, text } = message;
  const subject = `allReduce: round ${round} "${text}"`;
  const remedy = "do not share a rank between processes";
  return new PartMismatchError(complain(subject, `one part of rank ${rank}`, received, remedy));
}

export function mismatched(
  round: number,
  rank: number,
  other: { rank: number; expected: string; received: string },
): PartMismatchError {
  return new PartMismatchError(
    complain(
      `allReduce: round ${round}`,
      `${other.expected} as on rank ${rank}`,
      `${other.received} on rank ${other.rank}`,
      "call the same layers in the same order on every rank",
    ),
  );
}

export function deserted(subject: string, { rank, next }: Peer): PeerLostError {
  const received = `a goodbye of rank ${rank} after ${next} rounds`;
  const remedy = "let all ranks take the same number of steps";
  return new PeerLostError(complain(subject, "a part of every rank", received, remedy), rank);
}

export function restarted({ rank }: Peer): PeerLostError {
  return new PeerLostError(
    complain(
      "communicator",
      `the process that was rank ${rank}`,
      "another one in its place, and no sign of the first",
      "create the communicators of all ranks anew after a restart",
    ),
    rank,
  );
}

/** @param peers that are missing; `now` on the clock that heard them. */
export function overdue(
  what: { subject: string; expected: string; remedy: string },
  peers: readonly Peer[],
  { now, timeout, interrupted }: { now: number; timeout: number; interrupted: boolean },
): PeerTimeoutError {
  const whereabouts = ({ rank, heard, next, session }: Peer): string => {
    if (heard === null) return `rank ${rank} (never heard)`;
    const ago = `heard ${((now - heard) / 1000).toFixed(1)} s ago`;
    return `rank ${rank} (${session === 0n ? ago : `${ago}, has taken part in ${next} rounds`})`;
  };
  const cut = interrupted ? " (the connection is interrupted)" : "";
  const received = `nothing of ${peers.map(whereabouts).join(", ")}${cut}`;
  const expected = `${what.expected} within ${timeout} ms`;
  return new PeerTimeoutError(
    complain(what.subject, expected, received, what.remedy),
    peers.map(({ rank }) => rank),
  );
}

/** Kinds of farewell, by their code in a message. */
const FAREWELLS = ["done", "left", "timeout", "lost", "mismatch", "group"] as const;

function farewellOf(error: Error): (typeof FAREWELLS)[number] {
  if (error instanceof CommunicatorClosedError) return "done";
  if (error instanceof PeerTimeoutError) return "timeout";
  if (error instanceof PeerLostError) return "lost";
  if (error instanceof PartMismatchError) return "mismatch";
  if (error instanceof GroupError) return "group";
  return "left";
}

/**
 * What a rank that ends with this error says in its last message. Code 0 is the end of the work.
 *
 * @param room bytes for ranks and text, which are cut to it.
 */
export function farewell(error: Error, room: number): Pick<Message, "code" | "text" | "payload"> {
  const lost = error instanceof PeerLostError ? [error.rank] : [];
  const ranks = error instanceof PeerTimeoutError ? error.ranks : lost;
  const named = ranks.slice(0, Math.max(0, Math.floor(room / 4)));
  const left = Math.max(0, Math.min(2000, room - 4 * named.length));
  const { read } = new TextEncoder().encodeInto(error.message, new Uint8Array(left));
  return {
    code: FAREWELLS.indexOf(farewellOf(error)),
    text: error.message.slice(0, read),
    payload: new Uint8Array(new Uint32Array(named).buffer),
  };
}

/** What that is to those who hear it: the same where it concerns the group, else a lost peer. */
export function received({ rank, code, text, payload }: Message): CommunicatorError {
  const ranks = [...new Uint32Array(Uint8Array.from(payload).buffer)];
  const message = `rank ${rank} gave up: ${text}`;
  switch (FAREWELLS[code]) {
    case "timeout":
      return new PeerTimeoutError(message, ranks);
    case "mismatch":
      return new PartMismatchError(message);
    case "group":
      return new GroupError(message);
    case "lost":
      return new PeerLostError(message, ranks[0] ?? rank);
    default:
      return new PeerLostError(message, rank);
  }
}
