/**
 * `webgpu-batchnorm/node` as a program meets it: in processes of its own, from a bundle, that end by themselves. Files
 * lie under node_modules so that the package's own lookups work.
 */
import { spawn } from "node:child_process";
import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
let folder: string;
let bundle: string;

beforeAll(async () => {
  const base = join(root, "node_modules", ".webgpu-batchnorm-test");
  await mkdir(base, { recursive: true });
  folder = await mkdtemp(join(base, "node-"));
  const entry = join(folder, "entry.ts");
  const source = (name: string): string => JSON.stringify(join(root, "src", name));
  await writeFile(
    entry,
    `export * from ${source("index.ts")};\nexport * from ${source("node.ts")};\n`,
  );
  await build({
    configFile: false,
    root,
    logLevel: "error",
    build: {
      ssr: entry,
      outDir: join(folder, "out"),
      emptyOutDir: true,
      copyPublicDir: false,
      rollupOptions: { output: { entryFileNames: "bundle.mjs" } },
    },
  });
  bundle = join(folder, "out", "bundle.mjs");
}, 60_000);

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  readonly out: string;
  readonly err: string;
}

/** Runs a program to its own end: nothing here calls process.exit. */
async function run(program: string, env: Record<string, string> = {}): Promise<Ended> {
  const name = join(folder, `program-${Math.random().toString(36).slice(2)}.mjs`);
  await writeFile(
    name,
    `import { BatchNorm1d, BatchNormError, describeAdapter, requestDevice, tensor } from ${JSON.stringify(bundle)};\n` +
      `const say = (value) => process.stdout.write(JSON.stringify(value) + "\\n");\n${program}\n`,
  );
  const child = spawn(process.execPath, [name], {
    env: { ...process.env, WEBGPU_BATCHNORM_CACHE: "", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
  const timer = setTimeout(() => child.kill("SIGKILL"), 50_000);
  const ended = await new Promise<Pick<Ended, "code" | "signal">>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal }));
  });
  clearTimeout(timer);
  return { ...ended, out, err };
}

/** The program that normalises one batch on a device. */
const NORMALISE = (options: string): string => `
const device = await requestDevice(${options});
const bn = new BatchNorm1d(device, 2, { affine: false, eps: 0 });
const y = bn.forward(tensor(device, [1, 10, 3, 30], [2, 2]));
say({ adapter: describeAdapter(device), y: [...(await y.read())] });
`;

function expectNormalised(ended: Ended): { adapter: string } {
  expect(ended, ended.err).toMatchObject({ code: 0, signal: null });
  const said = JSON.parse(ended.out) as { adapter: string; y: number[] };
  expect(said.y).toEqual([-1, -1, 1, 1]);
  return said;
}

/** The class and message that a program has caught. */
const CAUGHT = (call: string): string => `
try { await ${call}; say({ name: "no error" }); } catch (error) {
  say({ name: error.name, ours: error instanceof BatchNormError, message: error.message });
}`;

function expectError(ended: Ended, message: RegExp, name = "AdapterError"): void {
  expect(ended, ended.err).toMatchObject({ code: 0, signal: null });
  const said = JSON.parse(ended.out) as { name: string; ours: boolean; message: string };
  expect(said.name, said.message).toBe(name);
  expect(said.ours).toBe(true);
  expect(said.message).toMatch(message);
  expect(said.message).toMatch(/^requestDevice[^,]*: .+, got .+; .+$/s);
}

const hasSoftware = process.platform === "linux" && process.arch === "x64";

