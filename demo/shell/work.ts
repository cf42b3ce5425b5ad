import { h } from "./dom.js";
import { localise, t, type Text, type Words } from "./language.js";
import type { Live } from "./settings.js";
import { endedBy } from "./trouble.js";

/** What a piece of long work is given. */
export interface Job<V extends object = object> {
  readonly signal: AbortSignal;
  /** The settings as they stood when it was started. */
  readonly values: Readonly<V>;
  /** From now on the results on show are this one's. */
  shown(): void;
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

const CHANGED: Words = {
  en: "The settings have changed since.",
  ko: "그 뒤로 설정이 바뀌었습니다.",
};

/**
 * A button that starts long work and cancels it, a bar and a line that tell how it goes. What it goes by may change while
 * its results stay on show: the line says so.
 */
export class Work<V extends object = object> {
  readonly element: HTMLElement;
  readonly #button: HTMLButtonElement;
  readonly #bar: HTMLProgressElement;
  readonly #status: HTMLElement;
  /** Read out: how it starts and ends, not each step on the way. */
  readonly #heard: HTMLElement;
  #running: AbortController | null = null;
  #text: Text = "";
  /** The settings of the one that runs, and of the one whose results are on show. */
  #asked: Readonly<V> | null = null;
  #shown: Readonly<V> | null = null;

  /**
   * @param end ends it for good: the device is lost, or its place is left.
   * @param name the button's.
   * @param settings what it goes by, where that changes nothing before it is started anew.
   * @param run does the work; what it returns is said when it is done.
   */
  constructor(
    private readonly end: AbortSignal,
    readonly name: Text,
    private readonly settings: Live<V> | null,
    private readonly run: (job: Job<V>) => Promise<Text>,
  ) {
    this.#button = h("button", {
      type: "button",
      class: "primary",
      click: () => {
        this.toggle();
      },
    });
    this.#bar = h("progress", { max: 1, value: 0, "aria-label": { en: "progress", ko: "진행" } });
    this.#status = h("p", { class: "status" });
    this.#heard = h("p", { class: "heard", role: "status" });
    this.element = h(
      "div",
      { class: "work", "data-state": "idle" },
      this.#button,
      this.#bar,
      this.#status,
      this.#heard,
    );
    localise(this.element, () => {
      this.#show();
    });
    settings?.onChange(() => {
      this.#show();
    });
  }

  /** The settings that the results on show were made with; before there are any, as they stand. */
  get values(): Readonly<V> {
    return this.#shown ?? this.#now();
  }

  #now(): Readonly<V> {
    return { ...this.settings?.values } as V;
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
    const objection = this.settings?.objection ?? null;
    if (objection !== null) {
      this.#enter("failed", objection, 0);
      return;
    }
    this.cancel();
    const controller = new AbortController();
    const signal = AbortSignal.any([this.end, controller.signal]);
    const values = this.#now();
    this.#running = controller;
    this.#asked = values;
    this.#enter("running", "", 0);
    let drawn = 0;
    const job: Job<V> = {
      signal,
      values,
      shown: () => {
        this.#shown = values;
      },
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
          { en: `${both("en")} (${seconds}\u00a0s)`, ko: `${both("ko")} (${seconds}초)` },
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
      if (this.#running === controller) {
        this.#running = null;
        this.#asked = null;
      }
      this.#show();
    }
  }

  #enter(state: State, text: Text, share: number): void {
    this.element.dataset["state"] = state;
    this.#text = text;
    this.#bar.value = share;
    this.#heard.textContent = t(
      state === "running" ? { en: "Started.", ko: "시작했습니다." } : text,
    );
    this.#show();
  }

  #show(): void {
    const made = this.#asked ?? this.#shown;
    const stale = made !== null && JSON.stringify(made) !== JSON.stringify(this.#now());
    this.element.toggleAttribute("data-stale", stale);
    this.#button.textContent =
      this.#running && this.state === "running" ? t({ en: "Cancel", ko: "취소" }) : t(this.name);
    this.#status.textContent = [t(this.#text), stale ? t(CHANGED) : ""].join(" ").trim();
  }
}
