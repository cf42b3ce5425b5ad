import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vite";
import { alias, entries } from "./entries.js";
import { digitsAsset } from "./scripts/support/digits-asset.js";
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

const PAGES = ["index", "compare", "lab", "digits"];

// A fine clock (5 us instead of 100) needs a cross-origin isolated page.
const headers = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

// What the user brings stays outside the build, deep imports included.
const peers = Object.keys(manifest.peerDependencies).map((name) => new RegExp(`^${name}(/|$)`));

export default defineConfig(({ mode, command }) => {
  const resolve = { alias };
  if (mode === "demo" || command === "serve") {
    return {
      resolve,
      root: here("demo"),
      base: "./",
      plugins: [digitsAsset()],
      server: { fs: { allow: [here(".")] }, headers },
      preview: { headers },
      build: {
        outDir: here("build/demo"),
        emptyOutDir: true,
        target: "es2022",
        // light-dark() as it is written: what older browsers get instead follows the system alone, not the switch.
        cssTarget: ["chrome123", "firefox120", "safari17.5"],
        // TensorFlow.js and ONNX Runtime are large; they load when they are asked for.
        chunkSizeWarningLimit: 4000,
        rolldownOptions: { input: PAGES.map((page) => here(`demo/${page}.html`)) },
      },
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
