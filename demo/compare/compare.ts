import type { Case } from "../../bench/cases.js";
import { fileNameOf, type Results } from "../../bench/results.js";
import { h, rich, scrolled, table } from "../shell/dom.js";
import { Figure } from "../shell/figure.js";
import { localise, t, type Words } from "../shell/language.js";
import { openPage } from "../shell/page.js";
import { Queue } from "../shell/queue.js";
import { Settings, together } from "../shell/settings.js";
import { Work, type Job } from "../shell/work.js";
import { LAYERS, objection, OWN, shapeOf } from "./layers.js";
import {
  Bench,
  CANDIDATES,
  compareOnCpu,
  PROGRAMS,
  sizesUpTo,
  type Comparison,
} from "./measure.js";
import {
  called,
  caseOf,
  emptyTable,
  LAYOUT_NAMES,
  markdown,
  memoryChart,
  OPERATION_NAMES,
  reasonsOf,
  resultsTable,
  shown,
  sizesChart,
  sizesTable,
  timesChart,
  timesHeight,
} from "./present.js";

/** How it went: whether there was anything to check, and whether all of it is there. */
function outcome({ rows, skipped: { length: left } }: Comparison): Words {
  const checked = rows.some(({ error }) => error !== undefined);
  const parts: Words[] = [];
  if (!checked)
    parts.push({
      en: "nothing ran that could be checked or compared",
      ko: "확인하거나 견줄 것이 없었습니다.",
    });
  else if (left === 0) parts.push({ en: "every result is right", ko: "모든 결과가 맞습니다." });
  if (left > 0)
    parts.push({
      en: `${left} left out, see below`,
      ko: `${left}개는 빠졌습니다. 이유는 아래에 있습니다.`,
    });
  return {
    en: `Done; ${parts.map(({ en }) => en).join("; ")}.`,
    ko: ["끝났습니다.", ...parts.map(({ ko }) => ko)].join(" "),
  };
}

