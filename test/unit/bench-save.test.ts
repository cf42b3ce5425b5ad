/** What `npm run bench -- --append` makes of two runs. */
import { expect, test } from "vitest";
import { appended } from "../../bench/save.js";
import type { Results } from "../../bench/results.js";

const one = (name: string) => ({
  ...{ name, layout: "channels-first", dtype: "f32", operation: "forward" },
  candidate: "all",
});
const run = (rows: string[], skipped: string[]): Results =>
  ({
    ...{ adapter: "a", host: "node", runtime: "r", date: "d", timing: "t", peers: [] },
    rows: rows.map((name) => ({ ...one(name), candidate: "webgpu-batchnorm" })),
    skipped: skipped.map((name) => ({ ...one(name), reason: "the time was over" })),
  }) as unknown as Results;
const names = ({ rows, skipped }: Results) => [rows, skipped].map((of) => of.map((x) => x.name));

test("a case counts as left out only where no run has timed it", () => {
  const first = run(["timed", "again"], ["late", "never"]);
  const second = run(["again", "late"], ["timed", "never", "other"]);
  expect(names(appended(first, second))).toEqual([
    ["timed", "again", "late"],
    ["never", "other"],
  ]);
});

test("a peer that failed this time is said of rows from before too", () => {
  const second = run([], ["timed"]);
  const failed = { ...second.skipped[0]!, candidate: "jax-js" };
  const both = appended(run(["timed"], []), { ...second, skipped: [failed] });
  expect(names(both)).toEqual([["timed"], ["timed"]]);
});
