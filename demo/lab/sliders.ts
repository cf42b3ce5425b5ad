import { digits3, scientific } from "../../scripts/support/format.js";
import { samplesOf } from "../engine/digits.js";
import { EPS } from "../engine/engine.js";
import { Normaliser } from "../engine/normaliser.js";
import { h } from "../shell/dom.js";
import { localise, t } from "../shell/language.js";
import { latest } from "../shell/latest.js";
import { Settings } from "../shell/settings.js";
import { Work } from "../shell/work.js";
import { featureOf } from "./feature.js";
import { histogramFigure, signed } from "./histogram-figure.js";
import { saturatedShare } from "./network.js";
import { intro, type View } from "./view.js";

const COUNT = 2000;
/** Where tanh has less than a twentieth of its slope left: 1 − tanh² < 0.05. */
const FLAT_FROM = Math.atanh(Math.sqrt(0.95));

export const sliders: View = {
  id: "sliders",
  name: { en: "γ and β", ko: "γ와 β" },
  show(lab) {
    const settings = new Settings(
      {
        gamma: { kind: "range", label: "γ", min: -6, max: 8, step: 0.05, initial: 1 },
        beta: { kind: "range", label: "β", min: -6, max: 6, step: 0.05, initial: 0 },
      },
      { en: "Scale and shift", ko: "배율과 이동" },
    );
    const { values } = settings;
    const { device } = lab.found;
    let x: Float32Array<ArrayBuffer> | null = null;
    let linear: Normaliser | null = null;
    let tanh: Normaliser | null = null;
    let z: Float32Array | null = null;
    let y: Float32Array | null = null;
    let statistics = { mean: NaN, variance: NaN };

    const compute = async (): Promise<void> => {
      const affine = { gamma: Float32Array.of(values.gamma), beta: Float32Array.of(values.beta) };
      const first = await linear!.train(affine);
      lab.left.throwIfAborted();
      const second = await tanh!.train(affine);
      lab.left.throwIfAborted();
      statistics = { mean: first.mean[0]!, variance: first.variance[0]! };
      z = first.y;
      y = second.y;
      update();
    };
    // Where a slider moves faster than it is computed, only its last place counts.
    const refresh = latest(async () => {
      if (linear) await compute();
    }, lab.left);
    const work = new Work(lab.left, { en: "Start over", ko: "처음부터" }, null, async (job) => {
      const digits = await job.wait(lab.digits());
      x ??= featureOf(samplesOf(digits, 0, COUNT), 12, 2.4, 1.5);
      linear ??= new Normaliser(device, x, [COUNT, 1], { eps: EPS });
      tanh ??= new Normaliser(device, x, [COUNT, 1], { eps: EPS, activation: "tanh" });
      await job.wait(refresh());
      return { en: "Ready: move the sliders.", ko: "준비됐습니다. 슬라이더를 움직여 보세요." };
    });
    settings.onChange(() => void refresh());

    const range = (): readonly [number, number] => [-9, 9];
    const before = histogramFigure({
      title: { en: "x: what the linear layer gives", ko: "x: 선형 층의 출력" },
      label: { en: "x →", ko: "x →" },
      colour: "var(--sixth)",
      values: () => x,
      domain: range,
      flat: FLAT_FROM,
    });
    const middle = histogramFigure({
      title: { en: "z = γx̂ + β: what the tanh is given", ko: "z = γx̂ + β: tanh에 들어가는 값" },
      label: { en: "z →", ko: "z →" },
      colour: "var(--on)",
      values: () => z,
      domain: range,
      flat: FLAT_FROM,
    });
    const after = histogramFigure({
      title: { en: "tanh(z)", ko: "tanh(z)" },
      label: { en: "tanh(z) →", ko: "tanh(z) →" },
      colour: "var(--on)",
      values: () => y,
      domain: () => [-1, 1],
    });
    const facts = h("dl", { class: "facts", id: "slider-facts" });
    const update = (): void => {
      for (const figure of [before, middle, after]) figure.update();
      showFacts();
      showPresets();
    };
    const showFacts = (): void => {
      if (!x || !z || !y) return;
      const raw = saturatedShare("tanh", x.map(Math.tanh));
      let difference = 0;
      for (let i = 0; i < x.length; i++) difference = Math.max(difference, Math.abs(z[i]! - x[i]!));
      const { mean, variance } = statistics;
      const pairs: readonly (readonly [string, string, string])[] = [
        ["mean", t({ en: "mean of the batch", ko: "배치 평균" }), signed(mean, 6)],
        ["deviation", "√(var + ε)", digits(Math.sqrt(variance + EPS))],
        ["variance", "var", digits(variance)],
        [
          "raw",
          t({ en: "saturated without BN", ko: "BN 없이 포화" }),
          `${(100 * raw).toFixed(1)} %`,
        ],
        [
          "saturated",
          t({ en: "saturated now", ko: "지금 포화" }),
          `${(100 * saturatedShare("tanh", y)).toFixed(1)} %`,
        ],
        [
          "difference",
          t({ en: "largest |z − x|", ko: "|z − x|의 최댓값" }),
          scientific(difference),
        ],
      ];
      facts.replaceChildren(
        ...pairs.map(([id, name, value]) =>
          h("div", {}, h("dt", {}, name), h("dd", { "data-fact": id }, value)),
        ),
      );
    };
    localise(facts, showFacts);

    /** Sets both at once; pressed while they stand so. */
    const preset = (id: string, name: string, gamma: () => number, beta: () => number) => {
      const rounded = (): { gamma: number; beta: number } => ({
        gamma: Math.fround(gamma()),
        beta: Math.fround(beta()),
      });
      const click = (): void => {
        if (Number.isFinite(statistics.mean)) settings.set(rounded());
      };
      const button = h("button", { type: "button", id, click }, name);
      const show = (): void => {
        const wanted = rounded();
        const pressed = wanted.gamma === values.gamma && wanted.beta === values.beta;
        button.setAttribute("aria-pressed", String(pressed));
      };
      return { button, show };
    };
    const mean = (): number => statistics.mean;
    const variance = (): number => statistics.variance;
    const presets = [
      preset("identity", "γ = √(var + ε), β = mean", () => Math.sqrt(variance() + EPS), mean),
      preset("variance", "γ = var, β = mean", variance, mean),
      preset(
        "plain",
        "γ = 1, β = 0",
        () => 1,
        () => 0,
      ),
    ];
    const showPresets = (): void => {
      for (const { show } of presets) show();
    };
    showPresets();
    settings.onChange(showPresets);
    return {
      element: h(
        "div",
        {},
        intro(
          { en: "How much saturation? γ and β decide", ko: "얼마나 포화시킬까? γ와 β가 정합니다" },
          {
            en: `One tanh unit on ${COUNT.toLocaleString("en-US")} digits. Unit variance keeps tanh in its straight part; is that what we want? So scale and shift are learned: make γ larger, and more of the unit lies where it is flat (shaded). With γ = √(var + ε) and β = mean the input comes back, to the last rounding of a 32-bit float. Lectures often write γ = var: try that button too.`,
            ko: `숫자 ${COUNT.toLocaleString("en-US")}개에 대한 tanh 유닛 하나입니다. 분산을 1로 맞추면 tanh는 곧은 구간에 머뭅니다. 꼭 그래야 할까요? 그래서 배율과 이동을 학습합니다. γ를 키우면 평평한 구간(옅게 칠한 곳)에 놓이는 값이 늘어납니다. γ = √(var + ε), β = mean으로 두면 입력이 32비트 실수의 반올림까지 그대로 되돌아옵니다. 강의에서는 γ = var라고 적기도 하는데, 그 버튼도 눌러 보세요.`,
          },
          "<i>z</i> = γ (<i>x</i> − mean) / √(var + ε) + β, &nbsp; <i>y</i> = tanh(<i>z</i>); &nbsp; γ = √(var + ε), β = mean ⇒ <i>z</i> = <i>x</i>",
          settings.element,
          h("div", { class: "buttons" }, ...presets.map(({ button }) => button)),
          work.element,
          facts,
          h("div", { class: "pair" }, before.element, middle.element),
          after.element,
        ),
      ),
      settings: [settings],
      begin: () => void work.start(),
      end: () => {
        linear?.destroy();
        tanh?.destroy();
      },
    };
  },
};

const digits = (value: number): string =>
  Math.abs(value) < 100 ? value.toPrecision(7) : digits3(value);
