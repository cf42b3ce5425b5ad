/** A column of a text table; numbers stand right. */
export interface Column {
  readonly title: string;
  readonly align?: "left" | "right";
}

const ESCAPES = /\u001b\[\d+m/g;

/** Columns that a text takes in a terminal; escape sequences take none. */
export function widthOf(text: string): number {
  return [...text.replace(ESCAPES, "")].length;
}

function pad(text: string, width: number, align: "left" | "right"): string {
  const space = " ".repeat(Math.max(0, width - widthOf(text)));
  return align === "right" ? space + text : text + space;
}

/**
 * Lines of an aligned table: the titles, then the rows. A missing cell is empty.
 *
 * @param style is given each title, padded.
 */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  { indent = 2, gap = 3, style = (title: string): string => title } = {},
): string[] {
  const widths = columns.map((column, i) =>
    Math.max(widthOf(column.title), ...rows.map((row) => widthOf(row[i] ?? ""))),
  );
  const line = (cells: readonly string[], paint: (text: string) => string): string =>
    (
      " ".repeat(indent) +
      columns
        .map(({ align = "left" }, i) => paint(pad(cells[i] ?? "", widths[i]!, align)))
        .join(" ".repeat(gap))
    ).trimEnd();
  return [
    line(
      columns.map(({ title }) => title),
      style,
    ),
    ...rows.map((row) => line(row, (text) => text)),
  ];
}
