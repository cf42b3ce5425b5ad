import { h } from "../shell/dom.js";
import { localise, t, type Text } from "../shell/language.js";
import type { Activation, Order } from "./network.js";

interface Drawn {
  readonly depth: number;
  readonly width: number;
  readonly side: number;
  readonly activation: Activation;
  readonly order: Order;
}

/** The network as a row of boxes: where Batch Normalization stands, and what it normalises. */
export function drawNetwork(
  host: HTMLElement,
  { depth, width, side, activation, order }: Drawn,
): void {
  const normalise = [
    "BN",
    "bn",
    { en: "normalises the values, not the weights", ko: "가중치가 아니라 값을 정규화" },
  ] as const;
  const activate = [activation, "act", { en: "activation", ko: "활성화" }] as const;
  const boxes: readonly (readonly [Text, string, Text])[] = [
    [
      { en: `${side * side} pixels`, ko: `${side * side} 픽셀` },
      "in",
      { en: "a batch of digits", ko: "숫자 한 배치" },
    ],
    ["W", "w", { en: `linear, ${width} units`, ko: `선형, ${width} 유닛` }],
    ...(order === "before" ? [normalise, activate] : [activate, normalise]),
    [{ en: `× ${depth}`, ko: `× ${depth}` }, "times", { en: "layers", ko: "개 층" }],
    [{ en: "10 logits", ko: "로짓 10개" }, "in", { en: "one a digit", ko: "숫자마다 하나" }],
  ];
  const items = boxes.map(([name, kind, note]) =>
    h("li", { class: kind }, h("strong", {}, name), h("small", {}, note)),
  );
  const list = h("ol", {}, ...items);
  localise(list, () => {
    list.setAttribute("aria-label", t({ en: "the network, in order", ko: "신경망의 순서" }));
  });
  host.replaceChildren(list);
}
