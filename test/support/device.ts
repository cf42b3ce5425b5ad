import { afterAll, afterEach, expect } from "vitest";

/** Devices of the running test file, all destroyed at its end. */
const open: GPUDevice[] = [];
const uncaught: string[] = [];
let name: string | undefined;

/** What a test asks of its device. */
interface Asked {
  readonly features?: readonly GPUFeatureName[];
  readonly featureLevel?: "core" | "compatibility";
}

/** Instances of Dawn, which ends the process when one is collected before its devices. */
const instances: GPU[] = [];

/** What Mesa or another driver of the system offers through OpenGL ES, which Dawn does not look for by itself. */
async function throughOpenGL(): Promise<GPU> {
  const dawn = "webgpu";
  const { create, globals } = (await import(/* @vite-ignore */ dawn)) as {
    create: (flags: readonly string[]) => GPU;
    globals: object;
  };
  Object.assign(globalThis, globals);
  const gpu = create(["backend=opengles"]);
  instances.push(gpu);
  return gpu;
}

async function request({ features = [], featureLevel = "core" }: Asked): Promise<GPUDevice> {
  const inBrowser = typeof window !== "undefined" && "gpu" in navigator;
  const throughGL = !inBrowser && process.env["TEST_ADAPTER"] === "opengles";
  if (inBrowser || throughGL) {
    const gpu = inBrowser ? navigator.gpu : await throughOpenGL();
    const level = throughGL ? "compatibility" : featureLevel;
    const adapter = await gpu.requestAdapter({ featureLevel: level });
    if (!adapter) throw new Error("there is no WebGPU adapter: the GPU tests cannot run");
    return adapter.requestDevice({ requiredFeatures: [...features] });
  }
  // The path is put together so that the browser's bundle does not follow it.
  const path = "../../src/node";
  const { requestDevice } = (await import(
    /* @vite-ignore */ `${path}.js`
  )) as typeof import("../../src/node.js");
  // CONTRIBUTING: the same tests on another adapter of this machine.
  const adapter = (process.env["TEST_ADAPTER"] ?? "auto") as "auto";
  return requestDevice({ adapter, requiredFeatures: features, featureLevel, quiet: true });
}

/**
 * A device with default limits, on Dawn in Node and on `navigator.gpu` in a browser. A missing adapter
 * is an error, never a skip, and any error that nobody caught fails the test.
 */
export async function openDevice(asked: Asked = {}): Promise<GPUDevice> {
  const device = await request(asked);
  device.addEventListener("uncapturederror", (event) => {
    uncaught.push(event.error.message);
  });
  open.push(device);
  name = adapterName(device);
  return device;
}

/** The adapter's name, for the run's output. */
export function adapterName(device: GPUDevice): string {
  const { vendor, architecture, description } = device.adapterInfo;
  return [vendor, architecture, description].filter(Boolean).join(" ");
}

/** Takes back the errors that a test has provoked on purpose. */
export function takeUncaught(): string[] {
  return uncaught.splice(0);
}

/**
 * Until what was called on a device has been looked at: a browser does so in another process, and an error
 * would be told after the test that made it, or never. An empty scope comes back behind everything before it.
 */
async function settled(device: GPUDevice): Promise<void> {
  device.pushErrorScope("validation");
  await Promise.race([device.popErrorScope(), device.lost]).catch(() => null);
}

afterEach(async ({ task }) => {
  if (name !== undefined) task.file.meta.adapter = name;
  await Promise.all(open.map(settled));
  expect(takeUncaught(), "uncaptured WebGPU errors").toEqual([]);
});

afterAll(() => {
  for (const device of open.splice(0)) device.destroy();
});
