import { recall, remember } from "./memory.js";

/** The languages of the page. */
export const LANGUAGES = { en: "English", ko: "한국어" } as const;
export type Language = keyof typeof LANGUAGES;

/** The same in every language. */
export type Words = Readonly<Record<Language, string>>;
/** Words, or what is written alike everywhere. */
export type Text = string | Words;

function initial(): Language {
  const asked = new URLSearchParams(location.search).get("lang") ?? recall("lang");
  if (asked !== null && asked in LANGUAGES) return asked as Language;
  return navigator.language.startsWith("ko") ? "ko" : "en";
}

let current = initial();
document.documentElement.lang = current;

export function language(): Language {
  return current;
}

/** The words in the page's language. */
export function t(text: Text): string {
  return typeof text === "string" ? text : text[current];
}

/** Who is told of a change; nodes are held weakly, for most of them come and go. */
const listeners = new Set<() => boolean>();

/** Calls `update` now and whenever the language changes, for as long as the node lives. */
export function localise<N extends object>(node: N, update: (node: N) => void): N {
  update(node);
  const held = new WeakRef(node);
  listeners.add(() => {
    const alive = held.deref();
    if (alive) update(alive);
    return alive !== undefined;
  });
  return node;
}

export function setLanguage(language: Language): void {
  current = language;
  document.documentElement.lang = language;
  remember("lang", language);
  for (const listener of [...listeners]) if (!listener()) listeners.delete(listener);
}
