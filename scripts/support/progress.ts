import { paint } from "./paint.js";

const WIDTH = 28;
const REDRAW_MS = 60;

/** What a bar looks like at `share` of its way, 0 to 1. */
export function barOf(share: number, width = WIDTH): string {
  const full = Math.round(Math.min(1, Math.max(0, share)) * width);
  return "█".repeat(full) + "░".repeat(width - full);
}

/** What a progress bar writes to. */
export interface Output {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/** One bar that is redrawn in place, and gone when done. Where the output is no terminal it writes nothing. */
export class Progress {
  #done = 0;
  #drawn = 0;

  constructor(
    readonly label: string,
    readonly total: number,
    private readonly output: Output = process.stdout,
  ) {
    this.#draw();
  }

  /** One more is done. */
  tick(by = 1): void {
    this.#done += by;
    if (performance.now() - this.#drawn >= REDRAW_MS) this.#draw();
  }

  /** Clears the bar. */
  end(): void {
    if (this.output.isTTY) this.output.write("\r\u001b[K");
  }

  #draw(): void {
    this.#drawn = performance.now();
    if (!this.output.isTTY) return;
    const share = this.total > 0 ? this.#done / this.total : 1;
    const counted = `${this.#done}/${this.total}`;
    this.output.write(
      `\r\u001b[K  ${this.label}  ${paint.cyan(barOf(share))}  ${paint.dim(counted)}`,
    );
  }
}
