import { Group } from "../../src/sync/group.js";
import type { GroupOptions } from "../../src/sync/options.js";
import type { Clock, Transport, TransportEvents } from "../../src/sync/transport.js";
import { createRandom } from "./random.js";

/** What a simulated network does to messages. */
export interface Weather {
  /** Chance that a message is lost, and that it comes twice. */
  loss?: number;
  twice?: number;
  /** The most milliseconds that one is under way; each takes its own time, so they overtake one another. */
  delay?: number;
  /** Bytes of the largest message. */
  maxBytes?: number;
  /** Bytes that a process sends a millisecond; what it sends meanwhile waits. */
  bandwidth?: number;
}

interface Event {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
  /** Whose event it is: a stopped process leaves it until it goes on. */
  readonly owner: Endpoint | null;
}

/** One process on the network. */
export interface Endpoint {
  readonly group: Group;
  readonly rank: number;
  /** Stops as if killed: neither sends nor receives any more, and its timers are gone. */
  kill(): void;
  /** SIGSTOP and SIGCONT: timers and messages wait. */
  stop(): void;
  go(): void;
  /** As a connection that is lost and comes back; what is sent meanwhile is lost. */
  cut(): void;
  mend(): void;
  /** As a connection that does not come back. */
  lose(): void;
}

/** A network in simulated time: minutes take milliseconds, and the same seed gives the same course of events. */
export class Network {
  now = 0;
  weather: Weather;
  /** Every message that was sent, in order. */
  readonly sent: { bytes: Uint8Array<ArrayBuffer>; from: number; to: number | null }[] = [];
  /** May change or drop (null) a message on its way. */
  tamper: ((bytes: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer> | null) | null = null;
  #events: Event[] = [];
  #order = 0;
  #members = new Map<
    Endpoint,
    {
      events: TransportEvents | null;
      dead: boolean;
      cut: boolean;
      stopped: boolean;
      sends: number;
      closedAt: number;
    }
  >();
  readonly #random;

  constructor(seed: number, weather: Weather = {}) {
    this.#random = createRandom(seed);
    this.weather = weather;
  }

  /** A process of this rank; `met` and the rest are the Group's. */
  join(options: GroupOptions): Endpoint {
    const state = {
      events: null as TransportEvents | null,
      dead: false,
      cut: false,
      stopped: false,
      /** Until when. */
      sends: 0,
      /** What is not sent by then never is. */
      closedAt: Infinity,
    };
    const endpoint = {
      rank: options.rank,
      kill: () => {
        state.dead = true;
      },
      stop: () => {
        state.stopped = true;
      },
      go: () => {
        state.stopped = false;
      },
      cut: () => {
        state.cut = true;
        state.events?.interrupted();
      },
      mend: () => {
        state.cut = false;
        state.events?.restored();
      },
      lose: () => state.events?.lost(new Error("gone")),
    } as Endpoint & { group: Group };
    this.#members.set(endpoint, state);
    const clock: Clock = {
      now: () => this.now,
      after: (ms, run) => {
        const event = this.#add(ms, run, endpoint);
        return () => {
          this.#events = this.#events.filter((each) => each !== event);
        };
      },
    };
    const maxBytes = (): number => this.weather.maxBytes ?? 1000;
    const transport: Transport = {
      get maxBytes() {
        return maxBytes();
      },
      open: (events) => {
        state.events = events;
      },
      send: (bytes, to) => {
        if (bytes.length > maxBytes()) throw new Error("message too large");
        if (state.dead || state.cut) return;
        this.sent.push({ bytes, from: options.rank, to });
        const { bandwidth = Infinity } = this.weather;
        state.sends = Math.max(this.now, state.sends) + bytes.length / bandwidth;
        const { sends } = state;
        this.deliver(bytes, to, sends - this.now, () => sends <= state.closedAt);
      },
      close: async () => {
        state.events = null;
        state.closedAt = this.now;
      },
    };
    endpoint.group = new Group(transport, options, clock);
    return endpoint;
  }

  /** A whole group, not yet met. */
  group(size: number, options: Partial<GroupOptions> = {}): Endpoint[] {
    return Array.from({ length: size }, (_, rank) =>
      this.join({ timeout: 5000, ...options, rank, size }),
    );
  }

  /** Brings a message to whom it is for, as the weather is. */
  deliver(
    original: Uint8Array<ArrayBuffer>,
    to: number | null,
    wait = 0,
    isSent: () => boolean = () => true,
  ): void {
    const { loss = 0, twice = 0, delay = 10 } = this.weather;
    for (const [endpoint, state] of this.#members) {
      if (to !== null && endpoint.rank !== to) continue;
      const copies = this.#random.uniform() < twice ? 2 : 1;
      for (let copy = 0; copy < copies; copy += 1) {
        if (this.#random.uniform() < loss) continue;
        const bytes = this.tamper ? this.tamper(original.slice()) : original;
        if (!bytes) continue;
        this.#add(
          wait + this.#random.uniform() * delay,
          () => {
            if (!state.cut && isSent()) state.events?.message(bytes);
          },
          endpoint,
        );
      }
    }
  }

  #add(ms: number, run: () => void, owner: Endpoint | null): Event {
    const event = { at: this.now + ms, order: this.#order++, run, owner };
    this.#events.push(event);
    return event;
  }

  /** Lets something happen at a time from now. */
  later(ms: number, run: () => void): void {
    this.#add(ms, run, null);
  }

  /** Simulates until `done` settles; fails after `limit` simulated milliseconds. */
  async until<T>(done: Promise<T>, limit = 600_000): Promise<T> {
    let settled = false;
    const mark = (): void => {
      settled = true;
    };
    done.then(mark, mark);
    const end = this.now + limit;
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      if (settled) return done;
      const ready = this.#events.filter(
        ({ owner }) => !owner || !this.#members.get(owner)!.stopped,
      );
      if (ready.length === 0) throw new Error(`nothing more happens at ${this.now} ms`);
      const next = ready.reduce((a, b) =>
        Math.max(b.at, this.now) < Math.max(a.at, this.now) || (b.at === a.at && b.order < a.order)
          ? b
          : a,
      );
      if (next.at > end) throw new Error(`still waiting after ${limit} ms`);
      this.#events = this.#events.filter((each) => each !== next);
      this.now = Math.max(this.now, next.at);
      if (!next.owner || !this.#members.get(next.owner)!.dead) next.run();
    }
  }

  /** Simulates a stretch of time. */
  async pass(ms: number): Promise<void> {
    await this.until(new Promise<void>((resolve) => this.later(ms, resolve)));
  }
}