describe("requestDevice", () => {
  test("auto gives a device, and says where it is software", async () => {
    const ended = await run(NORMALISE(""));
    const { adapter } = expectNormalised(ended);
    expect(adapter.length).toBeGreaterThan(0);
    const said = ended.err.includes("webgpu-batchnorm: no GPU found, running on SwiftShader");
    expect(said).toBe(adapter.includes("software"));
  });

  test("quiet says nothing", async () => {
    const ended = await run(NORMALISE("{ quiet: true }"));
    expectNormalised(ended);
    expect(ended.err).not.toContain("webgpu-batchnorm:");
  });

  test.runIf(hasSoftware)("software gives SwiftShader, without a word", async () => {
    const ended = await run(NORMALISE('{ adapter: "software" }'));
    expect(expectNormalised(ended).adapter).toBe("SwiftShader (software)");
    expect(ended.err).not.toContain("webgpu-batchnorm:");
  });

  test("hardware gives a GPU or a clear error, never the software adapter", async () => {
    const ended = await run(`
try {
  const device = await requestDevice({ adapter: "hardware" });
  say({ adapter: describeAdapter(device) });
} catch (error) { say({ name: error.name, message: error.message }); }`);
    expect(ended, ended.err).toMatchObject({ code: 0, signal: null });
    const said = JSON.parse(ended.out) as { adapter?: string; name?: string; message?: string };
    if (said.adapter === undefined) {
      expect(said.name).toBe("AdapterError");
      expect(said.message).toMatch(
        /^requestDevice: adapter "hardware": a GPU with a driver .*, got none; .*"software"/,
      );
    } else {
      expect(said.adapter).not.toContain("software");
    }
  });

  test("system gives what the drivers offer, or a clear error", async () => {
    const ended = await run(`
try {
  const device = await requestDevice({ adapter: "system" });
  const values = [...(await tensor(device, [1, 2], [2]).read())];
  say({ adapter: describeAdapter(device), values });
} catch (error) { say({ name: error.name, message: error.message }); }`);
    expect(ended, ended.err).toMatchObject({ code: 0, signal: null });
    const said = JSON.parse(ended.out) as { adapter?: string; values?: number[]; message?: string };
    if (said.adapter === undefined) {
      expect(said).toMatchObject({ name: "AdapterError" });
      expect(said.message).toMatch(
        /^requestDevice: adapter "system": an adapter with a driver .*, got none; .*"software"/,
      );
    } else {
      expect(said.values).toEqual([1, 2]);
      expect(said.adapter).not.toContain("SwiftShader");
    }
  });

  test.runIf(hasSoftware)(
    "compatibility gives the smaller limits, and still what is asked for",
    async () => {
      const ended = await run(`
const asked = { adapter: "software", featureLevel: "compatibility" };
const plain = await requestDevice(asked);
const core = await requestDevice({ ...asked, requiredFeatures: ["core-features-and-limits"] });
const large = await requestDevice({ ...asked, requiredLimits: { maxComputeInvocationsPerWorkgroup: 256 } });
say([plain, core, large].map(({ limits, features }) =>
  [limits.maxComputeInvocationsPerWorkgroup, features.has("core-features-and-limits")]));`);
      expect(ended, ended.err).toMatchObject({ code: 0, signal: null });
      expect(JSON.parse(ended.out)).toEqual([
        [128, false],
        [256, true],
        [256, false],
      ]);
    },
  );

  test("another level is refused", async () => {
    expectError(
      await run(CAUGHT('requestDevice({ featureLevel: "compat" })')),
      /^requestDevice: featureLevel: "core" or "compatibility", got "compat"; pass one of these$/,
      "OptionError",
    );
  });

  test("another kind is refused", async () => {
    expectError(
      await run(CAUGHT('requestDevice({ adapter: "gpu" })')),
      /^requestDevice: adapter: "auto", "hardware", "software" or "system", got "gpu"; pass one of these$/,
      "OptionError",
    );
  });

  test("features, limits and label are passed on; what the adapter lacks is an error", async () => {
    const ended = await run(`
const device = await requestDevice({ quiet: true, label: "mine", requiredLimits: { maxStorageBuffersPerShaderStage: 8 } });
let refused = false;
try { await requestDevice({ quiet: true, requiredFeatures: ["no-such-feature"] }); } catch { refused = true; }
say({ label: device.label, buffers: device.limits.maxStorageBuffersPerShaderStage, refused });`);
    expect(ended, ended.err).toMatchObject({ code: 0, signal: null });
    expect(JSON.parse(ended.out)).toEqual({ label: "mine", buffers: 8, refused: true });
  });

  test("two devices in one process, and globals that were there stay", async () => {
    const ended = await run(`
globalThis.GPUMapMode = "mine";
const [a, b] = await Promise.all([requestDevice({ quiet: true }), requestDevice({ quiet: true })]);
const values = [];
for (const device of [a, b]) values.push(...(await tensor(device, [1, 2], [2]).read()));
say({ distinct: a !== b, values, kept: globalThis.GPUMapMode, storage: GPUBufferUsage.STORAGE });`);
    expect(ended, ended.err).toMatchObject({ code: 0, signal: null });
    expect(JSON.parse(ended.out)).toEqual({
      distinct: true,
      values: [1, 2, 1, 2],
      kept: "mine",
      storage: 0x80,
    });
  });

  test.runIf(hasSoftware)(
    "software after hardware was not to be had: two Dawns in one process",
    async () => {
      const ended = await run(
        `await requestDevice({ adapter: "hardware" }).catch(() => null);${NORMALISE('{ adapter: "software" }')}`,
      );
      expect(expectNormalised(ended).adapter).toBe("SwiftShader (software)");
    },
  );

  test.runIf(hasSoftware)("in a worker thread, whose environment is a copy", async () => {
    const ended = await run(`
import { isMainThread, parentPort, Worker } from "node:worker_threads";
if (isMainThread) {
  const worker = new Worker(new URL(import.meta.url));
  worker.on("message", (message) => say(message));
  worker.on("error", (error) => say(error.message));
} else {
  const device = await requestDevice({ adapter: "software" });
  parentPort.postMessage([...(await tensor(device, [7], [1]).read())]);
}`);
    expect(ended, ended.err).toMatchObject({ code: 0, signal: null });
    expect(JSON.parse(ended.out)).toEqual([7]);
  });

  test.runIf(hasSoftware)("the environment is as it was", async () => {
    const ended = await run(
      `process.env.VK_DRIVER_FILES = "/mine"; delete process.env.VK_ICD_FILENAMES;
await requestDevice({ adapter: "software" });
say([process.env.VK_DRIVER_FILES, process.env.VK_ICD_FILENAMES ?? null]);`,
    );
    expect(ended, ended.err).toMatchObject({ code: 0, signal: null });
    expect(JSON.parse(ended.out)).toEqual(["/mine", null]);
  });
});

