/** One line of a chart. */
export interface Line {
  readonly name: string;
  readonly kind: "copy" | "command" | "ours" | "peer" | "cpu";
  /** x and y, both above 0, x ascending. */
  readonly points: readonly (readonly [number, number])[];
}

const WIDTH = 860;
const HEIGHT = 460;
const LEFT = 78;
const RIGHT = 190;
const TOP = 52;
const BOTTOM = 56;

/** Colours for light and dark, told apart by those who see few of them; lines differ in dashes too. */
const PEERS = [
  ["#c2570c", "#fb923c", "6 3"],
  ["#15803d", "#4ade80", "2 3"],
  ["#7e22ce", "#c084fc", "8 3 2 3"],
  ["#b91c1c", "#f87171", "12 4"],
  ["#0f766e", "#2dd4bf", "4 2"],
] as const;
const FIXED = {
  ours: ["#1d4ed8", "#60a5fa", ""],
  copy: ["#6b7280", "#9ca3af", "1 3"],
  command: ["#a1a1aa", "#71717a", "1 5"],
  cpu: ["#854d0e", "#eab308", "3 3"],
} as const;

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

export function sizeText(bytes: number): string {
  const units = ["B", "KB", "MB", "GB"];
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${Number(value.toPrecision(3))} ${units[unit]!}`;
}

export function timeText(ms: number): string {
  if (ms >= 1000) return `${Number((ms / 1000).toPrecision(3))} s`;
  if (ms >= 1) return `${Number(ms.toPrecision(3))} ms`;
  return `${Number((ms * 1000).toPrecision(3))} µs`;
}

/** Moves labels apart so that none lies on another. */
function spread(places: number[], gap: number): number[] {
  const order = places.map((place, i) => ({ place, i })).sort((a, b) => a.place - b.place);
  for (let k = 1; k < order.length; k++) {
    order[k]!.place = Math.max(order[k]!.place, order[k - 1]!.place + gap);
  }
  const over = (order.at(-1)?.place ?? 0) - (HEIGHT - BOTTOM);
  for (let k = order.length - 1, most = HEIGHT - BOTTOM; over > 0 && k >= 0; k--, most -= gap) {
    order[k]!.place = Math.min(order[k]!.place, most);
  }
  const result = [...places];
  for (const { place, i } of order) result[i] = place;
  return result;
}

/** Draws time over size, both axes logarithmic, as an SVG that follows the reader's light or dark scheme. */
export function lineChart(title: string, subtitle: string, lines: readonly Line[]): string {
  const xs = lines.flatMap(({ points }) => points.map(([x]) => x));
  const ys = lines.flatMap(({ points }) => points.map(([, y]) => y));
  const [x0, x1] = [Math.log2(Math.min(...xs)), Math.log2(Math.max(...xs))];
  const [y0, y1] = [
    Math.floor(Math.log10(Math.min(...ys))),
    Math.ceil(Math.log10(Math.max(...ys))),
  ];
  const placeX = (x: number): number =>
    LEFT + ((Math.log2(x) - x0) / Math.max(1, x1 - x0)) * (WIDTH - LEFT - RIGHT);
  const placeY = (y: number): number =>
    HEIGHT - BOTTOM - ((Math.log10(y) - y0) / Math.max(1, y1 - y0)) * (HEIGHT - TOP - BOTTOM);
  let peer = 0;
  const styled = lines.map((line) => ({
    ...line,
    style: line.kind === "peer" ? PEERS[peer++ % PEERS.length]! : FIXED[line.kind],
  }));
  const rules = styled
    .map(({ style: [light] }, i) => `.l${i}{stroke:${light};fill:${light}}`)
    .join("");
  const dark = styled
    .map(({ style: [, colour] }, i) => `.l${i}{stroke:${colour};fill:${colour}}`)
    .join("");
  const parts: string[] = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img" aria-label="${escape(title)}">`,
    `<style>text{font:13px system-ui,sans-serif;fill:#1f2937}.t{font-size:16px;font-weight:600}.s{fill:#4b5563}.b{fill:#fff}.g{stroke:#e5e7eb}.a{stroke:#6b7280}${rules}path{fill:none!important;stroke-width:1.8}.w{stroke-width:3}text[class^=l]{stroke:none}@media(prefers-color-scheme:dark){text{fill:#e5e7eb}.s{fill:#9ca3af}.b{fill:#0d1117}.g{stroke:#30363d}.a{stroke:#9ca3af}${dark}}</style>`,
    `<rect class="b" width="100%" height="100%" rx="6"/>`,
    `<text class="t" x="${LEFT}" y="24">${escape(title)}</text>`,
    `<text class="s" x="${LEFT}" y="42">${escape(subtitle)}</text>`,
  ];
  for (let power = y0; power <= y1; power++) {
    const y = placeY(10 ** power).toFixed(1);
    parts.push(
      `<line class="g" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y}" y2="${y}"/>`,
      `<text x="${LEFT - 8}" y="${y}" dy="4" text-anchor="end">${timeText(10 ** power)}</text>`,
    );
  }
  for (let power = Math.ceil(x0); power <= x1; power++) {
    const x = placeX(2 ** power).toFixed(1);
    const labelled = (power - Math.ceil(x0)) % 2 === 0 || x1 - x0 < 8;
    parts.push(
      `<line class="${labelled ? "g" : "n"}" x1="${x}" x2="${x}" y1="${TOP}" y2="${HEIGHT - BOTTOM}"/>`,
    );
    if (labelled) {
      parts.push(
        `<text x="${x}" y="${HEIGHT - BOTTOM + 18}" text-anchor="middle">${sizeText(2 ** power)}</text>`,
      );
    }
  }
  const middle = (LEFT + WIDTH - RIGHT) / 2;
  parts.push(
    `<line class="a" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${HEIGHT - BOTTOM}" y2="${HEIGHT - BOTTOM}"/>`,
    `<line class="a" x1="${LEFT}" x2="${LEFT}" y1="${TOP}" y2="${HEIGHT - BOTTOM}"/>`,
    `<text class="s" x="${middle}" y="${HEIGHT - 12}" text-anchor="middle">size of x (logarithmic)</text>`,
    `<text class="s" transform="translate(18 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">time, median (logarithmic)</text>`,
  );
  const ends = styled.map(({ points }) => placeY(points.at(-1)![1]));
  const labels = spread(ends, 16);
  styled.forEach(({ name, kind, points, style: [, , dashes] }, i) => {
    const path = points.map(
      ([x, y], k) => `${k === 0 ? "M" : "L"}${placeX(x).toFixed(1)} ${placeY(y).toFixed(1)}`,
    );
    const [lastX] = points.at(-1)!;
    const end = placeX(lastX);
    const edge = WIDTH - RIGHT + 12;
    parts.push(
      `<path class="l${i}${kind === "ours" ? " w" : ""}" d="${path.join("")}"${dashes ? ` stroke-dasharray="${dashes}"` : ""}/>`,
      ...points.map(
        ([x, y]) =>
          `<circle class="l${i}" cx="${placeX(x).toFixed(1)}" cy="${placeY(y).toFixed(1)}" r="2.4"><title>${escape(name)}: ${sizeText(x)}, ${timeText(y)}</title></circle>`,
      ),
      `<path class="l${i}" style="stroke-width:.6" d="M${end.toFixed(1)} ${ends[i]!.toFixed(1)}L${edge} ${labels[i]!.toFixed(1)}"/>`,
      `<text class="l${i}" x="${edge + 4}" y="${labels[i]!.toFixed(1)}" dy="4">${escape(name)}</text>`,
    );
  });
  parts.push("</svg>");
  return `${parts.join("\n")}\n`;
}
