import * as Plot from "@observablehq/plot";
import { bytesOf, SERIES, type Operation } from "../../bench/cases.js";
import { sizeText } from "../../bench/chart.js";
import { DROP_IN, type Row, type Skipped } from "../../bench/results.js";
import { byteText, digits3, scientific, shapeText, times } from "../../scripts/support/format.js";
import type { Table } from "../shell/dom.js";
import { t, type Language, type Text, type Words } from "../shell/language.js";

/** The copy that is the yardstick: the faster of the kernels. */
export function copyOf(rows: readonly Row[]): Row | undefined {
  return rows.filter(({ kind }) => kind === "copy").sort((a, b) => a.wall.ms - b.wall.ms)[0];
}

/** The rows that are shown: of the two copy kernels the faster only. */
export function shown(rows: readonly Row[]): Row[] {
  const copy = copyOf(rows);
  return rows.filter((row) => row.kind !== "copy" || row === copy);
}

const NAMES: Readonly<Record<string, Words>> = {
  "reference on the CPU": { en: "CPU reference", ko: "CPU 참조 구현" },
  copyBufferToBuffer: { en: "copy command", ko: "복사 명령" },
  all: { en: "all", ko: "모두" },
};

/** What a candidate is called on the page. */
export function called(candidate: string): Text {
  return NAMES[candidate] ?? candidate;
}

export function nameOf({ candidate, kind }: Pick<Row, "candidate" | "kind">): string {
  return t(kind === "copy" ? { en: "plain copy", ko: "단순 복사" } : called(candidate));
}

export const OPERATION_NAMES: Readonly<Record<Operation, Words>> = {
  inference: { en: "inference", ko: "추론" },
  forward: { en: "training forward", ko: "학습 순전파" },
  backward: { en: "backward", ko: "역전파" },
  "forward+backward": { en: "forward + backward", ko: "순전파 + 역전파" },
};
export const LAYOUT_NAMES: Readonly<Record<Row["layout"], Words>> = {
  "channels-first": { en: "channels first", ko: "채널 먼저" },
  "channels-last": { en: "channels last", ko: "채널 나중" },
};

/** What was measured, with its size or for all of them. */
export function caseOf(
  { operation, shape, layout, dtype }: Pick<Row, "operation" | "shape" | "layout" | "dtype">,
  adapter: string,
  sized = true,
): Words {
  const say = (each: Language): string =>
    [
      OPERATION_NAMES[operation][each],
      ...(sized ? [shapeText(shape)] : []),
      LAYOUT_NAMES[layout][each],
      dtype,
    ].join(", ");
  return { en: `${say("en")}, on ${adapter}`, ko: `${say("ko")}, ${adapter}` };
}

/** Reasons as the benchmark has them. */
const KOREAN: readonly [RegExp, string][] = [
  [/^needs WebGPU$/, "WebGPU가 필요합니다"],
  [/^takes too long at this size$/, "이 크기에서는 너무 오래 걸립니다"],
  [/^is float64 whatever the type$/, "저장 형식이 무엇이든 float64로 계산합니다"],
  [/^has no (\w+)$/, "$1 형식이 없습니다"],
  [/^does inference only$/, "추론만 합니다"],
  [/^(is )?measured in f32 only$/, "f32로만 잽니다"],
  [/^ONNX has the channel second$/, "ONNX에서는 채널이 둘째 차원입니다"],
  [/^one run would take about (\d+) s$/, "한 번에 $1초쯤 걸립니다"],
  [/^does not fit: needs about (.+) times x .*$/, "메모리가 모자랍니다: x의 $1배쯤 필요합니다"],
  [/^x needs (\d+) bytes, .* hold (\d+)$/, "x는 $1바이트인데 버퍼는 $2바이트까지입니다"],
  [/^wrong (.*), error (.*): not timed$/, "$1 값이 틀려(오차 $2) 재지 않았습니다"],
  [/^.* does not run here: /, "여기서는 실행되지 않습니다: "],
];

/** Who was left out and why; of several sizes with those that it was, unless it was all. */
export function reasonsOf(skipped: readonly Skipped[], sizes: number): Words[] {
  const groups = new Map<string, Skipped[]>();
  for (const each of skipped) {
    const key = `${each.candidate}: ${each.reason}`;
    groups.set(key, [...(groups.get(key) ?? []), each]);
  }
  return [...groups.values()].map((group) => {
    const { candidate, reason } = group[0]!;
    const name = called(candidate);
    const which = group.length === sizes ? "" : ` (${group.map(sizeOfSeries).join(", ")})`;
    const korean = KOREAN.reduce((text, [from, to]) => text.replace(from, to), reason);
    const both = typeof name === "string" ? { en: name, ko: name } : name;
    return { en: `${both.en}: ${reason}${which}`, ko: `${both.ko}: ${korean}${which}` };
  });
}

/** The shapes of the series are named by their size in f32. */
function sizeOfSeries({ name, dtype }: Skipped): string {
  const shape = SERIES.find((each) => each.name === name);
  return shape ? sizeText(bytesOf({ ...shape, dtype })) : name;
}