describe("the process ends by itself", () => {
  test("five times in a row with exit code 0, nothing destroyed", async () => {
    for (let i = 0; i < 5; i++) expectNormalised(await run(NORMALISE("{ quiet: true }")));
  });

  test("with work in flight, and after a loss", async () => {
    const inFlight = await run(`
const device = await requestDevice({ quiet: true });
const bn = new BatchNorm1d(device, 64);
bn.forward(tensor(device, new Float32Array(64 * 4096), [4096, 64]));
say("begun");`);
    expect(inFlight, inFlight.err).toMatchObject({ code: 0, signal: null });
    const lost = await run(`
const device = await requestDevice({ quiet: true });
const bn = new BatchNorm1d(device, 2);
device.destroy();
await device.lost;
try { bn.forward(null); } catch (error) { say(error.name); }`);
    expect(lost, lost.err).toMatchObject({ code: 0, signal: null });
    expect(JSON.parse(lost.out)).toBe("DeviceLostError");
  });

  test("with garbage collected in between", async () => {
    const ended = await run(`
import v8 from "node:v8";
import vm from "node:vm";
v8.setFlagsFromString("--expose-gc");
const gc = vm.runInNewContext("gc");
const device = await requestDevice({ quiet: true });
for (let i = 0; i < 5; i++) { gc(); await new Promise((done) => setTimeout(done, 20)); }
say([...(await tensor(device, [7], [1]).read())]);`);
    expect(ended, ended.err).toMatchObject({ code: 0, signal: null });
    expect(JSON.parse(ended.out)).toEqual([7]);
  });
});

