import { digits3 } from "./format.js";
import { ticks, type Histogram } from "./histogram.js";

/** One panel: a line per batch, and a strong one for all of them together. */
export interface Panel {
  readonly title: string;
  readonly subtitle: string;
  readonly xLabel: string;
  readonly batches: readonly Histogram[];
  /** Of all values together; a dashed line shows the mean, a bar one deviation to either side. */
  readonly mean: number;
  readonly deviation: number;
}

// As wide as 32 bins of 8, so that paths need no decimals.
const PLOT = { width: 256, height: 170 };
const MARGIN = { left: 60, right: 18, top: 74, bottom: 84 };
/** Shares from 0.001 % to 100 %: one decade each. */
const DECADES = 5;

const STYLE = `
  .ground { fill: #fbfbfa } text { fill: #23272b; font: 12px system-ui, sans-serif }
  .title { font-size: 14px; font-weight: 600 } .quiet { fill: #5d666f; font-size: 11px }
  .grid { stroke: #dfe2e5; stroke-width: 1 } .batch { fill: none; stroke: #2f6fb3; stroke-opacity: .12 }
  .all { fill: none; stroke: #1d4f86; stroke-width: 1.75 } .mean { stroke: #b4501e; stroke-width: 1.5; stroke-dasharray: 4 3 }
  .spread { stroke: #b4501e; stroke-width: 3 }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #15181b } text { fill: #e4e7ea } .quiet { fill: #9aa4ad } .grid { stroke: #30363b }
    .batch { stroke: #6fb0f2 } .all { stroke: #9ccbff } .mean, .spread { stroke: #f2a36b }
  }`;

const escape = (text: string): string =>
  text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

/** A step line over the bins, on a logarithmic axis of shares; an empty bin lies on the ground. */
function outline(counts: ArrayLike<number>, total: number): string {
  const bin = PLOT.width / counts.length;
  const heightAt = (i: number): number => {
    const share = counts[i]! / total;
    const up = share > 0 ? Math.max(0, 1 + Math.log10(share) / DECADES) : 0;
    return Math.round((1 - up) * PLOT.height);
  };
  let path = `M0 ${heightAt(0)}`;
  let run = 0;
  for (let i = 0; i < counts.length; i++) {
    run += bin;
    const step = i + 1 < counts.length ? heightAt(i + 1) - heightAt(i) : 0;
    if (step === 0 && i + 1 < counts.length) continue;
    path += `h${run}${step === 0 ? "" : `v${step}`}`;
    run = 0;
  }
  return path;
}

function panelOf(panel: Panel, left: number): string {
  const { low, high, counts: firstCounts } = panel.batches[0]!;
  const x = (value: number): number =>
    Math.round(((value - low) / (high - low)) * PLOT.width * 10) / 10;
  const sum = new Float64Array(firstCounts.length);
  let total = 0;
  for (const batch of panel.batches) {
    batch.counts.forEach((count, i) => (sum[i] = sum[i]! + count));
    total += batch.total;
  }
  const parts = [
    `<g transform="translate(${left} ${MARGIN.top})">`,
    `<text class="title" y="-44">${escape(panel.title)}</text>`,
    `<text class="quiet" y="-27">${escape(panel.subtitle)}</text>`,
  ];
  for (let decade = 0; decade <= DECADES; decade++) {
    const y = Math.round((decade / DECADES) * PLOT.height * 10) / 10;
    const label = `${Number((100 * 10 ** -decade).toPrecision(3))} %`;
    parts.push(`<path class="grid" d="M0 ${y}H${PLOT.width}"/>`);
    parts.push(`<text class="quiet" x="-6" y="${y + 4}" text-anchor="end">${label}</text>`);
  }
  for (const value of ticks(low, high, 6)) {
    const label = String(value).replace("-", "−");
    parts.push(
      `<text class="quiet" x="${x(value)}" y="${PLOT.height + 16}" text-anchor="middle">${label}</text>`,
    );
  }
  parts.push(
    `<text class="quiet" x="${PLOT.width / 2}" y="${PLOT.height + 33}" text-anchor="middle">${escape(panel.xLabel)}</text>`,
  );
  for (const batch of panel.batches) {
    parts.push(`<path class="batch" d="${outline(batch.counts, batch.total)}"/>`);
  }
  parts.push(`<path class="all" d="${outline(sum, total)}"/>`);
  const from = x(Math.max(low, panel.mean - panel.deviation));
  const to = x(Math.min(high, panel.mean + panel.deviation));
  parts.push(`<path class="mean" d="M${x(panel.mean)} -8V${PLOT.height}"/>`);
  parts.push(`<path class="spread" d="M${from} -8H${to}"/>`, "</g>");
  return parts.join("\n");
}

/** The panels side by side, light or dark as the viewer prefers. */
export function pictureOf(panels: readonly Panel[], notes: readonly string[]): string {
  const step = MARGIN.left + PLOT.width + MARGIN.right;
  const width = step * panels.length + 8;
  const height = MARGIN.top + PLOT.height + MARGIN.bottom;
  const description = panels
    .map(
      (each) => `${each.title}: mean ${digits3(each.mean)}, deviation ${digits3(each.deviation)}`,
    )
    .join("; ");
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">`,
    `<title>${escape(description)}</title>`,
    `<style>${STYLE}</style>`,
    `<rect class="ground" width="${width}" height="${height}"/>`,
    ...panels.map((panel, i) => panelOf(panel, MARGIN.left + i * step)),
    ...notes.map(
      (note, i) =>
        `<text class="quiet" x="${MARGIN.left}" y="${height - 28 + 16 * i}">${escape(note)}</text>`,
    ),
    "</svg>",
    "",
  ].join("\n");
}
