import { afterAll, afterEach, expect } from "vitest";

/** Devices of the running test file, all destroyed at its end. */
const open: GPUDevice[] = [];
const uncaught: string[] = [];
let name: string | undefined;

async function request(features: readonly GPUFeatureName[]): Promise<GPUDevice> {
  if (typeof navigator !== "undefined" && "gpu" in navigator && typeof window !== "undefined") {
    const adapter = await navigator.gpu.requestAdapter();
    if (!adapter) throw new Error("this browser has no WebGPU adapter: the GPU tests cannot run");
    return adapter.requestDevice({ requiredFeatures: [...features] });
  }
  // The path is put together so that the browser's bundle does not follow it.
  const path = "../../src/node";
  const { requestDevice } = (await import(
    /* @vite-ignore */ `${path}.js`
  )) as typeof import("../../src/node.js");
  // CONTRIBUTING: the same tests on another adapter of this machine.
  const adapter = (process.env["TEST_ADAPTER"] ?? "auto") as "auto";
  return requestDevice({ adapter, requiredFeatures: features, quiet: true });
}

/**
 * A device with default limits, on Dawn in Node and on `navigator.gpu` in a browser. A missing adapter
 * is an error, never a skip, and any error that nobody caught fails the test.
 */
export async function openDevice(
  options: { features?: readonly GPUFeatureName[] } = {},
): Promise<GPUDevice> {
  const device = await request(options.features ?? []);
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
