import "./style.css";
import { flush, read, write } from "./address.js";
import { findDevice, type Found } from "./adapter.js";
import { h } from "./dom.js";
import { recall, remember } from "./memory.js";
import {
  LANGUAGES,
  language,
  localise,
  setLanguage,
  t,
  type Language,
  type Text,
  type Words,
} from "./language.js";

const PAGES: readonly { readonly file: string; readonly name: Words }[] = [
  { file: "index.html", name: { en: "Start", ko: "시작" } },
  { file: "compare.html", name: { en: "Compare", ko: "비교" } },
  { file: "lab.html", name: { en: "Lab", ko: "실험실" } },
  { file: "digits.html", name: { en: "Digits", ko: "숫자" } },
];
type Theme = "light" | "dark";

/** What a page is made of. */
export interface Page {
  readonly file: (typeof PAGES)[number]["file"];
  readonly title: Words;
  readonly lead: Text;
}

/** What is told to the page once the device is lost. */
export interface Opened {
  readonly main: HTMLElement;
  readonly found: Found;
  /** Aborted with the reason when the device is lost or reports an error that nobody caught. */
  readonly trouble: AbortSignal;
}

function theme(): Theme {
  const chosen = read("theme") ?? recall("theme");
  if (chosen === "light" || chosen === "dark") return chosen;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

/** Told when light and dark change, for what is not drawn with CSS. */
export const themeChanges = new EventTarget();

function applyTheme(): void {
  document.documentElement.style.colorScheme = theme();
  themeChanges.dispatchEvent(new Event("change"));
}

function themeButton(): HTMLElement {
  const button = h("button", {
    type: "button",
    class: "quiet-button",
    click: () => {
      const next = theme() === "dark" ? "light" : "dark";
      remember("theme", next);
      write({ theme: next });
      applyTheme();
      show();
    },
  });
  const show = (): void => {
    button.textContent =
      theme() === "dark" ? t({ en: "Light", ko: "밝게" }) : t({ en: "Dark", ko: "어둡게" });
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    applyTheme();
    show();
  });
  return localise(button, show);
}

function languageSwitch(): HTMLElement {
  const buttons = (Object.keys(LANGUAGES) as Language[]).map((each) =>
    h(
      "button",
      {
        type: "button",
        class: "quiet-button",
        lang: each,
        click: () => {
          choose(each);
        },
      },
      LANGUAGES[each],
    ),
  );
  const choose = (each: Language): void => {
    write({ lang: each });
    setLanguage(each);
  };
  return localise(
    h(
      "div",
      { class: "languages", role: "group", "aria-label": { en: "language", ko: "언어" } },
      ...buttons,
    ),
    () => {
      for (const button of buttons)
        button.setAttribute("aria-pressed", String(button.lang === language()));
    },
  );
}

/** Links keep language and theme where the address has them. */
function link(file: string): string {
  const kept = new URLSearchParams();
  for (const name of ["lang", "theme"]) {
    const value = read(name);
    if (value !== null) kept.set(name, value);
  }
  return `./${file}${kept.size > 0 ? `?${kept.toString()}` : ""}`;
}

function header(page: Page): HTMLElement {
  const links = PAGES.map(({ file, name }) =>
    localise(
      h("a", { href: file, ...(file === page.file ? { "aria-current": "page" } : {}) }, name),
      (a) => {
        a.href = link(file);
      },
    ),
  );
  return h(
    "header",
    {},
    h("a", { class: "skip", href: "#main" }, { en: "To the content", ko: "본문으로" }),
    h(
      "div",
      { class: "bar" },
      h("nav", { "aria-label": { en: "pages", ko: "페이지" } }, ...links),
      h("div", { class: "switches" }, languageSwitch(), themeButton()),
    ),
    h("h1", {}, page.title),
    h("p", { class: "lead" }, page.lead),
  );
}

function describe(found: Found): Words {
  if (!found.device)
    return {
      en: "Adapter: none. The CPU reference runs instead.",
      ko: "어댑터 없음: CPU 참조 구현으로 실행합니다.",
    };
  if (!found.software) return { en: `Adapter: ${found.name}`, ko: `어댑터: ${found.name}` };
  return {
    en: `Adapter: ${found.name}, a software adapter. WebGPU runs on the CPU here, so that everything starts small; times rank programs and say nothing about a GPU.`,
    ko: `어댑터: ${found.name} (소프트웨어). 여기서는 WebGPU가 CPU에서 돌아가므로 모두 작은 크기로 시작합니다. 시간은 프로그램끼리 견주는 데만 쓰고 GPU의 속도로 읽지 마세요.`,
  };
}

