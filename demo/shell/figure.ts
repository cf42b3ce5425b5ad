import { append, h, scrolled, table, type Table } from "./dom.js";
import { localise, t, type Text, type Words } from "./language.js";

export interface FigureOptions {
  readonly title: Text;
  /** The button that fills it, where it does not fill by itself. */
  readonly by?: Text;
  /** Beneath the title: what it was made with, how to read it. */
  note?(): Words;
  /** Kept free for the chart, in pixels, so that nothing jumps; a function of the width where that matters. */
  readonly height: number | ((width: number) => number);
  /** Draws at a width; null where there is nothing yet. */
  draw(width: number, height: number): Element | readonly Element[] | null;
  /** The same in numbers, unless they stand beside it. */
  table?(): Table | null;
}

/** A chart with its title, redrawn when width or language change, and its table folded away beneath. */
export class Figure {
  readonly element: HTMLElement;
  readonly #note: HTMLElement;
  readonly #chart: HTMLElement;
  readonly #cells: HTMLElement;
  #width = 0;

  constructor(private readonly options: FigureOptions) {
    this.#note = h("p", { class: "note", hidden: !options.note });
    this.#chart = h("div", { class: "chart" });
    this.#cells = scrolled();
    this.element = h(
      "figure",
      {},
      h("figcaption", {}, options.title),
      this.#note,
      this.#chart,
      options.table
        ? h("details", {}, h("summary", {}, { en: "As a table", ko: "표로 보기" }), this.#cells)
        : null,
    );
    new ResizeObserver(() => {
      if (Math.abs(this.#chart.clientWidth - this.#width) > 1) this.#draw();
    }).observe(this.#chart);
    localise(this.element, () => {
      this.update();
    });
  }

  /** Draws anew what has changed. */
  update(): void {
    const { options } = this;
    this.#note.textContent = options.note ? t(options.note()) : "";
    this.#draw();
    const cells = options.table?.();
    this.#cells.replaceChildren(cells ? table(cells) : h("p", { class: "note" }, this.#nothing()));
  }

  #nothing(): string {
    const { by } = this.options;
    return by === undefined
      ? t({ en: "Nothing yet.", ko: "아직 결과가 없습니다." })
      : t({ en: `“${t(by)}” fills this.`, ko: `‘${t(by)}’ 버튼을 누르면 나옵니다.` });
  }

  #draw(): void {
    const width = this.#chart.clientWidth;
    this.#width = width;
    const { height } = this.options;
    // Before it stands in the page, room is kept for the page's width.
    const room = width === 0 ? document.body.clientWidth : width;
    const pixels = typeof height === "number" ? height : height(Math.max(room, 280));
    this.#chart.style.minHeight = `${pixels}px`;
    if (width === 0) return;
    const drawn = this.options.draw(width, pixels);
    this.#chart.replaceChildren();
    if (drawn === null) append(this.#chart, [h("p", { class: "empty" }, this.#nothing())]);
    else append(this.#chart, Array.isArray(drawn) ? (drawn as Element[]) : [drawn as Element]);
    for (const svg of this.#chart.querySelectorAll("svg")) {
      if (!svg.hasAttribute("aria-label")) svg.setAttribute("aria-label", t(this.options.title));
      svg.setAttribute("role", "img");
    }
  }
}
