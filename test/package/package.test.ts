/**
 * The package as a user gets it: packed by npm, installed into projects of their own outside this repository, used from
 * Node, built by Vite, loaded by a plain page, checked by TypeScript. Nothing here imports from src.
 */
import { execFile } from "node:child_process";
import {
  access,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { chromium } from "playwright-core";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { build } from "vite";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import manifest from "../../package.json" with { type: "json" };
import { chromiumLaunch } from "../support/chromium.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const run = promisify(execFile);
const bin = (name: string): string => join(root, "node_modules", ".bin", name);

let folder: string;
let tarball: string;

/** A project with the packed package, and of this repository's packages only those that are named. */
async function project(
  name: string,
  files: Record<string, string>,
  packages: readonly string[] = [],
): Promise<string> {
  const own = join(folder, name);
  await mkdir(own);
  await writeFile(
    join(own, "package.json"),
    '{ "name": "fresh", "private": true, "type": "module" }',
  );
  await run("npm", ["install", "--offline", "--no-audit", "--no-fund", tarball], { cwd: own });
  for (const each of packages) {
    await mkdir(join(own, "node_modules", each, ".."), { recursive: true });
    await symlink(join(root, "node_modules", each), join(own, "node_modules", each));
  }
  for (const [path, text] of Object.entries(files)) await writeFile(join(own, path), text);
  return own;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "webgpu-batchnorm-package-"));
  // Builds first, by the prepack script.
  await run("npm", ["pack", "--pack-destination", folder], { cwd: root });
  tarball = join(
    folder,
    (await readdir(folder)).find((name) => name.endsWith(".tgz"))!,
  );
}, 120_000);

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

const subpaths = Object.keys(manifest.exports).filter((each) => each !== "./package.json");

/** Trains a step, saves and loads, and folds: by every subpath that needs no peer. Gives its outputs as text. */
const PROGRAM = `
import { BatchNorm2d, tensor } from "webgpu-batchnorm";
import { readSafetensors, writeSafetensors, prefixed } from "webgpu-batchnorm/files";
import { foldIntoLinear } from "webgpu-batchnorm/fold";
import { forward } from "webgpu-batchnorm/reference";

export async function program(device) {
  const shape = [2, 3, 2, 2];
  const data = Float32Array.from({ length: 24 }, (_, i) => Math.sin(i) * 3);
  const bn = new BatchNorm2d(device, 3);
  const y = await bn.forward(tensor(device, data, shape)).read();
  const wanted = forward(data, shape, {}).y;
  const error = Math.max(...y.map((value, i) => Math.abs(value - wanted[i])));
  const file = writeSafetensors(prefixed("bn.", await bn.stateDict()));
  const other = new BatchNorm2d(device, 3);
  other.loadStateDict(readSafetensors(file), { prefix: "bn." });
  const state = await other.stateDict();
  const weight = { data: [1, 0, 0, 1, 1, 1], shape: [3, 2] };
  const folded = foldIntoLinear({ weight, layout: "OI" }, { ...state, eps: 1e-5 });
  return JSON.stringify({
    pass: error <= 2e-6 * 3, // the README's bound at |xHat| <= 3
    count: String(state.num_batches_tracked),
    mean: state.running_mean.length,
    folded: folded.bias.length,
  });
}
`;
const OUTPUT = '{"pass":true,"count":"1","mean":3,"folded":3}';

describe("in Node", () => {
  test("every export resolves to a file that is there, and loads without any peer", async () => {
    const own = await project("exports", {
      "main.mjs": `
        for (const subpath of ${JSON.stringify(subpaths)}) {
          const module = await import("webgpu-batchnorm" + subpath.slice(1));
          console.log(subpath, Object.keys(module).length);
        }
        const { requestDevice } = await import("webgpu-batchnorm/node");
        await requestDevice().catch((error) => console.log(error.name, error.message));`,
    });
    const { stdout } = await run("node", ["main.mjs"], { cwd: own });
    const lines = stdout.trim().split("\n");
    expect(lines.slice(0, -1).map((line) => line.split(" ")[0])).toEqual(subpaths);
    for (const line of lines.slice(0, -1))
      expect(Number(line.split(" ")[1]), line).toBeGreaterThan(0);
    expect(lines.at(-1)).toMatch(
      /^AdapterError requestDevice: .*npm install webgpu @sparticuz\/chromium/,
    );
    const names = await readdir(join(own, "node_modules"));
    expect(names.filter((name) => !name.startsWith("."))).toEqual(["webgpu-batchnorm"]);
  });

  test("CommonJS loads it, and what reads no exports finds the same files", async () => {
    const own = await project("require", {
      "main.cjs": `console.log(Object.keys(require("webgpu-batchnorm")).includes("BatchNorm2d"));`,
    });
    const { stdout } = await run("node", ["main.cjs"], { cwd: own });
    expect(stdout.trim()).toBe("true");
    const { main, types } = manifest;
    expect({ types, default: main }).toEqual(manifest.exports["."]);
  });

  test("it runs on Dawn", async () => {
    const own = await project(
      "node",
      {
        "program.mjs": PROGRAM,
        "main.mjs": `
          import { requestDevice } from "webgpu-batchnorm/node";
          import { program } from "./program.mjs";
          const device = await requestDevice({ quiet: true });
          console.log(await program(device));
          device.destroy();`,
      },
      ["webgpu", "@sparticuz/chromium"],
    );
    // What it resolves is followed to where it is linked from, as npm's own links are.
    const { stdout } = await run("node", ["--preserve-symlinks", "main.mjs"], { cwd: own });
    expect(stdout.trim()).toBe(OUTPUT);
  }, 60_000);
});

