import * as Plot from "@observablehq/plot";
import { digits3, scientific } from "../../scripts/support/format.js";
import { seeded } from "../../scripts/support/random.js";
import { batches, samplesOf, trainingCount } from "../engine/digits.js";
import { h } from "../shell/dom.js";
import { Figure } from "../shell/figure.js";
import { t, type Words } from "../shell/language.js";
import { Settings } from "../shell/settings.js";
import { Work } from "../shell/work.js";
import { ACTIVATION_NAMES, INITIALISATION_NAMES } from "./depth.js";
import { ACTIVATIONS, INITIALISATIONS, Network, type Initialisation } from "./network.js";
import { intro, OFF, ON, type View } from "./view.js";

/** One training run of the sweep. */
interface Run {
  readonly rate: number;
  readonly init: Initialisation;
  readonly batchNorm: boolean;
  readonly losses: number[];
  readonly accuracies: number[];
  /** Per recorded step, per layer. */
  readonly norms: { readonly step: number; readonly values: readonly number[] }[];
  finished: boolean;
}

const RATES = [0.001, 0.01, 0.03, 0.1, 0.3, 1, 3] as const;
/** A guess at random gets so much. */
const CHANCE = 0.1;

const rateText = (rate: number): string => String(rate);

/** Over the last quarter of the steps: of the batches that were trained on. */
function outcome({ accuracies, losses }: Run): number {
  if (losses.some((loss) => !Number.isFinite(loss))) return NaN;
  const last = accuracies.slice(-Math.max(1, Math.ceil(accuracies.length / 4)));
  return last.reduce((a, b) => a + b, 0) / last.length;
}

const keyOf = ({ rate, init }: Pick<Run, "rate" | "init">): string => `${rate},${init}`;

/** Every run that there can be. */
const KEYS = INITIALISATIONS.flatMap((init) => RATES.map((rate) => keyOf({ rate, init })));

