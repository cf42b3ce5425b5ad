import * as Plot from "@observablehq/plot";
import { seeded } from "../../scripts/support/random.js";
import { batches, samplesOf, trainingCount } from "../engine/digits.js";
import { Figure } from "../shell/figure.js";
import { t, type Language, type Text, type Words } from "../shell/language.js";
import { Settings } from "../shell/settings.js";
import { Work } from "../shell/work.js";
import { ghosts, renormalised } from "./methods.js";
import { Network, type Method } from "./network.js";
import { intro, type View } from "./view.js";

const METHODS = ["without", "plain", "ghost", "renormalised", "accumulated"] as const;
type MethodName = (typeof METHODS)[number];
const METHOD_NAMES: Readonly<Record<MethodName, Words>> = {
  without: { en: "no Batch Normalization", ko: "배치 정규화 없음" },
  plain: { en: "plain", ko: "그대로" },
  ghost: { en: "ghosts of that size in a batch of 64", ko: "64개 배치를 그 크기로 나눈 고스트" },
  renormalised: { en: "renormalised", ko: "배치 재정규화" },
  accumulated: { en: "accumulated over 8 batches", ko: "배치 8개에 걸쳐 누적" },
};
const SHORT: Readonly<Record<MethodName, Words>> = {
  without: { en: "no BN", ko: "BN 없음" },
  plain: { en: "plain", ko: "그대로" },
  ghost: { en: "ghosts", ko: "고스트" },
  renormalised: { en: "renormalised", ko: "재정규화" },
  accumulated: { en: "accumulated", ko: "누적" },
};
const COLOURS: Readonly<Record<MethodName, string>> = {
  without: "var(--sixth)",
  plain: "var(--off)",
  ghost: "var(--third)",
  renormalised: "var(--on)",
  accumulated: "var(--fourth)",
};
const SYMBOLS: Readonly<Record<MethodName, string>> = {
  without: "cross",
  plain: "square",
  ghost: "triangle",
  renormalised: "circle",
  accumulated: "diamond",
};
const SIZES = [2, 4, 8, 16, 64] as const;
const WHOLE = 64;
const MICRO = 8;
/** A step over so many digits takes the learning rate that is set; others take it in proportion. */
const RATED = 16;
/** A batch of two takes as long as one of 200: training mode is tried on fewer. */
const PART = 512;
/** A guess at random gets so much. */
const CHANCE = 0.1;

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** What came of one training. */
interface Result {
  readonly method: MethodName;
  readonly size: number;
  readonly steps: number;
  /** On held-out digits, with running statistics. */
  readonly evaluation: number;
  /** On the first {@link PART} of them: in training mode, by the statistics of as many digits as in training. */
  readonly training: number;
  /** And with running statistics. */
  readonly beside: number;
}

/** Whether there is such a training: ghosts of a whole batch are that batch. */
const exists = (method: MethodName, size: number): boolean =>
  !(method === "ghost" && size === WHOLE);

/** How many digits a step takes, and how they are normalised. */
function plan(method: MethodName, size: number): { batch: number; method?: Method } {
  switch (method) {
    case "without":
    case "plain":
      return { batch: size };
    case "ghost":
      return { batch: WHOLE, method: ghosts(size) };
    case "renormalised":
      return { batch: size, method: renormalised(3, 5) };
    case "accumulated":
      // Merged statistics are those of one batch, exactly; so it is run as one.
      return { batch: MICRO * size };
  }
}

/** As many digits for each, however many steps they are. */
const stepsOf = (method: MethodName, size: number, seen: number): number =>
  Math.ceil(seen / plan(method, size).batch);

/** How many steps each method takes, from the smallest batches to the largest: "no BN, plain 256–32; ghosts 8". */
function stepsText(
  methods: readonly MethodName[],
  sizes: readonly number[],
  seen: number,
  language: Language,
): string {
  const alike = new Map<string, string[]>();
  for (const method of methods) {
    const steps = sizes
      .filter((size) => exists(method, size))
      .map((size) => stepsOf(method, size, seen));
    const text = [...new Set([steps[0], steps.at(-1)])].join("–");
    if (text !== "") alike.set(text, [...(alike.get(text) ?? []), SHORT[method][language]]);
  }
  return [...alike].map(([text, names]) => `${names.join(", ")} ${text}`).join("; ");
}

