/** The page's settings as they stand in its address. */

export function read(name: string): string | null {
  return new URLSearchParams(location.search).get(name);
}

/** Writes settings into the address, in place; null takes one out. */
export function write(values: Readonly<Record<string, string | null>>): void {
  const parameters = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(values)) {
    if (value === null) parameters.delete(name);
    else parameters.set(name, value);
  }
  const text = parameters.toString().replaceAll("%2C", ",");
  history.replaceState(
    null,
    "",
    `${location.pathname}${text === "" ? "" : `?${text}`}${location.hash}`,
  );
}
