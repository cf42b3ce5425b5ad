/** A device on any adapter: in WebGPU's compatibility mode where the adapter has no other. */
export async function anyDevice(): Promise<GPUDevice> {
  const adapter = await navigator.gpu.requestAdapter({ featureLevel: "compatibility" });
  if (!adapter) throw new Error("no WebGPU");
  const core = "core-features-and-limits"; // what every adapter has but those
  return adapter.requestDevice({ requiredFeatures: adapter.features.has(core) ? [core] : [] });
}
