/** Lines over batch sizes, as SVG for light and dark pages. */
export interface Line {
  readonly name: string;
  /** Size and accuracy in percent. */
  readonly points: readonly (readonly [number, number])[];
}

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [720, 400, 64, 130, 44, 52];

/** Colours for light and dark, told apart by those who see few of them; lines differ in dashes too. */
const STYLES = [
  ["#6b7280", "#9ca3af", ""],
  ["#1d4ed8", "#60a5fa", "6 3"],
  ["#c2570c", "#fb923c", "2 3"],
  ["#15803d", "#4ade80", "9 4"],
  ["#7e22ce", "#c084fc", "8 3 2 3"],
] as const;

export function chartOf(title: string, xTitle: string, lines: readonly Line[]): string {
  const sizes = [...new Set(lines.flatMap(({ points }) => points.map(([size]) => size)))].sort(
    (a, b) => a - b,
  );
  const values = lines.flatMap(({ points }) => points.map(([, value]) => value));
  const low = Math.floor((Math.min(...values) - 1) / 5) * 5;
  const x = (size: number): number =>
    LEFT + (sizes.indexOf(size) / Math.max(1, sizes.length - 1)) * (WIDTH - LEFT - RIGHT);
  const y = (value: number): number =>
    TOP + ((100 - value) / (100 - low)) * (HEIGHT - TOP - BOTTOM);
  const rules: string[] = [];
  for (let value = low; value <= 100; value += 5) {
    rules.push(
      `<path class="rule" d="M${LEFT} ${y(value).toFixed(1)}H${WIDTH - RIGHT}"/>`,
      `<text x="${LEFT - 8}" y="${(y(value) + 4).toFixed(1)}" text-anchor="end">${value} %</text>`,
    );
  }
  // Labels beside the last points, moved apart.
  const ends = lines
    .map(({ points }, i) => ({ i, at: y(points.at(-1)![1]) }))
    .sort((a, b) => a.at - b.at);
  for (let k = 1; k < ends.length; k++) ends[k]!.at = Math.max(ends[k]!.at, ends[k - 1]!.at + 16);
  const drawn = lines.flatMap(({ name, points }, i) => [
    `<polyline class="line s${i}" points="${points.map(([size, value]) => `${x(size).toFixed(1)},${y(value).toFixed(1)}`).join(" ")}"/>`,
    ...points.map(
      ([size, value]) =>
        `<circle class="dot s${i}" cx="${x(size).toFixed(1)}" cy="${y(value).toFixed(1)}" r="3"/>`,
    ),
    `<text class="name s${i}" x="${WIDTH - RIGHT + 12}" y="${(ends.find((each) => each.i === i)!.at + 4).toFixed(1)}">${name}</text>`,
  ]);
  const colours = (dark: 0 | 1): string =>
    lines
      .map((_, i) => {
        const colour = STYLES[i % STYLES.length]![dark];
        return `.line.s${i},.dot.s${i}{stroke:${colour}}.dot.s${i},.name.s${i}{fill:${colour}}`;
      })
      .join("");
  const dashes = lines
    .map((_, i) => `.line.s${i}{stroke-dasharray:${STYLES[i % STYLES.length]![2] || "none"}}`)
    .join("");
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${title}">`,
    `<style>text{font:13px system-ui,sans-serif;fill:#374151}.rule{stroke:#d1d5db;fill:none}.line{fill:none;stroke-width:2}${dashes}${colours(0)}`,
    `@media(prefers-color-scheme:dark){text{fill:#d1d5db}.rule{stroke:#374151}${colours(1)}}</style>`,
    `<text x="${LEFT}" y="22" font-weight="600">${title}</text>`,
    ...rules,
    ...sizes.map(
      (size) =>
        `<text x="${x(size).toFixed(1)}" y="${HEIGHT - BOTTOM + 20}" text-anchor="middle">${size}</text>`,
    ),
    `<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 10}" text-anchor="middle">${xTitle}</text>`,
    ...drawn,
    "</svg>",
    "",
  ].join("\n");
}
