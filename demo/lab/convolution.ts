import { summarise } from "../../scripts/support/histogram.js";
import { PIXELS, SIDE, type Digits } from "../../scripts/support/digits.js";
import { digits3 } from "../../scripts/support/format.js";
import { drawMap, mapFigure } from "../engine/maps.js";
import { Normaliser, type Statistics } from "../engine/normaliser.js";
import { h, scrolled, table } from "../shell/dom.js";
import { localise, type Words } from "../shell/language.js";
import { Settings } from "../shell/settings.js";
import { Work } from "../shell/work.js";
import { signed } from "./histogram-figure.js";
import { intro, type View } from "./view.js";

const COUNT = 128;
/** Largest shift, and the border that is left out of what is compared. */
const REACH = 4;
/** A pixel whose values vary less is divided by little more than √ε, which says nothing of a stroke. */
const LEAST = 1e-3;

const FILTERS: readonly {
  readonly id: string;
  readonly name: Words;
  readonly weights: readonly number[];
}[] = [
  {
    id: "vertical",
    name: { en: "upright edges", ko: "세로 경계" },
    weights: [-1, 0, 1, -2, 0, 2, -1, 0, 1],
  },
  {
    id: "level",
    name: { en: "level edges", ko: "가로 경계" },
    weights: [-1, -2, -1, 0, 0, 0, 1, 2, 1],
  },
  {
    id: "blur",
    name: { en: "blur", ko: "흐림" },
    weights: [1, 2, 1, 2, 4, 2, 1, 2, 1].map((each) => each / 16),
  },
];
const CHANNELS = FILTERS.length;

/** A digit moved to the right, from 0 to 1. */
function moved(digits: Digits, index: number, shift: number): Float32Array {
  const image = new Float32Array(PIXELS);
  for (let row = 0; row < SIDE; row++) {
    for (let column = 0; column < SIDE; column++) {
      const from = column - shift;
      if (from >= 0 && from < SIDE)
        image[row * SIDE + column] = digits.pixels[index * PIXELS + row * SIDE + from]! / 255;
    }
  }
  return image;
}

/** `[channels, 28, 28]` of one image: each filter, zeros beyond the edge. */
function convolve(image: Float32Array): Float32Array {
  const out = new Float32Array(CHANNELS * PIXELS);
  FILTERS.forEach(({ weights }, c) => {
    for (let row = 0; row < SIDE; row++) {
      for (let column = 0; column < SIDE; column++) {
        let sum = 0;
        for (let i = -1; i <= 1; i++) {
          for (let j = -1; j <= 1; j++) {
            const [y, x] = [row + i, column + j];
            if (y >= 0 && y < SIDE && x >= 0 && x < SIDE)
              sum += weights[(i + 1) * 3 + j + 1]! * image[y * SIDE + x]!;
          }
        }
        out[c * PIXELS + row * SIDE + column] = sum;
      }
    }
  });
  return out;
}

