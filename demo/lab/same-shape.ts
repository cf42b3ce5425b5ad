import { summarise } from "../../scripts/support/histogram.js";
import { PIXELS, SIDE } from "../../scripts/support/digits.js";
import { samplesOf } from "../engine/digits.js";
import { Normaliser } from "../engine/normaliser.js";
import { h } from "../shell/dom.js";
import { localise, t } from "../shell/language.js";
import { Settings } from "../shell/settings.js";
import { Work } from "../shell/work.js";
import { featureOf } from "./feature.js";
import { histogramFigure, signed } from "./histogram-figure.js";
import { intro, type View } from "./view.js";

const COUNT = 2000;

/** Third and fourth standardised moments: what shifting and scaling cannot change. */
export function shapeOf(values: ArrayLike<number>): { skewness: number; kurtosis: number } {
  const { mean, deviation } = summarise(values);
  let third = 0;
  let fourth = 0;
  for (let i = 0; i < values.length; i++) {
    const unit = (values[i]! - mean) / deviation;
    third += unit ** 3;
    fourth += unit ** 4;
  }
  return { skewness: third / values.length, kurtosis: fourth / values.length };
}

export const sameShape: View = {
  id: "shape",
  name: { en: "Same shape", ko: "모양은 그대로" },
  show(lab) {
    const settings = new Settings(
      {
        what: {
          kind: "choice",
          label: { en: "Values", ko: "값" },
          values: ["pixels", "pixel", "unit"] as const,
          names: {
            pixels: { en: "all pixels of the digits", ko: "숫자들의 모든 픽셀" },
            pixel: { en: "one pixel", ko: "픽셀 하나" },
            unit: { en: "one linear unit", ko: "선형 유닛 하나" },
          },
          initial: "pixels",
        },
        row: {
          kind: "range",
          label: { en: "Row of the pixel", ko: "픽셀의 행" },
          min: 0,
          max: SIDE - 1,
          step: 1,
          initial: 14,
        },
        column: {
          kind: "range",
          label: { en: "Column of the pixel", ko: "픽셀의 열" },
          min: 0,
          max: SIDE - 1,
          step: 1,
          initial: 14,
        },
      },
      { en: "What is normalised", ko: "정규화할 값" },
    );
    const { values } = settings;
    let x: Float32Array<ArrayBuffer> | null = null;
    let y: Float32Array | null = null;
    const work = new Work(lab.left, { en: "Normalise", ko: "정규화" }, settings, async (job) => {
      const { what, row, column } = job.values;
      const digits = await job.wait(lab.digits());
      const pixel = row * SIDE + column;
      const own =
        what === "unit"
          ? featureOf(samplesOf(digits, 0, COUNT), 12, 2.4, 1.5)
          : what === "pixel"
            ? Float32Array.from({ length: COUNT }, (_, n) => digits.pixels[n * PIXELS + pixel]!)
            : Float32Array.from(digits.pixels.subarray(0, 200 * PIXELS));
      const bn = new Normaliser(lab.found.device, own, [own.length, 1]);
      try {
        ({ y } = await job.wait(bn.train()));
      } finally {
        bn.destroy();
      }
      x = own;
      job.shown();
      update();
      return { en: "Done.", ko: "끝났습니다." };
    });
    const before = histogramFigure({
      title: { en: "Before", ko: "정규화 전" },
      label: { en: "x →", ko: "x →" },
      colour: "var(--off)",
      values: () => x,
    });
    const after = histogramFigure({
      title: { en: "After", ko: "정규화 후" },
      label: { en: "x̂, in standard deviations →", ko: "x̂, 표준편차 단위 →" },
      colour: "var(--on)",
      values: () => y,
    });
    const facts = h("dl", { class: "facts", id: "shape-facts" });
    const showFacts = (): void => {
      if (!x || !y) return;
      const [a, b] = [shapeOf(x), shapeOf(y)];
      const pairs: readonly (readonly [string, string, string])[] = [
        ["skew-before", t({ en: "skewness before", ko: "왜도, 전" }), signed(a.skewness)],
        ["skew-after", t({ en: "after", ko: "후" }), signed(b.skewness)],
        ["kurtosis-before", t({ en: "kurtosis before", ko: "첨도, 전" }), signed(a.kurtosis)],
        ["kurtosis-after", t({ en: "after", ko: "후" }), signed(b.kurtosis)],
        ["gaussian", t({ en: "a Gaussian has", ko: "정규분포라면" }), "0, 3"],
      ];
      facts.replaceChildren(
        ...pairs.map(([id, name, value]) =>
          h("div", {}, h("dt", {}, name), h("dd", { "data-fact": id }, value)),
        ),
      );
    };
    localise(facts, showFacts);
    const update = (): void => {
      before.update();
      after.update();
      showFacts();
    };
    const fields = ["row", "column"].map((name) =>
      settings.element.querySelector<HTMLElement>(`.field:has([name=${name}])`)!,
    );
    const hide = (): void => {
      for (const field of fields) field.hidden = values.what !== "pixel";
    };
    hide();
    settings.onChange(() => {
      hide();
      void work.start();
    });
    return {
      element: intro(
        { en: "Standardised is not Gaussian", ko: "표준화는 정규분포로 만드는 것이 아닙니다" },
        {
          en: "Does forcing mean 0 and variance 1 force a Gaussian, and lose structure? No: it only shifts and scales. The two histograms have the same shape on another axis, two peaks stay two peaks, and skewness and kurtosis do not move.",
          ko: "평균 0, 분산 1로 맞추면 정규분포가 되어 구조가 사라질까요? 아닙니다. 옮기고 늘리거나 줄일 뿐입니다. 두 히스토그램은 축만 다를 뿐 모양이 같습니다. 봉우리 둘은 그대로 둘이고, 왜도와 첨도도 변하지 않습니다.",
        },
        "<i>x̂</i> = (<i>x</i> − mean) / √(var + ε) &nbsp; is &nbsp; <i>a x</i> + <i>b</i> &nbsp; with one <i>a</i> and one <i>b</i> per channel",
        settings.element,
        work.element,
        facts,
        h("div", { class: "pair" }, before.element, after.element),
      ),
      settings: [settings],
      begin: () => void work.start(),
    };
  },
};