/** A message above the content. */
export function notice(
  text: Text,
  more: Text,
  button?: { text: Text; press: () => void },
): HTMLElement {
  return h(
    "aside",
    { class: "notice", role: "alert" },
    h("p", {}, h("strong", {}, text), " ", h("span", {}, more)),
    button
      ? h("button", { type: "button", class: "primary", click: button.press }, button.text)
      : null,
  );
}

function reload(): void {
  flush();
  location.reload();
}

/** Sets up what all pages share, looks for a device, and hands over. */
export async function openPage(
  page: Page,
  fill: (opened: Opened) => void | Promise<void>,
): Promise<void> {
  applyTheme();
  // What was chosen on an earlier page is part of this view too.
  for (const name of ["lang", "theme"]) write({ [name]: read(name) ?? recall(name) });
  localise(document.documentElement, () => {
    document.title = `${t(page.title)} · webgpu-batchnorm`;
  });
  const adapter = h(
    "p",
    { class: "adapter", id: "adapter" },
    { en: "Looking for a GPU …", ko: "GPU를 찾는 중 …" },
  );
  const notices = h("div", { id: "notices" });
  const main = h("main", { id: "main", tabindex: -1 });
  const top = header(page);
  top.append(adapter);
  document.body.replaceChildren(top, notices, main);
  const found = await findDevice();
  adapter.replaceChildren(h("span", {}, describe(found)));
  // A browser remembers a module that did not come, so that only the page can ask for it again.
  addEventListener("vite:preloadError", ({ payload }) => {
    if (notices.querySelector(".reload")) return;
    const words = notice(
      {
        en: "A part of this page could not be loaded.",
        ko: "이 페이지의 일부를 불러오지 못했습니다.",
      },
      {
        en: `${payload.message}. Your settings stand in the address and are kept.`,
        ko: `${payload.message}. 설정은 주소에 남아 있어 그대로 이어집니다.`,
      },
      { text: { en: "Load it again", ko: "다시 불러오기" }, press: reload },
    );
    words.classList.add("reload");
    notices.append(words);
  });
  const trouble = new AbortController();
  if (!found.device) {
    notices.append(
      notice(found.reason, {
        en: `${found.remedy.en} Meanwhile the pages compute with the float64 reference on the CPU: right, only slower.`,
        ko: `${found.remedy.ko} 그동안 각 페이지는 CPU에서 float64 참조 구현으로 계산합니다. 느릴 뿐 값은 맞습니다.`,
      }),
    );
  } else {
    const { device } = found;
    device.addEventListener("uncapturederror", ({ error }) => {
      console.error(error.message);
    });
    void device.lost.then(({ message }) => {
      const words: Words = { en: "The GPU was lost.", ko: "GPU 연결이 끊어졌습니다." };
      notices.replaceChildren(
        notice(
          words,
          {
            en: `${message} What was running has stopped. Your settings stand in the address and are kept.`,
            ko: `${message} 실행 중이던 작업은 멈췄습니다. 설정은 주소에 남아 있어 그대로 이어집니다.`,
          },
          {
            text: { en: "Start again", ko: "다시 시작" },
            press: reload,
          },
        ),
      );
      document.documentElement.dataset["device"] = "lost";
      trouble.abort(new Error(t(words)));
    });
  }
  try {
    await fill({ main, found, trouble: trouble.signal });
    document.documentElement.classList.add("ready");
  } catch (error) {
    main.replaceChildren();
    document.documentElement.classList.add("failed");
    if (trouble.signal.aborted) return;
    console.error(error);
    // Should the device turn out to be lost, what is said of that takes this one's place.
    const { message } = error as Error;
    notices.append(
      notice(
        { en: "This page could not be loaded.", ko: "이 페이지를 불러오지 못했습니다." },
        message,
        { text: { en: "Try again", ko: "다시 시도" }, press: reload },
      ),
    );
  }
}
