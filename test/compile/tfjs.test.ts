import { beforeAll, expect, test } from "vitest";
import { isWritable, sourceOf, specOf, type ValueKind, type Variant } from "../../src/kernels.js";
import { PLAIN } from "../../src/plan.js";
import { bridge, type BridgeKernel } from "../../src/tfjs/kernels.js";
import { openNullDevice } from "../support/null-device.js";

let device: GPUDevice;
beforeAll(async () => {
  device = await openNullDevice();
});

const VALUES: readonly ValueKind[] = ["scalar", "row4", "rows4", "channels4"];
const FLAGS = [false, true];

test.each(["inference", "gradient", "parameters", "averages", "moving"] as BridgeKernel[])(
  "every variant of %s compiles within 8 storage buffers",
  async (kernel) => {
    const failures: string[] = [];
    for (const value of VALUES)
      for (const team of [1, 64])
        for (const fence of FLAGS)
          for (const affine of FLAGS)
            for (const shared of FLAGS) {
              const variant = {
                ...PLAIN,
                ...bridge(kernel),
                dtype: "f32",
                value,
                workgroupSize: 256,
                team,
                lanesAdjacent: value.startsWith("row"),
                subgroup: 0,
                held: 0,
                fence,
                affine,
                shared,
              } as Variant;
              const { bindings } = specOf(variant);
              if (bindings.length > 8) failures.push(`${bindings.length} storage buffers`);
              device.pushErrorScope("validation");
              const module = device.createShaderModule({ code: sourceOf(variant).code });
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
              if (error) failures.push(`${value} ${team}: ${error.message}`);
            }
    expect(failures.slice(0, 2)).toEqual([]);
  },
);
