import { GPU_TUNING, SOFTWARE_TUNING, type Tuning } from "webgpu-batchnorm";
import { casesOf, selectShapes, type Case } from "./cases.js";
import { BufferMeter } from "./meter.js";
import type { Options } from "./options.js";
import { COPY_COMMAND, copyKernels, isSoftware, ours } from "./ours.js";
import { runCase, type Listener } from "./suite.js";

type Ranges = Partial<Record<keyof Tuning, readonly (number | boolean)[]>>;

/** A value's neighbours: halves and doubles of what the table has, and the toggles. */
function around(device: GPUDevice, tuning: Tuning): Ranges {
  const lanes = device.adapterInfo.subgroupMinSize ?? 4;
  return Object.fromEntries(
    Object.entries(tuning).map(([name, value]: [string, unknown]) => [
      name,
      name === "subgroup"
        ? [0, lanes]
        : typeof value === "number"
          ? [...new Set([value / 4, value / 2, value, value * 2, value * 4])].filter(
              (each) => each >= 1,
            )
          : [false, true],
    ]),
  );
}

/** Workgroups must fit, and a team its workgroup. */
function valid(device: GPUDevice, tuning: Tuning): boolean {
  return (
    tuning.workgroupSize <= device.limits.maxComputeInvocationsPerWorkgroup &&
    tuning.maxTeam <= tuning.workgroupSize &&
    tuning.maxHeldTeam <= device.limits.maxComputeInvocationsPerWorkgroup &&
    (tuning.subgroup === 0 || device.features.has("subgroups"))
  );
}

/**
 * Varies the tuning table one entry at a time, each entry's best kept for the next, over all cases; what counts is the
 * geometric mean of the times (the tenth in a hundred: a busy machine only adds) over those of the table as it stands.
 * The table's own value runs along as one of the values: how far it is from 1 is the noise.
 */
export async function runSweep(
  device: GPUDevice,
  options: Options,
  listener: Listener,
): Promise<Partial<Tuning>> {
  const table: Tuning = {
    ...(isSoftware(device) ? SOFTWARE_TUNING : GPU_TUNING),
    ...options.tuning,
  };
  const asked = options.sweep as Ranges;
  const ranges = Object.keys(asked).length > 0 ? asked : around(device, table);
  const meter = new BufferMeter(device);
  const cases = casesOf(
    selectShapes(options.shapes),
    options.layouts,
    options.dtypes,
    options.operations,
  );
  const best: Record<string, number | boolean> = {};
  const names = Object.keys(ranges) as (keyof Tuning)[];
  for (const [at, name] of names.entries()) {
    const values = ranges[name]!.filter((value) =>
      valid(device, { ...table, ...best, [name]: value }),
    );
    const candidates = values.map((value) => ours(String(value), { ...best, [name]: value }));
    const baseline = ours("table", { ...best });
    const shares = new Map<string, number[]>(values.map((value) => [String(value), []]));
    const perCase: { each: Case; shares: Map<string, number> }[] = [];
    for (const [index, each] of cases.entries()) {
      listener.progress(at * cases.length + index, names.length * cases.length, name);
      const { rows, skipped } = await runCase(
        device,
        meter,
        each,
        [...copyKernels(), COPY_COMMAND, baseline, ...candidates],
        options,
      );
      for (const { candidate, reason } of skipped) listener.warn(`${name} ${candidate}: ${reason}`);
      const timeOf = (candidate: string): number | undefined => {
        const row = rows.find((row) => row.candidate === candidate);
        return row && (row.device ?? row.wall).p10;
      };
      const base = timeOf("table");
      if (base === undefined) continue;
      const these = new Map<string, number>();
      for (const value of values) {
        const ms = timeOf(String(value));
        shares.get(String(value))!.push(ms === undefined ? Infinity : ms / base);
        these.set(String(value), ms === undefined ? Infinity : ms / base);
      }
      perCase.push({ each, shares: these });
    }
    const mean = (of: readonly number[]): number =>
      Math.exp(of.reduce((sum, share) => sum + Math.log(share), 0) / of.length);
    const ranked = values
      .map((value) => ({ value, share: mean(shares.get(String(value))!) }))
      .sort((a, b) => a.share - b.share);
    listener.warn(`${name} (now ${String({ ...table, ...best }[name])}), time over the table's:`);
    for (const { value, share } of ranked)
      listener.warn(`    ${String(value).padStart(8)}  ${share.toFixed(3)}`);
    for (const { each, shares: these } of perCase) {
      const text = [...these].map(([value, share]) => `${value}: ${share.toFixed(2)}`).join("  ");
      const [quickest] = [...these].sort(([, a], [, b]) => a - b)[0] ?? ["-"];
      listener.warn(
        `      ${each.operation} ${each.name} ${each.layout} ${each.dtype}   best ${quickest}   (${text})`,
      );
    }
    const winner = ranked[0];
    // Less than 2 in a hundred is noise.
    if (winner && winner.share < 0.98) best[name] = winner.value;
  }
  listener.progress(1, 1, "");
  listener.warn(`best: ${JSON.stringify(best)}`);
  return best;
}
