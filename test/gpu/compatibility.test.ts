/** Devices of WebGPU's compatibility mode: workgroups of at most 128, as phones without Vulkan allow. */
import { beforeAll, describe, expect, test } from "vitest";
import { extentOf } from "../../src/descriptor.js";
import { chooseDispatch, GPU_TUNING, type Tuning } from "../../src/index.js";
import { stateOf } from "../../src/device.js";
import { openDevice } from "../support/device.js";
import { createRandom } from "../support/random.js";
import { comparisons, rounded, runOnce, type Call } from "../support/tolerance.js";
import "../support/allclose.js";

let device: GPUDevice;
/** A GPU's table as such a device gets it. */
let tuning: Tuning;

beforeAll(async () => {
  device = await openDevice({ featureLevel: "compatibility" });
  const { fence } = stateOf(device).tuning;
  tuning = { ...GPU_TUNING, workgroupSize: 128, maxTeam: 128, maxHeldTeam: 128, fence };
});

test("is what Dawn gives, in Node and in Chromium; Firefox (153) has core devices alone", () => {
  const { features, limits } = device;
  const isCore = features.has("core-features-and-limits");
  const browser = typeof navigator === "undefined" ? "" : navigator.userAgent;
  expect(isCore).toBe(browser.includes("Firefox"));
  expect(limits.maxComputeInvocationsPerWorkgroup).toBe(isCore ? 256 : 128);
});

const cases: [path: string, Call][] = [
  ["held", { shape: [4, 3, 16, 20] }],
  ["split", { shape: [6, 3, 40, 40], options: { activation: "silu" } }],
  ["split", { shape: [512, 5, 8], options: { layout: "channels-last" }, dtype: "bf16" }],
  ["whole", { shape: [8, 8, 7, 7], dtype: "f16" }],
];
describe.each(["own", "gpu"])("with the table: %s", (table) => {
  test.each(cases)("%s: %o", async (path, { options = {}, dtype = "f32", shape }) => {
    const random = createRandom(29);
    const extent = extentOf("test", shape, options.layout ?? "channels-first");
    const values = (): Float32Array =>
      rounded(
        Float32Array.from({ length: extent.size }, () => 3 + random.normal()),
        dtype,
      );
    const inputs = { x: values(), dy: values(), residual: values() };
    const call = { shape, options, dtype, ...(table === "gpu" ? { tuning } : {}) };
    const found = comparisons(call, inputs, await runOnce(device, call, inputs));
    for (const { name, actual, expected, atol } of found) {
      expect(actual, name).toBeAllclose(expected, { atol });
    }
    expect(
      found
        .map(({ name }) => name)
        .sort()
        .join(),
    ).toBe("dBeta,dGamma,dResidual,dx,mean,variance,y");
    if (table === "gpu") {
      const { limits } = device;
      expect(chooseDispatch(extent, dtype, "reduce", tuning, limits)).toMatchObject({
        path,
        workgroupSize: 128,
      });
    }
  });
});