export const training: View = {
  id: "training",
  name: { en: "Training", ko: "학습" },
  show(lab) {
    const settings = new Settings(
      {
        depth: {
          kind: "range",
          label: { en: "Layers", ko: "층 수" },
          min: 1,
          max: 12,
          step: 1,
          initial: lab.software ? 4 : 8,
        },
        width: {
          kind: "choice",
          label: { en: "Units a layer", ko: "층마다 유닛 수" },
          values: [16, 32, 64, 100, 250] as const,
          initial: lab.software ? 16 : 100,
        },
        activation: {
          kind: "choice",
          label: { en: "Activation", ko: "활성화 함수" },
          values: ACTIVATIONS,
          names: ACTIVATION_NAMES,
          initial: "relu",
        },
        batch: {
          kind: "choice",
          label: { en: "Batch", ko: "배치 크기" },
          values: [16, 32, 64, 128] as const,
          initial: lab.software ? 32 : 64,
        },
        steps: {
          kind: "choice",
          label: { en: "Steps a run", ko: "학습당 단계 수" },
          values: [10, 20, 50, 100, 300] as const,
          initial: lab.software ? 20 : 100,
        },
        side: {
          kind: "choice",
          label: { en: "Pixels", ko: "픽셀" },
          values: [14, 28] as const,
          names: { 14: "14 × 14", 28: "28 × 28" },
          initial: lab.software ? 14 : 28,
        },
        order: {
          kind: "choice",
          label: { en: "Batch Normalization stands", ko: "배치 정규화의 자리" },
          values: ["before", "after"] as const,
          names: {
            before: { en: "before the activation", ko: "활성화 앞" },
            after: { en: "after it", ko: "활성화 뒤" },
          },
          initial: "before",
        },
        rates: {
          kind: "several",
          label: { en: "Learning rates", ko: "학습률" },
          values: RATES.map(rateText),
          initial: lab.software ? ["0.01", "0.1", "1"] : ["0.001", "0.01", "0.1", "0.3", "1", "3"],
        },
        inits: {
          kind: "several",
          label: { en: "Weights at the start", ko: "초기 가중치" },
          values: INITIALISATIONS,
          names: INITIALISATION_NAMES,
          initial: lab.software ? ["small", "he"] : INITIALISATIONS,
        },
      },
      { en: "The sweep", ko: "훑을 범위" },
    );
    const looking = new Settings(
      {
        cell: {
          kind: "typed",
          label: { en: "Run that is shown: rate, weights", ko: "보고 있는 학습: 학습률, 가중치" },
          initial: "",
          objection: (text) =>
            text === "" || KEYS.includes(text)
              ? null
              : { en: "There is no such run.", ko: "그런 학습은 없습니다." },
        },
      },
      { en: "Run that is shown", ko: "보고 있는 학습" },
    );
    for (const name of ["rates", "inits"])
      settings.element.querySelector(`fieldset:has([name=${name}])`)?.classList.add("wide");
    let runs: Run[] = [];

    const rates = (): number[] =>
      RATES.filter((rate) => work.values.rates.includes(rateText(rate)));
    const inits = (): Initialisation[] =>
      INITIALISATIONS.filter((init) => work.values.inits.includes(init));
    /** The cell that is looked at: the one that was chosen, or the one that runs. */
    const looked = (): string | null => {
      const { cell } = looking.values;
      if (runs.some((run) => keyOf(run) === cell)) return cell;
      const last = runs.at(-1);
      return last ? keyOf(last) : null;
    };

    const work = new Work(lab.left, { en: "Train", ko: "학습 시작" }, settings, async (job) => {
      const { steps, batch, depth, width, activation, order, side } = job.values;
      const digits = await job.wait(lab.digits());
      const engine = await job.wait(lab.engine());
      const samples = samplesOf(digits, 0, Math.min(trainingCount(digits), 4000), side);
      runs = [];
      job.shown();
      update();
      const plan = inits().flatMap((init) =>
        rates().flatMap((rate) => [false, true].map((batchNorm) => ({ init, rate, batchNorm }))),
      );
      // A run that was chosen, or that a shared address names, is shown once it is there.
      if (!plan.some((each) => keyOf(each) === looking.values.cell)) looking.set({ cell: "" });
      const every = Math.max(1, Math.floor(steps / 10));
      for (const [i, each] of plan.entries()) {
        const run: Run = { ...each, losses: [], accuracies: [], norms: [], finished: false };
        runs.push(run);
        const network = new Network(engine, {
          inputs: samples.inputs,
          depth,
          width,
          activation,
          initialisation: each.init,
          batchNorm: each.batchNorm,
          order,
          seed: 1,
        });
        try {
          // The same weights and the same batches with and without.
          const source = batches(samples, batch, seeded(2));
          for (let step = 0; step < steps; step++) {
            await job.breathe();
            const { x, labels } = source.next().value;
            const norms = step % every === 0 || step === steps - 1;
            const result = await job.wait(network.step(x, labels, { rate: each.rate, norms }));
            run.losses.push(result.loss);
            run.accuracies.push(result.accuracy);
            if (norms) run.norms.push({ step, values: result.norms });
            job.progress((i + (step + 1) / steps) / plan.length, {
              en: `Run ${i + 1} of ${plan.length}, loss ${digits3(result.loss)}`,
              ko: `${plan.length}개 중 ${i + 1}번째, 손실 ${digits3(result.loss)}`,
            });
            if (norms)
              curves.forEach((figure) => {
                figure.update();
              });
            // It will not come back from there.
            if (!Number.isFinite(result.loss)) break;
          }
          run.finished = true;
        } finally {
          network.dispose();
          update();
        }
      }
      const learned = (batchNorm: boolean): number =>
        runs.filter((run) => run.batchNorm === batchNorm && outcome(run) > 3 * CHANCE).length;
      const half = plan.length / 2;
      return {
        en: `Of ${half} settings ${learned(false)} learn without, ${learned(true)} with (more than 30 % right).`,
        ko: `${half}가지 설정 가운데 없이 ${learned(false)}개, 함께 ${learned(true)}개가 배웁니다(정답 30 % 초과).`,
      };
    });

    const heat: Figure = new Figure({
      by: work.name,
      title: { en: "Share that is read right at the end", ko: "마지막에 맞힌 비율" },
      note: () => ({
        en: "In %, of the batches that were trained on, over the last quarter of the steps. Choose a cell to see its run in full.",
        ko: "학습에 쓴 배치에서 맞힌 비율(%)로, 마지막 4분의 1 단계의 평균입니다. 칸을 누르면 그 학습을 자세히 볼 수 있습니다.",
      }),
      height: (width) => (width < 560 ? 2 : 1) * (inits().length * 46 + 74),
      draw: (width, height) => {
        const done = runs.filter(({ finished }) => finished);
        if (done.length === 0) return null;
        const stacked = width < 560;
        const cells = done.map((run) => ({
          ...run,
          value: outcome(run),
          side: t(run.batchNorm ? ON : OFF),
          name: t(INITIALISATION_NAMES[run.init]),
          label: rateText(run.rate),
        }));
        const facet = stacked ? { fy: "side" } : { fx: "side" };
        const selected = cells.filter((cell) => keyOf(cell) === looked());
        const chart = Plot.plot({
          width,
          height,
          marginLeft: stacked ? 132 : 130,
          marginBottom: 44,
          marginTop: stacked ? 22 : 30,
          marginRight: stacked ? 26 : 6,
          style: { fontSize: "13px" },
          x: {
            domain: rates().map(rateText),
            label: t({ en: "learning rate →", ko: "학습률 →" }),
            padding: 0.04,
          },
          y: {
            domain: inits().map((init) => t(INITIALISATION_NAMES[init])),
            label: null,
            padding: 0.06,
            tickSize: 0,
          },
          ...(stacked
            ? { fy: { domain: [t(OFF), t(ON)], label: null, axis: null } }
            : { fx: { domain: [t(OFF), t(ON)], label: null } }),
          color: { type: "linear", domain: [0, 1], scheme: "cividis", unknown: "var(--grid)" },
          marks: [
            Plot.cell(cells, { ...facet, x: "label", y: "name", fill: "value", inset: 1 }),
            Plot.cell(selected, {
              ...facet,
              x: "label",
              y: "name",
              stroke: "currentColor",
              strokeWidth: 2.5,
              fill: "none",
              inset: -1,
            }),
            Plot.text(cells, {
              ...facet,
              x: "label",
              y: "name",
              text: (cell: (typeof cells)[number]) =>
                Number.isNaN(cell.value) ? "NaN" : `${Math.round(100 * cell.value)}`,
              fill: (cell: (typeof cells)[number]) =>
                Number.isNaN(cell.value) ? "currentColor" : cell.value > 0.55 ? "#111" : "#fff",
              pointerEvents: "none",
            }),
            ...(stacked
              ? [
                  Plot.text([{ side: t(OFF) }, { side: t(ON) }], {
                    fy: "side",
                    text: "side",
                    frameAnchor: "top-left",
                    dy: -14,
                    dx: -128,
                  }),
                ]
              : []),
          ],
        });
        // The first mark's cells, each bound to its place among them.
        chart
          .querySelector('[aria-label="cell"]')!
          .querySelectorAll<SVGRectElement & { readonly __data__: number }>("rect")
          .forEach((rect) => {
            rect.style.cursor = "pointer";
            rect.addEventListener("click", () => {
              look(keyOf(cells[rect.__data__]!));
            });
          });
        return chart;
      },
      table: () => {
        const done = runs.filter(({ finished }) => finished);
        return done.length === 0
          ? null
          : {
              caption: {
                en: "Share that is read right at the end, %",
                ko: "마지막에 맞힌 비율, %",
              },
              head: [
                { en: "Weights", ko: "가중치" },
                { en: "Rate", ko: "학습률" },
                { en: "Batch Normalization", ko: "배치 정규화" },
                { en: "Right", ko: "맞힘" },
                { en: "Last loss", ko: "마지막 손실" },
              ],
              rows: done.map((run) => [
                INITIALISATION_NAMES[run.init],
                rateText(run.rate),
                run.batchNorm ? { en: "with", ko: "함께" } : { en: "without", ko: "없이" },
                Number.isNaN(outcome(run)) ? "NaN" : `${(100 * outcome(run)).toFixed(1)} %`,
                Number.isFinite(run.losses.at(-1)!)
                  ? run.losses.at(-1)!.toFixed(3)
                  : String(run.losses.at(-1)),
              ]),
            };
      },
    });

    const chosen = (): Run[] => runs.filter((run) => keyOf(run) === looked());
    const curve = (
      title: Words,
      label: Words,
      pick: (run: Run) => readonly number[],
      domain?: [number, number],
    ): Figure =>
      new Figure({
        by: work.name,
        title,
        height: 240,
        draw: (width, height) => {
          const points = chosen()
            .flatMap((run) =>
              pick(run).map((value, step) => ({
                step: step + 1,
                value: domain ? value : Math.min(value, 6),
                batchNorm: run.batchNorm,
              })),
            )
            .filter(({ value }) => Number.isFinite(value));
          if (points.length === 0) return null;
          const ends = [false, true].flatMap((batchNorm) =>
            points.filter((each) => each.batchNorm === batchNorm).slice(-1),
          );
          return Plot.plot({
            width,
            height,
            marginLeft: 46,
            marginRight: 74,
            marginTop: 28,
            marginBottom: 40,
            style: { fontSize: "13px" },
            x: {
              label: t({ en: "step →", ko: "단계 →" }),
              domain: [1, Math.max(2, work.values.steps)],
              tickFormat: "d",
              ticks: 5,
            },
            y: {
              label: t(label),
              grid: true,
              ...(domain ? { domain, percent: true } : { zero: true }),
            },
            marks: [
              Plot.line(points, {
                x: "step",
                y: "value",
                z: "batchNorm",
                stroke: (each: { batchNorm: boolean }) =>
                  each.batchNorm ? "var(--on)" : "var(--off)",
                strokeWidth: 2,
                strokeDasharray: "none",
              }),
              Plot.text(ends, {
                x: "step",
                y: "value",
                dx: 6,
                textAnchor: "start",
                text: (each: { batchNorm: boolean }) =>
                  t(each.batchNorm ? { en: "with", ko: "함께" } : { en: "without", ko: "없이" }),
                fill: (each: { batchNorm: boolean }) =>
                  each.batchNorm ? "var(--on)" : "var(--off)",
              }),
            ],
          });
        },
        table: () => {
          const [off, on] = [
            chosen().find(({ batchNorm }) => !batchNorm),
            chosen().find(({ batchNorm }) => batchNorm),
          ];
          const length = Math.max(off?.losses.length ?? 0, on?.losses.length ?? 0);
          const cell = (run: Run | undefined, step: number): string => {
            const value = run && pick(run)[step];
            return value === undefined
              ? "–"
              : Number.isFinite(value)
                ? value.toFixed(3)
                : String(value);
          };
          return length === 0
            ? null
            : {
                caption: title,
                head: [{ en: "Step", ko: "단계" }, OFF, ON],
                rows: Array.from({ length }, (_, step) => [
                  String(step + 1),
                  cell(off, step),
                  cell(on, step),
                ]),
              };
        },
      });

    const gradients: Figure = new Figure({
      by: work.name,
      title: { en: "Gradient norms, layer by layer", ko: "층마다의 기울기 크기" },
      note: () => ({
        en: "Grey: exactly 0, or not a number.",
        ko: "회색: 정확히 0이거나 숫자가 아닌 값.",
      }),
      height: (width) => (width < 560 ? 2 : 1) * Math.max(150, work.values.depth * 18 + 80) + 60,
      draw: (width, height) => {
        const cells = chosen().flatMap((run) =>
          run.norms.flatMap(({ step, values: norms }) =>
            norms.map((norm, layer) => ({
              step: step + 1,
              layer: layer + 1,
              norm: norm > 0 && Number.isFinite(norm) ? Math.log10(norm) : NaN,
              side: t(run.batchNorm ? ON : OFF),
            })),
          ),
        );
        if (cells.length === 0) return null;
        const domain = decades(cells.map(({ norm }) => norm).filter(Number.isFinite));
        const stacked = width < 560;
        const facet = stacked ? { fy: "side" } : { fx: "side" };
        return Plot.plot({
          width,
          height: height - 40,
          marginLeft: 50,
          marginBottom: 42,
          marginTop: 30,
          style: { fontSize: "13px" },
          x: {
            label: t({ en: "step →", ko: "단계 →" }),
            domain: [...new Set(cells.map(({ step }) => step))].sort((a, b) => a - b),
            padding: 0,
          },
          y: {
            label: t({ en: "layer", ko: "층" }),
            domain: Array.from({ length: work.values.depth }, (_, i) => i + 1),
            padding: 0,
          },
          ...(stacked
            ? { fy: { domain: [t(OFF), t(ON)], label: null, axis: null, padding: 0.16 } }
            : { fx: { domain: [t(OFF), t(ON)], label: null } }),
          color: {
            scheme: "cividis",
            domain,
            legend: true,
            label: t({
              en: "norm of the weights' gradient (logarithmic)",
              ko: "가중치 기울기의 크기 (로그 눈금)",
            }),
            tickFormat: (power: number) => scientific(10 ** power),
            ticks: [domain[0], (domain[0] + domain[1]) / 2, domain[1]],
            unknown: "var(--grid)",
          },
          marks: [
            Plot.cell(cells, { ...facet, x: "step", y: "layer", fill: "norm" }),
            ...(stacked
              ? [
                  Plot.text([{ side: t(OFF) }, { side: t(ON) }], {
                    fy: "side",
                    text: "side",
                    frameAnchor: "top-left",
                    dy: -14,
                  }),
                ]
              : []),
          ],
        });
      },
      table: () => {
        const rows = chosen().flatMap((run) =>
          run.norms.map(({ step, values: norms }) => [
            run.batchNorm
              ? ({ en: "with", ko: "함께" } as const)
              : ({ en: "without", ko: "없이" } as const),
            String(step + 1),
            ...norms.map((norm) => norm.toExponential(1)),
          ]),
        );
        return rows.length === 0
          ? null
          : {
              caption: {
                en: "Norm of the gradient of each layer's weights",
                ko: "층마다 가중치 기울기의 크기",
              },
              head: [
                { en: "Batch Normalization", ko: "배치 정규화" },
                { en: "Step", ko: "단계" },
                ...Array.from({ length: work.values.depth }, (_, i) => String(i + 1)),
              ],
              rows,
            };
      },
    });
    const curves = [
      curve(
        { en: "Loss", ko: "손실" },
        { en: "↑ cross-entropy (6 and more at 6)", ko: "↑ 교차 엔트로피 (6 이상은 6)" },
        (run) => run.losses,
      ),
      curve(
        { en: "Accuracy", ko: "정확도" },
        { en: "↑ right in the batch, %", ko: "↑ 배치에서 맞힌 비율, %" },
        (run) => run.accuracies,
        [0, 100],
      ),
      gradients,
    ];
    const cells = h("div", {
      class: "buttons",
      id: "cells",
      role: "group",
      "aria-label": { en: "run that is shown", ko: "보고 있는 학습" },
    });
    const look = (cell: string): void => {
      looking.set({ cell });
      update();
    };
    const update = (): void => {
      heat.update();
      for (const figure of curves) figure.update();
      const keys = [...new Set(runs.map(keyOf))];
      cells.replaceChildren(
        ...keys.map((key) => {
          const { rate, init } = runs.find((run) => keyOf(run) === key)!;
          return h(
            "button",
            {
              type: "button",
              "aria-pressed": String(key === looked()),
              click: () => {
                look(key);
              },
            },
            {
              en: `${rate}, ${INITIALISATION_NAMES[init].en.split(":")[0]!}`,
              ko: `${rate}, ${INITIALISATION_NAMES[init].ko.split(":")[0]!}`,
            },
          );
        }),
      );
    };

    return {
      element: h(
        "div",
        {},
        intro(
          { en: "Training, with and without", ko: "있을 때와 없을 때의 학습" },
          {
            en: "Every cell is a network that is trained from the same weights on the same batches, once without and once with Batch Normalization. Look for cells that are dark without and bright with it: rates and first weights from which only the network with Batch Normalization learns. Beneath, its gradients stay of about one size through the layers and, after the first steps, over time.",
            ko: "칸 하나가 신경망 하나입니다. 같은 가중치에서 같은 배치로, 한 번은 배치 정규화 없이, 한 번은 함께 학습합니다. 배치 정규화 없이는 어둡고 함께는 밝은 칸을 찾아보세요. 배치 정규화가 있는 신경망만 배우는 학습률과 초기값입니다. 아래 그림에서는 기울기의 크기가 층을 지나도, 또 처음 몇 단계 뒤로는 시간이 지나도 대체로 비슷하게 유지되는 것을 볼 수 있습니다.",
          },
          "<i>W</i> ← <i>W</i> − η ∂<i>L</i>/∂<i>W</i> &nbsp; (plain gradient descent), &nbsp; ∂<i>L</i>/∂<i>a</i> = γ/σ · (<i>g</i> − mean(<i>g</i>) − <i>â</i> · mean(<i>g</i> · <i>â</i>))",
          settings.element,
          work.element,
          heat.element,
        ),
        h(
          "section",
          { class: "card" },
          h("h3", {}, { en: "One run in full", ko: "학습 하나를 자세히" }),
          cells,
          h("div", { class: "pair" }, curves[0]!.element, curves[1]!.element),
          gradients.element,
        ),
      ),
      settings: [settings, looking],
    };
  },
};

/** Two decades at least, around logarithms: what differs little looks alike. */
function decades(powers: readonly number[]): readonly [number, number] {
  if (powers.length === 0) return [-1, 1];
  const [low, high] = [Math.min(...powers), Math.max(...powers)];
  const half = Math.max(1, (high - low) / 2);
  return [(low + high) / 2 - half, (low + high) / 2 + half];
}
