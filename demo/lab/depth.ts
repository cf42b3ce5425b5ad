import * as Plot from "@observablehq/plot";
import { histogram, summarise } from "../../scripts/support/histogram.js";
import { scientific } from "../../scripts/support/format.js";
import { samplesOf } from "../engine/digits.js";
import { formula, h } from "../shell/dom.js";
import { Figure } from "../shell/figure.js";
import { t, type Words } from "../shell/language.js";
import { Settings } from "../shell/settings.js";
import { Work } from "../shell/work.js";
import { drawNetwork } from "./drawing.js";
import {
  ACTIVATIONS,
  FLAT,
  INITIALISATIONS,
  Network,
  saturatedShare,
  type NetworkOptions,
  type Activation,
  type Order,
} from "./network.js";
import { ABOVE, AROUND, RidgeView } from "./ridges.js";
import { afterChanges, intro, OFF, ON, type View } from "./view.js";

export const ACTIVATION_NAMES: Readonly<Record<Activation, string>> = {
  tanh: "tanh",
  sigmoid: "sigmoid",
  relu: "ReLU",
  "leaky-relu": "leaky ReLU",
  elu: "ELU",
};
export const INITIALISATION_NAMES: Readonly<Record<(typeof INITIALISATIONS)[number], Words>> = {
  small: { en: "small: sd 0.01", ko: "작게: 표준편차 0.01" },
  large: { en: "large: sd 1", ko: "크게: 표준편차 1" },
  xavier: { en: "Xavier: sd 1/√n", ko: "Xavier: 표준편차 1/√n" },
  he: { en: "He: sd √(2/n)", ko: "He: 표준편차 √(2/n)" },
};

const BINS = 41;

/** What one layer gives out. */
interface LayerFacts {
  readonly layer: number;
  readonly batchNorm: boolean;
  readonly mean: number;
  readonly deviation: number;
  readonly saturated: number;
  /** What the shares reach over. */
  readonly axis: readonly [low: number, high: number];
  /** Shares per bin; the first and the last take what lies beyond. */
  readonly shares: readonly number[];
}

/** Where the histograms reach: what the activation can give, or where nearly all of it lies once normalised. */
function axisOf(activation: Activation, normalisedAfter: boolean): readonly [number, number] {
  if (normalisedAfter) return [-4, 4];
  switch (activation) {
    case "tanh":
      return [-1, 1];
    case "sigmoid":
      return [0, 1];
    case "relu":
      return [0, 4];
    case "leaky-relu":
    case "elu":
      return [-1, 4];
  }
}

function factsOf(
  values: Float32Array,
  activated: Float32Array,
  layer: number,
  { batchNorm, activation, order }: Pick<NetworkOptions, "batchNorm" | "activation" | "order">,
): LayerFacts {
  const axis = axisOf(activation, batchNorm && order === "after");
  const [low, high] = axis;
  const { mean, deviation } = summarise(values);
  const clipped = values.map((value) => Math.min(high, Math.max(low, value)));
  const { counts, total } = histogram(clipped, BINS, low, high);
  return {
    layer: layer + 1,
    batchNorm,
    mean,
    deviation,
    saturated: saturatedShare(activation, activated),
    axis,
    shares: Array.from(counts, (count) => count / total),
  };
}

/** Short enough to stand above a small panel. */
const short = (value: number): string =>
  (value === 0 || (Math.abs(value) >= 0.01 && Math.abs(value) < 1000)
    ? Number(value.toPrecision(Math.abs(value) < 100 ? 2 : 3)).toString()
    : value.toExponential(0).replace("e+", "e")
  ).replaceAll("-", "−");
