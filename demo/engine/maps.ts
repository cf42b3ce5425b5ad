import { h } from "../shell/dom.js";
import type { Text } from "../shell/language.js";

/** Blue through white to orange, after ColorBrewer's PuOr: told apart by colour-blind readers; 0 is white. */
function diverging(share: number): [number, number, number] {
  const at = Math.min(1, Math.abs(share));
  const end = share < 0 ? [43, 70, 152] : [179, 88, 6];
  return end.map((each) => 247 + (each - 247) * Math.sqrt(at)) as [number, number, number];
}

/** Draws a square map; values of ±limit take the full colours. Without a limit: 0 to 1, white on black as digits are. */
export function drawMap(
  canvas: HTMLCanvasElement,
  values: ArrayLike<number>,
  side: number,
  limit?: number,
): void {
  canvas.width = side;
  canvas.height = side;
  const context = canvas.getContext("2d")!;
  const image = context.createImageData(side, side);
  for (let i = 0; i < side * side; i++) {
    const value = values[i]!;
    const [r, g, b] =
      limit === undefined ? [255 * value, 255 * value, 255 * value] : diverging(value / limit);
    image.data.set([r, g, b, 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
}

/** A map with its name. */
export function mapFigure(
  caption: Text,
  size: number,
): { element: HTMLElement; canvas: HTMLCanvasElement } {
  const canvas = h("canvas", {
    class: "map",
    width: 28,
    height: 28,
    role: "img",
    "aria-label": caption,
  });
  canvas.style.width = `${size}px`;
  return {
    element: h("figure", { class: "map-figure" }, canvas, h("figcaption", {}, caption)),
    canvas,
  };
}
