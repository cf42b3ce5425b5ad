import * as Plot from "@observablehq/plot";
import { histogram, summarise } from "../../scripts/support/histogram.js";
import { digits3 } from "../../scripts/support/format.js";
import { Figure } from "../shell/figure.js";
import { t, type Text, type Words } from "../shell/language.js";

export interface HistogramOptions {
  readonly title: Words;
  readonly label: Text;
  readonly colour: string;
  readonly values: () => ArrayLike<number> | null;
  /** Where the axis reaches; without it as far as the values do. */
  readonly domain?: () => readonly [number, number] | undefined;
  /** Where the activation is flat, to be shaded. */
  readonly flat?: number;
  readonly height?: number;
  readonly bins?: number;
}

const minus = (text: string): string => text.replace("-", "−");

export function signed(value: number, digits = 3): string {
  const text = value.toFixed(digits);
  return minus(Number(text) === 0 ? (0).toFixed(digits) : text);
}

/** A histogram with mean (dashed) and one standard deviation to either side. */
export function histogramFigure({
  title,
  label,
  colour,
  values,
  domain,
  flat,
  height = 210,
  bins = 48,
}: HistogramOptions): Figure {
  const counted = () => {
    const data = values();
    if (!data) return null;
    const { mean, deviation, smallest, largest } = summarise(data);
    const wide = largest > smallest ? 0 : 1;
    const [low, high] = domain?.() ?? [smallest - wide, largest + wide];
    const { counts, total } = histogram(data, bins, low, high);
    const step = (high - low) / bins;
    const bars = Array.from(counts, (count, i) => ({
      x1: low + i * step,
      x2: low + (i + 1) * step,
      share: count / total,
      count,
    }));
    return { bars, mean, deviation, low, high };
  };
  return new Figure({
    title,
    height,
    draw: (width, pixels) => {
      const found = counted();
      if (!found) return null;
      const { bars, mean, deviation, low, high } = found;
      const top = Math.max(...bars.map(({ share }) => share));
      return Plot.plot({
        width,
        height: pixels,
        marginLeft: 42,
        marginTop: 26,
        marginBottom: 38,
        style: { fontSize: "13px" },
        x: { domain: [low, high], label: t(label), ticks: Math.min(9, width / 80) },
        y: {
          domain: [0, top * 118],
          percent: true,
          label: t({ en: "↑ share, %", ko: "↑ 비율, %" }),
          grid: true,
          ticks: 4,
        },
        marks: [
          ...(flat === undefined
            ? []
            : [
                Plot.rectX(
                  [
                    { a: low, b: -flat },
                    { a: flat, b: high },
                  ],
                  { x1: "a", x2: "b", fill: "var(--off)", fillOpacity: 0.14 },
                ),
              ]),
          Plot.rectY(bars, { x1: "x1", x2: "x2", y: "share", fill: colour, insetRight: 0.5 }),
          Plot.ruleY([0]),
          Plot.ruleX([mean], { stroke: "currentColor", strokeDasharray: "4 3" }),
          Plot.link([mean], {
            x1: (m: number) => Math.max(low, m - deviation),
            x2: (m: number) => Math.min(high, m + deviation),
            y1: top * 1.06,
            y2: top * 1.06,
            stroke: "currentColor",
            strokeWidth: 2,
          }),
          Plot.text([mean], {
            x: (m: number) => m,
            y: top * 1.06,
            dy: -9,
            fill: "currentColor",
            // Readable over the line of the mean.
            stroke: "var(--card)",
            strokeWidth: 5,
            text: () =>
              t({
                en: `mean ${signed(mean)}, deviation ${digits3(deviation)}`,
                ko: `평균 ${signed(mean)}, 표준편차 ${digits3(deviation)}`,
              }),
            textAnchor:
              mean < low + (high - low) * 0.3
                ? "start"
                : mean > low + (high - low) * 0.7
                  ? "end"
                  : "middle",
          }),
        ],
      });
    },
    table: () => {
      const found = counted();
      if (!found) return null;
      const head: Text[] = [
        { en: "From", ko: "부터" },
        { en: "To", ko: "까지" },
        { en: "Values", ko: "개수" },
        { en: "Share", ko: "비율" },
      ];
      return {
        caption: title,
        head,
        rows: found.bars.map(({ x1, x2, count, share }) => [
          signed(x1),
          signed(x2),
          String(count),
          `${(100 * share).toFixed(2)} %`,
        ]),
      };
    },
  });
}
