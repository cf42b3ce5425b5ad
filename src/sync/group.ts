import { kindOf, requireKnown } from "../arguments.js";
import { complain, OptionError } from "../errors.js";
import type { AllReduceOptions, Communicator, Merge } from "./communicator.js";
import {
  ALL,
  carried,
  decode,
  encode,
  hashOf,
  HEADER_BYTES,
  Kind,
  randomId,
  type Message,
} from "./message.js";
import { GROUP_OPTIONS, requireGroup, type GroupOptions } from "./options.js";
import * as reasons from "./reasons.js";
import { Roster, type Peer } from "./roster.js";
import { MOST_BYTES, Round } from "./round.js";
import { systemClock, type Clock, type Transport, type TransportEvents } from "./transport.js";

/** Calls of one rank that may wait at a time, and rounds that another may be ahead. */
export const MOST_PENDING = 256;
/** Milliseconds until a missing part is asked for, doubled each time up to the second. */
const FIRST_RETRY = 250;
const LAST_RETRY = 2000;
/** Bytes a millisecond that a part may take at least, before it is asked for: what is only slow must not be sent twice. */
const PACE = 1000;
/** A call's timeout has room for so many at least, however long they have become, or it would end on mere loss. */
const LEAST_RETRIES = 10;
/** Bytes of a part that a message brings at least, whatever its tag. */
const LEAST_CHUNK = 64;
/** Milliseconds between two looks at what is overdue. */
const TICK = 100;
/** Milliseconds of silence after which close() takes those who may miss this rank's last part for gone. */
const LINGER = 2000;
/** What is this much later than planned shows that the process was stopped, and is given that long to catch up. */
const STALL = 1000;

interface Call {
  readonly merge: Merge;
  readonly tag: string;
  readonly resolve: (merged: Float32Array<ArrayBuffer>) => void;
  readonly reject: (reason: unknown) => void;
  deadline: number;
  excused: boolean;
  retryAt: number;
  retryDelay: number;
}

/** A part of this rank's own. */
interface Own {
  readonly tag: string;
  readonly hash: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/**
 * The protocol. Every rank sends its part to all others and merges all parts itself. What gets lost is asked
 * for again; what comes twice, late, or from another session changes nothing.
 */
export class Group implements Communicator {
  readonly rank: number;
  readonly size: number;
  /** Resolves when all ranks have agreed on who they are. */
  readonly met: Promise<void>;
  readonly #roster: Roster;
  readonly #timeout: number;
  readonly #tick: number;
  readonly #rounds = new Map<number, Round>();
  readonly #calls = new Map<number, Call>();
  /** Own parts, until every rank has completed their round. */
  readonly #kept = new Map<number, Own>();
  /** Hashes of the last rounds, by which a late contradiction is known. */
  readonly #past = new Map<number, readonly number[]>();
  readonly #finished = new Set<number>();
  #phase: "meeting" | "running" | "closing" | "over" = "meeting";
  #failure: Error | null = null;
  /** Rounds that calls have taken, and below which all own parts are sent. */
  #reserved = 0;
  #next = 0;
  #done = 0;
  #interrupted = false;
  #closed: Promise<void> | null = null;
  #stopped: Promise<void> = Promise.resolve();
  #lingered: (() => void) | null = null;
  #settle!: { resolve: () => void; reject: (reason: unknown) => void };
  #deadline: number;
  #excused = false;
  #helloAt = 0;
  #helloDelay = FIRST_RETRY / 2;
  #statusAt = 0;
  #planned: { at: number; cancel: () => void } | null = null;