export const convolution: View = {
  id: "convolution",
  name: { en: "Convolution", ko: "합성곱" },
  show(lab) {
    const settings = new Settings(
      {
        digit: {
          kind: "range",
          label: { en: "Digit, by its number", ko: "숫자 번호" },
          min: 0,
          max: COUNT - 1,
          step: 1,
          initial: 4,
        },
        filter: {
          kind: "choice",
          label: { en: "Filter", ko: "필터" },
          values: FILTERS.map(({ id }) => id),
          names: Object.fromEntries(FILTERS.map(({ id, name }) => [id, name])),
          initial: "vertical",
        },
        shift: {
          kind: "range",
          label: { en: "Move the digit to the right by", ko: "숫자를 오른쪽으로 옮기기" },
          min: -REACH,
          max: REACH,
          step: 1,
          initial: 0,
        },
      },
      { en: "What is shown", ko: "보여 줄 것" },
    );
    const { device } = lab.found;
    let perChannel: Statistics | null = null;
    let perPixel: Statistics | null = null;
    const image = mapFigure({ en: "the digit", ko: "숫자" }, 150);
    const before = mapFigure({ en: "its map", ko: "필터를 지난 맵" }, 150);
    const channelMean = mapFigure({ en: "one mean per channel", ko: "채널마다 평균 하나" }, 150);
    const channelOut = mapFigure({ en: "normalised per channel", ko: "채널마다 정규화" }, 150);
    const pixelMean = mapFigure({ en: "one mean per pixel", ko: "픽셀마다 평균 하나" }, 150);
    const pixelOut = mapFigure({ en: "normalised per pixel", ko: "픽셀마다 정규화" }, 150);
    const cells = scrolled();
    cells.id = "convolution-table";
    let rows: (readonly [Words, string, string])[] = [];

    const one = async (
      statistics: Statistics,
      maps: Float32Array,
      shape: readonly number[],
    ): Promise<Float32Array> => {
      const bn = new Normaliser(device, maps, shape);
      try {
        return await bn.infer(statistics);
      } finally {
        bn.destroy();
      }
    };
    const work = new Work(lab.left, { en: "Normalise", ko: "정규화" }, settings, async (job) => {
      const { digit, filter, shift: by } = job.values;
      const digits = await job.wait(lab.digits());
      if (!perChannel || !perPixel) {
        const maps = new Float32Array(COUNT * CHANNELS * PIXELS);
        for (let n = 0; n < COUNT; n++) {
          if (n % 32 === 0) await job.breathe();
          maps.set(convolve(moved(digits, n, 0)), n * CHANNELS * PIXELS);
        }
        const images = new Normaliser(device, maps, [COUNT, CHANNELS, SIDE, SIDE]);
        const features = new Normaliser(device, maps, [COUNT, CHANNELS * PIXELS]);
        try {
          perChannel = await job.wait(images.train());
          perPixel = await job.wait(features.train());
        } finally {
          images.destroy();
          features.destroy();
        }
      }
      const channel = FILTERS.findIndex(({ id }) => id === filter);
      const span = [channel * PIXELS, (channel + 1) * PIXELS] as const;
      const outputs: Float32Array[][] = [];
      for (const shift of [0, by]) {
        const maps = convolve(moved(digits, digit, shift));
        const a = await job.wait(one(perChannel, maps, [1, CHANNELS, SIDE, SIDE]));
        const b = await job.wait(one(perPixel, maps, [1, CHANNELS * PIXELS]));
        outputs.push([maps.subarray(...span), a.subarray(...span), b.subarray(...span)]);
      }
      const [still, shifted] = outputs as [Float32Array[], Float32Array[]];
      drawMap(image.canvas, moved(digits, digit, by), SIDE);
      const limit = Math.max(...shifted[0]!.map(Math.abs), 1e-6);
      drawMap(before.canvas, shifted[0]!, SIDE, limit);
      const means = perPixel.mean.subarray(...span);
      drawMap(
        channelMean.canvas,
        new Float32Array(PIXELS).fill(perChannel.mean[channel]!),
        SIDE,
        Math.max(...means.map(Math.abs)),
      );
      drawMap(pixelMean.canvas, means, SIDE, Math.max(...means.map(Math.abs)));
      drawMap(channelOut.canvas, shifted[1]!, SIDE, 4);
      drawMap(pixelOut.canvas, shifted[2]!, SIDE, 4);
      const variances = perPixel.variance.subarray(...span);
      const difference = (which: number): number => {
        let most = 0;
        for (let row = 0; row < SIDE; row++) {
          for (let column = REACH + 1; column < SIDE - REACH - 1; column++) {
            const to = column + by;
            if (to < 1 || to >= SIDE - 1) continue;
            const [a, b] = [row * SIDE + column, row * SIDE + to];
            if (Math.min(variances[a]!, variances[b]!) < LEAST) continue;
            most = Math.max(most, Math.abs(still[which]![a]! - shifted[which]![b]!));
          }
        }
        return most;
      };
      const facts = (statistics: Float32Array): string => {
        const { smallest, largest } = summarise(statistics);
        return `${signed(smallest)} … ${signed(largest)}`;
      };
      rows = [
        [
          { en: "means and variances of this filter", ko: "이 필터의 평균과 분산 수" },
          "1",
          String(PIXELS),
        ],
        [{ en: "mean", ko: "평균" }, signed(perChannel.mean[channel]!), facts(means)],
        [{ en: "variance", ko: "분산" }, digits3(perChannel.variance[channel]!), facts(variances)],
        [
          { en: "values behind each mean", ko: "평균 하나에 쓰인 값의 수" },
          (COUNT * PIXELS).toLocaleString("en-US"),
          String(COUNT),
        ],
        [
          {
            en: "largest change of the moved map, moved back",
            ko: "옮긴 맵을 되돌렸을 때의 최대 차이",
          },
          digits3(difference(1)),
          digits3(difference(2)),
        ],
      ];
      job.shown();
      show();
      return {
        en:
          by === 0
            ? "Now move the digit."
            : `Moved by ${by}: per channel the map moves along, changed by ${digits3(difference(1))}; per pixel it changes by up to ${digits3(difference(2))} deviations.`,
        ko:
          by === 0
            ? "이제 숫자를 옮겨 보세요."
            : `${by}칸 옮김: 채널마다 정규화하면 맵도 그대로 따라 움직이고(차이 ${digits3(difference(1))}), 픽셀마다 하면 표준편차의 ${digits3(difference(2))}배까지 달라집니다.`,
      };
    });
    const show = (): void => {
      if (rows.length === 0) return;
      cells.replaceChildren(
        table({
          caption: { en: "Per channel and per pixel", ko: "채널마다와 픽셀마다" },
          head: ["", { en: "per channel", ko: "채널마다" }, { en: "per pixel", ko: "픽셀마다" }],
          rows,
        }),
      );
    };
    localise(cells, show);
    settings.onChange(() => void work.start());
    return {
      element: intro(
        { en: "Convolution: one mean per channel", ko: "합성곱에서는 채널마다 평균 하나" },
        {
          en: "A convolution treats all positions alike, so that its normalisation should too: one mean and one variance per channel, over the batch and all positions. Move the digit: normalised per channel, its map moves along unchanged. Normalised per pixel, as a fully connected layer's features are, each place has a mean of its own, and the same stroke comes out differently wherever it lies.",
          ko: "합성곱은 모든 위치를 똑같이 다루므로 정규화도 그래야 합니다. 배치와 모든 위치에 걸쳐 채널마다 평균 하나, 분산 하나를 씁니다. 숫자를 옮겨 보세요. 채널마다 정규화하면 맵이 변하지 않고 따라 움직입니다. 완전 연결 층처럼 픽셀마다 정규화하면 자리마다 평균이 달라, 같은 획도 놓인 곳에 따라 다르게 나옵니다.",
        },
        "per channel: mean<sub>c</sub> = Σ<sub>n,h,w</sub> <i>x</i><sub>nchw</sub> / (N·H·W) &nbsp;&nbsp; per feature: mean<sub>chw</sub> = Σ<sub>n</sub> <i>x</i><sub>nchw</sub> / N",
        settings.element,
        work.element,
        h(
          "div",
          { class: "maps" },
          ...[image, before, channelMean, channelOut, pixelMean, pixelOut].map(
            ({ element }) => element,
          ),
        ),
        h(
          "p",
          { class: "note" },
          {
            en: "Orange is above 0, blue below, white 0. The normalised maps reach from −4 to 4 standard deviations. Statistics over 128 digits where they stand. The largest change leaves out pixels that hardly a digit reaches (variance below 0.001).",
            ko: "주황은 0보다 큰 값, 파랑은 작은 값, 흰색은 0입니다. 정규화한 맵의 색은 표준편차 −4에서 4까지입니다. 통계는 제자리에 있는 숫자 128개에서 구했습니다. 최대 차이에서는 어느 숫자도 거의 닿지 않는 픽셀(분산 0.001 미만)을 뺐습니다.",
          },
        ),
        cells,
      ),
      settings: [settings],
      begin: () => void work.start(),
    };
  },
};
