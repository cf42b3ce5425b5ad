/**
 * Synchronises the processes of many machines, browsers among them, over a NATS server.
 *
 * @packageDocumentation
 */
import type {
  ConnectionOptions,
  NatsConnection,
  PermissionViolationError,
  Status,
  WsConnectionOptions,
} from "@nats-io/nats-core";
import { kindOf, requireKnown, shown } from "../arguments.js";
import { complain, OptionError } from "../errors.js";
import { remedyFor } from "../remedy.js";
import type { Communicator } from "../sync/communicator.js";
import { TransportError } from "../sync/errors.js";
import { meet } from "../sync/group.js";
import { GROUP_OPTIONS, requireGroup, type GroupOptions } from "../sync/options.js";
import type { Transport } from "../sync/transport.js";

/** Options of {@link createNatsCommunicator}. */
export interface NatsOptions extends GroupOptions {
  /** The group's name: letters, digits, `-` and `_`. One run at a time uses it. */
  group: string;
  /** A connection of yours, which stays open. Several ranks of one process may share it, unless it was made with `noEcho`. */
  connection?: NatsConnection | undefined;
  /**
   * Or where to connect: `nats://host:4222` and `tls://` in Node, `ws://` and `wss://` in browsers. User and password go into
   * `connect`: the client takes none from an address.
   */
  servers?: string | string[] | undefined;
  /** More options of the connection: user, token, certificates. */
  connect?: (ConnectionOptions & Pick<WsConnectionOptions, "wsFactory">) | undefined;
}

/**
 * A group whose ranks are processes on any machines that reach one NATS server (or cluster): Node through
 * `@nats-io/transport-node`, browsers through the server's WebSocket. Core NATS is enough, no JetStream.
 *
 * A server that restarts is waited for, within `timeout`; what got lost meanwhile is sent again.
 *
 * @returns once all ranks have met. Rejects as `createCommunicator`; with TransportError where no server
 * answers; OptionError where an option is wrong or the client library is not installed.
 * @example
 * ```ts
 * const communicator = await createNatsCommunicator({
 *   servers: "nats://127.0.0.1:4222", group: "training", rank: 0, size: 4,
 * });
 * ```
 */
export async function createNatsCommunicator(options: NatsOptions): Promise<Communicator> {
  const subject = "createNatsCommunicator";
  requireKnown(subject, options, [
    ...["group", "connection", "servers", "connect"],
    ...GROUP_OPTIONS,
  ]);
  const { group, connection, servers, rank, size, timeout, signal } = options;
  if (typeof group !== "string" || !/^[\w-]+$/.test(group)) {
    const received = typeof group === "string" ? shown(group) : kindOf(group);
    const remedy = "pass the same name on all ranks";
    throw new OptionError(
      complain(`${subject}: group`, "letters, digits, - and _", received, remedy),
    );
  }
  if (connection && typeof (connection as Partial<NatsConnection>).subscribe !== "function") {
    const remedy = remedyFor(connection, "pass what connect() gave");
    throw new OptionError(
      complain(`${subject}: connection`, "a NatsConnection", kindOf(connection), remedy),
    );
  }
  if (![servers ?? []].flat().every((each) => typeof each === "string")) {
    const remedy = 'pass "nats://host:4222"';
    throw new OptionError(
      complain(`${subject}: servers`, "an address, or a list of them", kindOf(servers), remedy),
    );
  }
  // Before a connection is made.
  requireGroup(rank, size, timeout);
  signal?.throwIfAborted();
  const own = connection ? null : await connect(options);
  try {
    return await meet(overNats(connection ?? own!, options, own !== null), options);
  } catch (error) {
    await own?.close();
    throw error;
  }
}

