/**
 * `npm run bench -- [options]`, see --help: bundles the benchmark into one file and runs it. With --bundle it only writes
 * build/bench.mjs, which needs nothing beside it but the npm package webgpu.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const root = fileURLToPath(new URL("..", import.meta.url));
const words = process.argv.slice(2);

async function bundle(entry: string, out: string, alone: boolean): Promise<string> {
  await build({
    root,
    configFile: false,
    logLevel: "error",
    resolve: {
      alias: [
        { find: /^webgpu-batchnorm$/, replacement: `${root}src/index.ts` },
        { find: /^webgpu-batchnorm\/(\w+)$/, replacement: `${root}src/$1` },
      ],
    },
    ssr: alone ? { noExternal: true, target: "node" } : {},
    build: {
      ssr: `bench/${entry}`,
      outDir: alone ? "build" : "build/bench",
      emptyOutDir: false,
      target: "node20",
      minify: false,
      rolldownOptions: {
        external: [
          /^node:/,
          "webgpu",
          "@sparticuz/chromium",
          "playwright-core",
          "vite",
          // 27 MB of WebAssembly beside its script.
          "onnxruntime-web/webgpu",
        ],
        output: { entryFileNames: out, codeSplitting: false },
      },
    },
  });
  return `build/${alone ? "" : "bench/"}${out}`;
}

const browser = words.includes("--browser");
const file = browser
  ? await bundle("chromium.ts", "chromium.mjs", false)
  : await bundle("node.ts", "bench.mjs", true);
if (words.includes("--bundle")) {
  process.stdout.write(`written to ${file}; run it with: node ${file} --help\n`);
} else {
  const { status } = spawnSync(process.execPath, [file, ...words], { stdio: "inherit", cwd: root });
  process.exitCode = status ?? 1;
}
