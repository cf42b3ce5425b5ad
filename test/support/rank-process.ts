import { fork } from "node:child_process";
import { Worker } from "node:worker_threads";
import type { Answer, Order } from "./rank.js";

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- as Node declares its events
type Listener = (...values: any[]) => void;

/** A rank of its own: a process, or a worker thread of this one. */
export class RankProcess {
  readonly #waiting = new Map<
    number,
    { resolve: (answer: Answer) => void; reject: (error: Error) => void }
  >();
  #next = 0;
  readonly #ended: Promise<void>;

  private constructor(
    private readonly send: (message: { id: number; order: Order }) => void,
    /** Processes know signals; a thread can only be ended. */
    readonly signal: (name: "SIGKILL" | "SIGSTOP" | "SIGCONT") => void,
    on: (event: "message" | "exit", listener: Listener) => unknown,
  ) {
    on("message", ({ id, answer }: { id: number; answer: Answer }) => {
      this.#waiting.get(id)?.resolve(answer);
      this.#waiting.delete(id);
    });
    this.#ended = new Promise((resolve) => on("exit", () => resolve()));
    void this.#ended.then(() => {
      for (const { reject } of this.#waiting.values()) reject(new Error("the rank has ended"));
    });
  }

  static process(program: string): RankProcess {
    const child = fork(program, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    return new RankProcess(
      (message) => child.send(message),
      (name) => child.kill(name),
      (event, listener) => child.on(event, listener),
    );
  }

  static thread(program: string): RankProcess {
    const worker = new Worker(program);
    return new RankProcess(
      (message) => worker.postMessage(message),
      () => void worker.terminate(),
      (event, listener) => worker.on(event, listener),
    );
  }

  /** Has it do something: its answer, an error of its own included. */
  tell(order: Order): Promise<Answer> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.send({ id, order });
    });
  }

  async end(): Promise<void> {
    this.signal("SIGKILL");
    await this.#ended;
  }
}
