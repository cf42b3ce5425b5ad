import { extentOf } from "../src/descriptor.js";
import { OPERATIONS, type Inputs, type Verdict } from "../scripts/support/check.js";
import {
  digits3,
  grouped,
  percent,
  scientific,
  times as ratio,
} from "../scripts/support/format.js";
import { channelOf, histogram, summarise } from "../scripts/support/histogram.js";
import { COPY_COMMAND, COPY_KERNEL, type Timing } from "../scripts/support/timing.js";
import { histogramSvg, timesSvg } from "./charts.js";
import { byId, escape, foldedTable, tableHtml } from "./html.js";

/** All that can be checked: a row stands there whether it was run or not, so that nothing jumps. */
const CHECKS: readonly (readonly [operation: string, name: string])[] = [
  ["training forward", "y"],
  ["training forward", "running mean"],
  ["training forward", "running variance"],
  ["inference", "y"],
  ["backward", "dx"],
  ["backward", "dGamma"],
  ["backward", "dBeta"],
];

const NONE = `<span class="quiet">–</span>`;

/** @param onGpu false where there is nothing to compare. */
export function showVerdicts(verdicts: readonly Verdict[], onGpu = true): void {
  const rows = CHECKS.map(([operation, name]) => {
    const found = verdicts.find((each) => each.operation === operation && each.name === name);
    const label = `${escape(name)} <span class="quiet">${escape(operation.replace(" forward", ""))}</span>`;
    if (!found)
      return [label, NONE, NONE, NONE, onGpu ? NONE : `<span class="quiet">no GPU</span>`];
    const { error, tolerance, used, pass } = found;
    const verdict = pass
      ? `<strong class="pass">pass</strong>`
      : `<strong class="fail">FAIL</strong>`;
    return [label, scientific(error), scientific(tolerance), percent(used), verdict];
  });
  const titles = ["Result", "Largest error", "Tolerance", "Used", ""];
  byId("check").innerHTML = tableHtml("Largest errors against float64", titles, rows);
}

/** Shows what was timed; `cpu` holds the reference's times in the order of `OPERATIONS`. */
export function showTimes(timings: readonly Timing[], cpu: readonly (number | null)[]): void {
  const of = (name: string): number | null =>
    timings.find((each) => each.name === name)?.ms ?? null;
  const copy = of(COPY_KERNEL);
  const against = (ms: number | null): string =>
    ms !== null && copy !== null ? ratio(ms / copy) : "";
  const names = [COPY_KERNEL, COPY_COMMAND, ...OPERATIONS];
  const bars = names.map((name, i) => {
    if (timings.length === 0 && i >= 2) {
      return { name, ms: cpu[i - 2] ?? null, note: "on the CPU", kind: "copy" as const };
    }
    const ms = of(name);
    const note = i === 0 || ms === null ? "" : `${against(ms)} the copy`;
    return { name, ms, note, kind: i < 2 ? ("copy" as const) : ("ours" as const) };
  });
  const cell = (ms: number | null | undefined): string =>
    ms === null || ms === undefined ? NONE : digits3(ms);
  const rows = names.map((name, i) => {
    const ms = of(name);
    const reference = i < 2 ? null : (cpu[i - 2] ?? null);
    const faster = ms !== null && reference !== null ? ratio(reference / ms) : NONE;
    return [escape(name), cell(ms), against(ms) || NONE, cell(reference), faster];
  });
  const onCpu = OPERATIONS.map((name, i) => ({ name, ms: cpu[i] ?? null, gpu: of(name) }))
    .filter(
      (each): each is { name: (typeof OPERATIONS)[number]; ms: number; gpu: number | null } =>
        each.ms !== null,
    )
    .map(
      ({ name, ms, gpu }) =>
        `${name} ${digits3(ms)} ms${gpu === null ? "" : ` (${ratio(ms / gpu)} the GPU's time)`}`,
    );
  const text = onCpu.length > 0 ? `The float64 reference on the CPU: ${onCpu.join(", ")}.` : "";
  const titles = ["Program", "GPU, ms", "÷ copy", "CPU, ms", "CPU ÷ GPU"];
  byId("times").innerHTML =
    timesSvg(bars) +
    `<p class="note cpu">${escape(text)}</p>` +
    foldedTable("times", "Times per run; the CPU computes in float64", titles, rows);
}

const BINS = 40;

/** What the histograms show: a run's input and output. */
export interface Shown {
  readonly inputs: Inputs;
  readonly y: Float32Array;
  readonly unit: string;
}

function panel(
  id: string,
  title: string,
  xLabel: string,
  values: Float64Array | null,
  expected: string,
): string {
  if (!values) {
    const empty = histogramSvg(null, { title, xLabel, mean: NaN });
    return `<figure><figcaption>${title} <span class="quiet">&nbsp;</span></figcaption>${empty}${foldedTable(id, title, ["From", "To", "Values", "Share"], [])}</figure>`;
  }
  const { mean, deviation, smallest, largest } = summarise(values);
  const flat = !(largest > smallest);
  const low = flat ? smallest - 1 : smallest;
  const high = flat ? smallest + 1 : largest;
  const counted = histogram(values, BINS, low, high);
  const width = (high - low) / BINS;
  const rows = Array.from(counted.counts, (count, i) => [
    digits3(low + i * width),
    digits3(low + (i + 1) * width),
    grouped(count),
    `${((100 * count) / counted.total).toFixed(2)} %`,
  ]);
  const signed = (value: number): string =>
    value
      .toFixed(3)
      .replace(/^-0\.000$/, "0.000")
      .replace("-", "−");
  const summary = `mean ${signed(mean)}, deviation ${signed(deviation)}`;
  const svg = histogramSvg(counted, { title: `${title}: ${summary}`, xLabel, mean });
  return (
    `<figure><figcaption>${title} <span class="quiet">${escape(summary)}${expected ? ` · ${escape(expected)}` : ""}</span></figcaption>` +
    svg +
    foldedTable(id, `${title}: values per bin`, ["From", "To", "Values", "Share"], rows) +
    "</figure>"
  );
}

/** Draws one channel's values before and after; null draws empty axes. */
export function showHistograms(shown: Shown | null, channel: number): void {
  const target = byId("histograms");
  if (!shown) {
    target.innerHTML =
      panel("before", "Before", "x", null, "") + panel("after", "After", "y", null, "");
    return;
  }
  const { inputs, y, unit } = shown;
  const extent = extentOf("demo", inputs.shape, inputs.layout);
  const expected = `gamma ${inputs.gamma[channel]!.toFixed(3)}, beta ${inputs.beta[channel]!.toFixed(3).replace("-", "−")}`;
  target.innerHTML =
    panel("before", "Before", unit, channelOf(inputs.x, extent, channel), "") +
    panel(
      "after",
      "After",
      "y = gamma · (x − mean) / deviation + beta",
      channelOf(y, extent, channel),
      expected,
    );
}
