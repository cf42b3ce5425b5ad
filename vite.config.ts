import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vite";
import { alias, entries } from "./entries.js";
import manifest from "./package.json" with { type: "json" };

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** Takes comments and indentation out of the shaders that the built package carries. */
function bareShaders(): Plugin {
  return {
    name: "bare-shaders",
    apply: "build",
    enforce: "pre",
    transform(code, id) {
      if (!id.includes(".wgsl?raw")) return null;
      const text = JSON.parse(code.replace(/^export default /, "").replace(/;\s*$/, "")) as string;
      const bare = text
        .split("\n")
        .map((line) => line.replace(/\/\/.*$/, "").trim())
        .filter(Boolean)
        .join("\n");
      return { code: `export default ${JSON.stringify(`${bare}\n`)};`, map: null };
    },
  };
}

// What the user brings stays outside the build, deep imports included.
const peers = Object.keys(manifest.peerDependencies).map((name) => new RegExp(`^${name}(/|$)`));

export default defineConfig(({ mode, command }) => {
  const resolve = { alias };
  if (mode === "demo" || command === "serve") {
    return {
      resolve,
      root: here("demo"),
      base: "./",
      server: { fs: { allow: [here(".")] } },
      build: { outDir: here("build/demo"), emptyOutDir: true, target: "es2022" },
    };
  }
  return {
    resolve,
    plugins: [bareShaders()],
    build: {
      target: "es2022",
      minify: false,
      lib: {
        entry: { ...entries },
        formats: ["es" as const],
      },
      rolldownOptions: { external: (id) => [/^node:/, ...peers].some((each) => each.test(id)) },
    },
  };
});
