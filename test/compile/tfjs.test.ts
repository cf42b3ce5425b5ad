import { beforeAll, expect, test } from "vitest";
import type { ValueKind, Variant } from "../../src/kernels.js";
import { PLAIN } from "../../src/kernels.js";
import { bridgeKernel, type BridgeKernel } from "../../src/tfjs/kernels.js";
import { faultOf, openNullDevice } from "../support/null-device.js";
import { sharing } from "../support/variants.js";

let device: GPUDevice;
beforeAll(async () => {
  device = await openNullDevice();
});

const VALUES: readonly ValueKind[] = ["scalar", "row4", "rows4", "channels4", "quad"];
const FLAGS = [false, true];

test.each(["inference", "gradient", "parameters", "averages", "moving"] as BridgeKernel[])(
  "every variant of %s compiles within 8 storage buffers",
  async (kernel) => {
    const failures: string[] = [];
    for (const value of VALUES)
      for (const team of value === "quad" ? [1] : [1, 64])
        for (const fence of FLAGS)
          for (const affine of FLAGS)
            for (const shared of FLAGS) {
              const variant = {
                ...PLAIN,
                kernel: bridgeKernel(kernel),
                dtype: "f32",
                value,
                workgroupSize: 256,
                team,
                lanesAdjacent: value.startsWith("row"),
                subgroup: 0,
                held: 0,
                fence,
                even: !fence,
                affine,
              } as Variant;
              const fault = await faultOf(device, shared ? sharing(variant) : variant);
              if (fault) failures.push(fault);
            }
    expect(failures.slice(0, 2)).toEqual([]);
  },
);
