import * as Plot from "@observablehq/plot";
import { digits3 } from "../../scripts/support/format.js";
import { HELD_OUT, PIXELS, SIDE, type Digits } from "../../scripts/support/digits.js";
import { summarise } from "../../scripts/support/histogram.js";
import { quantile } from "../../bench/measure.js";
import { median } from "../../scripts/support/median.js";
import {
  Cnn,
  LAYERS,
  MODES,
  shareRight,
  type Mode,
  type Seen,
  type Statistics,
} from "../engine/cnn.js";
import { DEVIATION, loadDigits, MEAN, trainingCount } from "../engine/digits.js";
import { openEngine } from "../engine/engine.js";
import { drawMap, mapFigure } from "../engine/maps.js";
import { h, rich, scrolled, table } from "../shell/dom.js";
import { Figure } from "../shell/figure.js";
import { localise, t, type Words } from "../shell/language.js";
import { latest } from "../shell/latest.js";
import { openPage } from "../shell/page.js";
import { Settings } from "../shell/settings.js";
import { Work, type Job } from "../shell/work.js";
import { centred } from "./centre.js";
import { corrupted, isClean } from "./corrupt.js";
import { Pad } from "./pad.js";
import { Queue } from "../shell/queue.js";
import weights from "./weights.safetensors?url";

const MODE_NAMES: Readonly<Record<Mode, Words>> = {
  running: { en: "running statistics", ko: "이동 통계" },
  batch: { en: "batch statistics", ko: "배치 통계" },
  folded: { en: "folded weights", ko: "접은 가중치" },
};
/** Held-out digits that fill up the batch that the drawing is in, where the batch's statistics are used. */
const COMPANY = 31;
/** What is timed: one digit, where nothing more is needed. */
const TIMED: Readonly<Record<Mode, Words>> = {
  ...MODE_NAMES,
  batch: {
    en: `${MODE_NAMES.batch.en} (${1 + COMPANY} digits)`,
    ko: `${MODE_NAMES.batch.ko} (숫자 ${1 + COMPANY}개)`,
  },
};
const NOISE_SEED = 77;
const EMPTY = new Float32Array(PIXELS);
/** Where nothing is read: as large as what will be, so that nothing jumps. */
const NO_MAPS = LAYERS.map(({ side, to }) => ({
  side,
  channels: to,
  before: new Float32Array(side * side * to),
  after: new Float32Array(side * side * to),
}));

/** What the network takes: as it was in training. */
function standardised(pixels: Float32Array): Float32Array<ArrayBuffer> {
  return Float32Array.from(pixels, (pixel) => (pixel - MEAN) / DEVIATION);
}

function pixelsOf(digits: Digits, from: number, to: number): Float32Array<ArrayBuffer> {
  return Float32Array.from(
    digits.pixels.subarray(from * PIXELS, to * PIXELS),
    (pixel) => pixel / 255,
  );
}

