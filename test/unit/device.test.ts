/** What is decided from what a device says of itself, on devices that only say it. */
import { describe, expect, test } from "vitest";
import { stateOf } from "../../src/device.js";
import { GPU_TUNING, SOFTWARE_TUNING } from "../../src/dispatch/choose.js";
import { CompileError } from "../../src/errors.js";
import { INFERENCE } from "../../src/kernels/inference.js";
import { PLAIN } from "../../src/kernels.js";

function device(
  info: Partial<GPUAdapterInfo> | undefined,
  limits: Partial<GPUSupportedLimits> = {},
  methods: object = {},
): GPUDevice {
  return {
    queue: {},
    lost: new Promise(() => undefined),
    adapterInfo: info,
    limits: {
      maxComputeInvocationsPerWorkgroup: 256,
      maxComputeWorkgroupSizeX: 256,
      ...limits,
    },
    ...methods,
  } as unknown as GPUDevice;
}

describe("the tuning table", () => {
  test.each<[string, Partial<GPUAdapterInfo> | undefined, object]>([
    ["a GPU", { architecture: "ampere", vendor: "nvidia" }, { ...GPU_TUNING, maxHeldTeam: 256 }],
    ["an adapter that says nothing", undefined, { ...GPU_TUNING, maxHeldTeam: 256 }],
    ["SwiftShader", { architecture: "swiftshader" }, SOFTWARE_TUNING],
    // Their compilers reassociate: without the fence y is off by 64,400 times its bound at an offset of 1e6.
    ["lavapipe", { description: "llvmpipe (LLVM 15)" }, { ...SOFTWARE_TUNING, fence: true }],
    ["WARP", { architecture: "warp" }, { ...SOFTWARE_TUNING, fence: true }],
    ["a fallback", { isFallbackAdapter: true }, { ...SOFTWARE_TUNING, fence: true }],
  ])("of %s", (_, info, tuning) => {
    expect(stateOf(device(info)).tuning).toEqual(tuning);
  });

  test("stays within small limits", () => {
    const limits = { maxComputeInvocationsPerWorkgroup: 128, maxComputeWorkgroupSizeX: 100 };
    const { workgroupSize, maxTeam, maxHeldTeam } = stateOf(device({}, limits)).tuning;
    expect([workgroupSize, maxTeam, maxHeldTeam]).toEqual([64, 64, 64]);
  });

  test("of a GPU in compatibility mode has half of the lanes", () => {
    const limits = { maxComputeInvocationsPerWorkgroup: 128, maxComputeWorkgroupSizeX: 128 };
    const half = { workgroupSize: 128, maxTeam: 128, maxHeldTeam: 128 };
    expect(stateOf(device({}, limits)).tuning).toEqual({ ...GPU_TUNING, ...half });
  });

  test("uses large workgroups where the device allows them", () => {
    const limits = { maxComputeInvocationsPerWorkgroup: 1024, maxComputeWorkgroupSizeX: 1024 };
    expect(stateOf(device({}, limits)).tuning).toEqual(GPU_TUNING);
  });
});

test("a driver that cannot compile a pipeline at once is told as a CompileError", async () => {
  const scopes: string[] = [];
  const gpu = device({}, undefined, {
    pushErrorScope: (filter: string) => scopes.push(filter),
    popErrorScope: () => {
      const filter = scopes.pop();
      return Promise.resolve(filter === "internal" ? { message: "the driver gave up" } : null);
    },
    createShaderModule: () => ({ getCompilationInfo: () => Promise.resolve({ messages: [] }) }),
    createBindGroupLayout: () => ({}),
    createPipelineLayout: () => ({}),
    createComputePipeline: () => ({}),
  });
  const state = stateOf(gpu);
  state.kernelSync({
    ...{ ...PLAIN, kernel: INFERENCE, dtype: "f32", value: "scalar", workgroupSize: 64, team: 64 },
    ...{ lanesAdjacent: true, subgroup: 0, held: 0, fence: true, even: false },
  });
  expect(scopes).toEqual([]);
  const failed = state.pending();
  await expect(failed).rejects.toThrow(CompileError);
  await expect(failed).rejects.toThrow(/the driver gave up/);
});
