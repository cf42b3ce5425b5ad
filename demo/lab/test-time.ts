import * as Plot from "@observablehq/plot";
import { BatchNorm1d, tensor } from "webgpu-batchnorm";
import * as reference from "webgpu-batchnorm/reference";
import { seeded } from "../../scripts/support/random.js";
import { batches, samplesOf, trainingCount } from "../engine/digits.js";
import { Figure } from "../shell/figure.js";
import { h } from "../shell/dom.js";
import { t, type Text, type Words } from "../shell/language.js";
import { Settings } from "../shell/settings.js";
import { Work } from "../shell/work.js";
import { Network } from "./network.js";
import { intro, type View } from "./view.js";

const MOMENTA = [0.01, 0.1, 0.5] as const;
const WIDTH = 32;

/** Of every unit. */
interface Statistics {
  readonly mean: ArrayLike<number>;
  /** Unbiased. */
  readonly variance: ArrayLike<number>;
}

/** One step: the batch's statistics, and what each momentum has made of them so far. */
interface Point {
  readonly step: number;
  readonly batch: Statistics;
  readonly running: readonly Statistics[];
}

/** Running statistics for several momenta, of the same batches: our modules, or the reference. */
class Trackers {
  readonly #modules: BatchNorm1d[] | null;
  #states: reference.UpdatedState[];

  constructor(private readonly device: GPUDevice | null) {
    this.#modules = device
      ? MOMENTA.map((momentum) => new BatchNorm1d(device, WIDTH, { momentum }))
      : null;
    this.#states = MOMENTA.map(() => ({
      mean: new Float64Array(WIDTH),
      variance: new Float64Array(WIDTH).fill(1),
      numBatchesTracked: 0n,
    }));
  }

  async see(values: Float32Array, count: number): Promise<Point["running"]> {
    const shape = [count, WIDTH];
    if (!this.#modules || !this.device) {
      this.#states = this.#states.map(
        (state, i) => reference.forward(values, shape, { momentum: MOMENTA[i]!, state }).state!,
      );
      return this.#states;
    }
    const x = tensor(this.device, values, shape);
    const found = await Promise.all(
      this.#modules.map(async (bn) => {
        bn.forward(x).destroy();
        const [mean, variance] = await Promise.all([bn.runningMean!.read(), bn.runningVar!.read()]);
        return { mean, variance };
      }),
    );
    x.destroy();
    return found;
  }

  destroy(): void {
    for (const bn of this.#modules ?? []) bn.destroy();
  }
}

const NAMES: readonly { readonly id: string; readonly colour: string; readonly dash: string }[] = [
  { id: "0.01", colour: "var(--third)", dash: "2 3" },
  { id: "0.1", colour: "var(--on)", dash: "none" },
  { id: "0.5", colour: "var(--fourth)", dash: "7 3" },
];

/** Dots and lines as they are drawn. */
function legend(): HTMLElement {
  const sample = (shape: string, name: Text): HTMLElement => {
    const item = h("li", {}, name);
    item.insertAdjacentHTML(
      "afterbegin",
      `<svg width="28" height="10" aria-hidden="true">${shape}</svg>`,
    );
    return item;
  };
  return h(
    "ul",
    { class: "legend" },
    sample('<circle cx="14" cy="5" r="3" fill="var(--off)"/>', {
      en: "each batch",
      ko: "배치마다",
    }),
    ...NAMES.map(({ id, colour, dash }) =>
      sample(
        `<path d="M0 5H28" stroke="${colour}" stroke-width="2.2" stroke-dasharray="${dash}"/>`,
        `m = ${id}`,
      ),
    ),
  );
}

