import { SIDE } from "../../scripts/support/digits.js";

/** Pixels that MNIST fits a digit into. */
const BOX = 20;

/**
 * A drawing as MNIST has its digits: cut to its ink, scaled into 20 × 20 with its proportions kept, each pixel the mean of
 * what it covers, and set into 28 × 28 so that its centre of mass is in the middle.
 *
 * @param ink `[size, size]`, 0 to 1.
 * @returns `[28, 28]`, 0 to 1; null where there is no ink.
 */
export function centred(ink: ArrayLike<number>, size: number): Float32Array<ArrayBuffer> | null {
  let [top, left, bottom, right] = [size, size, -1, -1];
  for (let row = 0; row < size; row++) {
    for (let column = 0; column < size; column++) {
      if (ink[row * size + column]! <= 0.02) continue;
      top = Math.min(top, row);
      bottom = Math.max(bottom, row);
      left = Math.min(left, column);
      right = Math.max(right, column);
    }
  }
  if (bottom < 0) return null;
  const [height, width] = [bottom - top + 1, right - left + 1];
  const scale = Math.max(height, width) / BOX;
  const [rows, columns] = [
    Math.max(1, Math.round(height / scale)),
    Math.max(1, Math.round(width / scale)),
  ];
  const small = new Float32Array(rows * columns);
  let [mass, down, across] = [0, 0, 0];
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const value = meanOver(
        ink,
        size,
        top + (row * height) / rows,
        left + (column * width) / columns,
        height / rows,
        width / columns,
      );
      small[row * columns + column] = value;
      mass += value;
      down += value * (row + 0.5);
      across += value * (column + 0.5);
    }
  }
  const shiftDown = Math.round(SIDE / 2 - down / mass);
  const shiftRight = Math.round(SIDE / 2 - across / mass);
  const out = new Float32Array(SIDE * SIDE);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const [r, c] = [row + shiftDown, column + shiftRight];
      if (r >= 0 && r < SIDE && c >= 0 && c < SIDE)
        out[r * SIDE + c] = small[row * columns + column]!;
    }
  }
  return out;
}

/** The mean over a rectangle whose edges may lie within pixels. */
function meanOver(
  ink: ArrayLike<number>,
  size: number,
  top: number,
  left: number,
  height: number,
  width: number,
): number {
  let sum = 0;
  for (let row = Math.floor(top); row < Math.min(size, Math.ceil(top + height)); row++) {
    const vertical = Math.min(row + 1, top + height) - Math.max(row, top);
    for (
      let column = Math.floor(left);
      column < Math.min(size, Math.ceil(left + width));
      column++
    ) {
      const horizontal = Math.min(column + 1, left + width) - Math.max(column, left);
      sum += vertical * horizontal * ink[row * size + column]!;
    }
  }
  return sum / (height * width);
}