  constructor(
    private readonly transport: Transport,
    options: GroupOptions,
    private readonly clock: Clock = systemClock,
    /** Where all ranks are made at once they know one another: nobody needs to be met. */
    ids: readonly bigint[] = [],
  ) {
    const { rank, size, timeout = 30_000 } = options;
    requireGroup(rank, size, timeout);
    this.rank = rank;
    this.size = size;
    this.#timeout = timeout;
    this.#tick = Math.min(TICK, timeout / 4);
    this.#deadline = clock.now() + timeout;
    this.#roster = new Roster(rank, size, ids[rank] ?? randomId());
    this.met = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.met.catch(() => undefined);
    const { signal } = options;
    const abort = (): void => {
      if (this.#phase === "meeting") this.#abandon(null, signal!.reason, "an abort");
    };
    signal?.addEventListener("abort", abort, { once: true });
    const forget = (): void => signal?.removeEventListener("abort", abort);
    this.met.then(forget, forget);
    const events: TransportEvents = {
      message: (bytes) => {
        const message = decode(bytes);
        try {
          if (message) this.#receive(message);
        } catch (error) {
          // A part that has no room, say. The transport's own loop must not end with it.
          this.abandon(error);
        }
      },
      interrupted: () => {
        this.#interrupted = true;
      },
      restored: () => this.#restored(),
      lost: (error) => this.#lost(error),
    };
    this.#attempt(() => transport.open(events), false);
    if (this.#failure) return;
    for (const peer of this.#roster.others) {
      const id = ids[peer.rank];
      if (id !== undefined) this.#roster.seat(peer, id);
    }
    if (ids.length > 0) for (const peer of this.#roster.others) peer.session = this.#roster.session;
    if (signal?.aborted) abort();
    else if (!this.#agree()) this.#hello(null);
    this.#plan();
  }

  get failure(): Error | null {
    return this.#failure;
  }

  get room(): number {
    return MOST_PENDING - this.#calls.size;
  }

  async allReduce(
    part: Float32Array | Promise<Float32Array>,
    merge: Merge,
    options: AllReduceOptions = {},
  ): Promise<Float32Array<ArrayBuffer>> {
    const late = part instanceof Float32Array ? null : promiseOf(part);
    // A call that is refused here never looks at its part, which may still fail.
    late?.catch(() => undefined);
    if (typeof merge !== "function") {
      const remedy = "pass sum, gather or one of yours";
      throw new OptionError(complain("allReduce: merge", "a function", kindOf(merge), remedy));
    }
    requireKnown("allReduce", options, ["tag", "signal"]);
    const { tag = "", signal } = options;
    if (typeof tag !== "string") {
      const remedy = "say what is reduced";
      throw new OptionError(complain("allReduce: tag", "a string", kindOf(tag), remedy));
    }
    if (tag !== "" && this.#roomBeside(tag) < LEAST_CHUNK) {
      const expected = `a tag that leaves ${LEAST_CHUNK} bytes of ${this.transport.maxBytes}`;
      const received = `one of ${tag.length} characters`;
      throw new OptionError(complain("allReduce: tag", expected, received, "shorten it"));
    }
    if (this.#failure) throw this.#failure;
    signal?.throwIfAborted();
    if (this.room <= 0) {
      throw new OptionError(
        complain(
          "allReduce",
          `at most ${MOST_PENDING} calls at a time`,
          "one more",
          "await calls before the next",
        ),
      );
    }
    const round = this.#reserved++;
    const result = new Promise<Float32Array<ArrayBuffer>>((resolve, reject) => {
      const times = { deadline: Infinity, excused: false, retryAt: Infinity };
      const call = { merge, tag: carried(tag), resolve, reject, ...times, retryDelay: FIRST_RETRY };
      this.#calls.set(round, call);
    });
    const abort = (): void => this.#abandon(round, signal!.reason, "an abort");
    signal?.addEventListener("abort", abort, { once: true });
    if (part instanceof Float32Array) this.#contribute(round, part);
    late?.then(
      (values) => {
        if (values instanceof Float32Array) return this.#contribute(round, values);
        this.#abandon(round, partError(values), "a part of another kind");
      },
      (reason) => this.#abandon(round, reason, "a part that failed"),
    );
    try {
      return await result;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  abandon(reason: unknown): void {
    if (!this.#failure)
      this.#fail(reasons.abandoned("an error", "what a rank does with it", reason));
  }

  #contribute(round: number, part: Float32Array): void {
    const call = this.#calls.get(round);
    if (!call) return;
    try {
      this.#take(round, part, call);
    } catch (error) {
      // Its memory was given away, or there is none for a copy.
      this.#abandon(round, error, "a part that cannot be copied");
    }
  }

  #take(round: number, part: Float32Array, call: Call): void {
    const { tag } = call;
    if (part.byteLength > MOST_BYTES) {
      const most = `at most ${MOST_BYTES} bytes`;
      const error = complain("allReduce", most, String(part.byteLength), "reduce in pieces");
      return this.#abandon(round, new OptionError(error), "too large a part");
    }
    const now = this.clock.now();
    call.deadline = now + this.#timeout;
    call.retryDelay = Math.max(FIRST_RETRY, Math.min(part.byteLength / PACE, this.#mostDelay));
    call.retryAt = now + call.retryDelay;
    const bytes = new Uint8Array(part.byteLength);
    bytes.set(new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
    const hash = hashOf(bytes);
    this.#kept.set(round, { tag, hash, bytes });
    while (this.#kept.has(this.#next)) this.#next += 1;
    // A merge may write into what it is given.
    this.#round(round).contribute(this.rank, bytes.slice(), tag, hash);
    if (this.size > 1) this.#sendPart(round, null);
    this.#forget();
    this.#look(round);
    this.#plan();
  }

  close(): Promise<void> {
    return (this.#closed ??= this.#close());
  }

  async #close(): Promise<void> {
    if (this.#phase === "over") return this.#stopped;
    const running = this.#phase === "running";
    this.#end(reasons.closed(), "closing");
    this.#leave();
    if (running) await this.#linger();
    this.#phase = "over";
    this.#stopped = this.#stop();
    await this.#stopped;
  }

  /** Rejects where the transport throws. */
  async #stop(): Promise<void> {
    await this.transport.close();
  }

  /** Stays to answer those who may still miss this rank's last part: until they have it, or are silent. */
  async #linger(): Promise<void> {
    const start = this.clock.now();
    let [heard, last] = [start, start];
    while (this.#phase === "closing" && this.#behind.length > 0) {
      const now = this.clock.now();
      // Whom this rank cannot hear, or could not while its process was stopped, is not silent for that.
      const deaf = this.#interrupted || now - last > STALL;
      heard = Math.max(deaf ? now : heard, ...this.#behind.map((peer) => peer.heard ?? start));
      last = now;
      if (now - heard >= LINGER || now - start >= this.#timeout) return;
      await new Promise<void>((resolve) => {
        const cancel = this.clock.after(LINGER / 16, resolve);
        this.#lingered = () => {
          cancel();
          resolve();
        };
      });
      if (this.#behind.length > 0) this.#leave();
    }
  }

  /** Ranks that may still need this one's last part. */
  get #behind(): Peer[] {
    return this.#roster.others.filter(({ left, done }) => !left && done < this.#next);
  }

  /** Fails for good: tells the others, unless one of them has told us. */
  #fail(error: Error, tell = true): void {
    if (this.#failure) return;
    this.#end(error, "over");
    if (tell) this.#leave();
    this.#stopped = this.#stop().catch(() => undefined);
  }

  #end(error: Error, phase: "closing" | "over"): void {
    this.#failure = error;
    this.#phase = phase;
    this.#planned?.cancel();
    this.#planned = null;
    this.#settle.reject(error);
    for (const { reject } of this.#calls.values()) reject(error);
    this.#calls.clear();
    this.#rounds.clear();
  }

  /** Ends the group because of one call, which gets the reason itself; null: because of the meeting. */
  #abandon(round: number | null, reason: unknown, what: string): void {
    if (this.#failure) return;
    if (round === null) this.#settle.reject(reason);
    else this.#calls.get(round)?.reject(reason);
    const where = round === null ? "the meeting" : `round ${round}`;
    this.#fail(reasons.abandoned(what, where, reason));
  }

  #lost(error: Error): void {
    if (this.#phase === "closing") {
      this.#phase = "over";
      this.#lingered?.();
    }
    this.#fail(reasons.disconnected(error), false);
  }

  #restored(): void {
    this.#interrupted = false;
    if (this.#phase === "over") return;
    if (this.#phase === "meeting") return this.#hello(null);
    this.#hurry();
    if (this.#phase === "closing") this.#leave();
  }

  // Sending

  #send(
    kind: Kind,
    to: number | null,
    round = 0,
    rest: Partial<Omit<Message, "kind" | "rank" | "to">> = {},
  ): void {
    const { id, session } = this.#roster;
    const [done, next] = [this.#done, this.#next];
    const header = { kind, rank: this.rank, to: to ?? ALL, id, session, round, done, next };
    const message = encode(header, rest);
    // The others may still be told by a shorter one.
    this.#attempt(() => this.transport.send(message, to), true);
  }

  /** The group ends with what its transport cannot do, at once or later. */
  #attempt(step: () => unknown, tell: boolean): void {
    const failed = (error: unknown): void => this.#fail(reasons.disconnected(error), tell);
    try {
      Promise.resolve(step()).catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  #hello(to: number | null): void {
    this.#send(Kind.hello, to, 0, { code: this.size });
  }

  /** Tells the others why this rank is no more with them; a failure each by its id, since some may not have met yet. */
  #leave(): void {
    const farewell = reasons.farewell(this.#failure!, this.transport.maxBytes - HEADER_BYTES);
    if (farewell.code === 0) return this.#send(Kind.leave, null, 0, farewell);
    for (const { rank, id } of this.#roster.others)
      if (id !== null) this.#send(Kind.leave, rank, 0, { ...farewell, other: id });
  }

  /** Bytes of a part that a message has room for. */
  #roomBeside(tag: string): number {
    // A character of a string takes 3 bytes of UTF-8 at most.
    return this.transport.maxBytes - HEADER_BYTES - 3 * tag.length;
  }

  /** In pieces of what a message has room for now: a server may come back with another limit. */
  #sendPart(round: number, to: number | null): void {
    const { tag, hash, bytes } = this.#kept.get(round)!;
    const room = Math.max(LEAST_CHUNK, this.#roomBeside(tag));
    for (let offset = 0; offset === 0 || offset < bytes.length; offset += room) {
      if (this.#phase === "over") return;
      const payload = bytes.subarray(offset, Math.min(bytes.length, offset + room));
      this.#send(Kind.part, to, round, { text: tag, hash, bytes: bytes.length, offset, payload });
    }
  }

  // Receiving

  #receive(message: Message): void {
    const { kind, rank, to, id, session, code, other } = message;
    if (this.#phase === "over" || id === this.#roster.id) return;
    if (to !== ALL && to !== this.rank) return;
    if (kind === Kind.hello) return this.#onHello(message);
    if (kind === Kind.clash) return this.#onClash(message);
    const peer = this.#roster.peers[rank];
    if (!peer || rank === this.rank || peer.id !== id) return;
    const own = this.#roster.session;
    const meant = other === this.#roster.id || (session === own && session !== 0n);
    if (kind === Kind.leave && this.#phase === "meeting")
      return meant && code > 0 ? this.#onLeave(peer, message) : this.#roster.seat(peer, null);
    if (!meant) return;
    this.#hear(peer, message);
    if (this.#phase === "meeting" && this.#agree()) this.#plan();
    if (kind === Kind.part) this.#onPart(message);
    else if (kind === Kind.want) this.#onWant(peer, message.round);
    else if (kind === Kind.ping) this.#send(Kind.status, rank);
    else if (kind === Kind.leave) this.#onLeave(peer, message);
    if (this.#phase === "closing" && this.#behind.length === 0) this.#lingered?.();
  }

  #hear(peer: Peer, { session, done, next }: Message): void {
    peer.heard = this.clock.now();
    peer.suspect = null;
    peer.session = session;
    peer.next = Math.max(peer.next, next);
    if (done <= peer.done) return;
    peer.done = done;
    this.#forget();
  }

  /** Drops own parts that nobody can ask for any more: at once where there are no others. */
  #forget(): void {
    const needed = this.#roster.others.filter(({ left }) => !left).map((peer) => peer.done);
    const settled = Math.min(this.#next, ...needed);
    for (const round of this.#kept.keys()) if (round < settled) this.#kept.delete(round);
  }

  /** From meeting to running, once all ranks name the same session. */
  #agree(): boolean {
    if (!this.#roster.agreed) return false;
    this.#phase = "running";
    this.#settle.resolve();
    return true;
  }

  #onHello(message: Message): void {
    const { rank, id, session, code } = message;
    const peer = this.#roster.peers[rank];
    if (code !== this.size || rank === this.rank || !peer) return this.#clash(id);
    if (this.#phase !== "meeting") {
      if (peer.id !== id) return this.#suspect(peer);
      this.#hear(peer, { ...message, session: this.#roster.session });
      // It is still meeting. A hello would be answered by a hello.
      if (session === this.#roster.session) this.#send(Kind.status, rank);
      else this.#hello(rank);
      return;
    }
    if (peer.id !== id) {
      this.#roster.seat(peer, id);
      this.#rounds.clear();
      this.#hello(this.#roster.session === 0n ? rank : null);
    }
    peer.session = session;
    peer.heard = this.clock.now();
    this.#agree();
  }

  #clash(other: bigint): void {
    this.#send(Kind.clash, null, 0, { code: this.size, other });
  }

  /** The other one lives, and is told that this one does: a hello alone may be of an earlier run. */
  #onClash(message: Message): void {
    if (this.#phase !== "meeting" || message.other !== this.#roster.id) return;
    this.#clash(message.id);
    const { rank, code } = message;
    this.#fail(
      code === this.size ? reasons.rankTaken(rank) : reasons.sizesDiffer(this.size, message),
    );
  }

  /** Somebody else claims a rank of this session: either a stranger, or that rank's process has been restarted. */
  #suspect(peer: Peer): void {
    if (peer.left || this.#phase !== "running") return;
    peer.suspect ??= this.clock.now();
    this.#send(Kind.ping, peer.rank);
    this.#plan();
  }

  #onPart(message: Message): void {
    const { rank, round, hash } = message;
    if (round < this.#done || this.#finished.has(round)) {
      const known = this.#past.get(round)?.[rank];
      if (known !== undefined && known !== hash)
        this.#contradicted(message, "another part of the same round");
      return;
    }
    if (this.#phase === "closing" || !(round < this.#reserved + MOST_PENDING)) return;
    const contradiction = this.#round(round).take(message, this.clock.now());
    if (contradiction !== null) return this.#contradicted(message, contradiction);
    this.#look(round);
  }

  #contradicted(message: Message, what: string): void {
    if (this.#phase === "running") this.#fail(reasons.contradicted(message, what));
  }

  #onWant(peer: Peer, round: number): void {
    if (this.#kept.has(round)) this.#sendPart(round, peer.rank);
    else this.#send(Kind.status, peer.rank);
  }

  #onLeave(peer: Peer, message: Message): void {
    if (message.code === 0) {
      peer.left = true;
      if (this.#phase === "running") this.#send(Kind.status, peer.rank);
      this.#hurry();
      for (const round of this.#calls.keys()) if (this.#deserted(round)) return;
      return;
    }
    if (this.#phase === "closing") {
      peer.left = true;
      return;
    }
    this.#fail(reasons.received(message), false);
  }

  // Rounds

  #round(round: number): Round {
    let found = this.#rounds.get(round);
    if (!found) this.#rounds.set(round, (found = new Round(this.size)));
    return found;
  }

  /** Fails where a rank has said goodbye without a part of this round. */
  #deserted(round: number): boolean {
    const gone = this.#roster.others.find(({ left, next }) => left && next <= round);
    if (!gone) return false;
    this.#fail(reasons.deserted(this.#nameOf(round), gone));
    return true;
  }

  /** Completes a round where this rank waits for it and nothing is missing. */
  #look(round: number): void {
    const call = this.#calls.get(round);
    if (!call || this.#phase !== "running") return;
    const collected = this.#round(round);
    const mismatch = collected.mismatch(this.rank);
    if (mismatch) return this.#fail(reasons.mismatched(round, this.rank, mismatch));
    if (collected.missing.length > 0) {
      this.#deserted(round);
      return;
    }
    this.#rounds.delete(round);
    this.#calls.delete(round);
    this.#past.set(round, collected.hashes);
    this.#past.delete(round - MOST_PENDING);
    this.#finished.add(round);
    while (this.#finished.delete(this.#done)) this.#done += 1;
    try {
      call.resolve(call.merge(collected.parts));
    } catch (error) {
      call.reject(error);
      this.#abandon(round, error, "a merge that failed");
    }
  }

  #nameOf(round: number): string {
    const tag = this.#calls.get(round)?.tag;
    return `allReduce: round ${round}${tag ? ` "${tag}"` : ""}`;
  }

  // Time

  /** Milliseconds between two askings for a part at most, unless it is a large one. */
  get #mostDelay(): number {
    return Math.max(FIRST_RETRY, this.#timeout / LEAST_RETRIES);
  }

  /** Has what is missing asked for with the next tick. */
  #hurry(): void {
    for (const call of this.#calls.values())
      if (call.retryAt < Infinity) call.retryAt = this.clock.now();
  }

  get #waiting(): boolean {
    const { others } = this.#roster;
    return (
      this.#phase === "meeting" ||
      (this.#phase === "running" &&
        (this.#calls.size > 0 || others.some(({ suspect }) => suspect !== null)))
    );
  }

  #plan(): void {
    if (this.#planned || !this.#waiting) return;
    const at = this.clock.now() + this.#tick;
    this.#planned = {
      at,
      cancel: this.clock.after(this.#tick, () => {
        this.#planned = null;
        this.#onTick(this.clock.now() - at > STALL);
        this.#plan();
      }),
    };
  }

  /** @param stalled whether this process was stopped: what came meanwhile is still to be read. */
  #onTick(stalled: boolean): void {
    const now = this.clock.now();
    const grace = now + Math.min(this.#timeout, LAST_RETRY);
    if (this.#phase === "meeting") {
      if (stalled && !this.#excused) {
        this.#excused = true;
        this.#deadline = Math.max(this.#deadline, grace);
      }
      if (now >= this.#deadline) return this.#unmet();
      if (now >= this.#helloAt) {
        this.#hello(null);
        this.#helloAt = now + this.#helloDelay;
        this.#helloDelay = Math.min(LAST_RETRY, 2 * this.#helloDelay);
      }
      return;
    }
    for (const peer of this.#roster.others) {
      if (peer.suspect === null) continue;
      if (stalled) peer.suspect = now;
      if (now - peer.suspect >= this.#timeout / 4) return this.#fail(reasons.restarted(peer));
      this.#send(Kind.ping, peer.rank);
    }
    if (this.#calls.size > 0 && now >= this.#statusAt) {
      // Whoever is still sending its own part, and then closes, must not take this rank for gone.
      this.#send(Kind.status, null);
      this.#statusAt = now + LINGER / 4;
    }
    for (const [round, call] of this.#calls) {
      if (stalled && !call.excused) {
        call.excused = true;
        call.deadline = Math.max(call.deadline, grace);
      }
      if (now >= call.deadline) return this.#overdue(round);
      if (now < call.retryAt) continue;
      const collected = this.#round(round);
      const { missing } = collected;
      // Whoever is on the way with it needs no asking.
      const silent = missing.filter((rank) => now - collected.progressOf(rank) >= call.retryDelay);
      for (const rank of silent) this.#send(Kind.want, rank, round);
      call.retryAt = now + call.retryDelay;
      const most = Math.max(call.retryDelay, Math.min(LAST_RETRY, this.#mostDelay));
      if (silent.length > 0) call.retryDelay = Math.min(most, 2 * call.retryDelay);
    }
  }

  #unmet(): void {
    const { others, session } = this.#roster;
    const missing = others.filter((peer) => peer.id === null || peer.session !== session);
    const remedy = "start them all, with one group name";
    this.#giveUp({ subject: "group", expected: `all ${this.size} ranks`, remedy }, missing);
  }

  #overdue(round: number): void {
    const missing = this.#round(round).missing.map((rank) => this.#roster.peers[rank]!);
    const remedy = "see what became of them, or raise timeout";
    const subject = this.#nameOf(round);
    this.#giveUp({ subject, expected: "a part of every rank", remedy }, missing);
  }

  #giveUp(what: Parameters<typeof reasons.overdue>[0], missing: readonly Peer[]): void {
    const now = this.clock.now();
    const [timeout, interrupted] = [this.#timeout, this.#interrupted];
    this.#fail(reasons.overdue(what, missing, { now, timeout, interrupted }));
  }
}

/** @throws OptionError where there is nothing to wait for. */
function promiseOf<T>(part: PromiseLike<T>): Promise<T> {
  if (typeof (part as Partial<PromiseLike<T>> | undefined)?.then !== "function") {
    throw partError(part);
  }
  return Promise.resolve(part);
}

function partError(received: unknown): OptionError {
  const expected = "a Float32Array, or a promise of one";
  return new OptionError(
    complain("allReduce: part", expected, kindOf(received), "pass Float32Array.from(values)"),
  );
}

/**
 * Joins a group over a transport of your own: anything that brings bytes from one rank to the others, even
 * if it loses, repeats and reorders them.
 *
 * Rejects with PeerTimeoutError where a rank does not come within `timeout`; GroupError where two processes
 * claim one rank or sizes differ; TransportError; OptionError; and with the signal's reason.
 */
export async function createCommunicator(
  transport: Transport,
  options: GroupOptions,
): Promise<Communicator> {
  const subject = "createCommunicator";
  const given = Object(transport) as Partial<Transport>;
  const { maxBytes } = given;
  const functions = [given.open, given.send, given.close];
  if (typeof maxBytes !== "number" || functions.some((each) => typeof each !== "function")) {
    const expected = "{ maxBytes, open, send, close }";
    const remedy = "pass the transport first, then the options";
    throw new OptionError(complain(`${subject}: transport`, expected, kindOf(transport), remedy));
  }
  if (!(maxBytes >= HEADER_BYTES + LEAST_CHUNK)) {
    const expected = `${HEADER_BYTES + LEAST_CHUNK} bytes at least`;
    const remedy = "Infinity where messages may be of any size";
    throw new OptionError(complain(`${subject}: maxBytes`, expected, String(maxBytes), remedy));
  }
  requireKnown(subject, options, GROUP_OPTIONS);
  return await meet(transport, options);
}

/** {@link createCommunicator} with more options than its own, all of them known. */
export async function meet(transport: Transport, options: GroupOptions): Promise<Communicator> {
  const group = new Group(transport, options);
  await group.met;
  return group;
}
