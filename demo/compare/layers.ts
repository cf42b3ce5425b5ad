import { selectShapes } from "../../bench/cases.js";
import { byteText, shapeText } from "../../scripts/support/format.js";
import type { Text, Words } from "../shell/language.js";

/** A shape of one's own. */
export const OWN = "own";

const GROUPS = ["dense", "resnet1", "resnet16", "mobilenet", "volume"];

const KOREAN: readonly [RegExp, string][] = [
  [/fully connected/, "완전 연결"],
  [/, batch (\d+)/, ", 배치 $1"],
  [/3-D, 32 channels of/, "3차원, 32채널"],
];

function named(name: string, shape: readonly number[]): Words {
  const size = ` · ${shapeText(shape)} · ${byteText(4 * shape.reduce((a, b) => a * b, 1))}`;
  const korean = KOREAN.reduce((text, [from, to]) => text.replace(from, to), name);
  return { en: name + size, ko: korean + size };
}

/** The layers to choose from: `16x64x56x56` with its name; channel second. */
export const LAYERS: readonly { readonly value: string; readonly name: Words }[] = selectShapes(
  GROUPS,
).map(({ name, shape }) => ({ value: shape.join("x"), name: named(name, shape) }));

const MOST = 2 ** 25;

/** What is wrong with a shape that was typed in; null if nothing. */
export function objection(text: string): Text | null {
  if (!/^\s*\d+(\s*[x×,]\s*\d+){1,4}\s*$/.test(text)) {
    return {
      en: "Two to five whole numbers: 16x64x56x56.",
      ko: "정수 2~5개로 적어 주세요: 16x64x56x56",
    };
  }
  const sizes = shapeOf(text);
  if (sizes.some((each) => each < 1))
    return { en: "Each number is at least 1.", ko: "각 수는 1 이상이어야 합니다." };
  const size = sizes.reduce((a, b) => a * b, 1);
  if (size > MOST) return { en: "At most 33,554,432 values.", ko: "값은 33,554,432개까지입니다." };
  if (size === sizes[1]) {
    return {
      en: "Training needs more than one value per channel.",
      ko: "학습에는 채널마다 값이 둘 이상 필요합니다.",
    };
  }
  return null;
}

export function shapeOf(text: string): number[] {
  return text
    .trim()
    .split(/\s*[x×,]\s*/)
    .map(Number);
}
