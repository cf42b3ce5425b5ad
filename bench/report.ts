/**
 * Markdown tables and line charts from results: npm run bench:report -- [files]. Without files, all in bench/results, and
 * then bench/results/README.md and the table in README.md are written anew.
 * Results of torch_batchnorm.py become a column beside those of the same GPU: `GPU-torch.json` beside `GPU-node.json`.
 */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { OPERATIONS, type Operation } from "./cases.js";
import { lineChart, timeText, type Line } from "./chart.js";
import { digits3 } from "./print.js";
import { DROP_IN, WRONG, type Results, type Row } from "./results.js";

const FOLDER = join("bench", "results");

const TITLES: Record<Operation, string> = {
  inference: "Inference",
  forward: "Training, forward",
  backward: "Training, backward",
  "forward+backward": "Training, forward + backward",
};

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [
    line(header),
    line(header.map((_, i) => (i === 0 ? "---" : "---:"))),
    ...rows.map(line),
  ].join("\n");
}

function keyOf({ shape, layout, dtype, operation }: Row): string {
  return [shape.join("x"), shape.length === 2 ? "" : layout, dtype, operation].join();
}

function grouped(rows: readonly Row[]): Map<string, Row[]> {
  const groups = new Map<string, Row[]>();
  for (const row of rows) {
    const key = keyOf(row);
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  return groups;
}

/** The copy that is the yardstick of a case: the faster of the kernels. */
function copyOf(rows: readonly Row[]): Row | undefined {
  return rows.filter(({ kind }) => kind === "copy").sort((a, b) => a.wall.ms - b.wall.ms)[0];
}

function tableOf(
  { rows, skipped }: Results,
  operation: Operation,
  torch: readonly Row[],
): string | null {
  const cases = [
    ...grouped(
      rows.filter((row) => row.operation === operation && row.group !== "series"),
    ).values(),
  ];
  if (cases.length === 0) return null;
  const beside = grouped(torch);
  const of = (kind: Row["kind"]): string[] => [
    ...new Set(
      cases
        .flat()
        .filter((row) => row.kind === kind)
        .map(({ candidate }) => candidate),
    ),
  ];
  const peers = of("peer");
  const timed = cases.flat().some((row) => row.kind === "ours" && row.deviceCopies !== undefined);
  const dtypes = new Set(cases.flat().map(({ dtype }) => dtype));
  const header = [
    "layer, shape in memory",
    "copy",
    "this package",
    "in copies",
    "at best",
    ...(timed ? ["by timestamps"] : []),
    timed ? "over the floor by timestamps" : "over the floor",
    timed ? "GB/s by timestamps" : "GB/s",
    "buffers",
    ...peers.map((name) => `${name}, in copies`),
    ...(peers.length > 0 ? ["best other library in its best layout / this"] : []),
    ...(torch.length > 0
      ? [...(timed ? ["this package by timestamps"] : []), "PyTorch", "PyTorch / this"]
      : []),
    ...of("cpu").map((name) => `${name}, in copies`),
  ];
  // A peer's best layout counts, whichever this row's is; the drop-in runs these kernels.
  const peersOf = (first: Row): Row[] =>
    rows.filter(
      (row) =>
        row.kind === "peer" &&
        row.candidate !== DROP_IN &&
        row.operation === operation &&
        row.name === first.name &&
        row.dtype === first.dtype,
    );
  const body = cases.map((group) => {
    const first = group[0]!;
    const own = group.find(({ kind }) => kind === "ours");
    // The device's clock, as PyTorch's CUDA events have it.
    const besideTorch = timed ? own?.device : own?.wall;
    const best = Math.min(...peersOf(first).map(({ wall }) => wall.ms));
    const other = beside.get(keyOf(first))?.find(({ kind }) => kind === "peer");
    const cell = (name: string): string => {
      const row = group.find(({ candidate }) => candidate === name);
      if (!row) {
        const { layout, dtype } = first;
        const wrong = skipped.some(
          (each) =>
            each.candidate === name &&
            each.name === first.name &&
            each.layout === layout &&
            each.dtype === dtype &&
            each.operation === operation &&
            each.reason.startsWith(WRONG),
        );
        return wrong ? "wrong result" : "-";
      }
      const held = row.held === undefined ? "" : ` (${digits3(row.held)} x)`;
      return `${digits3(row.copies)}${held}`;
    };
    return [
      `${first.name}, [${first.shape.join(", ")}]${dtypes.size > 1 ? ` ${first.dtype}` : ""}`,
      timeText(copyOf(group)?.wall.ms ?? NaN),
      own ? timeText(own.wall.ms) : "-",
      own ? digits3(own.copies) : "-",
      own ? digits3(own.bestCopies) : "-",
      ...(timed ? [digits3(own?.deviceCopies ?? NaN)] : []),
      digits3(own?.floors ?? NaN),
      digits3((timed ? own?.deviceGbps : own?.gbps) ?? NaN),
      `${digits3(own?.held ?? NaN)} x`,
      ...peers.map(cell),
      ...(peers.length > 0
        ? [own && Number.isFinite(best) ? digits3(best / own.wall.ms) : "-"]
        : []),
      ...(torch.length > 0
        ? [
            ...(timed ? [besideTorch ? timeText(besideTorch.ms) : "-"] : []),
            other ? timeText(other.wall.ms) : "-",
            other && besideTorch ? digits3(other.wall.ms / besideTorch.ms) : "-",
          ]
        : []),
      ...of("cpu").map(cell),
    ];
  });
  return table(header, body);
}

function chartOf(results: Results, operation: Operation): string | null {
  const rows = results.rows.filter(
    (row) => row.group === "series" && row.operation === operation && row.dtype === "f32",
  );
  const layout = rows.some((row) => row.layout === "channels-first")
    ? "channels-first"
    : "channels-last";
  const bySize = [...grouped(rows.filter((row) => row.layout === layout)).values()];
  if (bySize.length < 2) return null;
  const names = new Map<string, Row["kind"]>();
  for (const row of bySize.flat()) {
    if (row.kind !== "copy" && row.kind !== "command") names.set(row.candidate, row.kind);
  }
  const lines: Line[] = [...names].map(([name, kind]) => ({
    name,
    kind,
    points: bySize.flatMap((group) =>
      group
        .filter((row) => row.candidate === name)
        .map((row): [number, number] => [row.bytes, row.wall.ms]),
    ),
  }));
  lines.push({
    name: "plain copy (kernel)",
    kind: "copy",
    points: bySize.flatMap((group) => {
      const row = copyOf(group);
      return row ? [[row.bytes, row.wall.ms] as const] : [];
    }),
  });
  const drawn = lines
    .map((line) => ({ ...line, points: [...line.points].sort(([a], [b]) => a - b) }))
    .filter(({ points }) => points.length > 0);
  return lineChart(
    `${TITLES[operation]}: time over size`,
    `f32, ${layout}, ${results.adapter}, ${results.runtime}`,
    drawn,
  );
}

const MEGABYTE = 1e6;

/** The README's table: f32, one row a layer and operation, everything in times of a plain copy. */
function summaryOf({ rows, adapter, runtime, date, peers }: Results): string {
  const shown = rows.filter((row) => row.dtype === "f32" && row.group !== "series");
  const names = [
    ...new Set(shown.filter(({ kind }) => kind === "peer").map(({ candidate }) => candidate)),
    ...new Set(shown.filter(({ kind }) => kind === "cpu").map(({ candidate }) => candidate)),
  ];
  const body = OPERATIONS.flatMap((operation) =>
    [...grouped(shown.filter((row) => row.operation === operation)).values()].map((group) => {
      const [first] = group as [Row];
      const own = group.find(({ kind }) => kind === "ours");
      const cell = (name: string): string => {
        const row = group.find(({ candidate }) => candidate === name);
        return row ? digits3(row.copies) : "-";
      };
      return [
        TITLES[operation],
        `${first.name}, [${first.shape.join(", ")}]`,
        timeText(copyOf(group)?.wall.ms ?? NaN),
        own ? digits3(own.copies) : "-",
        ...names.map(cell),
        own?.held === undefined ? "-" : `${digits3(own.held)} x`,
      ];
    }),
  );
  const header = [
    "operation",
    "layer, shape in memory",
    "copy",
    "this package",
    ...names,
    "buffers",
  ];
  const large = shown.filter(({ bytes }) => bytes >= MEGABYTE);
  const range = (operation: Operation, name: string): string => {
    const copies = large
      .filter((row) => row.operation === operation && row.candidate === name)
      .map((row) => row.copies);
    return copies.length === 0
      ? "-"
      : `${digits3(Math.min(...copies))} to ${digits3(Math.max(...copies))}`;
  };
  const own = shown.find(({ kind }) => kind === "ours")?.candidate ?? "";
  const operations = OPERATIONS.filter((operation) =>
    large.some((row) => row.operation === operation),
  );
  return [
    table(
      ["layers of 1 MB and more, in times of a copy", "this package", ...names],
      operations.map((operation) => [
        TITLES[operation],
        ...[own, ...names].map((name) => range(operation, name)),
      ]),
    ),
    "",
    `${adapter}, ${runtime}, ${date}. Peers: ${[...new Set(peers)].join(", ")}.`,
    "",
    "<details><summary>Layer by layer, in times of a copy</summary>",
    "",
    table(header, body),
    "",
    "</details>",
  ].join("\n");
}

/**
 * The README's table of a GPU: by its clock, in times of a plain copy, and how many times as long PyTorch takes; layers
 * of 48 MB of f32 and more, too large for most of a cache, each in the types that were measured.
 */
function gpuSummaryOf({ rows, adapter, runtime, date }: Results, torch: Results): string {
  const MANY = 12_000_000;
  const peers = grouped(torch.rows.filter(({ kind }) => kind === "peer"));
  const own = rows.filter(({ kind, group }) => kind === "ours" && group !== "series");
  const large = own.filter(({ shape }) => shape.reduce((a, b) => a * b, 1) >= MANY);
  const layers = new Map<string, Row[]>();
  for (const row of large) {
    const key = `[${row.shape.join(", ")}] ${row.dtype}`;
    layers.set(key, [...(layers.get(key) ?? []), row]);
  }
  const cell = (row: Row | undefined): string => {
    if (!row) return "-";
    const peer = peers.get(keyOf(row))?.[0];
    const factor = peer && row.device ? ` (${digits3(peer.wall.ms / row.device.ms)})` : "";
    return `${digits3(row.deviceCopies ?? NaN)}${factor}`;
  };
  const body = [...layers]
    .map(([key, group]) => ({ key, group, first: group[0]! }))
    .sort(
      (a, b) => a.first.dtype.localeCompare(b.first.dtype) * -1 || a.first.bytes - b.first.bytes,
    )
    .map(({ key, group, first }) => {
      const copy = copyOf(grouped(rows).get(keyOf(first)) ?? []);
      return [
        key,
        timeText(copy?.device?.ms ?? NaN),
        ...OPERATIONS.map((operation) => cell(group.find((row) => row.operation === operation))),
      ];
    });
  const small = own.flatMap((row) => {
    const peer = row.dtype === "f32" && !large.includes(row) ? peers.get(keyOf(row))?.[0] : null;
    return peer && row.device ? [peer.wall.ms / row.device.ms] : [];
  });
  return [
    table(["shape in memory", "copy", ...OPERATIONS.map((operation) => TITLES[operation])], body),
    "",
    `${adapter}, ${runtime}; ${torch.runtime}; ${date}. The ${small.length} f32 measurements of smaller layers: PyTorch takes ` +
      `${digits3(Math.min(...small))} to ${digits3(Math.max(...small))} times as long, most of it its own overhead for a launch.`,
  ].join("\n");
}

type Say = (text: string) => void;

async function report(file: string, torch: readonly Row[], say: Say): Promise<void> {
  const results = JSON.parse(await readFile(file, "utf8")) as Results;
  say(`## ${results.adapter}, ${results.runtime}`);
  say(
    `${results.date}. ${results.timing}. A copy is a plain kernel that copies x's bytes on the same adapter in the same` +
      ` rounds (medians; at best: the tenth in a hundred); the floor is what must be moved at least, at the copy's speed; buffers are in sizes of x.` +
      (results.peers.length > 0 ? ` Peers: ${[...new Set(results.peers)].join(", ")}.` : "") +
      (results.rows.some(({ candidate }) => candidate === DROP_IN)
        ? ` "${DROP_IN}" is this package behind TensorFlow.js's own functions.`
        : "") +
      (torch.length > 0
        ? " PyTorch's times are by CUDA events: beside them stands this package's by timestamps, and the ratio is of these two."
        : ""),
  );
  for (const operation of OPERATIONS) {
    const text = tableOf(results, operation, torch);
    if (text) say(`### ${TITLES[operation]}\n\n${text}`);
    const chart = chartOf(results, operation);
    if (!chart) continue;
    const image = `${basename(file, ".json")}-${operation.replace("+", "-")}.svg`;
    await writeFile(join(FOLDER, image), chart);
    say(`![${TITLES[operation]}: time over size](${image})`);
  }
  const wrong = results.skipped.filter(({ reason }) => reason.startsWith(WRONG));
  if (wrong.length > 0) {
    const named = new Set(
      wrong.map(
        ({ candidate, name, layout, reason }) => `${candidate} on ${name}, ${layout} (${reason})`,
      ),
    );
    say(`Wrong results, checked against float64 before timing: ${[...named].join("; ")}.`);
  }
  const unfit = results.skipped.filter(
    ({ reason }) => !/^wrong|does inference only|with every backward|has the channel/.test(reason),
  );
  if (unfit.length > 0) {
    const cases = new Map<string, string[]>();
    for (const { candidate, name, dtype, layout, operation, reason } of unfit) {
      const key = `${candidate}: ${reason}`;
      cases.set(key, [...(cases.get(key) ?? []), `${operation} of ${name} ${dtype}, ${layout}`]);
    }
    const lines = [...cases].map(([key, of]) => `- ${key} (${of.join("; ")})`);
    say(`Left out:\n\n${lines.join("\n")}`);
  }
  const cost = results.hostCost;
  if (cost) {
    say(
      table(
        ["JavaScript per call, least of ten medians", "µs"],
        [
          ["`plan.encode()` of a planned forward", digits3(cost.encode)],
          ["`module.forward()`, submit included", digits3(cost.moduleForward)],
          ["`module.forward()` and `backward()`", digits3(cost.moduleStep)],
        ],
      ) + `\n\nBuffers created by all these calls together: ${cost.buffersMade}.`,
    );
  }
}

const given = process.argv.slice(2);
const files =
  given.length > 0
    ? given
    : (await readdir(FOLDER))
        .filter((name) => name.endsWith(".json"))
        .map((name) => join(FOLDER, name));
const read = await Promise.all(
  files.map(async (file) => ({
    file,
    results: JSON.parse(await readFile(file, "utf8")) as Results,
  })),
);
const modelOf = (file: string): string => basename(file).replace(/-\w+\.json$/, "");
const torchBeside = (file: string): Results | undefined =>
  read.find((each) => each.results.host === "torch" && modelOf(each.file) === modelOf(file))
    ?.results;
const texts: string[] = [];
for (const { file, results } of read)
  if (results.host !== "torch")
    await report(file, torchBeside(file)?.rows ?? [], (text) => texts.push(text));
process.stdout.write(`${texts.join("\n\n")}\n`);

if (given.length === 0) {
  const head =
    "# Results of the benchmark\n\nWritten by `npm run bench:report`.\n\n" +
    "The rows of one file may have been measured at different times, under different load. What stands in one row was" +
    " measured together: compare within a row, as the columns in copies do, not times of different rows. (The column of" +
    " the best other library takes its time from the row of its better layout.)";
  await writeFile(join(FOLDER, "README.md"), `${[head, ...texts].join("\n\n")}\n`);
  // Where every peer runs: in a browser.
  const summary = read.find(({ results }) => results.host === "browser");
  let readme = await readFile("README.md", "utf8");
  const replace = (name: string, text: string): void => {
    readme = readme.replace(
      new RegExp(`(<!-- ${name} -->\\n)[\\s\\S]*?(\\n<!-- /${name} -->)`),
      (_, begin: string, end: string) => `${begin}${text}${end}`,
    );
  };
  if (summary) replace("bench", summaryOf(summary.results));
  const gpu = read.find(({ file, results }) => results.host === "node" && torchBeside(file));
  if (gpu) replace("bench:gpu", gpuSummaryOf(gpu.results, torchBeside(gpu.file)!));
  await writeFile("README.md", readme);
}