await openPage(
  {
    file: "compare.html",
    title: { en: "Compare", ko: "비교" },
    lead: {
      en: "Batch Normalization of one layer by several programs, on this device, in this page. Each result is checked against float64 before anything is timed; then all take turns, so that a slow moment of the machine meets all of them alike.",
      ko: "한 층의 배치 정규화를 여러 프로그램이 이 기기, 이 페이지에서 계산합니다. 시간을 재기 전에 먼저 결과를 float64와 대조하고, 그다음에는 번갈아 실행해 기기가 잠시 느려져도 모두 똑같이 겪게 합니다.",
    },
  },
  ({ main, found, trouble }) => {
    const software = !found.device || found.software;
    const layer = new Settings(
      {
        layer: {
          kind: "choice",
          label: { en: "Layer", ko: "층" },
          values: [...LAYERS.map(({ value }) => value), OWN],
          names: {
            ...Object.fromEntries(LAYERS.map(({ value, name }) => [value, name])),
            [OWN]: { en: "a shape of your own", ko: "직접 적기" },
          },
          initial: software ? "256x512" : "16x64x56x56",
        },
        shape: {
          kind: "typed",
          label: { en: "Shape of your own: N, C, …", ko: "직접 적은 모양: N, C, …" },
          initial: "32x16x14x14",
          objection,
        },
      },
      { en: "Layer", ko: "층" },
    );
    const settings = new Settings(
      {
        operation: {
          kind: "choice",
          label: { en: "Operation", ko: "연산" },
          values: ["inference", "forward", "forward+backward"] as const,
          names: OPERATION_NAMES,
          initial: "forward+backward",
        },
        dtype: {
          kind: "choice",
          label: { en: "Stored as", ko: "저장 형식" },
          values: ["f32", "f16", "bf16"] as const,
          initial: "f32",
        },
        layout: {
          kind: "choice",
          label: { en: "Layout", ko: "배치 순서" },
          values: ["channels-first", "channels-last"] as const,
          names: LAYOUT_NAMES,
          initial: "channels-first",
        },
        effort: {
          kind: "choice",
          label: { en: "Samples of each", ko: "후보마다 표본 수" },
          values: [5, 9, 21] as const,
          initial: software ? 5 : 9,
        },
        candidates: {
          kind: "several",
          label: { en: "Candidates", ko: "후보" },
          values: CANDIDATES,
          names: Object.fromEntries(CANDIDATES.map((name) => [name, called(PROGRAMS[name])])),
          initial: software ? ["ours", "cpu", "tensorflow", "drop-in"] : CANDIDATES,
        },
      },
      { en: "What is compared", ko: "비교할 것" },
    );
    settings.element.querySelector("fieldset:has([name=candidates])")?.classList.add("wide");
    layer.element.querySelector(".field:has([name=layer])")?.classList.add("wide");
    const sizing = new Settings(
      {
        upto: {
          kind: "choice",
          label: { en: "Sizes up to", ko: "최대 크기" },
          values: [1, 16, 64, 256] as const,
          names: { 1: "1 MB", 16: "16 MB", 64: "64 MB", 256: "256 MB" },
          initial: software ? 1 : 64,
        },
      },
      { en: "Sizes", ko: "크기" },
    );
    const own = layer.element.querySelector<HTMLElement>(".field:has([name=shape])")!;
    const hide = (): void => {
      own.hidden = layer.values.layer !== OWN;
    };
    hide();
    layer.onChange(hide);
    const bench = found.device ? new Bench(found.device) : null;
    const turns = new Queue();

    /** Compares one shape after another, all with the settings that it was started with. */
    const comparing = async (
      job: Job<typeof settings.values>,
    ): Promise<
      (
        shape: readonly number[],
        name: string,
        span?: readonly [number, number],
      ) => Promise<Comparison>
    > => {
      const { layout, dtype, operation, candidates, effort: rounds } = job.values;
      const effort = {
        rounds,
        sampleMs: rounds === 5 ? 10 : 20,
        // One run may take long where WebGPU itself is a program.
        patience: software ? 4 : 10,
      };
      // Whoever is timed is alone.
      const loaded = bench && (await turns.run(() => bench.load(candidates, job), job.signal));
      return (shape, name, span) => {
        const each: Case = { name, group: "asked", shape, layout, dtype, operation };
        return turns.run(
          () =>
            bench && loaded
              ? bench.compare(each, loaded, effort, job, span)
              : compareOnCpu(each, candidates, effort, job),
          job.signal,
        );
      };
    };

    let last: Comparison = { rows: [], skipped: [] };
    let series: Comparison = { rows: [], skipped: [] };

    const compare = new Work(
      trouble,
      { en: "Compare", ko: "비교 시작" },
      together(layer, settings),
      async (job) => {
        const shape = shapeOf(job.values.layer === OWN ? job.values.shape : job.values.layer);
        const one = await comparing(job);
        last = await one(shape, shape.join("x"));
        job.shown();
        copied.replaceChildren();
        show();
        return outcome(last);
      },
    );
    const sizes = new Work(
      trouble,
      { en: "Time over size", ko: "크기별 시간" },
      together(settings, sizing),
      async (job) => {
        const shapes = sizesUpTo(job.values.upto * 2 ** 20);
        const one = await comparing(job);
        const rows: Comparison["rows"][number][] = [];
        const skipped: Comparison["skipped"][number][] = [];
        for (const [i, { name, shape }] of shapes.entries()) {
          const result = await one(shape, name, [i / shapes.length, (i + 1) / shapes.length]);
          rows.push(...result.rows);
          skipped.push(...result.skipped);
          series = { rows, skipped };
          job.shown();
          over.update();
          leftOutSizes.replaceChildren(...items(reasonsOf(series.skipped, i + 1)));
        }
        return { en: "Done.", ko: "끝났습니다." };
      },
    );

    const adapter = found.device ? found.name : "CPU";
    const noteOf = ({ rows: [row] }: Comparison, sized: boolean): Words =>
      row ? caseOf(row, adapter, sized) : { en: "", ko: "" };
    const timing = new Figure({
      by: compare.name,
      title: {
        en: "Time: medians, with 10 to 90 % of the samples",
        ko: "시간: 중앙값과 표본의 10~90 % 구간",
      },
      note: () => noteOf(last, true),
      height: () => timesHeight(Math.max(6, shown(last.rows).length)),
      draw: (width) => (last.rows.length > 0 ? timesChart(last.rows, width) : null),
    });
    const memory = new Figure({
      by: compare.name,
      title: { en: "Peak memory", ko: "최대 메모리" },
      note: () => noteOf(last, true),
      height: () => timesHeight(5),
      draw: (width) => memoryChart(last.rows, width),
    });
    const over = new Figure({
      by: sizes.name,
      title: { en: "Time over size, 64 channels", ko: "크기에 따른 시간, 64채널" },
      note: () => noteOf(series, false),
      height: 380,
      draw: (width, height) =>
        series.rows.length > 0 ? sizesChart(series.rows, width, height - 30) : null,
      table: () => (series.rows.length > 0 ? sizesTable(series.rows) : null),
    });
    const results = scrolled();
    results.id = "results";
    const leftOut = h("ul", { class: "note", id: "left-out" });
    const leftOutSizes = h("ul", { class: "note", id: "left-out-sizes" });

    // Before there are results everyone who was asked has an empty row, so that nothing jumps; whoever is left out has a
    // line instead of it.
    const foundRows = h("div", {}, results, leftOut);
    const showRows = (): void => {
      const { candidates } = settings.values;
      foundRows.style.minHeight = `${90 + 34 * (candidates.length + 2)}px`;
      const found =
        last.rows.length > 0
          ? resultsTable(last.rows)
          : emptyTable(candidates.map((name) => PROGRAMS[name]));
      results.replaceChildren(table(found));
    };
    settings.onChange(showRows);
    const items = (words: readonly Words[]): HTMLElement[] =>
      words.map((each) => h("li", {}, each));
    const show = (): void => {
      timing.update();
      memory.update();
      leftOut.replaceChildren(...items(reasonsOf(last.skipped, 1)));
      showRows();
      for (const button of [download, copy]) button.disabled = last.rows.length === 0;
    };

    const report = (): Results => ({
      adapter,
      host: "browser",
      runtime: navigator.userAgent,
      date: new Date().toISOString().slice(0, 10),
      peers: [
        ...new Set(
          last.rows.filter(({ kind }) => kind === "peer").map(({ candidate }) => candidate),
        ),
      ],
      timing: "wall: submit and wait, all alike; device: timestamp queries where there are some",
      rows: [...last.rows, ...series.rows],
      skipped: [...last.skipped, ...series.skipped],
    });
    const download = h(
      "button",
      {
        type: "button",
        disabled: true,
        click: () => {
          const url = URL.createObjectURL(
            new Blob([JSON.stringify(report(), null, 2)], { type: "application/json" }),
          );
          h("a", { href: url, download: fileNameOf({ adapter, host: "browser" }) }).click();
          setTimeout(() => {
            URL.revokeObjectURL(url);
          }, 1000);
        },
      },
      { en: "Download JSON", ko: "JSON 내려받기" },
    );
    const copied = h("span", { class: "note", role: "status" });
    const copy = h(
      "button",
      {
        type: "button",
        disabled: true,
        click: () => {
          const text = markdown(last.rows, last.skipped, adapter);
          // Insecure pages have no clipboard.
          const { clipboard } = navigator as Partial<Navigator>;
          void Promise.resolve(
            clipboard?.writeText(text) ?? Promise.reject(new Error("none")),
          ).then(
            () => {
              copied.textContent = t({ en: "Copied.", ko: "복사했습니다." });
            },
            () => {
              // Without it or permission the text itself is shown, to be copied by hand.
              copied.replaceChildren(h("pre", {}, text));
            },
          );
        },
      },
      { en: "Copy as Markdown", ko: "마크다운으로 복사" },
    );

    main.append(
      h(
        "section",
        { class: "card", id: "compare" },
        h("h2", {}, { en: "One layer", ko: "층 하나" }),
        layer.element,
        settings.element,
        compare.element,
        rich(
          {
            en: "Left is faster. The dashed line, where WebGPU is there, is a plain copy of x by a kernel: no other kernel that reads and writes x once can be much faster. The copy command is not bound by it, for it need not run a kernel. GB/s counts the bytes that the operation must move at least. The error is the largest difference from float64, of y over 1 + |y|, of gradients over what they sum.",
            ko: "왼쪽일수록 빠릅니다. 점선은 (WebGPU가 있을 때) 커널이 x를 그대로 복사하는 시간으로, x를 한 번 읽고 쓰는 다른 커널은 이보다 크게 빠를 수 없습니다. 복사 명령은 커널을 거치지 않을 수 있어 이에 매이지 않습니다. GB/s는 그 연산이 적어도 옮겨야 하는 바이트로 셈합니다. 오차는 float64와의 가장 큰 차이로, y는 1 + |y|에, 기울기는 더해진 크기에 견준 값입니다.",
          },
          "p",
        ),
        timing.element,
        foundRows,
        h("div", { class: "buttons" }, download, copy, copied),
        memory.element,
      ),
      h(
        "section",
        { class: "card", id: "sizes" },
        h("h2", {}, { en: "Many sizes", ko: "여러 크기" }),
        sizing.element,
        sizes.element,
        over.element,
        leftOutSizes,
      ),
    );
    localise(results, show);
  },
);
