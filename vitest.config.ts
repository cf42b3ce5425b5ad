import { fileURLToPath } from "node:url";
import { playwright } from "@vitest/browser-playwright";
import { defineConfig } from "vitest/config";
import { alias } from "./entries.js";
import { snippets } from "./test/support/snippets.js";
import { chromiumLaunch } from "./test/support/chromium.js";
import { firefox } from "./test/support/firefox.js";

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const launchOptions = await chromiumLaunch();
// Vitest starts no run whose Node projects have different numbers.
const maxWorkers = 2;
// Kernels on every path and their bits: in Node alone, on the same SwiftShader. A browser's part is what it hosts.
const arithmetic = [
  ...["again", "apart", "beyond", "determinism", "fixtures", "fused", "in-place", "isolation"],
  ...["lane-order", "long-chains", "orders", "precision", "properties", "statistics"],
  ...["statistics-regions", "subgroups", "values"],
].map((name) => `test/gpu/${name}.test.ts`);
// Fixtures that tests import as bytes.
const assetsInclude = ["**/*.safetensors", "**/*.onnx", "**/*.onnx.data"];

export default defineConfig(({ mode }) => {
  // npm run test:firefox: there the kernels go through another compiler, so it runs them all.
  const inFirefox = mode === "firefox";
  return {
    test: {
      reporters: ["default", here("test/support/closing-line.ts")],
      projects: [
        {
          resolve: { alias },
          assetsInclude,
          test: {
            name: "unit",
            include: ["test/unit/**/*.test.ts"],
            environment: "node",
            maxWorkers,
            testTimeout: 60_000,
          },
        },
        {
          resolve: { alias },
          assetsInclude,
          test: {
            name: "compile",
            include: ["test/compile/**/*.test.ts"],
            environment: "node",
            maxWorkers,
            testTimeout: 600_000,
          },
        },
        {
          plugins: [snippets()],
          resolve: { alias },
          assetsInclude,
          test: {
            name: "gpu",
            include: ["test/gpu/**/*.test.ts", "test/node/**/*.test.ts"],
            // Hundreds of steps of TensorFlow.js's own kernels take three times as long here as in a browser.
            exclude: ["test/gpu/tfjs/digits.test.ts", "test/gpu/tfjs/memory.test.ts"],
            environment: "node",
            // Every file in a process of its own: Dawn's instances end with it.
            pool: "forks",
            maxWorkers,
            testTimeout: 600_000,
            hookTimeout: 120_000,
          },
        },
        {
          resolve: { alias },
          assetsInclude,
          optimizeDeps: {
            include: [
              "fast-check",
              "@nats-io/nats-core",
              "typegpu",
              "@tensorflow/tfjs-core",
              "@tensorflow/tfjs-core/dist/register_all_gradients.js",
              "@tensorflow/tfjs-backend-cpu",
              "@tensorflow/tfjs",
              "@tensorflow/tfjs-backend-webgpu",
            ],
            // They look for their WebAssembly beside themselves.
            exclude: ["onnxruntime-web", "onnxruntime-web/webgpu"],
          },
          test: {
            name: "browser",
            include: ["test/gpu/**/*.test.ts", "test/browser/**/*.test.ts"],
            exclude: inFirefox ? [] : arithmetic,
            globalSetup: here("test/support/nats-partner.ts"),
            testTimeout: 600_000,
            hookTimeout: 120_000,
            fileParallelism: false,
            // After the others: a browser that starves misses its own deadlines.
            sequence: { groupOrder: 1 },
            browser: {
              enabled: true,
              headless: true,
              screenshotFailures: false,
              provider: inFirefox ? firefox : playwright({ launchOptions }),
              instances: [{ browser: inFirefox ? "firefox" : "chromium" }],
            },
          },
        },
        {
          test: {
            name: "package",
            // Each packs the same folder.
            fileParallelism: false,
            include: ["test/package/**/*.test.ts"],
            environment: "node",
            maxWorkers,
            testTimeout: 60_000,
            // After the others, for its browser's sake.
            sequence: { groupOrder: 2 },
          },
        },
        {
          resolve: { alias },
          assetsInclude,
          test: {
            name: "demo",
            globalSetup: here("test/support/serve-site.ts"),
            include: ["test/demo/**/*.test.ts"],
            environment: "node",
            maxWorkers,
            testTimeout: 180_000,
            hookTimeout: 180_000,
            sequence: { groupOrder: 3 },
          },
        },
      ],
    },
  };
});
