/** How numbers are written, in the terminal and on the page. */

/** 10000 -> `10,000`. */
export function grouped(n: number): string {
  return n.toLocaleString("en-US");
}

/** An error or a tolerance: `0`, `1.2e-7`, `0.034`, `NaN`. */
export function scientific(value: number): string {
  if (value === 0 || !Number.isFinite(value)) return String(value);
  return Math.abs(value) >= 0.01 && Math.abs(value) < 1000
    ? value.toPrecision(2)
    : value.toExponential(1);
}

/** A ratio: `0.12 ×`, `3.40 ×`, `12.3 ×`. */
export function times(value: number): string {
  return `${Math.abs(value) < 10 ? value.toFixed(2) : digits3(value)} ×`;
}

/** Three significant digits without an exponent: `0.0123`, `1.23`, `123`, `1,235`. */
export function digits3(value: number): string {
  if (value === 0 || !Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size >= 999.5) return grouped(Math.round(value));
  const decimals = Math.min(6, Math.max(0, 2 - Math.floor(Math.log10(size) + 1e-9)));
  return value.toFixed(decimals);
}

/** `420 bytes`, `24.6 kB`, `12.8 MB`: thousands, not 1024s. */
export function byteText(bytes: number): string {
  if (bytes < 1e3) return `${bytes} bytes`;
  return bytes < 1e6 ? `${digits3(bytes / 1e3)} kB` : `${digits3(bytes / 1e6)} MB`;
}

/** `[16, 64, 56, 56]`. */
export function shapeText(shape: readonly number[]): string {
  return `[${shape.join(", ")}]`;
}

/** A share in percent: `< 1 %`, `42 %`; far beyond all of it a ratio. */
export function percent(share: number): string {
  if (!Number.isFinite(share)) return String(share);
  if (share >= 10) return times(share);
  return share > 0 && share < 0.01 ? "< 1 %" : `${Math.round(share * 100)} %`;
}
