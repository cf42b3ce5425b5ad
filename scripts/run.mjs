// Runs a TypeScript file in Node with the package's aliases and `?raw` shaders: node scripts/run.mjs FILE [arguments]
import { fileURLToPath } from "node:url";
import { createServer } from "vite";

const [file, ...rest] = process.argv.slice(2);
if (!file) {
  console.error("usage: node scripts/run.mjs FILE [arguments]");
  process.exit(2);
}
process.argv.splice(1, 2, file);
void rest;
const root = fileURLToPath(new URL("..", import.meta.url));
const server = await createServer({
  root,
  configFile: false,
  logLevel: "error",
  appType: "custom",
  server: { middlewareMode: true, hmr: false, watch: null, ws: false },
  optimizeDeps: { noDiscovery: true, include: [] },
  resolve: {
    alias: [
      { find: /^webgpu-batchnorm$/, replacement: `${root}src/index.ts` },
      { find: /^webgpu-batchnorm\/(\w+)$/, replacement: `${root}src/$1.ts` },
    ],
  },
});
let status = 0;
try {
  await server.ssrLoadModule(`/${file}`);
} catch (error) {
  console.error(error);
  status = 1;
}
await server.close();
process.exit(status || process.exitCode || 0);