const COLOURS: Readonly<Record<Row["kind"], string>> = {
  ours: "var(--on)",
  peer: "var(--off)",
  cpu: "var(--third)",
  copy: "var(--sixth)",
  command: "var(--sixth)",
};

export const msText = (ms: number): string =>
  ms < 0.1 ? `${digits3(ms * 1000)} µs` : `${digits3(ms)} ms`;

const ROW = 30;
export const timesHeight = (rows: number): number => 54 + ROW * rows;

/** Powers of ten that a narrow logarithmic axis has room for. */
const everyOtherDecade = (low: number, high: number): number[] => {
  const [first, last] = [Math.ceil(Math.log10(low)), Math.floor(Math.log10(high))];
  const count = Math.max(0, Math.floor((last - first) / 2) + 1);
  return Array.from({ length: count }, (_, i) => 10 ** (first + 2 * i));
};

const isNarrow = (width: number): boolean => width < 500;

/** Room for the candidates' names, left of a chart. */
const namesOn = (width: number): { marginLeft: number; style: { fontSize: string } } =>
  isNarrow(width)
    ? { marginLeft: 126, style: { fontSize: "11px" } }
    : { marginLeft: 170, style: { fontSize: "13px" } };

/** Medians with their spread, one line a candidate, in ms, logarithmic. */
export function timesChart(rows: readonly Row[], width: number): Element {
  const drawn = shown(rows).sort((a, b) => a.wall.ms - b.wall.ms);
  const copy = copyOf(rows);
  const low = Math.min(...drawn.map(({ wall }) => wall.p10));
  const high = Math.max(...drawn.map(({ wall }) => wall.p90));
  return Plot.plot({
    width,
    height: timesHeight(drawn.length),
    ...namesOn(width),
    marginRight: 70,
    marginBottom: 44,
    x: {
      type: "log",
      domain: [low / 1.3, high * 1.3],
      label: t({ en: "time per run, ms (logarithmic) →", ko: "1회 시간, ms (로그 눈금) →" }),
      grid: true,
      ...(isNarrow(width) ? { ticks: everyOtherDecade(low, high) } : { ticks: 8 }),
      tickFormat: (ms: number) => digits3(ms),
    },
    y: { domain: drawn.map(nameOf), label: null, tickSize: 0 },
    marks: [
      ...(copy
        ? [Plot.ruleX([copy.wall.ms], { stroke: "var(--sixth)", strokeDasharray: "4 3" })]
        : []),
      Plot.ruleY(drawn, {
        x1: (row: Row) => row.wall.p10,
        x2: (row: Row) => row.wall.p90,
        y: nameOf,
        stroke: (row: Row) => COLOURS[row.kind],
        strokeWidth: 5,
        strokeOpacity: 0.45,
      }),
      Plot.dot(drawn, {
        x: (row: Row) => row.wall.ms,
        y: nameOf,
        r: 5,
        fill: (row: Row) => COLOURS[row.kind],
        symbol: (row: Row) =>
          row.kind === "ours" ? "circle" : row.kind === "peer" ? "square" : "diamond",
      }),
      Plot.text(drawn, {
        x: (row: Row) => row.wall.p90,
        y: nameOf,
        dx: 8,
        textAnchor: "start",
        text: (row: Row) => msText(row.wall.ms),
        fill: "currentColor",
      }),
    ],
  });
}

/** Peak memory in sizes of x. */
export function memoryChart(rows: readonly Row[], width: number): Element | null {
  const drawn = shown(rows).filter(({ held, kind }) => held !== undefined && kind !== "command");
  if (drawn.length === 0) return null;
  return Plot.plot({
    width,
    height: timesHeight(drawn.length),
    ...namesOn(width),
    marginRight: 60,
    marginBottom: 44,
    x: {
      label: t({
        en: "buffers alive at once, times x →",
        ko: "동시에 살아 있는 버퍼, x의 몇 배 →",
      }),
      grid: true,
      nice: true,
    },
    y: { domain: drawn.map(nameOf), label: null, tickSize: 0 },
    marks: [
      Plot.barX(drawn, {
        x: (row: Row) => row.held!,
        y: nameOf,
        fill: (row: Row) => COLOURS[row.kind],
        insetTop: 6,
        insetBottom: 6,
      }),
      Plot.text(drawn, {
        x: (row: Row) => row.held!,
        y: nameOf,
        dx: 6,
        textAnchor: "start",
        text: (row: Row) => times(row.held!),
        fill: "currentColor",
      }),
    ],
  });
}

const HEAD: readonly Words[] = [
  { en: "Candidate", ko: "후보" },
  { en: "Error", ko: "오차" },
  { en: "Median", ko: "중앙값" },
  { en: "10 to 90 %", ko: "10~90 %" },
  { en: "÷ copy", ko: "÷ 복사" },
  { en: "GB/s", ko: "GB/s" },
  { en: "Peak memory", ko: "최대 메모리" },
];

/** Every figure there is; a candidate that was left out stands with its reason beneath. */
export function resultsTable(rows: readonly Row[]): Table {
  return {
    caption: { en: "Results", ko: "결과" },
    head: HEAD,
    rows: shown(rows).map((row) => cells(row)),
  };
}

