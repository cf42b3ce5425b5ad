import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vite";

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

export default defineConfig(({ mode, command }) => {
  const resolve = {
    alias: [
      { find: /^webgpu-batchnorm$/, replacement: here("src/index.ts") },
      { find: /^webgpu-batchnorm\/(\w+)$/, replacement: here("src/$1.ts") },
    ],
  };
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
        entry: {
          index: here("src/index.ts"),
          node: here("src/node.ts"),
          reference: here("src/reference.ts"),
        },
        formats: ["es" as const],
      },
      rolldownOptions: { external: [/^node:/, "webgpu", "@sparticuz/chromium"] },
    },
  };
});
