import { beforeAll, describe, expect, test } from "vitest";
import { HALF_PROBE, sourceOf } from "../../src/kernels.js";
import { faultOf, openNullDevice } from "../support/null-device.js";
import { KERNELS, variantsOf } from "../support/variants.js";

let device: GPUDevice;
beforeAll(async () => {
  device = await openNullDevice();
});

describe.each(["f32", "f16", "bf16"] as const)("%s", (dtype) => {
  test.each(KERNELS)(
    "every variant of %s compiles within 8 storage buffers and 16 KiB",
    async (kernel) => {
      const failures: string[] = [];
      let count = 0;
      for (const variant of variantsOf(kernel, dtype)) {
        count += 1;
        const fault = await faultOf(device, variant);
        if (fault) failures.push(fault);
      }
      expect(count).toBeGreaterThan(0);
      expect(failures.slice(0, 3)).toEqual([]);
    },
  );
});

test("what tries the device's conversions compiles", async () => {
  expect(await faultOf(device, HALF_PROBE)).toBeNull();
});

test("a compile error names the fragment and its line", () => {
  const [variant] = [...variantsOf("inference", "f32")];
  const source = sourceOf(variant!);
  const line = source.code.split("\n").findIndex((each) => each.includes("fn cursorAt")) + 1;
  expect(source.where(line)).toMatch(/^lib\/chunk\.wgsl:\d+$/);
});
