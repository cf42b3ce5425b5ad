import { h } from "./dom.js";
import { localise, t, type Text } from "./language.js";
import { endedBy } from "./trouble.js";

/** What a piece of long work is given. */
export interface Job {
  readonly signal: AbortSignal;
  /** Shows how far it is, 0 to 1, and what it does. */
  progress(share: number, text?: Text): void;
  /** Lets the page live; throws when cancelled. */
  breathe(): Promise<void>;
  /** Waits for something; throws when cancelled meanwhile. */
  wait<T>(something: Promise<T>): Promise<T>;
}

/** The page lives on before this settles. */
export function nextTask(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

export type State = "idle" | "running" | "done" | "cancelled" | "failed";

/** A button that starts long work and cancels it, a bar and a line that tell how it goes. */
export class Work {
  readonly element: HTMLElement;
  readonly #button: HTMLButtonElement;
  readonly #bar: HTMLProgressElement;
  readonly #status: HTMLElement;
  #running: AbortController | null = null;
  #text: Text = "";

  /**
   * @param end ends it for good: the device is lost, or its place is left.
   * @param run does the work; what it returns is said when it is done.
   */
  constructor(
    private readonly end: AbortSignal,
    private readonly name: Text,
    private readonly run: (job: Job) => Promise<Text>,
  ) {
    this.#button = h("button", {
      type: "button",
      class: "primary",
      click: () => {
        this.toggle();
      },
    });
    this.#bar = h("progress", { max: 1, value: 0, "aria-label": { en: "progress", ko: "진행" } });
    this.#status = h("p", { class: "status", role: "status" });
    this.element = h(
      "div",
      { class: "work", "data-state": "idle" },
      this.#button,
      this.#bar,
      this.#status,
    );
    localise(this.element, () => {
      this.#show();
    });
  }

  get state(): State {
    return this.element.dataset["state"] as State;
  }

  toggle(): void {
    if (this.#running) this.cancel();
    else void this.start();
  }

  /** Cancels what runs. */
  cancel(): void {
    this.#running?.abort(new DOMException("cancelled", "AbortError"));
  }

  /** Starts anew; what ran is cancelled first. Settles when the work has ended, however it did. */
  async start(): Promise<void> {
    this.cancel();
    const controller = new AbortController();
    const signal = AbortSignal.any([this.end, controller.signal]);
    this.#running = controller;
    this.#enter("running", "", 0);
    let drawn = 0;
    const job: Job = {
      signal,
      progress: (share, text) => {
        if (this.#running !== controller) return;
        this.#bar.value = share;
        if (text === undefined) return;
        this.#text = text;
        this.#show();
      },
      breathe: async () => {
        signal.throwIfAborted();
        // A frame now and then, so that what was drawn is seen.
        if (performance.now() - drawn > 50) {
          await new Promise((resolve) => setTimeout(resolve, 0));
          drawn = performance.now();
        } else await nextTask();
        signal.throwIfAborted();
      },
      wait: async (something) => {
        const result = await something;
        signal.throwIfAborted();
        return result;
      },
    };
    try {
      const start = performance.now();
      await job.breathe();
      const text = await this.run(job);
      signal.throwIfAborted();
      const seconds = ((performance.now() - start) / 1000).toFixed(1);
      const both = (each: "en" | "ko"): string => (typeof text === "string" ? text : text[each]);
      if (this.#running === controller)
        this.#enter(
          "done",
          { en: `${both("en")} (${seconds} s)`, ko: `${both("ko")} (${seconds}초)` },
          1,
        );
    } catch (error) {
      const reason = ((await endedBy(signal)) ? signal.reason : error) as Error;
      // Another start has taken over.
      if (this.#running !== controller) return;
      const cancelled = signal.aborted && reason.name === "AbortError";
      if (cancelled) this.#enter("cancelled", { en: "Cancelled.", ko: "취소했습니다." }, 0);
      else {
        console.error(reason);
        this.#enter("failed", reason.message, 0);
      }
    } finally {
      if (this.#running === controller) this.#running = null;
      this.#show();
    }
  }

  #enter(state: State, text: Text, share: number): void {
    this.element.dataset["state"] = state;
    this.#text = text;
    this.#bar.value = share;
    this.#show();
  }

  #show(): void {
    this.#button.textContent =
      this.#running && this.state === "running" ? t({ en: "Cancel", ko: "취소" }) : t(this.name);
    this.#status.textContent = t(this.#text);
  }
}
