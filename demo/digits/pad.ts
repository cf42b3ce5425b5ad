import { h } from "../shell/dom.js";

const SIZE = 280;
const PEN = 22;

/** A square to draw on, with mouse, pen or finger; white ink on black, as MNIST has it. */
export class Pad extends EventTarget {
  readonly element: HTMLCanvasElement;
  readonly #context: CanvasRenderingContext2D;

  constructor() {
    super();
    this.element = h("canvas", {
      class: "pad",
      id: "pad",
      width: SIZE,
      height: SIZE,
      role: "img",
      "aria-label": {
        en: "Draw a digit here. Without a pointer, use the button that takes a held-out digit.",
        ko: "여기에 숫자를 그리세요. 포인터가 없으면 따로 둔 숫자를 가져오는 버튼을 쓰세요.",
      },
    });
    this.#context = this.element.getContext("2d", { willReadFrequently: true })!;
    this.clear();
    let last: readonly [number, number] | null = null;
    const place = (event: PointerEvent): readonly [number, number] => {
      const { left, top, width } = this.element.getBoundingClientRect();
      return [((event.clientX - left) / width) * SIZE, ((event.clientY - top) / width) * SIZE];
    };
    this.element.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      this.element.setPointerCapture(event.pointerId);
      last = place(event);
      this.#stroke(last, last);
    });
    this.element.addEventListener("pointermove", (event) => {
      if (!last) return;
      // A quick hand moves further than one event a frame can tell.
      const events = event.getCoalescedEvents();
      for (const each of events.length > 0 ? events : [event]) {
        const to = place(each);
        this.#stroke(last, to);
        last = to;
      }
    });
    const stop = (): void => {
      last = null;
    };
    this.element.addEventListener("pointerup", stop);
    this.element.addEventListener("pointercancel", stop);
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
