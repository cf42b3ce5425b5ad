import * as Plot from "@observablehq/plot";
import { summarise } from "../../scripts/support/histogram.js";
import { seeded } from "../../scripts/support/random.js";
import { samplesOf } from "../engine/digits.js";
import { Normaliser } from "../engine/normaliser.js";
import { Figure } from "../shell/figure.js";
import { t } from "../shell/language.js";
import { Settings } from "../shell/settings.js";
import { Work } from "../shell/work.js";
import { featureOf } from "./feature.js";
import { signed } from "./histogram-figure.js";
import { intro, type View } from "./view.js";

const COUNT = 4000;
const SIZES = [2, 4, 8, 16, 32, 64, 128, 256] as const;

/** One image's x̂ in one batch of a size. */
interface Sample {
  readonly size: number;
  readonly value: number;
}

export const noise: View = {
  id: "noise",
  name: { en: "The batch's noise", ko: "배치의 잡음" },
  show(lab) {
    const settings = new Settings(
      {
        image: {
          kind: "range",
          label: { en: "Digit, by its number", ko: "숫자 번호" },
          min: 0,
          max: 99,
          step: 1,
          initial: 7,
        },
        batches: {
          kind: "choice",
          label: { en: "Batches of each size", ko: "크기마다 배치 수" },
          values: [50, 100, 400] as const,
          initial: 100,
        },
        seed: {
          kind: "range",
          label: { en: "Draw of the batches", ko: "배치 뽑기" },
          min: 1,
          max: 20,
          step: 1,
          initial: 1,
        },
      },
      { en: "What is drawn", ko: "뽑을 것" },
    );
    let samples: Sample[] = [];
    let evaluated: number[] = [];

    const work = new Work(lab.left, { en: "Draw", ko: "뽑기" }, settings, async (job) => {
      const { image, batches: count, seed } = job.values;
      const digits = await job.wait(lab.digits());
      const feature = featureOf(samplesOf(digits, 0, COUNT), 12, 2.4, 1.5);
      const next = seeded(100 + seed);
      const found: Sample[] = [];
      const own = feature[image]!;
      for (const [i, size] of SIZES.entries()) {
        await job.breathe();
        // Every column is a batch of its own, the image in its first row: channels are independent of one another.
        const x = Float32Array.from({ length: size * count }, (_, at) =>
          at < count ? own : feature[Math.floor(next() * COUNT)]!,
        );
        const bn = new Normaliser(lab.found.device, x, [size, count]);
        try {
          const { y } = await job.wait(bn.train());
          for (let batch = 0; batch < count; batch++) found.push({ size, value: y[batch]! });
        } finally {
          bn.destroy();
        }
        job.progress((i + 1) / (SIZES.length + 1), {
          en: `Batches of ${size}`,
          ko: `크기 ${size} 배치`,
        });
      }
      const { mean, deviation } = summarise(feature);
      const many = (value: number): Float32Array => new Float32Array(count).fill(value);
      const bn = new Normaliser(
        lab.found.device,
        Float32Array.from({ length: 2 * count }, (_, at) =>
          at < count ? own : feature[Math.floor(next() * COUNT)]!,
        ),
        [2, count],
      );
      try {
        const y = await job.wait(bn.infer({ mean: many(mean), variance: many(deviation ** 2) }));
        evaluated = Array.from(y.subarray(0, count));
      } finally {
        bn.destroy();
      }
      samples = found;
      job.shown();
      figure.update();
      const different = new Set(evaluated).size;
      return {
        en: `In training every batch gave another value; in evaluation mode ${count} batches gave ${different} value${different === 1 ? "" : "s"}: ${signed(evaluated[0]!, 4)}.`,
        ko: `학습에서는 배치마다 값이 달랐고, 평가 모드에서는 ${count}개 배치에서 나온 값이 ${different}가지뿐입니다: ${signed(evaluated[0]!, 4)}.`,
      };
    });

    const figure = new Figure({
      title: {
        en: "The same digit's x̂ in many batches",
        ko: "여러 배치 속 같은 숫자의 x̂",
      },
      note: () => ({
        en: "Bars: one standard deviation to either side. Dashed: evaluation mode.",
        ko: "막대: 양쪽으로 표준편차 하나. 파선: 평가 모드.",
      }),
      height: 380,
      draw: (width, height) => {
        if (samples.length === 0) return null;
        const next = seeded(5);
        const dots = samples.map((each) => ({ ...each, shift: (next() - 0.5) * 0.55 }));
        const spread = SIZES.map((size) => ({
          size,
          ...summarise(samples.filter((each) => each.size === size).map(({ value }) => value)),
        }));
        const at = (size: number): number => Math.log2(size);
        return Plot.plot({
          width,
          height,
          marginLeft: 50,
          marginRight: 20,
          marginBottom: 42,
          style: { fontSize: "13px" },
          x: {
            domain: [0.4, 8.6],
            ticks: SIZES.map(at),
            tickFormat: (v: number) => String(2 ** v),
            label: t({ en: "batch size →", ko: "배치 크기 →" }),
          },
          y: {
            label: t({
              en: "↑ x̂ of this digit, in standard deviations",
              ko: "↑ 이 숫자의 x̂, 표준편차 단위",
            }),
            grid: true,
          },
          marks: [
            Plot.dot(dots, {
              x: (each: (typeof dots)[number]) => at(each.size) + each.shift,
              y: "value",
              r: 2.2,
              fill: "var(--on)",
              fillOpacity: 0.45,
            }),
            Plot.ruleX(spread, {
              x: (each: (typeof spread)[number]) => at(each.size),
              y1: (each: (typeof spread)[number]) => each.mean - each.deviation,
              y2: (each: (typeof spread)[number]) => each.mean + each.deviation,
              stroke: "currentColor",
              strokeWidth: 2.5,
            }),
            Plot.ruleY([evaluated[0]!], {
              stroke: "var(--off)",
              strokeWidth: 2,
              strokeDasharray: "6 4",
            }),
          ],
        });
      },
      table: () =>
        samples.length === 0
          ? null
          : {
              caption: { en: "x̂ of the same digit", ko: "같은 숫자의 x̂" },
              head: [
                { en: "Batch size", ko: "배치 크기" },
                { en: "Mean", ko: "평균" },
                { en: "Standard deviation", ko: "표준편차" },
                { en: "Smallest", ko: "최소" },
                { en: "Largest", ko: "최대" },
              ],
              rows: [
                ...SIZES.map((size) => {
                  const { mean, deviation, smallest, largest } = summarise(
                    samples.filter((each) => each.size === size).map(({ value }) => value),
                  );
                  return [
                    String(size),
                    signed(mean),
                    signed(deviation),
                    signed(smallest),
                    signed(largest),
                  ];
                }),
                (() => {
                  const { mean, deviation, smallest, largest } = summarise(evaluated);
                  return [
                    { en: "evaluation", ko: "평가" },
                    signed(mean),
                    signed(deviation),
                    signed(smallest),
                    signed(largest),
                  ];
                })(),
              ],
            },
    });
    settings.onChange(() => void work.start());
    return {
      element: intro(
        {
          en: "A digit's output depends on its neighbours",
          ko: "출력은 같은 배치의 이웃에 달려 있습니다",
        },
        {
          en: "One digit, one unit, many random batches around it. In training its output is another one in every batch: that noise regularises, and it grows as batches shrink (dots; bars are one standard deviation). With two in a batch it is hardly more than a sign. In evaluation mode nothing is computed from the batch, and the output is the same to the last bit.",
          ko: "숫자 하나, 유닛 하나를 여러 무작위 배치에 넣었습니다. 학습에서는 배치마다 출력이 다릅니다. 이 잡음이 정칙화 효과를 내며, 배치가 작을수록 커집니다(점, 막대는 표준편차 하나). 배치가 둘뿐이면 부호밖에 남지 않습니다. 평가 모드에서는 배치에서 아무것도 계산하지 않으므로 출력이 마지막 비트까지 같습니다.",
        },
        "<i>x̂</i><sub>i</sub> = (<i>x</i><sub>i</sub> − mean<sub>B</sub>) / √(var<sub>B</sub> + ε), &nbsp; mean<sub>B</sub> and var<sub>B</sub> over the batch B that i happens to be in",
        settings.element,
        work.element,
        figure.element,
      ),
      settings: [settings],
      begin: () => void work.start(),
    };
  },
};
