/** The code in README and docs runs as it stands, and prints what it says. */
import { format } from "node:util";
import { expect, test, vi } from "vitest";
import { allSnippets, promisedBy } from "../support/snippets.js";

const all = allSnippets();

test("there are snippets", () => {
  expect(all.length).toBeGreaterThan(1);
});

test.each(all)("$name", async (snippet) => {
  const printed: string[] = [];
  const log = vi.spyOn(console, "log").mockImplementation((...values: unknown[]) => {
    printed.push(format(...values));
  });
  try {
    await import(/* @vite-ignore */ `@snippet/${snippet.name}`);
  } finally {
    log.mockRestore();
  }
  const promised = promisedBy(snippet);
  expect(printed.slice(0, promised.length)).toEqual(promised);
});
