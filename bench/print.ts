import type { Results, Row } from "./results.js";

const WIDTH = 24;

/** One line that is drawn over; nothing where the output is no terminal. */
export class ProgressBar {
  draw(done: number, total: number, label: string): void {
    if (!process.stdout.isTTY || total === 0) return;
    const full = Math.round((done / total) * WIDTH);
    const bar = "█".repeat(full) + "░".repeat(WIDTH - full);
    process.stdout.write(`\r\u001b[K  ${bar}  ${done}/${total}  ${label}`);
  }

  clear(): void {
    if (process.stdout.isTTY) process.stdout.write("\r\u001b[K");
  }
}

export function digits3(value: number): string {
  if (!Number.isFinite(value)) return "-";
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toPrecision(3);
}

function timeText(ms: number): string {
  return ms >= 1 ? `${digits3(ms)} ms` : `${digits3(ms * 1000)} us`;
}

/** All candidates of one case. */
export function printRow(rows: readonly Row[]): void {
  const first = rows[0];
  if (!first) return;
  process.stdout.write(
    `\n  ${first.operation}  ${first.name}  [${first.shape.join(", ")}] ${first.layout} ${first.dtype}\n`,
  );
  for (const row of rows) {
    const cells = [
      row.candidate.padEnd(26),
      timeText(row.wall.ms).padStart(9),
      `${timeText(row.wall.p10)} to ${timeText(row.wall.p90)}`.padStart(22),
      `${digits3(row.copies)} copies`.padStart(13),
      `${digits3(row.bestCopies)} at best`.padStart(13),
      (row.deviceCopies === undefined
        ? ""
        : `(${digits3(row.deviceCopies)} on the device)`
      ).padStart(20),
      row.kind === "cpu" ? "" : `${digits3(row.gbps ?? NaN)} GB/s`.padStart(11),
      row.held === undefined ? "" : `holds ${digits3(row.held)} x`.padStart(14),
      row.error === undefined ? "" : `error ${row.error.toExponential(1)}`.padStart(13),
      row.note ?? "",
    ];
    process.stdout.write(`    ${cells.join("  ").trimEnd()}\n`);
  }
}

/** What was left out, and what calls cost. */
export function printSummary(results: Results): void {
  const reasons = new Map<string, number>();
  for (const { candidate, reason } of results.skipped) {
    const key = `${candidate}: ${reason}`;
    reasons.set(key, (reasons.get(key) ?? 0) + 1);
  }
  if (reasons.size > 0) process.stdout.write("\n  left out\n");
  for (const [reason, count] of reasons) process.stdout.write(`    ${reason} (${count} cases)\n`);
  const cost = results.hostCost;
  if (!cost) return;
  process.stdout.write(
    `\n  in JavaScript, least of ten medians: plan.encode() ${digits3(cost.encode)} us, module.forward() ${digits3(cost.moduleForward)} us,` +
      ` forward() and backward() ${digits3(cost.moduleStep)} us; buffers made: ${cost.buffersMade}\n`,
  );
}
