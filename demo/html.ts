/** Text that is safe between tags and in attributes. */
export function escape(text: string | number): string {
  return String(text).replace(/[&<>"]/g, (each) => `&#${each.charCodeAt(0)};`);
}

/** The element of that id. */
export function byId<T extends HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element #${id}`);
  return found as T;
}

/** A table whose first column is text, and the others numbers. Cells are HTML. */
export function tableHtml(
  caption: string,
  titles: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const head = titles.map((title) => `<th scope="col">${escape(title)}</th>`).join("");
  const body = rows
    .map(
      ([first, ...rest]) =>
        `<tr><th scope="row">${first}</th>${rest.map((cell) => `<td>${cell}</td>`).join("")}</tr>`,
    )
    .join("");
  return `<table><caption>${escape(caption)}</caption><thead><tr>${head}</tr></thead><tbody>${body}</tbody></table>`;
}

/** A table that is folded away beneath a chart; it stays open when its content is replaced. */
export function foldedTable(id: string, ...table: Parameters<typeof tableHtml>): string {
  const open =
    document.querySelector<HTMLDetailsElement>(`details[data-id="${id}"]`)?.open === true;
  return (
    `<details data-id="${id}"${open ? " open" : ""}><summary>As a table</summary>` +
    `<div class="scroll" tabindex="0">${tableHtml(...table)}</div></details>`
  );
}