describe.runIf(hasSoftware)("the cache folder", () => {
  const SOFTWARE = NORMALISE('{ adapter: "software" }');

  async function empty(): Promise<string> {
    return mkdtemp(join(folder, "cache-"));
  }

  test("is filled once, by whoever comes first: four processes at a time", async () => {
    const cache = await empty();
    const env = { WEBGPU_BATCHNORM_CACHE: cache };
    for (const ended of await Promise.all([0, 1, 2, 3].map(() => run(SOFTWARE, env)))) {
      expectNormalised(ended);
    }
    const made = await readdir(cache);
    expect(made, "one folder, nothing half made").toHaveLength(1);
    expect(made[0]).toMatch(/^dawn-[\d.]+-on-swiftshader-[\d.]+$/);
    expectNormalised(await run(SOFTWARE, env));
    expect(await readdir(cache)).toEqual(made);
  });

  test("is made where it is missing", async () => {
    const cache = join(await empty(), "deep", "er");
    expectNormalised(await run(SOFTWARE, { WEBGPU_BATCHNORM_CACHE: cache }));
    expect(await readdir(cache)).toHaveLength(1);
  });

  test("falls through to the user's where it cannot be written", async () => {
    const file = join(await empty(), "a-file");
    await writeFile(file, "");
    const own = await empty();
    const env = { WEBGPU_BATCHNORM_CACHE: join(file, "below"), XDG_CACHE_HOME: own };
    expectNormalised(await run(SOFTWARE, env));
    expect(await readdir(join(own, "webgpu-batchnorm"))).toHaveLength(1);
  });

  test("takes no relative path for the user's, and no home at all where there is none", async () => {
    const [home, temporary] = [await empty(), await empty()];
    const env = { XDG_CACHE_HOME: "", HOME: home, TMPDIR: temporary };
    for (const XDG_CACHE_HOME of ["", "relative"]) {
      expectNormalised(await run(SOFTWARE, { ...env, XDG_CACHE_HOME }));
    }
    expect(await readdir(join(home, ".cache", "webgpu-batchnorm"))).toHaveLength(1);
    // As for a user who stands in no list of users.
    const nobody = `import os from "node:os";
import { syncBuiltinESMExports } from "node:module";
os.homedir = os.userInfo = () => { throw new Error("ENOENT: no such user"); };
syncBuiltinESMExports();
${SOFTWARE}`;
    expectNormalised(await run(nobody, env));
    const [uid] = await readdir(temporary);
    expect(uid).toBe(`webgpu-batchnorm-${process.getuid!()}`);
    const given = await empty();
    expectNormalised(await run(nobody, { ...env, WEBGPU_BATCHNORM_CACHE: given }));
    expect(await readdir(given)).toHaveLength(1);
  });

  test("falls through to the temporary folder, then says what it tried", async () => {
    const file = join(await empty(), "a-file");
    await writeFile(file, "");
    const temporary = await empty();
    const env = {
      WEBGPU_BATCHNORM_CACHE: join(file, "one"),
      XDG_CACHE_HOME: join(file, "two"),
      TMPDIR: temporary,
    };
    expectNormalised(await run(SOFTWARE, env));
    expect((await readdir(temporary)).some((name) => name.startsWith("webgpu-batchnorm-"))).toBe(
      true,
    );
    const ended = await run(CAUGHT('requestDevice({ adapter: "software" })'), {
      ...env,
      TMPDIR: join(file, "three"),
    });
    expectError(
      ended,
      /a folder to unpack SwiftShader into, got .*one.*two.*three.*; set WEBGPU_BATCHNORM_CACHE/s,
    );
  });

  // Root writes everywhere: nothing to see there.
  const asRoot = process.getuid?.() === 0;
  test.skipIf(asRoot)(
    "a folder of the user's without the right to write is passed over",
    async () => {
      const locked = await empty();
      await chmod(locked, 0o500);
      const own = await empty();
      try {
        expectNormalised(
          await run(SOFTWARE, { WEBGPU_BATCHNORM_CACHE: locked, XDG_CACHE_HOME: own }),
        );
        expect(await readdir(locked)).toEqual([]);
      } finally {
        await chmod(locked, 0o700);
      }
    },
  );

  test("node_modules stays as it is", async () => {
    const binaries = join(
      root,
      "node_modules",
      "webgpu",
      "dist",
      `${process.platform}-${process.arch}`,
    );
    const before = await readdir(binaries).catch(() => []);
    expectNormalised(await run(SOFTWARE, { WEBGPU_BATCHNORM_CACHE: await empty() }));
    expect(await readdir(binaries).catch(() => [])).toEqual(before);
    expect(before.some((name) => name.includes("vulkan"))).toBe(false);
  });

  test("a folder left half made by a process that died is no obstacle, and goes after an hour", async () => {
    const cache = await empty();
    const env = { WEBGPU_BATCHNORM_CACHE: cache };
    expectNormalised(await run(SOFTWARE, env));
    const [name] = await readdir(cache);
    const other = await empty();
    const [dead, young] = [`${name}.0000-dead`, `${name}.0000-young`];
    for (const left of [dead, young]) await mkdir(join(other, left, "dist"), { recursive: true });
    const before = Date.now() / 1000 - 3660;
    await utimes(join(other, dead), before, before);
    expectNormalised(await run(SOFTWARE, { WEBGPU_BATCHNORM_CACHE: other }));
    expect((await readdir(other)).sort()).toEqual([name, young]);
    await utimes(join(other, young), before, before);
    expectNormalised(await run(SOFTWARE, { WEBGPU_BATCHNORM_CACHE: other }));
    expect(await readdir(other), "where nothing is unpacked, too").toEqual([name]);
  });

  test("a file cut short, lost or without its size on record is unpacked anew", async () => {
    const cache = await empty();
    const env = { WEBGPU_BATCHNORM_CACHE: cache };
    expectNormalised(await run(SOFTWARE, env));
    const [name] = await readdir(cache);
    const at = (file: string): string => join(cache, name!, file);
    const binaries = join("dist", "linux-x64");
    const files = ["index.js", join(binaries, "dawn.node"), join(binaries, "libvulkan.so.1")];
    const sizes = await Promise.all(files.map(async (file) => (await stat(at(file))).size));
    const damages = [
      ...files.map((file) => () => truncate(at(file), 100)),
      () => rm(join(cache, name!, "dist"), { recursive: true }),
      () => truncate(at("sizes.json"), 5),
      // As versions before this one left it.
      () => rm(at("sizes.json")),
    ];
    for (const damage of damages) {
      await damage();
      for (const ended of await Promise.all([run(SOFTWARE, env), run(SOFTWARE, env)])) {
        expectNormalised(ended);
      }
      const mended = await Promise.all(files.map(async (file) => (await stat(at(file))).size));
      expect(mended).toEqual(sizes);
      expect((await stat(at("sizes.json"))).size).toBeGreaterThan(5);
      expect(await readdir(cache), "nothing half made").toEqual([name]);
    }
  });

  test("what is whole is not unpacked again", async () => {
    const cache = await empty();
    const env = { WEBGPU_BATCHNORM_CACHE: cache };
    expectNormalised(await run(SOFTWARE, env));
    const [name] = await readdir(cache);
    const record = join(cache, name!, "sizes.json");
    const { mtimeMs, ino } = await stat(record);
    expectNormalised(await run(SOFTWARE, env));
    expect(await stat(record)).toMatchObject({ mtimeMs, ino });
  });

  test("the folder is the user's alone", async () => {
    const cache = join(await empty(), "new");
    expectNormalised(await run(SOFTWARE, { WEBGPU_BATCHNORM_CACHE: cache }));
    expect((await stat(cache)).mode & 0o077).toBe(0);
  });
});

