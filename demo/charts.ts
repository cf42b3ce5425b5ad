import { digits3 } from "../scripts/support/format.js";
import { ticks, type Histogram } from "../scripts/support/histogram.js";
import { escape } from "./html.js";

const minus = (value: number): string => String(value).replace("-", "−");

/** What stands beside the bars of a histogram. */
export interface HistogramLabels {
  readonly title: string;
  readonly xLabel: string;
  readonly mean: number;
}

/** Bars of shares in percent, with the mean as a dashed line. Without data: the empty axes. */
export function histogramSvg(
  data: Histogram | null,
  { title, xLabel, mean }: HistogramLabels,
): string {
  const view = { width: 440, height: 230 };
  const plot = { left: 44, top: 12, width: 384, height: 168 };
  const bottom = plot.top + plot.height;
  const parts: string[] = [];
  const shares = data
    ? Array.from(data.counts, (count) => (100 * count) / Math.max(1, data.total))
    : [];
  const most = Math.max(...shares, 1e-9);
  const yTicks = data ? ticks(0, most, 5) : [];
  const top = data ? Math.max(most * 1.04, yTicks.at(-1)!) : 1;
  const y = (share: number): number => bottom - (share / top) * plot.height;
  for (const value of yTicks) {
    parts.push(`<path class="grid" d="M${plot.left} ${y(value).toFixed(1)}h${plot.width}"/>`);
    parts.push(
      `<text x="${plot.left - 6}" y="${(y(value) + 4).toFixed(1)}" text-anchor="end">${minus(value)}</text>`,
    );
  }
  parts.push(`<path class="axis" d="M${plot.left} ${bottom}h${plot.width}"/>`);
  if (data) {
    const x = (value: number): number =>
      plot.left + ((value - data.low) / (data.high - data.low)) * plot.width;
    const bin = plot.width / shares.length;
    for (const [i, share] of shares.entries()) {
      if (share === 0) continue;
      // What is there is seen, however rare.
      const height = Math.max(1, bottom - y(share));
      const left = plot.left + i * bin;
      parts.push(
        `<rect class="bar" x="${(left + 0.5).toFixed(1)}" y="${(bottom - height).toFixed(1)}" width="${(bin - 1).toFixed(1)}" height="${height.toFixed(1)}"/>`,
      );
    }
    for (const value of ticks(data.low, data.high, 6)) {
      parts.push(
        `<text x="${x(value).toFixed(1)}" y="${bottom + 17}" text-anchor="middle">${minus(value)}</text>`,
      );
    }
    if (mean >= data.low && mean <= data.high) {
      parts.push(`<path class="mark" d="M${x(mean).toFixed(1)} ${plot.top}V${bottom}"/>`);
    }
  }
  parts.push(
    `<text class="label" x="${plot.left + plot.width / 2}" y="${view.height - 8}" text-anchor="middle">${escape(xLabel)}</text>`,
    `<text class="label" transform="translate(11 ${plot.top + plot.height / 2}) rotate(-90)" text-anchor="middle">share of values, %</text>`,
  );
  return `<svg class="chart" viewBox="0 0 ${view.width} ${view.height}" role="img" aria-label="${escape(title)}">${parts.join("")}</svg>`;
}

/** A bar of a chart of times; null where nothing was measured. */
export interface TimeBar {
  readonly name: string;
  readonly ms: number | null;
  /** Stands behind the time. */
  readonly note: string;
  readonly kind: "copy" | "ours";
}

/** Horizontal bars in ms from 0; the dashed marks are the first bar's time. */
export function timesSvg(bars: readonly TimeBar[]): string {
  const row = 42;
  const view = { width: 440, height: bars.length * row + 48 };
  const plot = { left: 4, width: 432 };
  const bottom = bars.length * row + 4;
  const most = Math.max(...bars.map(({ ms }) => ms ?? 0));
  const parts: string[] = [`<path class="axis" d="M${plot.left} ${bottom}h${plot.width}"/>`];
  const x = (ms: number): number => (most > 0 ? (ms / most) * plot.width : 0);
  if (most > 0) {
    for (const value of ticks(0, most, 5)) {
      const at = (plot.left + x(value)).toFixed(1);
      const anchor = value === 0 ? "start" : x(value) > plot.width - 12 ? "end" : "middle";
      parts.push(`<path class="grid" d="M${at} 4V${bottom}"/>`);
      parts.push(`<text x="${at}" y="${bottom + 17}" text-anchor="${anchor}">${value}</text>`);
    }
  }
  const copy = bars[0]?.ms;
  for (const [i, { name, ms, note, kind }] of bars.entries()) {
    const top = i * row + 6;
    const text = ms === null ? "–" : `${digits3(ms)} ms${note ? `, ${note}` : ""}`;
    parts.push(`<text class="name" x="${plot.left}" y="${top + 12}">${escape(name)}</text>`);
    parts.push(
      `<text class="name" x="${plot.left + plot.width}" y="${top + 12}" text-anchor="end">${escape(text)}</text>`,
    );
    if (ms !== null) {
      const width = Math.max(1, x(ms)).toFixed(1);
      parts.push(
        `<rect class="bar ${kind}" x="${plot.left}" y="${top + 18}" width="${width}" height="12"/>`,
      );
      if (copy)
        parts.push(`<path class="mark" d="M${(plot.left + x(copy)).toFixed(1)} ${top + 15}v18"/>`);
    }
  }
  parts.push(
    `<text class="label" x="${plot.left + plot.width / 2}" y="${view.height - 8}" text-anchor="middle">time per run, ms</text>`,
  );
  const summary = bars
    .map(({ name, ms }) => `${name}: ${ms === null ? "not measured" : `${digits3(ms)} ms`}`)
    .join("; ");
  return `<svg class="chart" viewBox="0 0 ${view.width} ${view.height}" role="img" aria-label="${escape(summary)}">${parts.join("")}</svg>`;
}
