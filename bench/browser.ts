/** The benchmark in a page: `chromium.ts` calls what stands on `window`, and is called back. */
import type { Options } from "./options.js";
import type { Row } from "./results.js";
import { runSuite, type SuiteResults } from "./suite.js";

declare global {
  interface Window {
    describeDevice: () => Promise<{ readonly adapter: string; readonly timestamps: boolean }>;
    benchmark: (options: Options) => Promise<SuiteResults>;
    onBenchProgress?: (done: number, total: number, label: string) => void;
    onBenchRows?: (rows: readonly Row[]) => void;
    onBenchWarning?: (text: string) => void;
  }
}

function nameOf({ vendor, architecture, device, description }: GPUAdapterInfo): string {
  if (/swiftshader/i.test(`${architecture} ${description}`)) return "SwiftShader (software)";
  return (
    [device, description].filter(Boolean).join(", ") ||
    [vendor, architecture].filter(Boolean).join(" ") ||
    "unknown"
  );
}

/** A device with all that the adapter gives. */
export async function pageDevice(): Promise<GPUDevice> {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) throw new Error("no WebGPU adapter");
  const wanted = [
    "maxBufferSize",
    "maxStorageBufferBindingSize",
    "maxComputeInvocationsPerWorkgroup",
    "maxComputeWorkgroupSizeX",
    "maxComputeWorkgroupStorageSize",
    "maxStorageBuffersPerShaderStage",
  ] as const;
  return adapter.requestDevice({
    requiredLimits: Object.fromEntries(wanted.map((name) => [name, adapter.limits[name]])),
    requiredFeatures: (["timestamp-query", "shader-f16", "subgroups"] as GPUFeatureName[]).filter(
      (name) => adapter.features.has(name),
    ),
  });
}

let opened: Promise<GPUDevice> | undefined;

window.describeDevice = async () => {
  const { adapterInfo, features } = await (opened ??= pageDevice());
  return { adapter: nameOf(adapterInfo), timestamps: features.has("timestamp-query") };
};

window.benchmark = async (options) => {
  const device = await (opened ??= pageDevice());
  device.addEventListener("uncapturederror", (event) => {
    window.onBenchWarning?.(`uncaptured: ${event.error.message.split("\n")[0]!}`);
  });
  return runSuite(device, options, {
    progress: (...of) => window.onBenchProgress?.(...of),
    rows: (rows) => window.onBenchRows?.(rows),
    warn: (text) => window.onBenchWarning?.(text),
  });
};
