import { create } from "webgpu";

// Kept for as long as the process lives: Dawn aborts when an instance in use is collected.
const gpu = create(["backend=null"]);

/** A device that validates and compiles with every feature, and executes nothing. */
export async function openNullDevice(): Promise<GPUDevice> {
  const adapter = await gpu.requestAdapter();
  if (!adapter) throw new Error("Dawn's null backend gave no adapter");
  const features = [...adapter.features] as GPUFeatureName[];
  return adapter.requestDevice({ requiredFeatures: features });
}
