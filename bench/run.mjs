// Bundles the benchmark into one file and runs it: node bench/run.mjs [options], see --help.
// With --bundle it only writes build/bench/bench.mjs, which needs nothing beside it but the npm package webgpu.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const root = fileURLToPath(new URL("..", import.meta.url));
const words = process.argv.slice(2);

const shared = {
  root,
  configFile: false,
  logLevel: "error",
  resolve: {
    alias: [
      { find: /^webgpu-batchnorm$/, replacement: `${root}src/index.ts` },
      { find: /^webgpu-batchnorm\/(\w+)$/, replacement: `${root}src/$1.ts` },
    ],
  },
};

async function bundle(entry, out, bare) {
  await build({
    ...shared,
    ssr: bare ? { noExternal: true, target: "node" } : {},
    build: {
      ssr: `bench/${entry}`,
      outDir: "build/bench",
      emptyOutDir: false,
      target: "node20",
      minify: false,
      rolldownOptions: {
        external: [/^node:/, "webgpu", "@sparticuz/chromium", "playwright-core", "vite", "onnxruntime-web/webgpu"],
        output: { entryFileNames: out, codeSplitting: false },
      },
    },
  });
  return `build/bench/${out}`;
}

if (words.includes("--browser")) {
  const driver = await bundle("chromium.ts", "chromium.mjs", false);
  const { status } = spawnSync(process.execPath, [driver, ...words], { stdio: "inherit", cwd: root });
  process.exit(status ?? 1);
}
const file = await bundle("node.ts", "bench.mjs", true);
if (words.includes("--bundle")) {
  console.log(`written to ${file}; run it with: node ${file} --help`);
} else {
  const { status } = spawnSync(process.execPath, [file, ...words], { stdio: "inherit", cwd: root });
  process.exit(status ?? 1);
}
