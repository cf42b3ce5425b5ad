// The core (everything that `webgpu-batchnorm` exports), minified and compressed: node scripts/size.mjs [limit in bytes]
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "vite";

const limit = Number(process.argv[2] ?? 15 * 1024);
const root = fileURLToPath(new URL("..", import.meta.url));
const [{ output }] = await build({
  root,
  configFile: `${root}vite.config.ts`,
  logLevel: "error",
  build: {
    write: false,
    lib: { entry: `${root}src/index.ts`, formats: ["es"] },
    rolldownOptions: { output: { minify: true } },
  },
});
const code = output.map((chunk) => chunk.code ?? "").join("");
const bytes = gzipSync(code, { level: 9 }).length;
console.log(`core: ${code.length} bytes minified, ${bytes} bytes with gzip (limit ${limit})`);
if (!(bytes <= limit)) process.exit(1);
