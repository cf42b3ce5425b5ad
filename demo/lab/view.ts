import type { Engine } from "../engine/engine.js";
import type { Digits } from "../../scripts/support/digits.js";
import type { Found } from "../shell/adapter.js";
import { formula, h, rich, type Child } from "../shell/dom.js";
import type { Words } from "../shell/language.js";
import type { Fields, Settings } from "../shell/settings.js";

/** What a view finds in the lab. */
export interface Lab {
  readonly found: Found;
  /** Whether there is no real GPU, so that everything starts small. */
  readonly software: boolean;
  digits(): Promise<Digits>;
  /** TensorFlow.js with our drop-in; one for all views. */
  engine(): Promise<Engine>;
  /** Aborted when the view is left, or the device is lost: nothing of it may go on. */
  readonly left: AbortSignal;
}

/** A view that is shown. */
export interface Shown {
  readonly element: HTMLElement;
  readonly settings: readonly Settings<Fields>[];
  /** Called once it stands in the page. */
  begin?(): void;
  /** Frees what it holds on the device. */
  end?(): void;
}

/** One claim of the lecture, to be seen. */
export interface View {
  readonly id: string;
  readonly name: Words;
  show(lab: Lab): Shown;
}

/** How every view begins: its title, what to look for, the formula. */
export function intro(
  title: Words,
  look: Words,
  line: string | HTMLElement,
  ...children: readonly Child[]
): HTMLElement {
  return h(
    "section",
    { class: "card" },
    h("h2", {}, title),
    withClass(rich(look, "p"), "look"),
    typeof line === "string" ? formula(line) : line,
    ...children,
  );
}

function withClass(element: HTMLElement, name: string): HTMLElement {
  element.classList.add(name);
  return element;
}

/** Starts the work a little after the last change, so that a slider that moves does not start it ten times. */
export function afterChanges(
  settings: { onChange(listener: (changed: string) => void): unknown },
  run: () => void,
  left: AbortSignal,
  ms = 250,
): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  settings.onChange(() => {
    clearTimeout(timer);
    timer = setTimeout(run, ms);
  });
  left.addEventListener("abort", () => {
    clearTimeout(timer);
  });
}

export const OFF: Words = { en: "without Batch Normalization", ko: "배치 정규화 없이" };
export const ON: Words = { en: "with Batch Normalization", ko: "배치 정규화와 함께" };
