import type { Reporter, TestModule, TestSuite } from "vitest/node";

declare module "vitest" {
  interface TaskMeta {
    /** The adapter that a file's devices were on; test/support/device.ts says it. */
    adapter?: string;
  }
}

/**
 * Ends the output with the adapters that were used and one plain line, `N passed, N failed[, N skipped]`, for
 * machines that read it. What fails outside a test (a file that does not load, a hook, a stray rejection) counts
 * as one failure each, so that the line says 0 only where the run is green.
 */
export default class ClosingLine implements Reporter {
  #closing = "";

  constructor() {
    process.on("exit", () => {
      process.stdout.write(this.#closing);
    });
  }

  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const counts = { passed: 0, failed: errors.length, skipped: 0, pending: 0 };
    const adapters = new Set<string>();
    for (const module of modules) {
      const groups: (TestModule | TestSuite)[] = [module, ...module.children.allSuites()];
      for (const group of groups) counts.failed += group.errors().length;
      for (const test of module.children.allTests()) counts[test.result().state] += 1;
      const { adapter } = module.meta();
      if (adapter) adapters.add(`${module.project.name}: ${adapter}`);
    }
    const skipped = counts.skipped + counts.pending;
    this.#closing =
      [...adapters].map((line) => `${line}\n`).join("") +
      `${counts.passed} passed, ${counts.failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}\n`;
  }
}
