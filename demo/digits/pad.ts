import { h } from "../shell/dom.js";
import { localise, t } from "../shell/language.js";

const SIZE = 280;
const PEN = 22;
/** How far a key moves the pen. */
const STEP = SIZE / 20;
const ARROWS: Readonly<Record<string, readonly [number, number]>> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

/** A square to draw on, with mouse, pen, finger or keys; white ink on black, as MNIST has it. */
export class Pad extends EventTarget {
  readonly element: HTMLElement;
  /** Says what the keys do, and whether the pen is down. */
  readonly state: HTMLElement;
  readonly #canvas: HTMLCanvasElement;
  readonly #context: CanvasRenderingContext2D;

  constructor() {
    super();
    this.#canvas = h("canvas", {
      class: "pad",
      id: "pad",
      width: SIZE,
      height: SIZE,
      tabindex: 0,
      role: "application",
      "aria-label": {
        en: "Draw a digit here. With keys: the arrows move the pen, Space or Enter sets it down and lifts it.",
        ko: "여기에 숫자를 그리세요. 키보드로는 화살표로 펜을 옮기고, 스페이스나 엔터로 펜을 내리고 듭니다.",
      },
      "aria-describedby": "pen-state",
    });
    const cursor = h("span", { class: "pen", "aria-hidden": "true" });
    this.element = h("div", { class: "sheet" }, this.#canvas, cursor);
    this.state = h("p", { class: "note", id: "pen-state", role: "status" });
    this.#context = this.#canvas.getContext("2d", { willReadFrequently: true })!;
    this.clear();
    let last: readonly [number, number] | null = null;
    const place = (event: PointerEvent): readonly [number, number] => {
      const { left, top, width } = this.#canvas.getBoundingClientRect();
      return [((event.clientX - left) / width) * SIZE, ((event.clientY - top) / width) * SIZE];
    };
    this.#canvas.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      this.#canvas.setPointerCapture(event.pointerId);
      last = place(event);
      this.#stroke(last, last);
    });
    this.#canvas.addEventListener("pointermove", (event) => {
      if (!last) return;
      // A quick hand moves further than one event a frame can tell.
      // They are there on secure pages alone.
      const events = (event as Partial<PointerEvent>).getCoalescedEvents?.() ?? [];
      for (const each of events.length > 0 ? events : [event]) {
        const to = place(each);
        this.#stroke(last, to);
        last = to;
      }
    });
    const stop = (): void => {
      last = null;
    };
    this.#canvas.addEventListener("pointerup", stop);
    this.#canvas.addEventListener("pointercancel", stop);

    let pen: readonly [number, number] = [SIZE / 2, SIZE / 2];
    let down = false;
    const show = (): void => {
      cursor.style.left = `${(100 * pen[0]) / SIZE}%`;
      cursor.style.top = `${(100 * pen[1]) / SIZE}%`;
      cursor.classList.toggle("down", down);
      this.state.textContent = t(
        down
          ? { en: "The pen is down: the arrows draw.", ko: "펜을 내렸습니다. 화살표로 그립니다." }
          : {
              en: "With keys: arrows move the pen, Space or Enter sets it down.",
              ko: "키보드: 화살표로 펜을 옮기고, 스페이스나 엔터로 내립니다.",
            },
      );
    };
    localise(this.state, show);
    this.#canvas.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      const arrow = ARROWS[event.key];
      if (arrow) {
        const from = pen;
        const within = (value: number): number => Math.min(SIZE, Math.max(0, value));
        pen = [within(pen[0] + STEP * arrow[0]), within(pen[1] + STEP * arrow[1])];
        if (down) this.#stroke(from, pen);
      } else if (event.key === " " || event.key === "Enter") {
        if (event.repeat) return;
        down = !down;
        if (down) this.#stroke(pen, pen);
      } else return;
      event.preventDefault();
      show();
    });
    this.#canvas.addEventListener("blur", () => {
      down = false;
      show();
    });
  }

  #stroke([x0, y0]: readonly [number, number], [x1, y1]: readonly [number, number]): void {
    const context = this.#context;
    context.strokeStyle = "#fff";
    context.lineWidth = PEN;
    context.lineCap = "round";
    context.beginPath();
    context.moveTo(x0, y0);
    context.lineTo(x1, y1);
    context.stroke();
    this.dispatchEvent(new Event("draw"));
  }

  clear(): void {
    this.#context.fillStyle = "#000";
    this.#context.fillRect(0, 0, SIZE, SIZE);
  }

  /** Shows a digit of 28 × 28, 0 to 1, as if it had been drawn. */
  show(pixels: ArrayLike<number>): void {
    this.clear();
    const each = SIZE / 28;
    for (let i = 0; i < 784; i++) {
      const level = Math.round(255 * pixels[i]!);
      if (level === 0) continue;
      this.#context.fillStyle = `rgb(${level} ${level} ${level})`;
      this.#context.fillRect((i % 28) * each, Math.floor(i / 28) * each, each, each);
    }
  }

  /** `[size, size]`, 0 to 1. */
  ink(): { values: Float32Array; size: number } {
    const { data } = this.#context.getImageData(0, 0, SIZE, SIZE);
    return {
      values: Float32Array.from({ length: SIZE * SIZE }, (_, i) => data[4 * i]! / 255),
      size: SIZE,
    };
  }
}
