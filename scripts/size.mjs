// What an application loads of the built package's core, minified and compressed: node scripts/size.mjs
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "vite";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Takes the place of an application that imports this and no more. */
function application(code) {
  return {
    name: "application",
    enforce: "pre",
    resolveId: (id) => (/(^|\/)application$/.test(id) ? "\0application" : null),
    load: (id) => (id === "\0application" ? code : null),
  };
}

async function sizeOf(names, index) {
  const [{ output }] = await build({
    root,
    configFile: false,
    logLevel: "error",
    plugins: [application(`export ${names} from ${JSON.stringify(index)};`)],
    build: {
      target: "es2022",
      write: false,
      lib: { entry: "application", formats: ["es"], fileName: "application" },
      // As for an application: no annotations for a bundler that would come after.
      rolldownOptions: { output: { minify: true, comments: false } },
    },
  });
  const code = output.map((chunk) => chunk.code ?? "").join("");
  return { minified: code.length, compressed: gzipSync(code, { level: 9 }).length };
}

const parts = {
  core: "*",
  "plans of training and inference":
    "{ createForward, createBackward, createInference, byteSizes }",
  "plans of inference": "{ createInference, byteSizes }",
};
const dist = await mkdtemp(join(tmpdir(), "webgpu-batchnorm-size-"));
try {
  await build({
    root,
    configFile: join(root, "vite.config.ts"),
    logLevel: "error",
    build: { outDir: dist },
  });
  for (const [part, names] of Object.entries(parts)) {
    const { minified, compressed } = await sizeOf(names, join(dist, "index.js"));
    console.log(`${part}: ${minified} bytes minified, ${compressed} bytes with gzip`);
  }
} finally {
  await rm(dist, { recursive: true });
}
