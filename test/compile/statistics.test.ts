import { beforeAll, describe, expect, test } from "vitest";
import type { ValueKind, Variant } from "../../src/kernels.js";
import { PLAIN } from "../../src/kernels.js";
import type { Dtype } from "../../src/descriptor.js";
import { statisticsKernel, type Choice } from "../../src/statistics/kernels.js";
import { faultOf, openNullDevice } from "../support/null-device.js";
import { ACTIVATIONS, sharing } from "../support/variants.js";

let device: GPUDevice;
beforeAll(async () => {
  device = await openNullDevice();
});

const VALUES: Readonly<Record<Dtype, readonly ValueKind[]>> = {
  f32: ["scalar", "row4", "rows4", "channels4", "quad"],
  f16: ["row2", "row4", "channels2", "channels4", "quad", "half"],
  bf16: ["row2", "row4", "channels2", "channels4", "quad", "half"],
};
const FLAGS = [false, true];

const RENORMS = [
  null,
  { limits: [[0, 0, 3, 5]], momentum: 0.01 },
  {
    limits: [
      [0, 0, 1, 0],
      [5000, 0, 3.4e38, 5],
    ],
    momentum: 1,
  },
] as const;
const SHAPING = FLAGS.flatMap((residual) =>
  ACTIVATIONS.map((activation) => ({ residual, activation })),
);
const each = <T extends object>(...lists: (readonly Partial<T>[])[]): T[] =>
  lists.reduce<T[]>(
    (all, list) => all.flatMap((one) => list.map((other) => ({ ...one, ...other }))),
    [{} as T],
  );
const flag = (name: keyof Choice): Partial<Choice>[] => FLAGS.map((value) => ({ [name]: value }));
const RENORM = RENORMS.map((renorm) => ({ renorm }));

/** Every choice that a plan can make of a kernel, and the core's choices that it looks at. */
const CHOICES: Readonly<
  Record<Choice["kernel"], [readonly Partial<Choice>[], readonly Partial<Variant>[]]>
> = {
  statistics: [[{}, { ghosts: true }, { mask: true }], [{}]],
  merge_statistics: [[{}], [{}]],
  finish: [each<Choice>(flag("scale"), flag("center"), RENORM), [{}]],
  apply: [flag("ghosts"), SHAPING],
  learn: [each<Choice>(flag("unbiased"), RENORM), [{}]],
  backward_sums: [
    [{ ghosts: true }],
    FLAGS.flatMap((dResidual) => SHAPING.map((s) => ({ ...s, dResidual }))),
  ],
  merge_sums: [[{}], [{}]],
  gradient_input: [[{}, { ghosts: true }, { mask: true }, { mask: true, maskRow: 9 }], SHAPING],
  gradient_parameters: [
    RENORM,
    FLAGS.flatMap((dGamma) => FLAGS.map((dBeta) => ({ dGamma, dBeta }))),
  ],
};

function* variantsOf(kernel: Choice["kernel"], dtype: Dtype): Generator<Variant> {
  const [choices, fields] = CHOICES[kernel];
  for (const value of VALUES[dtype])
    for (const team of value === "quad" && dtype === "f32" ? [1] : [1, 64])
      for (const fence of FLAGS)
        for (const shared of FLAGS)
          for (const choice of choices.filter(
            ({ ghosts, mask }) =>
              !(ghosts && value === "half") && !((ghosts || mask) && value === "quad"),
          ))
            for (const each of fields) {
              // As in the core's: what shares and what fences changes no other choice.
              if (each !== fields[0] && (shared || !fence)) continue;
              const made: Variant = {
                ...PLAIN,
                kernel: statisticsKernel({ ...choice, kernel }),
                dtype,
                value,
                workgroupSize: 256,
                team,
                lanesAdjacent: value.startsWith("row") || value === "quad",
                subgroup: 0,
                held: 0,
                fence,
                even: !fence,
                ...each,
              };
              yield shared ? sharing(made) : made;
            }
}

describe.each(["f32", "f16", "bf16"] as const)("%s", (dtype) => {
  test.each(Object.keys(CHOICES) as Choice["kernel"][])(
    "every variant of %s compiles within 8 storage buffers",
    async (kernel) => {
      const failures: string[] = [];
      const seen = new Set<string>();
      for (const variant of variantsOf(kernel, dtype)) {
        seen.add(JSON.stringify(variant));
        const fault = await faultOf(device, variant);
        if (fault) failures.push(fault);
      }
      expect(seen.size).toBeGreaterThan(3);
      expect(failures.slice(0, 2)).toEqual([]);
    },
  );
});
