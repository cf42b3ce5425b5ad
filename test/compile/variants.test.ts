import { beforeAll, describe, expect, test } from "vitest";
import { isWritable, labelOf, sourceOf, specOf } from "../../src/kernels.js";
import { openNullDevice } from "../support/null-device.js";
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
        const { bindings } = specOf(variant);
        if (bindings.length > 8)
          failures.push(`${labelOf(variant)}: ${bindings.length} storage buffers`);
        const source = sourceOf(variant);
        device.pushErrorScope("validation");
        const module = device.createShaderModule({ code: source.code });
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
        device.createComputePipeline({
          layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
          compute: { module, entryPoint: "main" },
        });
        const error = await device.popErrorScope();
        if (error)
          failures.push(`${labelOf(variant)} ${JSON.stringify(variant)}: ${error.message}`);
      }
      expect(count).toBeGreaterThan(0);
      expect(failures.slice(0, 3)).toEqual([]);
    },
  );
});

test("a compile error names the fragment and its line", () => {
  const [variant] = [...variantsOf("inference", "f32")];
  const source = sourceOf(variant!);
  const line = source.code.split("\n").findIndex((each) => each.includes("fn cursorAt")) + 1;
  expect(source.where(line)).toMatch(/^lib\/chunk\.wgsl:\d+$/);
});
