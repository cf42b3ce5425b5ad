/** The benchmark in Chromium: builds the page, serves it cross-origin isolated, and collects what it measured. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { build, preview, type InlineConfig } from "vite";
import { chromiumLaunch } from "../test/support/chromium.js";
import { runCommand, type Options } from "./options.js";
import { printRow, printSummary, ProgressBar } from "./print.js";
import { fileNameOf, timingOf, type Results, type Row } from "./results.js";
import { appended, resultsIn, save } from "./save.js";

const root = fileURLToPath(new URL("../..", import.meta.url));

// A fine clock (5 us instead of 100) needs a cross-origin isolated page.
const headers = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

const page: InlineConfig = {
  root: join(root, "bench"),
  base: "./",
  configFile: false,
  logLevel: "error",
  resolve: {
    alias: [
      { find: /^webgpu-batchnorm$/, replacement: join(root, "src/index.ts") },
      { find: /^webgpu-batchnorm\/(\w+)$/, replacement: `${join(root, "src")}/$1` },
    ],
  },
  build: {
    outDir: join(root, "build/bench/page"),
    emptyOutDir: true,
    target: "es2022",
    minify: false,
    chunkSizeWarningLimit: 1e5,
    rolldownOptions: { input: join(root, "bench/browser.html") },
  },
  preview: { headers, port: 0, host: "127.0.0.1", strictPort: false },
};

async function main(options: Options): Promise<void> {
  await build(page);
  const server = await preview(page);
  const url = server.resolvedUrls?.local[0];
  const { executablePath, args, env } = await chromiumLaunch();
  const browser = await chromium.launch({ executablePath, args, env });
  try {
    const tab = await browser.newPage();
    const bar = new ProgressBar();
    tab.on("pageerror", (error) => process.stderr.write(`  page: ${error.message}\n`));
    tab.on("console", (message) => {
      if (message.type() === "error") process.stderr.write(`  page: ${message.text()}\n`);
    });
    tab.on("crash", () => process.stderr.write("  the page crashed\n"));
    await tab.exposeFunction("onBenchProgress", (done: number, total: number, label: string) => {
      bar.draw(done, total, label);
    });
    await tab.exposeFunction("onBenchRows", (rows: readonly Row[]) => {
      bar.clear();
      printRow(rows);
    });
    await tab.exposeFunction("onBenchWarning", (text: string) => {
      bar.clear();
      process.stderr.write(`  ${text}\n`);
    });
    await tab.goto(new URL("browser.html", url).href);
    await tab.waitForFunction(() => typeof window.benchmark === "function");
    process.stdout.write(`\n  Chromium ${browser.version()}\n`);
    const { adapter, timestamps } = await tab.evaluate(() => window.describeDevice());
    const head = {
      adapter,
      host: "browser",
      runtime: `Chromium ${browser.version()}`,
      date: new Date().toISOString().slice(0, 10),
      timing: timingOf(timestamps),
    } as const;
    const file = options.json ?? join("bench", "results", fileNameOf(head));
    const before = options.append ? await resultsIn(file, head) : null;
    const suite = await tab.evaluate((of) => window.benchmark(of), options);
    const measured: Results = { ...head, ...suite };
    const results = appended(before, measured);
    await save(file, results);
    printSummary(results);
    process.stdout.write(`\n  ${results.adapter}; written to ${file}\n`);
  } finally {
    await browser.close();
    await server.close();
  }
}

await runCommand(main);