describe("in a browser", () => {
  const types: Record<string, string> = { ".html": "text/html", ".js": "text/javascript" };

  async function serve(base: string): Promise<{ server: Server; url: string }> {
    const server = createServer((request, response) => {
      const path = join(base, new URL(request.url ?? "/", "http://localhost").pathname);
      readFile(path).then(
        (body) => response.writeHead(200, { "content-type": types[extname(path)] ?? "" }).end(body),
        () => response.writeHead(404).end(),
      );
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
  }

  /** What a page writes into its title. */
  async function titleOf(base: string, page: string): Promise<string> {
    const { server, url } = await serve(base);
    const browser = await chromium.launch(await chromiumLaunch());
    try {
      const tab = await browser.newPage();
      const problems: string[] = [];
      tab.on("pageerror", (error) => problems.push(error.message));
      tab.on("requestfailed", (request) => problems.push(request.url()));
      await tab.goto(`${url}/${page}`);
      await tab
        .waitForFunction("document.title !== ''", undefined, { timeout: 30_000 })
        .catch((error: unknown) => problems.push(String(error)));
      expect(problems).toEqual([]);
      return await tab.title();
    } finally {
      await browser.close();
      server.close();
    }
  }

  const MAIN = `
    import { program } from "./program.js";
    const adapter = await navigator.gpu.requestAdapter();
    document.title = await program(await adapter.requestDevice());`;

  test("a plain page imports it through the import map of the documents", async () => {
    const text = await readFile(join(root, "docs/any-webgpu.md"), "utf8");
    const [, map] = /<script type="importmap">(.*?)<\/script>/s.exec(text)!;
    const { imports } = JSON.parse(map!) as { imports: Record<string, string> };
    const files = imports["webgpu-batchnorm/files"]!;
    for (const name of ["fold", "reference"]) {
      imports[`webgpu-batchnorm/${name}`] = files.replace("files.js", `${name}.js`);
    }
    const own = await project("plain", {
      "program.js": PROGRAM,
      "index.html": `<!doctype html>
        <script type="importmap">${JSON.stringify({ imports })}</script>
        <script type="module">${MAIN}</script>`,
    });
    expect(await titleOf(own, "index.html")).toBe(OUTPUT);
  }, 60_000);

  test("Vite builds it into an application", async () => {
    const own = await project("vite", {
      "program.js": PROGRAM,
      "main.js": MAIN,
      "index.html": `<!doctype html><script type="module" src="main.js"></script>`,
    });
    await build({ root: own, configFile: false, logLevel: "error", build: { target: "es2022" } });
    expect(await titleOf(join(own, "dist"), "index.html")).toBe(OUTPUT);
  }, 60_000);

  test("what is not used is left out", async () => {
    const sources = {
      "error.js": 'export { ShapeError } from "webgpu-batchnorm";',
      "reference.js": 'export { inference } from "webgpu-batchnorm/reference";',
      "files.js": 'export { readSafetensors } from "webgpu-batchnorm/files";',
      "inference.js": 'export { createInference } from "webgpu-batchnorm";',
      "everything.js": 'export * from "webgpu-batchnorm";',
    };
    const own = await project("shaken", sources);
    const code: Record<string, string> = {};
    for (const name of Object.keys(sources)) {
      const result = await build({
        root: own,
        configFile: false,
        logLevel: "error",
        build: { write: false, minify: true, lib: { entry: name, formats: ["es"] } },
      });
      const [{ output }] = result as unknown as [{ output: { code?: string }[] }];
      code[name] = output.map((chunk) => chunk.code ?? "").join("");
    }
    for (const name of ["error.js", "reference.js", "files.js"]) {
      expect(code[name], name).not.toMatch(/@compute|createComputePipeline/);
    }
    expect(code["error.js"]!.length).toBeLessThan(1000);
    expect(code["files.js"]).not.toMatch(/readOnnx/);
    expect(code["everything.js"]).toMatch(/@compute/);
    expect(code["inference.js"]!.length).toBeLessThan(code["everything.js"]!.length);
  });
});

describe("its types", () => {
  const MAIN = `
    import { BatchNorm2d, type ForwardOptions, type StateDict, tensor } from "webgpu-batchnorm";
    import { findBatchNorms, readSafetensors, prefixed, writeSafetensors } from "webgpu-batchnorm/files";
    import { foldIntoConv } from "webgpu-batchnorm/fold";
    import { requestDevice } from "webgpu-batchnorm/node";
    import { forward } from "webgpu-batchnorm/reference";
    export * as statistics from "webgpu-batchnorm/statistics";
    export * as sync from "webgpu-batchnorm/sync";
    const device: GPUDevice = await requestDevice();
    const bn = new BatchNorm2d(device, 3, { activation: "relu" });
    const state: StateDict = await bn.stateDict();
    const file = readSafetensors(writeSafetensors(prefixed("a.", state)));
    bn.loadStateDict(file, { prefix: "a." });
    for (const each of findBatchNorms(file)) bn.loadStateDict(each.state);
    const weight = file.get("conv.weight")!;
    export const folded = foldIntoConv({ weight, layout: "OIHW" }, { ...state, eps: bn.options.eps });
    export const y = forward(await bn.forward(tensor(device, [1], [1, 3, 1, 1])).read(), [3, 1], {}).y;
    export const passOn = ({ residual, out, encoder }: ForwardOptions) =>
      bn.forward(tensor(device, [1], [1, 3, 1, 1], { label: undefined }), { residual, out, encoder });
    // @ts-expect-error of the package's own
    bn.requireLive("forward");
    // @ts-expect-error no such activation
    new BatchNorm2d(device, 3, { activation: "reloo" });
    // @ts-expect-error no such layout
    foldIntoConv({ weight, layout: "NCHW" }, { ...state, eps: 1 });`;

  // Libraries are checked where they can be: TypeScript 6 has WebGPU's types, which those of @webgpu/types contradict.
  test.each([
    ["nodenext", "@types/node", "node", false],
    ["bundler", "@types/node", "node", true],
    ["bundler", "@webgpu/types", "@webgpu/types", true],
  ])(
    "hold under %s resolution with %s",
    async (resolution, needs, types, skip) => {
      const module = resolution === "nodenext" ? "nodenext" : "esnext";
      const own = await project(
        `types-${Math.random()}`,
        {
          "main.ts": MAIN,
          "tsconfig.json": `{ "compilerOptions": { "strict": true, "noEmit": true, "skipLibCheck": ${skip},
          "exactOptionalPropertyTypes": true, "target": "es2023", "module": "${module}",
          "moduleResolution": "${resolution}", "lib": ["DOM", "ES2023"], "types": ["${types}"] }, "files": ["main.ts"] }`,
        },
        [needs, "undici-types"],
      );
      const { stdout } = await run(bin("tsc"), ["-p", "."], { cwd: own }).catch(
        (error: { stdout: string }) => error,
      );
      expect(stdout).toBe("");
    },
    60_000,
  );

  test("are right by arethetypeswrong", async () => {
    const { stdout } = await run(bin("attw"), [
      tarball,
      "--profile",
      "esm-only",
      "--format",
      "ascii",
    ]);
    const verdicts = stdout
      .split("\n")
      .filter((line) => /^(node16 \(from ESM\)|bundler):/.test(line));
    expect(verdicts).toHaveLength(2 * Object.keys(manifest.exports).length);
    expect(verdicts.filter((line) => !line.includes("🟢"))).toEqual([]);
  }, 60_000);
});

test("links of every page lead to files that are packed", async () => {
  const own = await project("links", {});
  const installed = join(own, "node_modules", "webgpu-batchnorm");
  const names = await readdir(installed, { recursive: true });
  const pages = names.filter((name) => name.endsWith(".md"));
  expect(pages).toContain("README.md");
  for (const page of pages) {
    const text = await readFile(join(installed, page), "utf8");
    for (const [, link] of text.matchAll(/\]\((?!https?:|#)([^)#]+)/g))
      await access(join(installed, page, "..", link!));
  }
});

test("publint has nothing to say", async () => {
  const own = await project("linted", {});
  const installed = join(own, "node_modules", "webgpu-batchnorm");
  const { messages } = await publint({ pkgDir: installed, pack: false, strict: true });
  expect(messages.map((message) => formatMessage(message, manifest))).toEqual([]);
});

test("nothing of the machine or the tests is in the tarball", async () => {
  const own = await project("contents", {});
  const installed = join(own, "node_modules", "webgpu-batchnorm");
  const names = await readdir(installed, { recursive: true, withFileTypes: true });
  const files = names
    .filter((each) => each.isFile())
    .map((each) => join(each.parentPath, each.name));
  const top = new Set(files.map((path) => path.slice(installed.length + 1).split("/")[0]));
  expect([...top].sort()).toEqual([
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "bench",
    "dist",
    "docs",
    "examples",
    "package.json",
    "shaders",
  ]);
  for (const path of files) {
    const text = await readFile(path, "utf8");
    expect(text.includes(root.replace(/\/$/, "")), path).toBe(false);
  }
});