const bothMissing = (subject: string): RegExp =>
  new RegExp(
    `^AdapterError ${subject}: .*, got no webgpu and no @sparticuz/chromium; npm install webgpu @sparticuz/chromium$`,
  );

test("where a package is missing, the error says how to install it", async () => {
  // A copy of the bundle out of reach of node_modules.
  const away = await mkdtemp(join(tmpdir(), "webgpu-batchnorm-test-"));
  try {
    const copy = join(away, "bundle.mjs");
    await writeFile(copy, await readFile(bundle));
    for (const name of await readdir(dirname(bundle))) {
      if (name !== "bundle.mjs" && name.endsWith("js")) {
        await writeFile(join(away, name), await readFile(join(dirname(bundle), name)));
      }
    }
    const ended = await run(`
const { requestDevice: request } = await import(${JSON.stringify(copy)});
const seen = [];
for (const options of [{ adapter: "software" }, { adapter: "hardware" }, {}]) {
  try { await request(options); seen.push("no error"); } catch (error) { seen.push(error.name + " " + error.message); }
}
say(seen);`);
    expect(ended, ended.err).toMatchObject({ code: 0, signal: null });
    const seen = JSON.parse(ended.out) as string[];
    expect(seen[0]).toMatch(hasSoftware ? bothMissing('requestDevice: adapter "software"') : /x64/);
    expect(seen[1]).toMatch(
      /^AdapterError requestDevice: .*, got none installed; npm install webgpu$/,
    );
    expect(seen[2]).toMatch(/^AdapterError requestDevice: /);
    if (!hasSoftware) return;
    expect(seen[2]).toMatch(/npm install webgpu( @sparticuz\/chromium)?$/);
    const webgpu = join(away, "node_modules", "webgpu");
    await mkdir(webgpu, { recursive: true });
    await writeFile(join(webgpu, "index.js"), "");
    const half = await run(`
const { requestDevice: request } = await import(${JSON.stringify(copy)});
try { await request({ adapter: "software" }); } catch (error) { say(error.message); }`);
    expect(JSON.parse(half.out)).toMatch(
      /^requestDevice: adapter "software": .*, got no @sparticuz\/chromium; npm install @sparticuz\/chromium$/,
    );
  } finally {
    await rm(away, { recursive: true, force: true });
  }
});
