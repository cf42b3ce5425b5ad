import { sessionOf } from "./message.js";

/** What one rank knows of another. */
export interface Peer {
  readonly rank: number;
  /** Of its communicator; null while nobody has claimed the rank. */
  id: bigint | null;
  /** The session that it believes in; 0 while it misses somebody. */
  session: bigint;
  /** When it was heard last; null before. */
  heard: number | null;
  /** It has completed every round below this, and contributed to every round below `next`. */
  done: number;
  next: number;
  /** Whether it has said goodbye. */
  left: boolean;
  /** Since when somebody else claims its rank and it has not been heard. */
  suspect: number | null;
}

/**
 * Who is who in a group. The ids of all ranks make a session, and a session is agreed once every rank has
 * named it: a process that was there a moment ago and is no more names none.
 */
export class Roster {
  readonly peers: readonly Peer[];
  /** All but this rank. */
  readonly others: readonly Peer[];
  #session = 0n;

  constructor(
    rank: number,
    size: number,
    readonly id: bigint,
  ) {
    this.peers = Array.from({ length: size }, (_, each) => ({
      rank: each,
      id: each === rank ? id : null,
      session: 0n,
      heard: null,
      done: 0,
      next: 0,
      left: false,
      suspect: null,
    }));
    this.others = this.peers.filter((peer) => peer.rank !== rank);
    this.#update();
  }

  /** Of the ids as far as they are known; 0 while one is missing. */
  get session(): bigint {
    return this.#session;
  }

  get agreed(): boolean {
    return this.#session !== 0n && this.others.every(({ session }) => session === this.#session);
  }

  /** Notes who holds a rank, or that nobody does. */
  seat(peer: Peer, id: bigint | null): void {
    Object.assign(peer, { id, session: 0n, done: 0, next: 0, left: false });
    this.#update();
  }

  #update(): void {
    const ids = this.peers.map(({ id }) => id);
    this.#session = ids.every((id) => id !== null) ? sessionOf(ids) : 0n;
  }
}