async function connect({
  servers,
  timeout = 30_000,
  signal,
  ...rest
}: NatsOptions): Promise<NatsConnection> {
  const list = [servers ?? []].flat();
  if (list.length === 0) {
    const remedy = 'pass servers: "nats://host:4222" or connection';
    throw new OptionError(
      complain("createNatsCommunicator", "servers or a connection", "neither", remedy),
    );
  }
  const webSocket = list.some((each) => /^wss?:/i.test(each));
  if (webSocket && typeof WebSocket === "undefined" && !rest.connect?.wsFactory) {
    const remedy = "run Node 22, pass nats:// addresses, or connect: { wsFactory }";
    throw new OptionError(
      complain("createNatsCommunicator: servers", "a WebSocket for ws://", "none here", remedy),
    );
  }
  const open = await connector(webSocket);
  signal?.throwIfAborted();
  const pending = open({
    // Of each attempt: one address that is silent leaves time for the next.
    timeout: timeout / list.length,
    reconnectTimeWait: 200,
    // A group is not told what it says itself.
    noEcho: true,
    ...rest.connect,
    servers: list,
    // Rounds have their own time limit.
    maxReconnectAttempts: -1,
  });
  let abort = (): void => undefined;
  let timer: ReturnType<typeof setTimeout>;
  const given = new Promise<never>((_, reject) => {
    abort = () => reject(signal!.reason as Error);
    signal?.addEventListener("abort", abort, { once: true });
    // The client waits for a WebSocket that never opened to close.
    timer = setTimeout(() => reject(new Error(`no answer within ${timeout} ms`)), timeout);
  });
  try {
    return await Promise.race([pending, given]);
  } catch (error) {
    void pending.then(
      (late) => late.close(),
      () => undefined,
    );
    signal?.throwIfAborted();
    const named = list.map(withoutSecrets);
    throw new TransportError(
      complain(
        "createNatsCommunicator",
        `a NATS server at ${named.join(", ")}`,
        `"${(error as Error).message}"`,
        "start nats-server, or check the address",
      ),
      // Node's own error of an address shows all of it.
      list.every((each, i) => each === named[i]) ? { cause: error } : {},
    );
  } finally {
    clearTimeout(timer!);
    signal?.removeEventListener("abort", abort);
  }
}

/** An address without the user and password, or the token, that may stand in it, whatever is in them. */
function withoutSecrets(address: string): string {
  return address.replace(/^(\w+:\/\/)?.*@/s, "$1");
}

async function connector(
  webSocket: boolean,
): Promise<(options: ConnectionOptions) => Promise<NatsConnection>> {
  // A name that bundlers do not follow: a browser needs no TCP.
  const tcp = "@nats-io/transport-node";
  try {
    if (webSocket) return (await import("@nats-io/nats-core")).wsconnect;
    return (
      (await import(
        /* @vite-ignore */ /* webpackIgnore: true */ tcp
      )) as typeof import("@nats-io/transport-node")
    ).connect;
  } catch (error) {
    const name = webSocket ? "@nats-io/nats-core" : tcp;
    throw new OptionError(
      complain(
        "createNatsCommunicator",
        `the npm package ${name}`,
        `"${(error as Error).message}"`,
        `npm install ${name}; a browser takes ws:// or wss:// addresses`,
      ),
      { cause: error },
    );
  }
}

/** Milliseconds that close() gives what was said last. */
const FLUSH = 500;

/** A group on two subjects of each rank: its own, and everybody's. */
function overNats(
  connection: NatsConnection,
  { group, rank }: NatsOptions,
  owned: boolean,
): Transport {
  const prefix = `webgpu-batchnorm.${group}`;
  const subjectOf = (to: number | null): string => `${prefix}.${to ?? "all"}`;
  const subscriptions: { unsubscribe(): void }[] = [];
  let status: (AsyncIterable<Status> & { stop?(): void }) | null = null;
  // By its name: there may be two copies of the client. A subscription that is denied is told to itself.
  const isDenied = (error: Error): boolean => {
    const { operation, subject } = error as Partial<PermissionViolationError>;
    return operation === "publish" && subject!.startsWith(`${prefix}.`);
  };
  let closing = false;
  let maxBytes = 2 ** 20;
  return {
    // Each server has its own, and while there is none the last one's is as good as any.
    get maxBytes() {
      return (maxBytes = connection.info?.max_payload ?? maxBytes);
    },
    open(events) {
      for (const to of [rank, null]) {
        const subscription = connection.subscribe(subjectOf(to), {
          callback: (error, message) => {
            if (!error) events.message(message.data);
            else if (!closing) events.lost(error);
          },
        });
        subscriptions.push(subscription);
      }
      const told: AsyncIterable<Status> = (status = connection.status());
      void (async () => {
        for await (const each of told) {
          if (each.type === "disconnect") events.interrupted();
          else if (each.type === "reconnect") events.restored();
          else if (each.type === "error" && isDenied(each.error)) events.lost(each.error);
        }
        // It ends with the connection, or because close() has stopped it.
        if (closing) return;
        const reason = await connection.closed();
        events.lost(reason ?? new Error("the connection was closed"));
      })();
    },
    send(message, to) {
      connection.publish(subjectOf(to), message);
    },
    async close() {
      closing = true;
      // A connection of the caller's lives on and would keep it, and the group with it.
      status?.stop?.();
      if (connection.isClosed()) return;
      // A server that is away must not hold up the end.
      const flushed = connection.flush().catch(() => undefined);
      let timer: ReturnType<typeof setTimeout>;
      const late = new Promise((resolve) => (timer = setTimeout(resolve, FLUSH)));
      await Promise.race([flushed, late]);
      clearTimeout(timer!);
      for (const each of subscriptions) each.unsubscribe();
      if (owned) await connection.close();
    },
  };
}
