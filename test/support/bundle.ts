import { fileURLToPath } from "node:url";
import { basename, join } from "node:path";
import { build } from "vite";
import { alias } from "../../entries.js";

/** Makes one JavaScript file for Node of a TypeScript program of this folder, packages left outside; returns its path. */
export async function bundle(name: string): Promise<string> {
  const file = basename(name, ".ts");
  // Inside node_modules, so that the packages are found from there.
  const outDir = fileURLToPath(
    new URL(`../../node_modules/.cache/programs/${file}-${process.pid}`, import.meta.url),
  );
  await build({
    configFile: false,
    logLevel: "error",
    resolve: { alias },
    build: {
      ssr: fileURLToPath(new URL(name, import.meta.url)),
      outDir,
      emptyOutDir: true,
      target: "node20",
      minify: false,
      rolldownOptions: { output: { entryFileNames: `${file}.mjs`, format: "es" } },
    },
  });
  return join(outDir, `${file}.mjs`);
}
