/** A device, or why there is none and what to do. */
export type Found =
  | { readonly device: GPUDevice; readonly name: string }
  | { readonly device: null; readonly reason: string; readonly remedy: string };

const BROWSERS =
  "Chrome or Edge 113 and later, Safari 26 and later, and Firefox 141 and later (Windows; 145 on a Mac) have it.";

export async function findDevice(): Promise<Found> {
  if (!isSecureContext) {
    const remedy = "Open it over https://, or from localhost.";
    return { device: null, reason: "Browsers offer WebGPU to secure pages only.", remedy };
  }
  // Typed as always there; it is not.
  const gpu = navigator.gpu as GPU | undefined;
  if (!gpu) {
    return { device: null, reason: "This browser has no WebGPU.", remedy: BROWSERS };
  }
  try {
    const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
    if (!adapter) {
      const remedy =
        "Update its driver, and look at chrome://gpu. On Linux, Chrome may need --enable-unsafe-webgpu " +
        "--enable-features=Vulkan; --use-webgpu-adapter=swiftshader computes in software.";
      return {
        device: null,
        reason: "This browser has WebGPU, but found no GPU that it can use.",
        remedy,
      };
    }
    const device = await adapter.requestDevice({ label: "demo" });
    return { device, name: nameOf(device) };
  } catch (error) {
    const reason = `The GPU could not be opened: ${(error as Error).message}`;
    return {
      device: null,
      reason,
      remedy: "Reload the page; if it stays so, restart the browser.",
    };
  }
}

function nameOf(device: GPUDevice): string {
  const { vendor, architecture, device: model, description } = device.adapterInfo;
  const name =
    description ||
    [vendor, architecture, model].filter(Boolean).join(" ") ||
    "a GPU without a name";
  return /swiftshader|llvmpipe/i.test(`${name} ${architecture}`) ? `${name}, in software` : name;
}
