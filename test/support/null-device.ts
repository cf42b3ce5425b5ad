import { create } from "webgpu";
import { readFragments, shortenWgsl } from "../../scripts/support/shorten-wgsl.js";
import { commonFragments } from "../../src/fragments.js";
import { isWritable, labelOf, sourceOf, type Variant } from "../../src/kernels.js";

// Kept for as long as the process lives: Dawn aborts when an instance in use is collected.
const gpu = create(["backend=null"]);

/** A device that validates and compiles with every feature, and executes nothing. */
export async function openNullDevice(): Promise<GPUDevice> {
  const adapter = await gpu.requestAdapter();
  if (!adapter) throw new Error("Dawn's null backend gave no adapter");
  const features = [...adapter.features] as GPUFeatureName[];
  return adapter.requestDevice({ requiredFeatures: features });
}

const shortened = shortenWgsl(readFragments());

/** Fragments that have been compiled as they are written. */
const seen = new Set<string>();

/** A variant's code as the built package has it; as it is written too, where that has a fragment not compiled so yet. */
function codesOf(variant: Variant): string[] {
  const { code } = sourceOf(variant);
  const names = [...new Set(variant.kernel.specOf(variant).fragments)];
  const written = { ...commonFragments, ...variant.kernel.fragments() };
  const head = code.slice(0, -names.map((name) => written[name]!).join("").length);
  const built = head + names.map((name) => shortened[name]!).join("");
  if (names.every((name) => seen.has(name))) return [built];
  for (const name of names) seen.add(name);
  return [built, code];
}

/**
 * What is wrong with a variant on a device: it does not compile, or not as the built package has it, or binds more than
 * WebGPU's default allows.
 */
export async function faultOf(device: GPUDevice, variant: Variant): Promise<string | null> {
  const { bindings } = variant.kernel.specOf(variant);
  const fault = (what: string): string => `${labelOf(variant)} ${JSON.stringify(variant)}: ${what}`;
  if (bindings.length > 8) return fault(`${bindings.length} storage buffers`);
  device.pushErrorScope("validation");
  const layout = device.createBindGroupLayout({
    entries: [
      { binding: 0, visibility: 4, buffer: { type: "uniform" } },
      ...bindings.map((binding, index) => ({
        binding: index + 1,
        visibility: 4,
        buffer: {
          type: isWritable(binding, variant)
            ? ("storage" as const)
            : ("read-only-storage" as const),
        },
      })),
    ],
  });
  for (const code of codesOf(variant)) {
    device.createComputePipeline({
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module: device.createShaderModule({ code }), entryPoint: "main" },
    });
  }
  const error = await device.popErrorScope();
  return error ? fault(error.message) : null;
}
