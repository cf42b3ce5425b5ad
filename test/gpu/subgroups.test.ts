/** Teams that merge by shuffles within a subgroup: the same bits as through workgroup memory. */
import { expect, test } from "vitest";
import {
  createForwardSync,
  type BatchNormOptions,
  type Dtype,
  type Tuning,
} from "../../src/index.js";
import { openDevice } from "../support/device.js";
import { createRandom } from "../support/random.js";
import { rounded, Run, TUNINGS, type Call } from "../support/tolerance.js";

/** What the adapter at hand has: in a browser `navigator.gpu` tells, on Dawn the device that is asked for it. */
async function deviceWithSubgroups(): Promise<GPUDevice | null> {
  return openDevice({ features: ["subgroups"] }).catch(() => null);
}

const CASES: readonly {
  shape: readonly number[];
  options: BatchNormOptions;
  dtype?: Dtype;
  tuning: Partial<Tuning>;
}[] = [
  { shape: [8, 3, 16, 16], options: {}, tuning: TUNINGS.gpu }, // held
  { shape: [6, 2, 36, 36], options: { activation: "silu" }, tuning: TUNINGS.whole },
  { shape: [8, 3, 15, 17], options: { momentum: null }, tuning: TUNINGS.split },
  { shape: [4, 5, 9, 9], options: {}, tuning: TUNINGS.whole }, // four rows a Value
  { shape: [3, 5, 9, 9], options: {}, dtype: "f16", tuning: TUNINGS.split }, // shared words
  { shape: [9, 8, 7, 7], options: {}, dtype: "f16", tuning: TUNINGS.split }, // four channels share a row of Values
];

test.for(CASES)("$shape $options $dtype", async (each, context) => {
  const { shape, options, dtype = "f32", tuning } = each;
  const device = await deviceWithSubgroups();
  if (!device) return context.skip("this adapter has no subgroups");
  const subgroup = device.adapterInfo.subgroupMinSize ?? 4;
  const random = createRandom(17);
  const size = shape.reduce((a, b) => a * b, 1);
  const inputs = {
    x: rounded(random.normals(size, 3, 2), dtype),
    dy: rounded(random.normals(size), dtype),
    gamma: random.normals(shape[1]!),
    beta: random.normals(shape[1]!),
  };
  const bitsWith = async (lanes: number) => {
    const call: Call = { shape, options, dtype, tuning: { ...tuning, subgroup: lanes } };
    const run = await Run.prepare(device, call, inputs);
    run.submit();
    const { bits } = await run.read();
    run.destroy();
    return bits;
  };
  expect(subgroup).toBeGreaterThan(1);
  expect(await bitsWith(subgroup)).toEqual(await bitsWith(0));
});

test("more lanes than a subgroup is sure to have, or none, are refused", async (context) => {
  const device = await deviceWithSubgroups();
  if (!device) return context.skip("this adapter has no subgroups");
  const refused = /tuning: subgroup: .* got \d+; 0 is none/;
  const plan = (on: GPUDevice, subgroup: number) =>
    createForwardSync(on, { shape: [2, 3], tuning: { subgroup } });
  const lanes = device.adapterInfo.subgroupMinSize;
  for (const wrong of [2 * lanes, 3]) expect(() => plan(device, wrong)).toThrow(refused);
  plan(device, lanes).destroy();
  const plain = await openDevice();
  expect(() => plan(plain, lanes)).toThrow(refused);
});