export const batchSize: View = {
  id: "batch-size",
  name: { en: "Small batches", ko: "작은 배치" },
  show(lab) {
    const settings = new Settings(
      {
        methods: {
          kind: "several",
          label: { en: "Whose statistics", ko: "누구의 통계로" },
          values: METHODS,
          names: METHOD_NAMES,
          initial: lab.software ? ["without", "plain"] : METHODS,
        },
        sizes: {
          kind: "several",
          label: { en: "Batch sizes", ko: "배치 크기" },
          values: SIZES.map(String),
          initial: lab.software ? ["2", "4", "16"] : SIZES.map(String),
        },
        seen: {
          kind: "choice",
          label: { en: "Digits seen in training", ko: "학습에서 보는 숫자 수" },
          values: [512, 1024, 4096, 16384] as const,
          names: { 1024: "1,024", 4096: "4,096", 16384: "16,384" },
          initial: lab.software ? 1024 : 4096,
        },
        rate: {
          kind: "choice",
          label: {
            en: `Learning rate, at ${RATED} digits a step`,
            ko: `학습률(한 단계에 숫자 ${RATED}개일 때)`,
          },
          values: [0.02, 0.05, 0.1, 0.3] as const,
          initial: 0.1,
        },
        width: {
          kind: "choice",
          label: { en: "Units a layer", ko: "층마다 유닛 수" },
          values: [16, 32, 100] as const,
          initial: lab.software ? 32 : 100,
        },
      },
      { en: "The trainings", ko: "학습" },
    );
    for (const name of ["methods", "sizes"])
      settings.element.querySelector(`fieldset:has([name=${name}])`)?.classList.add("wide");
    let results: Result[] = [];
    const work = new Work(lab.left, { en: "Train", ko: "학습 시작" }, settings, async (job) => {
      const { methods, sizes, seen, rate, width } = job.values;
      const digits = await job.wait(lab.digits());
      const engine = await job.wait(lab.engine());
      const samples = samplesOf(digits, 0, Math.min(trainingCount(digits), 8000), 14);
      const held = samplesOf(digits, trainingCount(digits), digits.count, 14);
      results = [];
      job.shown();
      const all = SIZES.filter((size) => sizes.includes(String(size))).flatMap((size) =>
        METHODS.filter((method) => methods.includes(method) && exists(method, size)).map(
          (method) => ({ size, method }),
        ),
      );
      for (const [i, { size, method }] of all.entries()) {
        const { batch, method: normalise } = plan(method, size);
        const steps = stepsOf(method, size, seen);
        const network = new Network(engine, {
          inputs: samples.inputs,
          depth: 2,
          width,
          activation: "relu",
          initialisation: "he",
          batchNorm: method !== "without",
          order: "before",
          seed: 7,
          ...(normalise && { method: normalise }),
        });
        try {
          const source = batches(samples, batch, seeded(8));
          for (let step = 0; step < steps; step++) {
            await job.breathe();
            const { x, labels } = source.next().value;
            await job.wait(
              network.step(x, labels, { rate: (rate * batch) / RATED, momentum: 0.1 }),
            );
            job.progress((i + (step + 1) / steps) / all.length, {
              en: `${SHORT[method].en}, batch ${size}: step ${step + 1} of ${steps}`,
              ko: `${SHORT[method].ko}, 배치 ${size}: ${steps}단계 중 ${step + 1}단계`,
            });
          }
          const evaluation = await job.wait(network.accuracy(held.x, held.labels, { batch: 200 }));
          const part = [
            held.x.subarray(0, PART * held.inputs),
            held.labels.subarray(0, PART),
          ] as const;
          const beside = await job.wait(network.accuracy(...part, { batch: PART }));
          const plainly = await job.wait(network.accuracy(...part, { training: true, batch }));
          results.push({ method, size, steps, evaluation, training: plainly, beside });
        } finally {
          network.dispose();
        }
        figure.update();
      }
      return { en: "Done.", ko: "끝났습니다." };
    });
    const figure: Figure = new Figure({
      by: work.name,
      title: {
        en: "Right on 1,000 held-out digits, in evaluation mode",
        ko: "따로 둔 숫자 1,000개를 맞힌 비율, 평가 모드",
      },
      note: () => {
        const { methods, seen } = work.values;
        const sizes = SIZES.filter((size) => work.values.sizes.includes(String(size)));
        const steps = (language: Language): string =>
          stepsText(
            METHODS.filter((method) => methods.includes(method)),
            sizes,
            seen,
            language,
          );
        const digits = seen.toLocaleString("en-US");
        return {
          en: `After ${digits} digits each. Steps: ${steps("en")}. Dashed: in training mode, on the first ${PART} of them. Dotted: guessing.`,
          ko: `저마다 숫자 ${digits}개를 본 뒤. 단계 수: ${steps("ko")}. 파선: 학습 모드(앞의 ${PART}개). 점선: 찍기.`,
        };
      },
      height: 360,
      draw: (width, height) => {
        if (results.length === 0) return null;
        const at = (each: Result): number => Math.log2(each.size);
        const shown = [...new Set(results.map(({ method }) => method))];
        const name = (each: Result): string => t(SHORT[each.method]);
        const names = shown.map((method) => t(SHORT[method]));
        return Plot.plot({
          width,
          height: height - 40,
          marginLeft: 46,
          marginRight: 20,
          marginTop: 28,
          marginBottom: 42,
          style: { fontSize: "13px" },
          x: {
            ticks: SIZES.map((size) => Math.log2(size)),
            domain: [0.7, 6.3],
            tickFormat: (v: number) => String(2 ** v),
            label: t({ en: "batch size →", ko: "배치 크기 →" }),
          },
          y: {
            label: t({ en: "↑ right, %", ko: "↑ 맞힌 비율, %" }),
            percent: true,
            domain: [0, 100],
            grid: true,
          },
          color: { domain: names, range: shown.map((method) => COLOURS[method]) },
          symbol: { domain: names, range: shown.map((method) => SYMBOLS[method]), legend: true },
          marks: [
            Plot.ruleY([CHANCE], { stroke: "currentColor", strokeDasharray: "1 4" }),
            Plot.line(results, {
              x: at,
              y: "training",
              z: name,
              stroke: name,
              strokeDasharray: "4 4",
              sort: "size",
            }),
            Plot.line(results, {
              x: at,
              y: "evaluation",
              z: name,
              stroke: name,
              strokeWidth: 2,
              sort: "size",
            }),
            Plot.dot(results, {
              x: at,
              y: "evaluation",
              stroke: name,
              fill: name,
              symbol: name,
              r: 4.5,
              title: (each: Result) =>
                t({
                  en: `${SHORT[each.method].en}, batch ${each.size}: ${percent(each.evaluation)} after ${each.steps} steps`,
                  ko: `${SHORT[each.method].ko}, 배치 ${each.size}: ${each.steps}단계 뒤 ${percent(each.evaluation)}`,
                }),
            }),
          ],
        });
      },
      table: () => {
        const head: Text[] = [
          { en: "Batch size", ko: "배치 크기" },
          { en: "Statistics", ko: "통계" },
          { en: "Steps", ko: "단계" },
          { en: "Evaluation mode", ko: "평가 모드" },
          { en: `Training mode, ${PART} digits`, ko: `학습 모드, ${PART}개` },
          { en: "Gap, on these", ko: "차이(이 숫자들에서)" },
        ];
        return results.length === 0
          ? null
          : {
              caption: { en: "Right on held-out digits", ko: "따로 둔 숫자를 맞힌 비율" },
              head,
              rows: results.map(({ size, method, steps, evaluation, training, beside }) => [
                String(size),
                SHORT[method],
                String(steps),
                percent(evaluation),
                percent(training),
                (100 * (beside - training)).toFixed(1).replace("-", "−"),
              ]),
            };
      },
    });
    return {
      element: intro(
        { en: "What of small batches?", ko: "배치가 작으면?" },
        {
          en: "With two or four digits in a batch its mean and variance are hardly more than noise: accuracy falls, and training mode (dashed) and evaluation mode part. All see as many digits: larger steps are fewer and take a learning rate in proportion, so that they get about as far, as the line without Batch Normalization shows. Only where a handful of steps is left (the note counts them) nothing gets far. Every remedy is a choice of whose statistics to use: ghosts go the other way and split a batch of 64 into small ones; renormalisation leads the batch's statistics to the running ones; accumulation takes the statistics of eight batches together.",
          ko: "배치에 숫자가 둘이나 넷뿐이면 평균과 분산은 거의 잡음입니다. 정확도가 떨어지고, 학습 모드(파선)와 평가 모드가 벌어집니다. 본 숫자의 수는 모두 같습니다. 한 단계에 숫자가 많으면 단계 수가 줄어드는 만큼 학습률을 키우므로 비슷한 데까지 갑니다. 배치 정규화 없는 선이 그것을 보여 줍니다. 다만 단계가 몇 번밖에 남지 않으면(아래 설명에 수가 있습니다) 무엇으로도 멀리 가지 못합니다. 해결책은 모두 누구의 통계를 쓸지 고르는 일입니다. 고스트는 거꾸로 64개 배치를 작은 배치로 나누고, 재정규화는 배치의 통계를 이동 통계 쪽으로 옮기고, 누적은 배치 여덟 개의 통계를 한데 모읍니다.",
        },
        "renormalised: <i>y</i> = γ (<i>x̂ r</i> + <i>d</i>) + β, &nbsp; <i>r</i> = clip(σ<sub>B</sub>/σ), &nbsp; <i>d</i> = clip((mean<sub>B</sub> − mean)/σ)",
        settings.element,
        work.element,
        figure.element,
      ),
      settings: [settings],
    };
  },
};
