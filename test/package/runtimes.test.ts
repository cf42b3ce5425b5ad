/**
 * The packed package in Deno, whose WebGPU is wgpu with Naga, the compiler of Firefox: an example, and every kernel family
 * against the float64 reference. On Linux it runs on the SwiftShader that webgpu-batchnorm/node unpacks, as Node does.
 */
import { execFile } from "node:child_process";
import { copyFile, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const run = promisify(execFile);
let folder: string;
let env: NodeJS.ProcessEnv;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "webgpu-batchnorm-runtimes-"));
  await writeFile(join(folder, "package.json"), '{ "private": true, "type": "module" }');
  await run("npm", ["pack", "--pack-destination", folder], { cwd: root });
  const tarball = (await readdir(folder)).find((name) => name.endsWith(".tgz"))!;
  await run("npm", ["install", "--offline", "--no-audit", "--no-fund", `./${tarball}`], {
    cwd: folder,
  });
  await symlink(join(root, "node_modules", "webgpu"), join(folder, "node_modules", "webgpu"));
  await symlink(
    join(root, "node_modules", "@sparticuz"),
    join(folder, "node_modules", "@sparticuz"),
  );
  await copyFile(join(root, "examples", "runtime.mjs"), join(folder, "runtime.mjs"));
  env = {
    ...process.env,
    WEBGPU_BATCHNORM_CACHE: join(folder, "cache"),
    DENO_DIR: join(folder, "deno"),
  };
}, 120_000);

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

// By hand: xHat = (x - 2.5)/√1.25, y = max(xHat, 0); dz = y, dx = (dz - √0.2 - xHat/2)/√1.25; the second channel ten times that.
const EXAMPLE = `0.0000 0.0000 0.4472 1.3416 0.0000 0.0000 0.4472 1.3416
0.2000 -0.2000 -0.2000 0.2000 0.0200 -0.0200 -0.0200 0.0200`;

test("Node runs the example", async () => {
  const { stdout } = await run("node", ["--preserve-symlinks", "runtime.mjs"], {
    cwd: folder,
    env,
  });
  expect(stdout.trim()).toBe(EXAMPLE);
});

/** Forward, backward and inference in every dtype, layout and path; prints the worst share of each bound. */
const CHECK = `
import { BatchNorm2d, tensor } from "webgpu-batchnorm";
import { backward, forward } from "webgpu-batchnorm/reference";
const adapter = await navigator.gpu.requestAdapter();
console.log("adapter", adapter.info.description || adapter.info.vendor || "unnamed");
const device = await adapter.requestDevice();
device.addEventListener("uncapturederror", (event) => console.log("uncaptured", event.error.message));
let state = 1;
const random = () => ((state = (state * 16807) % 2147483647) / 2147483647 - 0.5) * 6;
const round = (value, bits) => {
  const step = 2 ** (Math.floor(Math.log2(Math.abs(value) || 1)) - bits);
  return Math.round(value / step) * step;
};
let checked = 0;
for (const shape of [[2, 3, 4, 4], [3, 2, 3, 3], [4, 5, 17, 31], [2, 64, 8, 8], [1, 2, 64, 96], [8, 8, 7, 7]]) {
  for (const layout of ["channels-first", "channels-last"]) {
    for (const [dtype, bits, activation] of [["f32", 23, "none"], ["f32", 23, "gelu"], ["f16", 10, "relu"], ["bf16", 7, "none"]]) {
      const channels = layout === "channels-first" ? shape[1] : shape[3];
      const size = shape.reduce((a, b) => a * b, 1);
      const xs = Float32Array.from({ length: size }, () => round(random() + 4, Math.min(bits, 22)));
      const dys = Float32Array.from({ length: size }, () => round(random(), Math.min(bits, 22)));
      const options = { layout, activation };
      const bn = new BatchNorm2d(device, channels, options);
      const x = tensor(device, xs, shape, { dtype });
      const dy = tensor(device, dys, shape, { dtype });
      const y = bn.forward(x);
      const dx = bn.backward(dy);
      const wanted = forward(xs, shape, options);
      const gradients = backward(dys, xs, shape, { ...options, mode: "training" });
      // f32: 2e-6 deviations and the activation; gradients 1e-5 of max |dz| invStd; 16 bits: a unit of values up to 8.
      const unit = dtype === "f32" ? 0 : 2 ** (3 - bits);
      const largest = (a, b) => a.reduce((worst, value, i) => {
        const error = Math.abs(value - b[i]);
        return error >= worst || Number.isNaN(error) ? error : worst;
      }, 0);
      const yError = largest(await y.read(), wanted.y);
      const dxError = largest(await dx.read(), gradients.dx);
      const invStd = Math.max(...gradients.invStd);
      const maxDz = Math.max(...gradients.maxAbsDz);
      const yBound = 1e-5 + unit;
      const dxBound = invStd * maxDz * (2e-5 + unit);
      if (!(yError <= yBound && dxError <= dxBound)) {
        console.log("FAIL", shape, layout, dtype, activation, yError, yBound, dxError, dxBound);
      }
      checked += 1;
      for (const each of [x, y, dy, dx, bn]) each.destroy();
    }
  }
}
await device.queue.onSubmittedWorkDone();
console.log("checked", checked);
`;

test("Deno runs the example, and every kernel family gives the reference's results", async () => {
  const deno = join(root, "node_modules", ".bin", "deno");
  if (process.platform === "linux" && process.arch === "x64") {
    const unpacked = await readdir(join(folder, "cache"), { recursive: true });
    const library = unpacked.find((name) => name.endsWith("libvulkan.so.1"));
    // A machine with a GPU has unpacked nothing: Deno takes that GPU too.
    if (library) env["LD_LIBRARY_PATH"] = dirname(join(folder, "cache", library));
  }
  await writeFile(join(folder, "check.mjs"), CHECK);
  const flags = [
    "run",
    "--allow-all",
    "--no-lock",
    "--unstable-webgpu",
    "--node-modules-dir=manual",
  ];
  const example = await run(deno, [...flags, "runtime.mjs"], { cwd: folder, env });
  expect(example.stdout.trim()).toBe(EXAMPLE);
  const { stdout } = await run(deno, [...flags, "check.mjs"], { cwd: folder, env });
  console.info(`Deno: ${stdout.split("\n")[0]}`);
  expect(stdout.split("\n").filter((line) => /FAIL|uncaptured/.test(line))).toEqual([]);
  expect(stdout).toContain("checked 48");
}, 240_000);
