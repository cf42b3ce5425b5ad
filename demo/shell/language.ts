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

// Most nodes come and go. What is done to one at a change lives as long as it does, whatever it holds, the node itself
// included; those who are told are held weakly, and taken off the list when they are gone.
const updates = new WeakMap<object, (() => void)[]>();
const told = new Set<WeakRef<object>>();
const gone = new FinalizationRegistry((node: WeakRef<object>) => told.delete(node));

/** Calls `update` now and whenever the language changes, for as long as the node lives. */
export function localise<N extends object>(node: N, update: (node: N) => void): N {
  const own = (): void => {
    update(node);
  };
  own();
  const known = updates.get(node);
  if (known) known.push(own);
  else {
    updates.set(node, [own]);
    const held = new WeakRef(node);
    told.add(held);
    gone.register(node, held);
  }
  return node;
}

export function setLanguage(language: Language): void {
  current = language;
  document.documentElement.lang = language;
  remember("lang", language);
  for (const held of [...told]) {
    const node = held.deref();
    for (const update of (node && updates.get(node)) ?? []) update();
  }
}
