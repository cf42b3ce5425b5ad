import { localise, t, type Text } from "./language.js";

type Value = Text | number | boolean | undefined | ((event: Event) => void);
export type Child = Node | Text | null | undefined | false;

function isText(value: unknown): value is Text {
  return (
    typeof value === "string" || (typeof value === "object" && value !== null && "en" in value)
  );
}

/** A text node that follows the language. */
function textNode(text: Text): Node {
  if (typeof text === "string") return document.createTextNode(text);
  return localise(document.createTextNode(""), (node) => {
    node.data = t(text);
  });
}

/** An element: `h("p", { class: "note" }, { en: "…", ko: "…" })`. Attributes that are functions are listeners. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, Value>> = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else if (typeof value === "object")
      localise(element, (node) => {
        node.setAttribute(name, t(value));
      });
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

export function append(parent: Node, children: readonly Child[]): void {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    parent.appendChild(isText(child) ? textNode(child) : child);
  }
}

/** Words with markup in them, which must be our own. */
export function rich(text: Text, tag: "p" | "span" | "div" | "li" = "span"): HTMLElement {
  return localise(document.createElement(tag), (node) => {
    node.innerHTML = t(text);
  });
}

/** A formula, read as one piece; its parts stand between spaces that do not break, and lines break between them first. */
export function formula(html: string): HTMLElement {
  const element = h("p", { class: "formula", translate: "no" });
  element.innerHTML = html
    .split(/\s*(?:&nbsp;)+\s*/)
    .map((part) => `<span>${part}</span>`)
    .join(" &nbsp; ");
  return element;
}

export interface Table {
  readonly caption: Text;
  readonly head: readonly Text[];
  readonly rows: readonly (readonly Text[])[];
}

/** What is too wide or too long scrolls within itself, by keyboard too. */
export function scrolled(...children: readonly Child[]): HTMLElement {
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": { en: "table", ko: "표" } },
    ...children,
  );
}

/** A table whose first column names its row. */
export function table({ caption, head, rows }: Table): HTMLTableElement {
  return h(
    "table",
    {},
    h("caption", {}, caption),
    h("thead", {}, h("tr", {}, ...head.map((text) => h("th", { scope: "col" }, text)))),
    h(
      "tbody",
      {},
      ...rows.map(([first, ...rest]) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, first ?? ""),
          ...rest.map((cell) => h("td", {}, cell)),
        ),
      ),
    ),
  );
}