function cells(row: Row): string[] {
  const { error, wall, copies, gbps, held, bytes, kind } = row;
  return [
    nameOf(row),
    error === undefined ? "–" : scientific(error),
    msText(wall.ms),
    `${msText(wall.p10)} – ${msText(wall.p90)}`,
    Number.isFinite(copies) ? times(copies) : "–",
    gbps === undefined || kind === "cpu" ? "–" : digits3(gbps),
    held === undefined ? "–" : `${byteText(held * bytes)} (${times(held)})`,
  ];
}

/** Who will be in it. */
export function emptyTable(candidates: readonly string[]): Table {
  const nothing = HEAD.slice(1).map(() => "–");
  return {
    caption: { en: "Results", ko: "결과" },
    head: HEAD,
    rows: candidates.map((each) => [called(each), ...nothing]),
  };
}

/** The same for a text that takes Markdown; in English, for it leaves the page. */
export function markdown(
  rows: readonly Row[],
  skipped: readonly Skipped[],
  adapter: string,
): string {
  const first = rows[0];
  const line = (each: readonly string[]): string => `| ${each.join(" | ")} |`;
  const left = skipped.map(({ candidate, reason }) => `- ${candidate}: ${reason}`);
  return [
    ...(first ? [caseOf(first, adapter).en, ""] : []),
    line(HEAD.map(({ en }) => en)),
    line(HEAD.map((_, i) => (i === 0 ? "---" : "---:"))),
    ...shown(rows).map((row) => line(cells(row))),
    ...(left.length > 0 ? ["", "Left out:", "", ...left] : []),
    "",
  ].join("\n");
}

/** Everyone's own, whoever else is there. */
const STYLES: Readonly<Record<string, readonly [colour: string, symbol: string]>> = {
  "webgpu-batchnorm": ["var(--on)", "circle"],
  "TensorFlow.js": ["var(--off)", "square"],
  [DROP_IN]: ["var(--third)", "triangle"],
  "ONNX Runtime Web": ["var(--fourth)", "star"],
  "jax-js": ["var(--fifth)", "diamond"],
  "reference on the CPU": ["var(--ink)", "cross"],
};
const COPY = ["var(--sixth)", "wye"] as const;

/** Time over size, both logarithmic; lines end in their names. */
export function sizesChart(rows: readonly Row[], width: number, height: number): Element {
  const drawn = [...groupBySize(rows).values()]
    .flatMap(shown)
    .filter(({ kind }) => kind !== "command");
  const styles = new Map(
    drawn.map((row) => [nameOf(row), row.kind === "copy" ? COPY : (STYLES[row.candidate] ?? COPY)]),
  );
  const names = [...styles.keys()];
  return Plot.plot({
    width,
    height,
    marginLeft: 52,
    marginBottom: 44,
    marginRight: 20,
    style: { fontSize: "13px" },
    x: {
      type: "log",
      base: 2,
      label: t({ en: "size of x (logarithmic) →", ko: "x의 크기 (로그 눈금) →" }),
      tickFormat: sizeText,
      ticks: width < 500 ? 4 : 8,
    },
    y: {
      type: "log",
      grid: true,
      label: t({ en: "↑ time per run, ms (logarithmic)", ko: "↑ 1회 시간, ms (로그 눈금)" }),
      tickFormat: (ms: number) => digits3(ms),
      ticks: 5,
      nice: true,
    },
    color: { domain: names, range: [...styles.values()].map(([colour]) => colour) },
    symbol: {
      domain: names,
      range: [...styles.values()].map(([, symbol]) => symbol),
      legend: true,
    },
    marks: [
      Plot.line(drawn, {
        x: "bytes",
        y: (row: Row) => row.wall.ms,
        z: nameOf,
        stroke: nameOf,
        strokeWidth: 2,
        sort: "bytes",
      }),
      Plot.dot(drawn, {
        x: "bytes",
        y: (row: Row) => row.wall.ms,
        stroke: nameOf,
        fill: nameOf,
        symbol: nameOf,
        r: 4,
      }),
    ],
  });
}

function groupBySize(rows: readonly Row[]): Map<number, Row[]> {
  const groups = new Map<number, Row[]>();
  for (const row of rows) groups.set(row.bytes, [...(groups.get(row.bytes) ?? []), row]);
  return groups;
}

export function sizesTable(rows: readonly Row[]): Table {
  const groups = [...groupBySize(rows)].sort(([a], [b]) => a - b);
  const names = [...new Set(groups.flatMap(([, group]) => shown(group)).map(nameOf))];
  return {
    caption: { en: "Median time per run", ko: "1회 시간의 중앙값" },
    head: [{ en: "Size", ko: "크기" }, ...names],
    rows: groups.map(([bytes, group]) => [
      sizeText(bytes),
      ...names.map((name) => {
        const row = shown(group).find((each) => nameOf(each) === name);
        return row ? msText(row.wall.ms) : "–";
      }),
    ]),
  };
}
