import * as Plot from "@observablehq/plot";
import { digits3 } from "../../scripts/support/format.js";
import { median } from "../../scripts/support/median.js";
import { seeded } from "../../scripts/support/random.js";
import { batches, samplesOf, trainingCount } from "../engine/digits.js";
import { EPS } from "../engine/engine.js";
import { h } from "../shell/dom.js";
import { Figure } from "../shell/figure.js";
import { t, type Words } from "../shell/language.js";
import { Settings } from "../shell/settings.js";
import { Work } from "../shell/work.js";
import { ACTIVATION_NAMES } from "./depth.js";
import { histogramFigure } from "./histogram-figure.js";
import { ACTIVATIONS, Network } from "./network.js";
import { intro, type View } from "./view.js";

/** One unit's parameters after training, and what they would be had it learned to undo the normalisation. */
interface Unit {
  readonly layer: number;
  readonly gamma: number;
  readonly beta: number;
  readonly identityGamma: number;
  readonly identityBeta: number;
}

const SYMBOLS = ["circle", "square", "triangle", "diamond", "cross", "star"] as const;
const COLOURS = [
  "var(--on)",
  "var(--off)",
  "var(--third)",
  "var(--fourth)",
  "var(--fifth)",
  "var(--sixth)",
];

export const learned: View = {
  id: "learned",
  name: { en: "Learned γ, β", ko: "학습된 γ, β" },
  show(lab) {
    const settings = new Settings(
      {
        depth: {
          kind: "range",
          label: { en: "Layers", ko: "층 수" },
          min: 1,
          max: 6,
          step: 1,
          initial: 3,
        },
        width: {
          kind: "choice",
          label: { en: "Units a layer", ko: "층마다 유닛 수" },
          values: [16, 32, 64, 100] as const,
          initial: lab.software ? 32 : 100,
        },
        activation: {
          kind: "choice",
          label: { en: "Activation", ko: "활성화 함수" },
          values: ACTIVATIONS,
          names: ACTIVATION_NAMES,
          initial: "tanh",
        },
        steps: {
          kind: "choice",
          label: { en: "Steps", ko: "단계 수" },
          values: [10, 30, 100, 300, 1000] as const,
          initial: lab.software ? 100 : 1000,
        },
        rate: {
          kind: "choice",
          label: { en: "Learning rate", ko: "학습률" },
          values: [0.05, 0.2, 0.5, 1] as const,
          initial: 0.5,
        },
        batch: {
          kind: "choice",
          label: { en: "Batch", ko: "배치 크기" },
          values: [32, 64, 128] as const,
          initial: lab.software ? 32 : 64,
        },
      },
      { en: "The network", ko: "신경망" },
    );
    let units: Unit[] = [];
    const work = new Work(lab.left, { en: "Train", ko: "학습 시작" }, settings, async (job) => {
      const { steps, batch, rate, depth, width, activation } = job.values;
      const digits = await job.wait(lab.digits());
      const engine = await job.wait(lab.engine());
      const samples = samplesOf(
        digits,
        0,
        Math.min(trainingCount(digits), 8000),
        lab.software ? 14 : 28,
      );
      const network = new Network(engine, {
        inputs: samples.inputs,
        depth,
        width,
        activation,
        initialisation: "xavier",
        batchNorm: true,
        order: "before",
        seed: 3,
      });
      try {
        const source = batches(samples, batch, seeded(4));
        let recent = 0;
        for (let step = 0; step < steps; step++) {
          await job.breathe();
          const { x, labels } = source.next().value;
          const { loss, accuracy } = await job.wait(
            network.step(x, labels, { rate, momentum: 0.1 }),
          );
          recent = 0.9 * recent + 0.1 * accuracy;
          job.progress((step + 1) / steps, {
            en: `Step ${step + 1} of ${steps}, loss ${loss.toFixed(3)}`,
            ko: `${steps}단계 중 ${step + 1}단계, 손실 ${loss.toFixed(3)}`,
          });
          if (step % 20 === 19 || step === steps - 1) {
            units = await job.wait(unitsOf(network));
            job.shown();
            update();
          }
        }
        const held = samplesOf(digits, trainingCount(digits), digits.count, lab.software ? 14 : 28);
        const accuracy = await job.wait(network.accuracy(held.x, held.labels, { batch: 200 }));
        const right = (100 * accuracy).toFixed(1);
        const moved = digits3(median(units.map(({ gamma }) => Math.abs(gamma - 1))));
        const left = digits3(
          median(units.map(({ gamma, identityGamma }) => Math.abs(gamma - identityGamma))),
        );
        return {
          en: `${right} % of 1,000 held-out digits are right. Half of the γ have moved from 1 by more than ${moved}; half are more than ${left} away from the identity's.`,
          ko: `따로 둔 숫자 1,000개의 ${right} %를 맞힙니다. γ의 절반은 1에서 ${moved} 넘게 움직였고, 절반은 항등이 되는 값에서 ${left} 넘게 떨어져 있습니다.`,
        };
      } finally {
        network.dispose();
      }
    });
    const scatter = (
      title: Words,
      x: "identityGamma" | "identityBeta",
      y: "gamma" | "beta",
      start: number,
      xLabel: Words,
      yLabel: Words,
    ): Figure =>
      new Figure({
        by: work.name,
        title,
        height: 360,
        draw: (width, height) => {
          if (units.length === 0) return null;
          const layers = [...new Set(units.map(({ layer }) => layer))];
          const name = (unit: Unit): string => `${t({ en: "layer", ko: "층" })} ${unit.layer}`;
          const names = layers.map((layer) => `${t({ en: "layer", ko: "층" })} ${layer}`);
          const all = [start, ...units.flatMap((unit) => [unit[x], unit[y]])];
          const [low, high] = [Math.min(...all), Math.max(...all)];
          return Plot.plot({
            width,
            height: height - 40,
            marginLeft: 50,
            marginBottom: 42,
            style: { fontSize: "13px" },
            grid: true,
            x: { label: t(xLabel), ticks: 6 },
            y: { label: t(yLabel), ticks: 6 },
            color: { domain: names, range: COLOURS.slice(0, names.length) },
            symbol: { domain: names, range: SYMBOLS.slice(0, names.length), legend: true },
            marks: [
              Plot.line(
                [
                  [low, low],
                  [high, high],
                ],
                { stroke: "currentColor", strokeDasharray: "5 4" },
              ),
              Plot.ruleY([start], { stroke: "currentColor", strokeDasharray: "1 4" }),
              Plot.text([[high, high]], {
                text: [t({ en: "identity", ko: "항등" })],
                textAnchor: "end",
                dx: -8,
                dy: -4,
              }),
              Plot.dot(units, {
                x,
                y,
                stroke: name,
                fill: name,
                fillOpacity: 0.5,
                symbol: name,
                r: 3.5,
              }),
              Plot.text([start], {
                frameAnchor: "right",
                y: (value: number) => value,
                text: () => t({ en: "start", ko: "출발" }),
                dy: 9,
                fill: "currentColor",
                stroke: "var(--card)",
                strokeWidth: 5,
              }),
            ],
          });
        },
        table: () =>
          units.length === 0
            ? null
            : {
                caption: title,
                head: [{ en: "Layer", ko: "층" }, yLabel, xLabel],
                rows: units.map((unit) => [
                  String(unit.layer),
                  unit[y].toFixed(4),
                  unit[x].toFixed(4),
                ]),
              },
      });
    const gamma = scatter(
      { en: "γ against the γ that would undo the normalisation", ko: "γ와 정규화를 되돌릴 γ" },
      "identityGamma",
      "gamma",
      1,
      { en: "√(running variance + ε) →", ko: "√(이동 분산 + ε) →" },
      { en: "↑ learned γ", ko: "↑ 학습된 γ" },
    );
    const beta = scatter(
      { en: "β against the β that would", ko: "β와 정규화를 되돌릴 β" },
      "identityBeta",
      "beta",
      0,
      { en: "running mean →", ko: "이동 평균 →" },
      { en: "↑ learned β", ko: "↑ 학습된 β" },
    );
    const spreads = [
      histogramFigure({
        title: { en: "Distribution of γ, which started at 1", ko: "γ의 분포 (1에서 출발)" },
        label: "γ →",
        colour: "var(--on)",
        bins: 24,
        values: () => (units.length > 0 ? units.map(({ gamma: each }) => each) : null),
      }),
      histogramFigure({
        title: { en: "Distribution of β, which started at 0", ko: "β의 분포 (0에서 출발)" },
        label: "β →",
        colour: "var(--on)",
        bins: 24,
        values: () => (units.length > 0 ? units.map(({ beta: each }) => each) : null),
      }),
    ];
    const update = (): void => {
      for (const figure of [gamma, beta, ...spreads]) figure.update();
    };
    return {
      element: intro(
        { en: "Does it learn the identity?", ko: "결국 항등을 배울까요?" },
        {
          en: "γ and β could undo the normalisation: γ = √(var + ε), β = mean is the dashed diagonal. They start on the dotted line, at γ = 1 and β = 0. Each mark is one unit after training. Have they gone to the diagonal? Train longer, and they spread further from the line that they started on: γ and β go where the loss wants the activation's curve, not to the diagonal, and the normalisation stays.",
          ko: "γ와 β는 정규화를 되돌릴 수도 있습니다. γ = √(var + ε), β = mean이면 비스듬한 점선 위에 놓입니다. 출발점은 수평 점선인 γ = 1, β = 0입니다. 점 하나가 학습을 마친 유닛 하나입니다. 비스듬한 점선으로 갔나요? 오래 학습할수록 출발선에서 멀어지지만, γ와 β는 그 점선이 아니라 손실이 원하는 활성화 함수의 굽은 곳으로 갈 뿐이고 정규화는 그대로 남습니다.",
        },
        "<i>y</i> = γ<i>x̂</i> + β; &nbsp; the identity: γ = √(var + ε), β = mean; &nbsp; the start: γ = 1, β = 0",
        settings.element,
        work.element,
        h("div", { class: "pair" }, gamma.element, beta.element),
        h("div", { class: "pair" }, ...spreads.map(({ element }) => element)),
      ),
      settings: [settings],
    };
  },
};

async function unitsOf(network: Network): Promise<Unit[]> {
  const units: Unit[] = [];
  for (let layer = 0; layer < network.options.depth; layer++) {
    const { gamma, beta, mean, variance } = await network.learned(layer);
    gamma.forEach((each, i) => {
      units.push({
        layer: layer + 1,
        gamma: each,
        beta: beta[i]!,
        identityGamma: Math.sqrt(variance[i]! + EPS),
        identityBeta: mean[i]!,
      });
    });
  }
  return units;
}
