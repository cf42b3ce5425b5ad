// Runs a TypeScript file in Node with the package's aliases and `?raw` shaders: node scripts/run.mjs FILE [arguments]
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { createServer, runnerImport } from "vite";

const [file] = process.argv.slice(2);
if (!file) {
  console.error("usage: node scripts/run.mjs FILE [arguments]");
  process.exit(2);
}
// The program sees itself as the one that was called.
process.argv.splice(1, 2, file);
const root = fileURLToPath(new URL("..", import.meta.url));
const { alias } = await runnerImport(`${root}entries.ts`).then(({ module }) => module);
const server = await createServer({
  root,
  configFile: false,
  // What goes wrong is thrown, and printed once below.
  logLevel: "silent",
  appType: "custom",
  server: { middlewareMode: true, hmr: false, watch: null, ws: false },
  optimizeDeps: { noDiscovery: true, include: [] },
  resolve: { alias },
});
let status = 0;
try {
  await server.ssrLoadModule(resolve(file), { fixStacktrace: true });
} catch (error) {
  console.error(error);
  status = 1;
}
await server.close();
process.exit(status || process.exitCode || 0);
