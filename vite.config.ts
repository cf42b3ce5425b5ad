import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vite";
import { alias, entries } from "./entries.js";
import { digitsAsset } from "./scripts/support/digits-asset.js";
import { readFragments, shortenWgsl } from "./scripts/support/shorten-wgsl.js";
import manifest from "./package.json" with { type: "json" };

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** The built package carries its shaders shortened. */
function shortShaders(): Plugin {
  const shaders = shortenWgsl(readFragments());
  return {
    name: "short-shaders",
    apply: "build",
    enforce: "pre",
    transform(_, id) {
      const name = /\/shaders\/(.*)\.wgsl\?raw$/.exec(id)?.[1];
      if (name === undefined) return null;
      return { code: `export default ${JSON.stringify(shaders[name])};`, map: null };
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
    plugins: [shortShaders()],
    build: {
      target: "es2022",
      minify: false,
      lib: {
        entry: { ...entries },
        formats: ["es" as const],
      },
      rolldownOptions: {
        optimization: { inlineConst: { mode: "all", pass: 3 } },
        external: (id) => [/^node:/, ...peers].some((each) => each.test(id)),
      },
    },
  };
});
