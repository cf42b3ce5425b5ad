/**
 * The page's settings as they stand in its address. Browsers count how often it is written, and refuse when a slider that
 * moves writes too often: what changes within a moment is written at once at its end.
 */
const parameters = new URLSearchParams(location.search);
/** Milliseconds from one writing to the next. */
const MOMENT = 250;
let written = -Infinity;
let pending: ReturnType<typeof setTimeout> | null = null;

export function read(name: string): string | null {
  return parameters.get(name);
}

/** Writes settings into the address, in place; null takes one out. */
export function write(values: Readonly<Record<string, string | null>>): void {
  for (const [name, value] of Object.entries(values)) {
    if (value === null) parameters.delete(name);
    else parameters.set(name, value);
  }
  pending ??= setTimeout(flush, Math.max(0, written + MOMENT - performance.now()));
}

/** Writes what waits. */
export function flush(): void {
  if (pending === null) return;
  clearTimeout(pending);
  pending = null;
  written = performance.now();
  const text = parameters.toString().replaceAll("%2C", ",");
  history.replaceState(
    null,
    "",
    `${location.pathname}${text === "" ? "" : `?${text}`}${location.hash}`,
  );
}

addEventListener("pagehide", flush);
