// What an application loads of the core, minified and compressed: node scripts/size.mjs
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "vite";

const root = fileURLToPath(new URL("..", import.meta.url));
const index = `${root}src/index.ts`;

/** Takes the place of an application that imports this and no more. */
function application(code) {
  return {
    name: "application",
    enforce: "pre",
    resolveId: (id) => (/(^|\/)application$/.test(id) ? "\0application" : null),
    load: (id) => (id === "\0application" ? code : null),
  };
}

async function sizeOf(names) {
  const [{ output }] = await build({
    root,
    configFile: `${root}vite.config.ts`,
    logLevel: "error",
    plugins: [application(`export ${names} from ${JSON.stringify(index)};`)],
    build: {
      write: false,
      lib: { entry: "application", formats: ["es"], fileName: "application" },
      rolldownOptions: { output: { minify: true } },
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
for (const [part, names] of Object.entries(parts)) {
  const { minified, compressed } = await sizeOf(names);
  console.log(`${part}: ${minified} bytes minified, ${compressed} bytes with gzip`);
}
