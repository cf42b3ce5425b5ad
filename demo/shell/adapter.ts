import type { Words } from "./language.js";

/** A device, or why there is none and what to do. */
export type Found =
  | { readonly device: GPUDevice; readonly name: string; readonly software: boolean }
  | { readonly device: null; readonly reason: Words; readonly remedy: Words };

const LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupStorageSize",
  "maxComputeWorkgroupsPerDimension",
  "maxStorageBuffersPerShaderStage",
] as const;
const FEATURES: readonly GPUFeatureName[] = ["timestamp-query", "shader-f16", "subgroups"];

/** A device with all that the adapter gives, for the libraries that share it. */
export async function findDevice(): Promise<Found> {
  if (!isSecureContext) {
    return {
      device: null,
      reason: {
        en: "Browsers offer WebGPU to secure pages only.",
        ko: "브라우저는 보안 연결로 연 페이지에서만 WebGPU를 쓸 수 있게 합니다.",
      },
      remedy: {
        en: "Open this page over https://, or from localhost.",
        ko: "https:// 주소나 localhost로 이 페이지를 열어 주세요.",
      },
    };
  }
  // Typed as always there; it is not.
  const gpu = navigator.gpu as GPU | undefined;
  if (!gpu) {
    return {
      device: null,
      reason: { en: "This browser has no WebGPU.", ko: "이 브라우저에는 WebGPU가 없습니다." },
      remedy: {
        en: "Chrome or Edge 113 and later, Safari 26 and later, and Firefox 141 and later (Windows; 145 on a Mac) have it.",
        ko: "Chrome·Edge 113 이상, Safari 26 이상, Firefox 141 이상(Windows, Mac은 145 이상)에서 쓸 수 있습니다.",
      },
    };
  }
  try {
    const powerPreference = "high-performance";
    const adapter =
      (await gpu.requestAdapter({ powerPreference })) ??
      // Phones that have OpenGL ES and no Vulkan.
      (await gpu.requestAdapter({ powerPreference, featureLevel: "compatibility" }));
    if (!adapter) {
      return {
        device: null,
        reason: {
          en: "This browser has WebGPU, but found no GPU that it can use.",
          ko: "이 브라우저에는 WebGPU가 있지만, 쓸 수 있는 GPU를 찾지 못했습니다.",
        },
        remedy: {
          en: "Update its driver, and look at chrome://gpu. On Linux, Chrome may need --enable-unsafe-webgpu --enable-features=Vulkan; --use-webgpu-adapter=swiftshader computes in software.",
          ko: "그래픽 드라이버를 업데이트하고 chrome://gpu를 확인해 보세요. Linux의 Chrome에는 --enable-unsafe-webgpu --enable-features=Vulkan 옵션이 필요할 수 있으며, --use-webgpu-adapter=swiftshader 옵션을 주면 소프트웨어로 계산합니다.",
        },
      };
    }
    const device = await adapter.requestDevice({
      label: "demo",
      requiredLimits: Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name]])),
      requiredFeatures: FEATURES.filter((name) => adapter.features.has(name)),
    });
    return { device, ...nameOf(device) };
  } catch (error) {
    const { message } = error as Error;
    return {
      device: null,
      reason: {
        en: `The GPU could not be opened: ${message}`,
        ko: `GPU를 열지 못했습니다: ${message}`,
      },
      remedy: {
        en: "Reload the page; if it stays so, restart the browser.",
        ko: "페이지를 새로 고쳐 보고, 그래도 안 되면 브라우저를 다시 시작해 주세요.",
      },
    };
  }
}

function nameOf({ adapterInfo = {} as GPUAdapterInfo }: Partial<GPUDevice>): {
  name: string;
  software: boolean;
} {
  const { vendor, architecture, device: model, description, isFallbackAdapter } = adapterInfo;
  const software =
    isFallbackAdapter ||
    /swiftshader|llvmpipe|lavapipe|warp/i.test(`${architecture} ${description}`);
  const name = description || [vendor, architecture, model].filter(Boolean).join(" ") || "GPU";
  return { name: /swiftshader/i.test(architecture) ? "SwiftShader" : name, software };
}