export const testTime: View = {
  id: "test-time",
  name: { en: "Test time", ko: "테스트 시점" },
  show(lab) {
    const settings = new Settings(
      {
        batch: {
          kind: "choice",
          label: { en: "Batch", ko: "배치 크기" },
          values: [4, 16, 64, 128] as const,
          initial: 16,
        },
        steps: {
          kind: "choice",
          label: { en: "Steps", ko: "단계 수" },
          values: [20, 50, 100, 300] as const,
          initial: lab.software ? 50 : 300,
        },
        rate: {
          kind: "choice",
          label: { en: "Learning rate", ko: "학습률" },
          values: [0.01, 0.1, 0.5] as const,
          initial: 0.5,
        },
      },
      { en: "The training", ko: "학습" },
    );
    const looking = new Settings(
      {
        unit: {
          kind: "range",
          label: { en: "Unit of the first layer", ko: "첫 층의 유닛" },
          min: 0,
          max: WIDTH - 1,
          step: 1,
          initial: 3,
        },
      },
      { en: "What is shown", ko: "보여 줄 것" },
    );
    let points: Point[] = [];
    const work = new Work(lab.left, { en: "Train", ko: "학습 시작" }, settings, async (job) => {
      const { batch, steps, rate } = job.values;
      const digits = await job.wait(lab.digits());
      const engine = await job.wait(lab.engine());
      const samples = samplesOf(digits, 0, Math.min(trainingCount(digits), 4000), 14);
      const network = new Network(engine, {
        inputs: samples.inputs,
        depth: 2,
        width: WIDTH,
        activation: "tanh",
        initialisation: "xavier",
        batchNorm: true,
        order: "before",
        seed: 5,
      });
      const trackers = new Trackers(lab.found.device);
      points = [];
      job.shown();
      try {
        const source = batches(samples, batch, seeded(6));
        for (let step = 0; step < steps; step++) {
          await job.breathe();
          const { x, labels } = source.next().value;
          const linear = await job.wait(network.firstLinear(x, batch));
          const running = await job.wait(trackers.see(linear, batch));
          const { mean, varBiased } = reference.forward(linear, [batch, WIDTH]);
          points.push({
            step: step + 1,
            batch: { mean, variance: varBiased.map((each) => (each * batch) / (batch - 1)) },
            running,
          });
          const { loss } = await job.wait(network.step(x, labels, { rate }));
          job.progress((step + 1) / steps, {
            en: `Step ${step + 1} of ${steps}, loss ${loss.toFixed(3)}`,
            ko: `${steps}단계 중 ${step + 1}단계, 손실 ${loss.toFixed(3)}`,
          });
          if (step % 10 === 9 || step === steps - 1) update();
        }
      } finally {
        network.dispose();
        trackers.destroy();
      }
      return { en: "Done.", ko: "끝났습니다." };
    });
    const valueOf = (of: Statistics, which: "mean" | "variance"): number =>
      of[which][looking.values.unit]!;
    const figureOf = (which: "mean" | "variance", title: Words, label: Words): Figure =>
      new Figure({
        title,
        height: 310,
        draw: (width, height) => {
          if (points.length === 0) return null;
          const lines = NAMES.flatMap(({ colour, dash }, i) => {
            const own = points.map(({ step, running }) => ({
              step,
              value: valueOf(running[i]!, which),
            }));
            return [
              Plot.line(own, {
                x: "step",
                y: "value",
                stroke: colour,
                strokeWidth: 2.2,
                ...(dash === "none" ? {} : { strokeDasharray: dash }),
              }),
            ];
          });
          const plot = Plot.plot({
            width,
            height: height - 36,
            marginLeft: 50,
            marginRight: 20,
            marginBottom: 42,
            style: { fontSize: "13px" },
            x: { label: t({ en: "step →", ko: "단계 →" }), tickFormat: "d", ticks: 6 },
            y: { label: t(label), grid: true },
            marks: [
              Plot.dot(points, {
                x: "step",
                y: (each: Point) => valueOf(each.batch, which),
                r: 2.4,
                fill: "var(--off)",
                fillOpacity: 0.65,
              }),
              ...lines,
            ],
          });
          return [legend(), plot];
        },
        table: () =>
          points.length === 0
            ? null
            : {
                caption: title,
                head: [
                  { en: "Step", ko: "단계" },
                  { en: "Batch", ko: "배치" },
                  ...NAMES.map(({ id }) => `m = ${id}`),
                ],
                rows: points.map(({ step, batch, running }) => [
                  String(step),
                  valueOf(batch, which).toFixed(4),
                  ...running.map((each) => valueOf(each, which).toFixed(4)),
                ]),
              },
      });
    const figures = [
      figureOf(
        "mean",
        {
          en: "The unit's mean: each batch (dots), and running",
          ko: "유닛의 평균: 배치마다(점), 그리고 이동 평균",
        },
        { en: "↑ mean", ko: "↑ 평균" },
      ),
      figureOf(
        "variance",
        {
          en: "Its variance: each batch (dots), and running",
          ko: "분산: 배치마다(점), 그리고 이동 평균",
        },
        { en: "↑ variance (unbiased)", ko: "↑ 분산 (불편)" },
      ),
    ];
    const update = (): void => {
      for (const figure of figures) figure.update();
    };
    looking.onChange(update);
    return {
      element: intro(
        { en: "What is used at test time", ko: "테스트할 때 쓰는 값" },
        {
          en: "At test time nothing is computed from the batch: the running mean and variance of training are used. Dots are what each batch says, lines what is kept of them. A small momentum m is smooth and late: it still remembers 0 and 1, where it started; a large one follows each batch's noise. As the network learns, the statistics it chases move.",
          ko: "테스트할 때는 배치에서 아무것도 계산하지 않고, 학습하며 모아 둔 이동 평균과 이동 분산을 씁니다. 점은 배치마다의 값, 선은 모아 둔 값입니다. 모멘텀 m이 작으면 매끄럽지만 느려서 출발점인 0과 1을 오래 기억하고, 크면 배치의 잡음까지 따라갑니다. 신경망이 배우는 동안 쫓아야 할 통계도 움직입니다.",
        },
        "running ← (1 − <i>m</i>) · running + <i>m</i> · batch; &nbsp; at test time <i>y</i> = γ (<i>x</i> − running mean) / √(running var + ε) + β",
        settings.element,
        work.element,
        looking.element,
        h("div", {}, ...figures.map(({ element }) => element)),
      ),
      settings: [settings, looking],
      begin: () => void work.start(),
    };
  },
};