function softmax(logits: ArrayLike<number>): number[] {
  const values = Array.from(logits);
  const most = Math.max(...values);
  const powers = values.map((each) => Math.exp(each - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((each) => each / sum);
}

await openPage(
  {
    file: "digits.html",
    title: { en: "Digits", ko: "숫자" },
    lead: {
      en: "A small network with two Batch Normalizations, trained on 9,000 MNIST digits with this library, reads what you draw, on your device. Look at what its normalisations do, then spoil the input and repair it without a single label.",
      ko: "배치 정규화가 둘 든 작은 신경망을 이 라이브러리로 MNIST 숫자 9,000개에 학습시켰습니다. 여러분이 그린 숫자를 이 기기에서 읽습니다. 정규화가 무슨 일을 하는지 보고, 입력을 망가뜨린 다음 정답 하나 없이 고쳐 보세요.",
    },
  },
  async ({ main, found, trouble }) => {
    const software = !found.device || found.software;
    const settings = new Settings(
      {
        mode: {
          kind: "choice",
          label: { en: "Batch Normalization uses", ko: "배치 정규화가 쓰는 것" },
          values: MODES,
          names: MODE_NAMES,
          initial: "running",
        },
        sample: {
          kind: "range",
          label: { en: "Held-out digit, by its number", ko: "따로 둔 숫자의 번호" },
          min: 0,
          max: HELD_OUT - 1,
          step: 1,
          initial: 0,
        },
      },
      { en: "What reads", ko: "읽는 방법" },
    );
    const spoiling = new Settings(
      {
        contrast: {
          kind: "range",
          label: { en: "Contrast", ko: "대비" },
          min: 0.05,
          max: 1,
          step: 0.05,
          initial: 1,
        },
        brightness: {
          kind: "range",
          label: { en: "Brightness", ko: "밝기" },
          min: -0.5,
          max: 0.8,
          step: 0.05,
          initial: 0,
        },
        noise: {
          kind: "range",
          label: { en: "Noise", ko: "잡음" },
          min: 0,
          max: 0.6,
          step: 0.05,
          initial: 0,
        },
        inverted: { kind: "flag", label: { en: "Inverted", ko: "흑백 반전" }, initial: false },
      },
      { en: "What is done to the input", ko: "입력에 할 일" },
    );

    const loading = h("progress", { max: 4, "aria-label": { en: "progress", ko: "진행" } });
    const stage = h("p", { role: "status" });
    main.append(h("div", { class: "loading" }, loading, stage));
    const next = (words: Words): void => {
      loading.value += 1;
      stage.textContent = t(words);
    };
    next({ en: "Loading the digits, 1.6 MB …", ko: "숫자 1.6 MB를 불러오는 중 …" });
    const digits = await loadDigits();
    next({ en: "Starting TensorFlow.js …", ko: "TensorFlow.js를 시작하는 중 …" });
    const engine = await openEngine(found.device, software);
    const { tf } = engine;
    next({ en: "Loading the weights …", ko: "가중치를 불러오는 중 …" });
    const cnn = new Cnn(engine, { batchNorm: true, seed: 1 });
    const response = await fetch(weights);
    if (!response.ok)
      throw new Error(`The weights could not be loaded: ${response.status} ${response.statusText}`);
    await cnn.load(await response.arrayBuffer());
    const learned = await cnn.statistics();
    /** Whatever sets or reads the network's statistics waits here for its turn. */
    const queue = new Queue();
    const queued = (name: Words, run: (job: Job) => Promise<Words>): Work =>
      new Work(trouble, name, null, (job) => queue.run(() => run(job), job.signal));
    const first = trainingCount(digits);
    const held = pixelsOf(digits, first, digits.count);
    const labels = digits.labels.subarray(first, digits.count);

    // -----------------------------------------------------------------------------------------------------------
    // Reading one digit

    const pad = new Pad();
    const seenImage = mapFigure({ en: "as the network sees it", ko: "신경망이 보는 모습" }, 112);
    const answer = h("p", { class: "answer", id: "answer", role: "status" });
    const speed = h("p", { class: "note", id: "speed" });
    const inUse = h("p", { class: "note", id: "in-use" });
    let drawing: Float32Array | null = null;
    let probabilities: number[] = [];
    let ms = NaN;
    /** What has run once, so that a time is not the shader compiler's. */
    const compiled = new Set<Mode>();
    let maps: {
      side: number;
      channels: number;
      before: Float32Array | null;
      after: Float32Array;
    }[] = NO_MAPS;

    const batchFor = (image: Float32Array): Float32Array<ArrayBuffer> => {
      if (settings.values.mode !== "batch") return standardised(image);
      const together = new Float32Array((1 + COMPANY) * PIXELS);
      together.set(image);
      together.set(
        corrupted(held.subarray(0, COMPANY * PIXELS), spoiling.values, NOISE_SEED),
        PIXELS,
      );
      return standardised(together);
    };
    const infer = async (
      x: Float32Array,
      mode: Mode,
      see?: (layer: number, seen: Seen) => void,
    ): Promise<Float32Array> => {
      const logits = tf.tidy(() => {
        const all = cnn.forward(tf.tensor4d(x, [x.length / PIXELS, SIDE, SIDE, 1]), mode, see);
        return tf.slice(all, [0, 0], [1, 10]);
      });
      const values = await logits.data<"float32">();
      logits.dispose();
      return values;
    };
    /** Nothing has been read. */
    const forget = (): void => {
      probabilities = [];
      maps = NO_MAPS;
      showAnswer();
    };
    const read = async (): Promise<void> => {
      // An empty sheet is seen too.
      const image = corrupted(drawing ?? EMPTY, spoiling.values, NOISE_SEED + 1);
      drawMap(seenImage.canvas, image, SIDE);
      if (!drawing) {
        forget();
        return;
      }
      const { mode } = settings.values;
      const x = batchFor(image);
      const kept: {
        before: import("@tensorflow/tfjs-core").Tensor | null;
        after: import("@tensorflow/tfjs-core").Tensor;
      }[] = [];
      if (!compiled.has(mode)) await infer(x, mode);
      compiled.add(mode);
      const start = performance.now();
      const logits = await infer(x, mode, (_, { before, after }) => {
        kept.push({ before: before && tf.keep(before), after: tf.keep(after) });
      });
      ms = performance.now() - start;
      probabilities = softmax(logits);
      maps = await Promise.all(
        kept.map(async ({ before, after }, i) => {
          const { side, to } = LAYERS[i]!;
          const one = async (values: typeof after): Promise<Float32Array> =>
            (await values.data<"float32">()).slice(0, side * side * to);
          return {
            side,
            channels: to,
            before: before ? await one(before) : null,
            after: await one(after),
          };
        }),
      );
      tf.dispose(kept.flatMap(({ before, after }) => (before ? [before, after] : [after])));
      showAnswer();
    };
    // While one is read the hand moves on; only where it is by then counts.
    const refresh = latest(() => queue.run(read), trouble);

    const bars = new Figure({
      title: { en: "How sure it is", ko: "얼마나 확신하는지" },
      height: 250,
      draw: (width, height) => {
        if (probabilities.length === 0) return null;
        const data = probabilities.map((share, digit) => ({ digit: String(digit), share }));
        const best = probabilities.indexOf(Math.max(...probabilities));
        return Plot.plot({
          width,
          height,
          marginLeft: 26,
          marginRight: 54,
          marginTop: 6,
          marginBottom: 36,
          style: { fontSize: "13px" },
          x: {
            domain: [0, 100],
            percent: true,
            label: t({ en: "probability, % →", ko: "확률, % →" }),
            grid: true,
            ticks: 5,
          },
          y: { label: null, domain: data.map(({ digit }) => digit), tickSize: 0 },
          marks: [
            Plot.barX(data, {
              x: "share",
              y: "digit",
              fill: (each: { digit: string }) =>
                Number(each.digit) === best ? "var(--on)" : "var(--sixth)",
            }),
            Plot.text(data, {
              x: "share",
              y: "digit",
              text: (each: { share: number }) =>
                each.share >= 0.0005 ? (100 * each.share).toFixed(1) : "",
              dx: 6,
              textAnchor: "start",
            }),
          ],
        });
      },
      table: () =>
        probabilities.length === 0
          ? null
          : {
              caption: { en: "Probability of each digit", ko: "숫자마다의 확률" },
              head: [
                { en: "Digit", ko: "숫자" },
                { en: "Probability", ko: "확률" },
              ],
              rows: probabilities.map((share, digit) => [
                String(digit),
                `${(100 * share).toFixed(2)} %`,
              ]),
            },
    });
    const mapArea = h("div", { id: "maps" });
    const showMaps = (): void => {
      const open = Array.from(mapArea.querySelectorAll("details"), (each) => each.open);
      mapArea.replaceChildren(
        ...maps.map(({ side, channels, before, after }, i) => {
          const strip = (values: Float32Array, name: Words): HTMLElement => {
            const limit = Math.max(...values.map(Math.abs), 1e-6);
            const reach = maps === NO_MAPS ? "" : `, ±${digits3(limit)}`;
            const tiles = Array.from({ length: channels }, (_, c) => {
              const canvas = h("canvas", {
                class: "map tile",
                role: "img",
                "aria-label": {
                  en: `${name.en}, channel ${c + 1}`,
                  ko: `${name.ko}, 채널 ${c + 1}`,
                },
              });
              drawMap(canvas, channelOf(values, channels, c), side, limit);
              return canvas;
            });
            return h(
              "div",
              { class: "strip" },
              h("span", { class: "note" }, { en: name.en + reach, ko: name.ko + reach }),
              h("div", { class: "tiles" }, ...tiles),
            );
          };
          const facts = (values: Float32Array | null, c: number): string[] => {
            if (!values) return ["–", "–"];
            const { mean, deviation } = summarise(channelOf(values, channels, c));
            return [mean.toFixed(3).replace("-", "−"), deviation.toFixed(3)];
          };
          return h(
            "section",
            { class: "layer" },
            h(
              "h3",
              {},
              {
                en: `Batch Normalization ${i + 1}: ${channels} maps of ${side} × ${side}`,
                ko: `배치 정규화 ${i + 1}: ${side} × ${side} 맵 ${channels}개`,
              },
            ),
            before
              ? strip(before, { en: "before", ko: "전" })
              : h(
                  "p",
                  { class: "note" },
                  {
                    en: "Folded: the convolution gives the normalised maps at once.",
                    ko: "접혀 있음: 합성곱이 곧바로 정규화된 맵을 냅니다.",
                  },
                ),
            strip(after, { en: "after", ko: "후" }),
            h(
              "details",
              { open: open[i] },
              h("summary", {}, { en: "As a table", ko: "표로 보기" }),
              scrolled(
                table({
                  caption: {
                    en: "Mean and deviation of each map",
                    ko: "맵마다의 평균과 표준편차",
                  },
                  head: [
                    { en: "Channel", ko: "채널" },
                    { en: "Mean before", ko: "평균, 전" },
                    { en: "Deviation before", ko: "표준편차, 전" },
                    { en: "Mean after", ko: "평균, 후" },
                    { en: "Deviation after", ko: "표준편차, 후" },
                  ],
                  rows: Array.from({ length: channels }, (_, c) => [
                    String(c + 1),
                    ...facts(before, c),
                    ...facts(after, c),
                  ]),
                }),
              ),
            ),
          );
        }),
      );
    };
    const showWords = (): void => {
      const best = probabilities.indexOf(Math.max(...probabilities));
      answer.textContent =
        probabilities.length > 0
          ? String(best)
          : trouble.aborted
            ? (trouble.reason as Error).message
            : t(
                drawing
                  ? { en: "Reading …", ko: "읽는 중 …" }
                  : { en: "Draw a digit.", ko: "숫자를 그려 보세요." },
              );
      answer.classList.toggle("empty", probabilities.length === 0);
      answer.dataset["answer"] = probabilities.length === 0 ? "" : String(best);
      speed.textContent =
        probabilities.length === 0
          ? ""
          : t({
              en: `${(100 * probabilities[best]!).toFixed(1)} % sure; ${digits3(ms)} ms, readback included`,
              ko: `확신 ${(100 * probabilities[best]!).toFixed(1)} %, 되읽기까지 ${digits3(ms)} ms`,
            });
      inUse.textContent = probabilities.length === 0 ? "" : t(usedNow());
    };
    const showAnswer = (): void => {
      showWords();
      bars.update();
      showMaps();
    };
    /** What the answer rests on, which is set further down the page. */
    const usedNow = (): Words => {
      const { contrast, brightness, noise, inverted } = spoiling.values;
      const done = [
        contrast !== 1 && { en: `contrast ${contrast}`, ko: `대비 ${contrast}` },
        brightness !== 0 && { en: `brightness ${brightness}`, ko: `밝기 ${brightness}` },
        noise !== 0 && { en: `noise ${noise}`, ko: `잡음 ${noise}` },
        inverted && { en: "inverted", ko: "흑백 반전" },
      ].filter((each) => each !== false);
      const input = done.length > 0 ? done : [{ en: "as it is", ko: "그대로" }];
      const statistics =
        settings.values.mode === "batch"
          ? { en: "of its batch", ko: "그 배치의 것" }
          : estimated
            ? { en: "re-estimated", ko: "다시 추정한 것" }
            : { en: "learned", ko: "학습한 것" };
      return {
        en: `Input: ${input.map(({ en }) => en).join(", ")}. Statistics: ${statistics.en}.`,
        ko: `입력: ${input.map(({ ko }) => ko).join(", ")}. 통계: ${statistics.ko}.`,
      };
    };
    localise(answer, showAnswer);

    const see = (image: Float32Array | null): void => {
      drawing = image;
      // Until the first one is read there is no answer to be kept.
      if (probabilities.length === 0) showWords();
      void refresh();
    };
    pad.addEventListener("draw", () => {
      settings.unused("sample");
      const { values, size } = pad.ink();
      see(centred(values, size));
    });
    const take = (): void => {
      const { sample } = settings.values;
      const image = held.slice(sample * PIXELS, (sample + 1) * PIXELS);
      pad.show(image);
      see(image);
    };
    settings.onChange((changed) => {
      if (changed === "sample") take();
      else void refresh();
    });
    const clear = h(
      "button",
      {
        type: "button",
        id: "clear",
        click: () => {
          settings.unused("sample");
          pad.clear();
          see(null);
        },
      },
      { en: "Clear", ko: "지우기" },
    );
    const another = h(
      "button",
      {
        type: "button",
        id: "another",
        click: () => {
          settings.set({ sample: (settings.values.sample + 1) % HELD_OUT });
        },
      },
      { en: "A held-out digit", ko: "따로 둔 숫자 가져오기" },
    );

    // -----------------------------------------------------------------------------------------------------------
    // Time

    let times: { mode: Mode; samples: number[] }[] = [];
    const timing = queued({ en: "Time all three", ko: "셋 다 재기" }, async (job) => {
      const image = corrupted(drawing ?? held.slice(0, PIXELS), spoiling.values, NOISE_SEED + 1);
      const rounds = software ? 15 : 50;
      const all = MODES.map((mode) => ({ mode, samples: [] as number[] }));
      for (let round = -1; round < rounds; round++) {
        for (const { mode, samples } of all) {
          await job.breathe();
          // One digit for each; the batch's statistics take a batch, which is what they cost.
          const together = new Float32Array((mode === "batch" ? 1 + COMPANY : 1) * PIXELS);
          together.set(image);
          if (mode === "batch") together.set(held.subarray(0, COMPANY * PIXELS), PIXELS);
          const x = standardised(together);
          const start = performance.now();
          await infer(x, mode);
          // The first one compiles.
          if (round >= 0) samples.push(performance.now() - start);
        }
        job.progress((round + 2) / (rounds + 1), {
          en: `Round ${round + 2} of ${rounds + 1}`,
          ko: `${rounds + 1}번 중 ${round + 2}번째`,
        });
      }
      times = all;
      timeFigure.update();
      return { en: "Done.", ko: "끝났습니다." };
    });
    const timeFigure: Figure = new Figure({
      by: timing.name,
      title: { en: "Time of one inference", ko: "추론 한 번의 시간" },
      note: () => ({
        en: "Medians, with 10 to 90 % of the samples. Where those overlap, the order says little.",
        ko: "중앙값과 표본의 10~90 % 구간. 구간이 겹치면 순서에 큰 의미가 없습니다.",
      }),
      height: 150,
      draw: (width, height) => {
        if (times.length === 0) return null;
        const data = times.map(({ mode, samples }) => ({
          name: t(TIMED[mode]),
          ms: median(samples),
          low: quantile(samples, 0.1),
          high: quantile(samples, 0.9),
        }));
        return Plot.plot({
          width,
          height,
          marginLeft: 178,
          marginRight: 70,
          marginBottom: 40,
          marginTop: 6,
          style: { fontSize: "13px" },
          x: { label: t({ en: "median, ms →", ko: "중앙값, ms →" }), grid: true, zero: true },
          y: { label: null, domain: data.map(({ name }) => name), tickSize: 0 },
          marks: [
            Plot.barX(data, { x: "ms", y: "name", fill: "var(--on)", fillOpacity: 0.55 }),
            Plot.ruleY(data, { x1: "low", x2: "high", y: "name", strokeWidth: 3 }),
            Plot.text(data, {
              x: "high",
              y: "name",
              text: (each: { ms: number }) => `${digits3(each.ms)} ms`,
              dx: 6,
              textAnchor: "start",
            }),
          ],
        });
      },
      table: () =>
        times.length === 0
          ? null
          : {
              caption: { en: "Time of one inference", ko: "추론 한 번의 시간" },
              head: ["", { en: "Median, ms", ko: "중앙값, ms" }, "10 %", "90 %"],
              rows: times.map(({ mode, samples }) => [
                TIMED[mode],
                digits3(median(samples)),
                digits3(quantile(samples, 0.1)),
                digits3(quantile(samples, 0.9)),
              ]),
            },
    });

    // -----------------------------------------------------------------------------------------------------------
    // Corruption

    interface Accuracy {
      readonly what: "clean" | "spoilt" | "repaired";
      readonly share: number;
    }
    const nameOf = (what: Accuracy["what"]): Words => {
      switch (what) {
        case "clean":
          return { en: "clean digits", ko: "깨끗한 숫자" };
        case "spoilt":
          return { en: "spoilt digits", ko: "망가진 숫자" };
        case "repaired":
          return estimated
            ? { en: "statistics re-estimated", ko: "통계 다시 추정" }
            : { en: "re-estimated, not in use", ko: "다시 추정, 쓰지 않음" };
      }
    };
    let accuracies: Accuracy[] = [];
    let estimated: Statistics[] | null = null;
    const put = (what: Accuracy["what"], share: number): void => {
      const order = ["clean", "spoilt", "repaired"];
      accuracies = [...accuracies.filter((each) => each.what !== what), { what, share }].sort(
        (a, b) => order.indexOf(a.what) - order.indexOf(b.what),
      );
      accuracyFigure.update();
      statisticsFigure.update();
    };
    const measureAccuracy = async (
      pixels: Float32Array,
      job: Job,
      from: number,
      to: number,
    ): Promise<number> => {
      const guesses = await cnn.predict(standardised(pixels), "running", {
        batch: 100,
        pause: async (share) => {
          job.progress(from + share * (to - from));
          await job.breathe();
        },
      });
      return shareRight(guesses, labels);
    };
    const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
    const shareOf = (what: Accuracy["what"]): number =>
      accuracies.find((each) => each.what === what)?.share ?? NaN;
    /** From now on everything is read with these, and every figure says so. */
    const use = async (statistics: Statistics[], own: boolean): Promise<void> => {
      await cnn.setStatistics(statistics);
      estimated = own ? statistics : null;
      accuracyFigure.update();
      statisticsFigure.update();
      void refresh();
    };
    let cleanShare: number | null = null;
    const spoil = queued(
      { en: "Read 1,000 held-out digits", ko: "따로 둔 숫자 1,000개 읽기" },
      async (job) => {
        accuracies = [];
        await use(learned, false);
        job.progress(0, { en: "Reading …", ko: "읽는 중 …" });
        cleanShare ??= await measureAccuracy(held, job, 0, 0.5);
        put("clean", cleanShare);
        if (!isClean(spoiling.values))
          put(
            "spoilt",
            await measureAccuracy(corrupted(held, spoiling.values, NOISE_SEED), job, 0.5, 1),
          );
        showSpoilt();
        void refresh();
        return isClean(spoiling.values)
          ? {
              en: `${percent(shareOf("clean"))} right. Now spoil the input.`,
              ko: `${percent(shareOf("clean"))} 맞힘. 이제 입력을 망가뜨려 보세요.`,
            }
          : {
              en: `${percent(shareOf("clean"))} right on clean digits, ${percent(shareOf("spoilt"))} on spoilt ones.`,
              ko: `깨끗한 숫자는 ${percent(shareOf("clean"))}, 망가진 숫자는 ${percent(shareOf("spoilt"))} 맞힘.`,
            };
      },
    );
    const repair = new Work(
      trouble,
      { en: "Re-estimate the statistics", ko: "통계 다시 추정" },
      null,
      async (job) => {
        await job.wait(settled());
        return queue.run(() => reestimate(job), job.signal);
      },
    );
    const reestimate = async (job: Job): Promise<Words> => {
      const pixels = corrupted(held, spoiling.values, NOISE_SEED);
      job.progress(0, { en: "Estimating, without labels …", ko: "정답 없이 추정하는 중 …" });
      const own = await cnn.estimate(standardised(pixels), {
        batch: 100,
        pause: async (share) => {
          job.progress(share / 2);
          await job.breathe();
        },
      });
      await use(own, true);
      job.progress(0.5, { en: "Reading …", ko: "읽는 중 …" });
      put("repaired", await measureAccuracy(pixels, job, 0.5, 1));
      return {
        en: `${percent(shareOf("repaired"))} right with statistics of the spoilt digits; no label was used, no weight changed.`,
        ko: `망가진 숫자의 통계로 ${percent(shareOf("repaired"))} 맞힘. 정답은 쓰지 않았고 가중치도 그대로입니다.`,
      };
    };
    const takeBack = latest(async () => {
      await queue.run(() => use(learned, false));
    }, trouble);
    const back = h(
      "button",
      {
        type: "button",
        id: "back",
        click: () => void takeBack(),
      },
      { en: "Back to the learned statistics", ko: "학습한 통계로 되돌리기" },
    );
    const accuracyFigure: Figure = new Figure({
      by: spoil.name,
      title: { en: "Right on 1,000 held-out digits", ko: "따로 둔 숫자 1,000개를 맞힌 비율" },
      height: 160,
      draw: (width, height) => {
        if (accuracies.length === 0) return null;
        const colours = { clean: "var(--sixth)", spoilt: "var(--off)", repaired: "var(--on)" };
        return Plot.plot({
          width,
          height,
          marginLeft: 168,
          marginRight: 60,
          marginTop: 6,
          marginBottom: 40,
          style: { fontSize: "13px" },
          x: {
            domain: [0, 100],
            percent: true,
            grid: true,
            ticks: width < 480 ? 2 : 5,
            label: t({ en: "right, % →", ko: "맞힌 비율, % →" }),
          },
          y: {
            domain: (["clean", "spoilt", "repaired"] as const).map((what) => t(nameOf(what))),
            label: null,
            tickSize: 0,
          },
          marks: [
            Plot.barX(accuracies, {
              x: "share",
              y: (each: Accuracy) => t(nameOf(each.what)),
              fill: (each: Accuracy) => colours[each.what],
              fillOpacity: (each: Accuracy) => (each.what === "repaired" && !estimated ? 0.4 : 1),
            }),
            Plot.text(accuracies, {
              x: "share",
              y: (each: Accuracy) => t(nameOf(each.what)),
              text: (each: Accuracy) => percent(each.share),
              dx: 6,
              textAnchor: "start",
            }),
            Plot.ruleX([0.1], { stroke: "currentColor", strokeDasharray: "3 3" }),
          ],
        });
      },
      table: () =>
        accuracies.length === 0
          ? null
          : {
              caption: {
                en: "Right on 1,000 held-out digits",
                ko: "따로 둔 숫자 1,000개를 맞힌 비율",
              },
              head: ["", { en: "Right", ko: "맞힘" }],
              rows: accuracies.map(({ what, share }) => [nameOf(what), percent(share)]),
            },
    });
    const statisticsFigure: Figure = new Figure({
      title: {
        en: "Running mean of each channel of the first Batch Normalization: learned, and re-estimated",
        ko: "첫 배치 정규화의 채널별 이동 평균: 학습한 값과 다시 추정한 값",
      },
      height: 190,
      draw: (width, height) => {
        const rows = statisticRows();
        const names = [
          t({ en: "learned", ko: "학습" }),
          t({ en: "re-estimated", ko: "다시 추정" }),
        ];
        const nameOfRow = (each: { own: boolean }): string => names[each.own ? 1 : 0]!;
        return Plot.plot({
          width,
          height: height - 30,
          marginLeft: 54,
          marginBottom: 38,
          style: { fontSize: "13px" },
          x: {
            label: t({ en: "channel →", ko: "채널 →" }),
            domain:
              learned[0]!.mean.length === 0 ? [] : Array.from(learned[0]!.mean, (_, c) => c + 1),
          },
          y: { label: t({ en: "↑ mean", ko: "↑ 평균" }), grid: true, ticks: 5, inset: 8 },
          symbol: { domain: names, range: ["square", "circle"], legend: true },
          color: { domain: names, range: ["var(--sixth)", "var(--on)"] },
          marks: [
            Plot.ruleY([0]),
            Plot.dot(rows, {
              x: "channel",
              y: "mean",
              symbol: nameOfRow,
              fill: nameOfRow,
              stroke: nameOfRow,
              r: 5,
            }),
          ],
        });
      },
      table: () => ({
        caption: {
          en: "Running statistics of the first Batch Normalization",
          ko: "첫 배치 정규화의 이동 통계",
        },
        head: [
          { en: "Channel", ko: "채널" },
          { en: "Learned mean", ko: "학습한 평균" },
          { en: "Re-estimated mean", ko: "다시 추정한 평균" },
          { en: "Learned variance", ko: "학습한 분산" },
          { en: "Re-estimated variance", ko: "다시 추정한 분산" },
        ],
        rows: Array.from(learned[0]!.mean, (mean, c) => [
          String(c + 1),
          mean.toFixed(4).replace("-", "−"),
          estimated ? estimated[0]!.mean[c]!.toFixed(4).replace("-", "−") : "–",
          learned[0]!.variance[c]!.toFixed(4),
          estimated ? estimated[0]!.variance[c]!.toFixed(4) : "–",
        ]),
      }),
    });
    const statisticRows = (): { channel: number; mean: number; own: boolean }[] => [
      ...Array.from(learned[0]!.mean, (mean, c) => ({ channel: c + 1, mean, own: false })),
      ...(estimated
        ? Array.from(estimated[0]!.mean, (mean, c) => ({ channel: c + 1, mean, own: true }))
        : []),
    ];
    const gallery = h("div", { class: "tiles", id: "gallery" });
    const showSpoilt = (): void => {
      const spoilt = corrupted(held.subarray(0, 12 * PIXELS), spoiling.values, NOISE_SEED);
      gallery.replaceChildren(
        ...Array.from({ length: 12 }, (_, i) => {
          const canvas = h("canvas", {
            class: "map tile",
            role: "img",
            "aria-label": {
              en: `a digit as it is spoilt: ${labels[i]}`,
              ko: `망가진 숫자: ${labels[i]}`,
            },
          });
          drawMap(canvas, spoilt.subarray(i * PIXELS, (i + 1) * PIXELS), SIDE);
          return canvas;
        }),
      );
    };
    let timer: ReturnType<typeof setTimeout> | undefined;
    const readAgain = (): Promise<void> => {
      clearTimeout(timer);
      timer = undefined;
      return spoil.start();
    };
    /** What a change has announced comes before what is asked for after it. */
    const settled = async (): Promise<void> => {
      if (timer !== undefined) await readAgain();
    };
    spoiling.onChange(() => {
      showSpoilt();
      void refresh();
      repair.cancel();
      clearTimeout(timer);
      timer = setTimeout(() => void readAgain(), 400);
    });

    const reading = h(
      "div",
      { class: "reading" },
      h("div", {}, pad.element, pad.state, h("div", { class: "buttons" }, clear, another)),
      h("div", { class: "verdict" }, answer, speed, inUse, seenImage.element),
      bars.element,
    );
    trouble.addEventListener("abort", () => {
      for (const each of [settings.element, reading]) each.inert = true;
      forget();
    });
    main.replaceChildren(
      h(
        "section",
        { class: "card" },
        h("h2", {}, { en: "Draw a digit", ko: "숫자를 그려 보세요" }),
        settings.element,
        reading,
        rich(
          {
            en: "<strong>Running statistics</strong> are what training has kept; nothing is computed from the input. With <strong>batch statistics</strong> your digit is read in a batch with 31 held-out ones and their mean and variance: nearly the same answer, at the price of a whole batch. <strong>Folded</strong>, each normalisation has been worked into the convolution before it: W′ = W γ/√(var+ε), b′ = β − mean γ/√(var+ε). The same answer, with less to do; whether that can be measured with so small a network, time it.",
            ko: "<strong>이동 통계</strong>는 학습하며 모아 둔 값으로, 입력에서 아무것도 계산하지 않습니다. <strong>배치 통계</strong>를 쓰면 그린 숫자를 따로 둔 31개와 한 배치로 묶어 그 평균과 분산으로 읽습니다. 답은 거의 같지만 배치 하나만큼 비용이 듭니다. <strong>접은 가중치</strong>는 정규화를 앞의 합성곱에 녹여 넣은 것입니다: W′ = W γ/√(var+ε), b′ = β − mean γ/√(var+ε). 같은 답을 더 적은 일로 얻습니다. 이렇게 작은 신경망에서도 차이가 재어지는지는 직접 재 보세요.",
          },
          "p",
        ),
        timing.element,
        timeFigure.element,
      ),
      h(
        "section",
        { class: "card" },
        h(
          "h2",
          {},
          { en: "What each Batch Normalization does to it", ko: "배치 정규화마다 하는 일" },
        ),
        h(
          "p",
          { class: "note" },
          {
            en: "Orange is above 0, blue below. Each strip is scaled to its own largest value, which it names.",
            ko: "주황은 0보다 큰 값, 파랑은 작은 값입니다. 줄마다 자기 최댓값에 맞추었고, 그 값을 적어 두었습니다.",
          },
        ),
        mapArea,
      ),
      h(
        "section",
        { class: "card", id: "spoil" },
        h(
          "h2",
          {},
          { en: "Spoil the input, repair the statistics", ko: "입력을 망가뜨리고 통계를 고치기" },
        ),
        rich(
          {
            en: "Change what the camera does: the running statistics are those of clean digits, the maps come out shifted and scaled, and accuracy falls (dashed: guessing). Then let the network look at the spoilt digits, without labels, and take <em>their</em> mean and variance: x̂ = (x − mean<sub>new</sub>)/√(var<sub>new</sub> + ε). No weight changes. What shifts and scales the maps (contrast, brightness) is repaired; what turns their sign (inversion) only in part, for no mean and variance turns it back.",
            ko: "카메라가 달라졌다고 해 봅시다. 이동 통계는 깨끗한 숫자의 것이므로 맵이 밀리고 늘어난 채 나와 정확도가 떨어집니다(점선: 찍기). 이제 정답 없이 망가진 숫자를 보여 주고 <em>그</em> 평균과 분산을 쓰게 하세요: x̂ = (x − mean<sub>new</sub>)/√(var<sub>new</sub> + ε). 가중치는 바뀌지 않습니다. 맵을 밀거나 늘리는 변화(대비, 밝기)는 고쳐지고, 부호를 뒤집는 변화(반전)는 평균과 분산으로 되돌릴 수 없어 일부만 고쳐집니다.",
          },
          "p",
        ),
        spoiling.element,
        gallery,
        spoil.element,
        repair.element,
        h("div", { class: "buttons" }, back),
        accuracyFigure.element,
        statisticsFigure.element,
      ),
    );
    spoil.element.id = "spoil-work";
    repair.element.id = "repair-work";
    timing.element.id = "timing-work";
    showSpoilt();
    take();
    // The first one compiles; what it took says nothing.
    void refresh();
    // What the address spoils is read at once.
    if (!isClean(spoiling.values)) void readAgain();
  },
);

/** One channel of `[side, side, channels]`. */
function channelOf(values: Float32Array, channels: number, channel: number): Float32Array {
  return Float32Array.from(
    { length: values.length / channels },
    (_, i) => values[i * channels + channel]!,
  );
}