const percent = (share: number): string =>
  `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;

const FORMULAS: Readonly<Record<Order, string>> = {
  before: "<i>h</i><sub>l</sub> = φ(BN(<i>a</i>))",
  after: "<i>h</i><sub>l</sub> = BN(φ(<i>a</i>))",
};
const formulaOf = (order: Order): HTMLElement =>
  formula(
    `<i>h</i><sub>0</sub> = digits, &nbsp; <i>a</i> = <i>h</i><sub>l−1</sub><i>W</i><sub>l</sub>, &nbsp; ${FORMULAS[order]}, &nbsp; BN(<i>z</i>) = γ (<i>z</i> − mean) / √(var + ε) + β`,
  );

export const depth: View = {
  id: "depth",
  name: { en: "Through depth", ko: "깊이에 따라" },
  show(lab) {
    const settings = new Settings(
      {
        activation: {
          kind: "choice",
          label: { en: "Activation", ko: "활성화 함수" },
          values: ACTIVATIONS,
          names: ACTIVATION_NAMES,
          initial: "tanh",
        },
        init: {
          kind: "choice",
          label: { en: "Weights at the start", ko: "초기 가중치" },
          values: INITIALISATIONS,
          names: INITIALISATION_NAMES,
          initial: "small",
        },
        depth: {
          kind: "range",
          label: { en: "Layers", ko: "층 수" },
          min: 2,
          max: 20,
          step: 1,
          initial: 10,
        },
        width: {
          kind: "choice",
          label: { en: "Units a layer", ko: "층마다 유닛 수" },
          values: [32, 64, 100, 250, 500, 1000] as const,
          initial: lab.software ? 64 : 500,
        },
        samples: {
          kind: "choice",
          label: { en: "Digits in the batch", ko: "배치의 숫자 수" },
          values: [64, 256, 1000] as const,
          initial: lab.software ? 64 : 1000,
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
      },
      { en: "The network", ko: "신경망" },
    );
    const { values } = settings;
    let facts: LayerFacts[] = [];

    const work = new Work(lab.left, { en: "Run", ko: "실행" }, settings, async (job) => {
      const { activation, init: initialisation, depth, width, order, samples: count } = job.values;
      const digits = await job.wait(lab.digits());
      const engine = await job.wait(lab.engine());
      const samples = samplesOf(digits, 0, count, job.values.side);
      const found: LayerFacts[] = [];
      for (const batchNorm of [false, true]) {
        const options = { depth, width, activation, initialisation, batchNorm, order };
        const network = new Network(engine, { ...options, inputs: samples.inputs, seed: 1 });
        try {
          await network.activations(samples.x, count, async (layer, outputs, activated) => {
            await job.breathe();
            found.push(factsOf(outputs, activated, layer, options));
            job.progress(found.length / (2 * depth), {
              en: `Layer ${layer + 1} …`,
              ko: `${layer + 1}번째 층 …`,
            });
          });
        } finally {
          network.dispose();
        }
      }
      facts = found;
      job.shown();
      update();
      const last = (batchNorm: boolean): LayerFacts =>
        found.filter((each) => each.batchNorm === batchNorm).at(-1)!;
      const [off, on] = [last(false), last(true)];
      return {
        en: `Last layer: deviation ${scientific(off.deviation)} without, ${scientific(on.deviation)} with; saturated ${percent(off.saturated)} and ${percent(on.saturated)}.`,
        ko: `마지막 층: 표준편차 ${scientific(off.deviation)}(없이), ${scientific(on.deviation)}(함께), 포화 ${percent(off.saturated)}, ${percent(on.saturated)}.`,
      };
    });

    const lines = (
      title: Words,
      y: (each: LayerFacts) => number,
      log: boolean,
      label: Words,
    ): Figure =>
      new Figure({
        title,
        height: 250,
        draw: (width, height) => {
          if (facts.length === 0) return null;
          const positive = facts.filter((each) => !log || y(each) > 0);
          const ends = [true, false]
            .flatMap((on) => positive.findLast(({ batchNorm }) => batchNorm === on) ?? [])
            .sort((a, b) => y(b) - y(a));
          return Plot.plot({
            width,
            height,
            marginLeft: 56,
            marginTop: 28,
            marginBottom: 40,
            marginRight: 86,
            style: { fontSize: "13px" },
            x: {
              label: t({ en: "layer →", ko: "층 →" }),
              tickFormat: "d",
              ticks: Math.min(10, work.values.depth),
              domain: [1, work.values.depth],
            },
            y: {
              label: t(label),
              grid: true,
              ...(log
                ? {
                    type: "log",
                    domain: decades(positive.map(y)),
                    ticks: 5,
                    tickFormat: (v: number) => v.toExponential(0),
                  }
                : { domain: [0, 100], percent: true }),
            },
            marks: [
              Plot.line(positive, {
                x: "layer",
                y,
                z: "batchNorm",
                stroke: (each: LayerFacts) => (each.batchNorm ? "var(--on)" : "var(--off)"),
                strokeWidth: 2,
              }),
              Plot.dot(positive, {
                x: "layer",
                y,
                r: 4,
                fill: (each: LayerFacts) => (each.batchNorm ? "var(--on)" : "var(--off)"),
                symbol: (each: LayerFacts) => (each.batchNorm ? "circle" : "square"),
              }),
              // One above its end and one beneath: two that end alike can both be read.
              ...ends.map((end, place) =>
                Plot.text([end], {
                  x: "layer",
                  y,
                  dx: 10,
                  lineAnchor: place === 0 ? "bottom" : "top",
                  textAnchor: "start",
                  text: [
                    t(end.batchNorm ? { en: "with", ko: "함께" } : { en: "without", ko: "없이" }),
                  ],
                  fill: end.batchNorm ? "var(--on)" : "var(--off)",
                }),
              ),
            ],
          });
        },
        table: () =>
          facts.length === 0
            ? null
            : {
                caption: title,
                head: [{ en: "Layer", ko: "층" }, OFF, ON],
                rows: pairs(facts).map(([off, on]) => [
                  String(off.layer),
                  log ? y(off).toExponential(2) : percent(y(off)),
                  log ? y(on).toExponential(2) : percent(y(on)),
                ]),
              },
      });
    const deviation = lines(
      { en: "Standard deviation of the activations", ko: "활성값의 표준편차" },
      (each) => each.deviation,
      true,
      { en: "↑ standard deviation (log)", ko: "↑ 표준편차 (로그)" },
    );
    const saturation = lines(
      { en: "Saturated units", ko: "포화된 유닛" },
      (each) => each.saturated,
      false,
      { en: "↑ share, %", ko: "↑ 비율, %" },
    );

    const columns = (width: number): number =>
      width < 480 ? 3 : width < 800 ? 5 : Math.min(10, Math.max(5, work.values.depth));
    const rowsOf = (width: number): number => Math.ceil(work.values.depth / columns(width));
    const panels = (batchNorm: boolean): Figure =>
      new Figure({
        title: batchNorm ? ON : OFF,
        height: (width) => rowsOf(width) * 118 + 30,
        draw: (width, height) => {
          const own = facts.filter((each) => each.batchNorm === batchNorm);
          if (own.length === 0) return null;
          const [low, high] = own[0]!.axis;
          const step = (high - low) / BINS;
          const across = columns(width);
          const bars = own.flatMap((each) => {
            const most = Math.max(...each.shares);
            return each.shares.map((share, i) => ({
              x1: low + i * step,
              x2: low + (i + 1) * step,
              y: share / most,
              fx: (each.layer - 1) % across,
              fy: Math.floor((each.layer - 1) / across),
            }));
          });
          const facets = own.map((each) => ({
            ...each,
            fx: (each.layer - 1) % across,
            fy: Math.floor((each.layer - 1) / across),
          }));
          return Plot.plot({
            width,
            height,
            marginLeft: 4,
            marginRight: 4,
            marginTop: 48,
            marginBottom: 26,
            style: { fontSize: "10.5px" },
            fx: { axis: null, domain: Array.from({ length: across }, (_, i) => i), padding: 0.12 },
            fy: { axis: null, padding: 0.46 },
            x: { axis: null },
            y: { axis: null, domain: [0, 1] },
            marks: [
              // Those at the ends stay within their panel.
              ...(["start", "middle", "end"] as const).map((textAnchor, i) =>
                Plot.axisX([low, (low + high) / 2, high].slice(i, i + 1), {
                  textAnchor,
                  tickFormat: short,
                  label: null,
                }),
              ),
              Plot.rectY(bars, {
                fx: "fx",
                fy: "fy",
                x1: "x1",
                x2: "x2",
                y: "y",
                fill: batchNorm ? "var(--on)" : "var(--off)",
              }),
              Plot.ruleY([0]),
              Plot.text(facets, {
                fx: "fx",
                fy: "fy",
                frameAnchor: "top-left",
                dy: -44,
                lineHeight: 1.25,
                text: (each: LayerFacts) =>
                  `${t({ en: "layer", ko: "층" })} ${each.layer}\n${short(each.mean)}\u2009±\u2009${short(each.deviation)}\n${t({ en: "saturated", ko: "포화" })} ${percent(each.saturated)}`,
              }),
            ],
          });
        },
        table: () => {
          const own = facts.filter((each) => each.batchNorm === batchNorm);
          return own.length === 0
            ? null
            : {
                caption: batchNorm ? ON : OFF,
                head: [
                  { en: "Layer", ko: "층" },
                  { en: "Mean", ko: "평균" },
                  { en: "Standard deviation", ko: "표준편차" },
                  { en: "Saturated", ko: "포화" },
                ],
                rows: own.map((each) => [
                  String(each.layer),
                  each.mean.toExponential(2).replace("-", "−"),
                  each.deviation.toExponential(2),
                  percent(each.saturated),
                ]),
              };
        },
      });
    const small = [panels(false), panels(true)];

    const eye = new Settings(
      {
        around: {
          kind: "range",
          label: { en: "Turned by, degrees", ko: "돌린 각도" },
          ...AROUND,
          step: 1,
          initial: 28,
        },
        above: {
          kind: "range",
          label: { en: "Seen from above, degrees", ko: "내려다보는 각도" },
          ...ABOVE,
          step: 1,
          initial: 24,
        },
      },
      { en: "Where it is seen from", ko: "보는 자리" },
    );
    const { device } = lab.found;
    const ridges = device ? [new RidgeView(device, OFF, eye), new RidgeView(device, ON, eye)] : [];
    const drawing = h("div", { class: "drawing" });
    const update = (): void => {
      for (const each of [deviation, saturation, ...small]) each.update();
      if (facts.length === 0) return;
      ridges.forEach((view, i) => {
        const own = facts.filter((each) => each.batchNorm === (i === 1));
        const [low, high] = own[0]!.axis;
        view.show({
          low,
          high,
          colour: i === 1 ? "var(--on)" : "var(--off)",
          ridges: own.map(({ layer, shares }) => {
            const most = Math.max(...shares);
            return { name: String(layer), heights: shares.map((share) => (0.75 * share) / most) };
          }),
        });
      });
    };
    const line = h("div", {});
    const describe = (): void => {
      drawNetwork(drawing, values);
      line.replaceChildren(formulaOf(values.order));
    };
    describe();
    settings.onChange(describe);
    afterChanges(settings, () => void work.start(), lab.left);

    const element = h(
      "div",
      {},
      intro(
        { en: "Activations through depth", ko: "깊이에 따른 활성값" },
        {
          en: `Weights multiply layer after layer. With small ones the activations shrink to nothing, with large ones they grow, and every tanh or sigmoid ends up in its flat part, where no gradient comes through (<em>saturated</em>: less than ${100 * FLAT} % of the largest slope is left). Now switch the weights and compare: with Batch Normalization the layers look alike whatever they start from.`,
          ko: `가중치는 층을 지날 때마다 거듭 곱해집니다. 작게 시작하면 활성값이 0으로 사라지고, 크게 시작하면 값이 커져 tanh나 시그모이드가 모두 평평한 곳으로 몰리고 기울기가 흐르지 못합니다(<em>포화</em>: 남은 기울기가 최대의 ${100 * FLAT} % 미만). 초기 가중치를 바꿔 가며 견주어 보세요. 배치 정규화를 넣으면 어디서 시작하든 층들이 서로 비슷해집니다.`,
        },
        line,
        settings.element,
        work.element,
        drawing,
        h("div", { class: "pair" }, deviation.element, saturation.element),
      ),
      h(
        "section",
        { class: "card" },
        h("h3", {}, { en: "Every layer's activations", ko: "층마다의 활성값" }),
        h(
          "p",
          { class: "note" },
          {
            en: "Each panel is one layer; its bars are scaled to its own highest one, and the outermost ones take what lies beyond. Above it: mean ± standard deviation, and the share of saturated units.",
            ko: "칸 하나가 한 층입니다. 막대는 그 층의 가장 높은 막대에 맞췄고, 양끝 막대에는 범위를 벗어난 값도 들어 있습니다. 위의 글은 평균 ± 표준편차와 포화된 유닛의 비율입니다.",
          },
        ),
        ...small.map((each) => each.element),
      ),
      h(
        "section",
        { class: "card" },
        h("h3", {}, { en: "The same in space", ko: "같은 것을 입체로" }),
        h(
          "p",
          { class: "note" },
          ridges.length > 0
            ? {
                en: "Layer by value by density. Drag it or move the sliders to turn it.",
                ko: "층, 값, 밀도의 입체 그림입니다. 끌거나 슬라이더를 움직여 돌려 보세요.",
              }
            : {
                en: "This view is drawn with WebGPU, which is missing here; the panels above show the same.",
                ko: "이 그림은 WebGPU로 그리는데 여기에는 없습니다. 위의 칸들이 같은 내용을 보여 줍니다.",
              },
        ),
        ridges.length > 0 ? eye.element : null,
        h("div", { class: "pair" }, ...ridges.map((each) => each.element)),
      ),
    );
    return {
      element,
      settings: [settings, eye],
      begin: () => void work.start(),
      end: () => {
        for (const each of ridges) each.destroy();
      },
    };
  },
};

/** Whole powers of ten around them, two at least. */
function decades(values: readonly number[]): [number, number] {
  const high = Math.ceil(Math.log10(Math.max(...values)));
  const low = Math.min(high - 2, Math.floor(Math.log10(Math.min(...values))));
  return [10 ** low, 10 ** high];
}

function pairs(facts: readonly LayerFacts[]): [LayerFacts, LayerFacts][] {
  const off = facts.filter(({ batchNorm }) => !batchNorm);
  return off.flatMap((each): [LayerFacts, LayerFacts][] => {
    const on = facts.find(({ batchNorm, layer }) => batchNorm && layer === each.layer);
    return on ? [[each, on]] : [];
  });
}
