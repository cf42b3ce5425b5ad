/** The same input gives the same bits, on every run; recorded twice equals run twice. */
import { beforeAll, describe, expect, test } from "vitest";
import type { BatchNormOptions, Dtype } from "../../src/index.js";
import { extentOf } from "../../src/descriptor.js";
import { openDevice } from "../support/device.js";
import { createRandom } from "../support/random.js";
import { Run, rounded, TUNINGS, type Call, type Inputs } from "../support/tolerance.js";

let device: GPUDevice;
beforeAll(async () => {
  device = await openDevice();
});

interface Case {
  readonly shape: readonly number[];
  readonly options: BatchNormOptions;
  readonly dtype?: Dtype;
  readonly residual?: boolean;
}

const CASES: readonly Case[] = [
  { shape: [8, 3, 15, 17], options: {} },
  { shape: [6, 4, 16, 8], options: { momentum: null } },
  { shape: [190, 12], options: { affine: false } },
  { shape: [9, 7, 5, 6], options: { layout: "channels-last", trackRunningStats: false } },
  { shape: [8, 12, 5, 5], options: { activation: "gelu" }, dtype: "bf16", residual: true },
  { shape: [7, 5, 9, 3], options: { activation: "silu" }, dtype: "f16", residual: true },
  { shape: [5, 6, 4, 8], options: { activation: "leaky-relu" }, dtype: "bf16" },
];

const TUNING_NAMES = Object.keys(TUNINGS) as (keyof typeof TUNINGS)[];

function prepare(
  { shape, options, dtype = "f32", residual = false }: Case,
  name: (typeof TUNING_NAMES)[number],
  mode: "training" | "evaluation",
): Promise<Run> {
  const random = createRandom(shape.length);
  const size = shape.reduce((a, b) => a * b, 1);
  const { channels } = extentOf("test", shape, options.layout ?? "channels-first");
  const values = (): Float32Array => rounded(random.normals(size, 1, 2), dtype);
  const call: Call = { shape, options, dtype, tuning: TUNINGS[name], mode };
  const inputs: Inputs = {
    x: values(),
    dy: values(),
    ...(residual ? { residual: values() } : {}),
    gamma: random.normals(channels),
    beta: random.normals(channels),
    state: {
      mean: random.normals(channels),
      variance: random.uniforms(channels, 0.5, 2),
      numBatchesTracked: 2,
    },
  };
  return Run.prepare(device, call, inputs);
}

/** Every output as text, so that a difference is one. */
async function bitsOf(run: Run): Promise<Record<string, string>> {
  const { bits } = await run.read();
  return Object.fromEntries(
    Object.entries(bits).map(([name, bytes]) => [name, new Uint32Array(pad(bytes)).join()]),
  );
}

/** Whole words. */
function pad(bytes: Uint8Array): ArrayBuffer {
  const whole = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
  whole.set(bytes);
  return whole.buffer;
}

describe.each(TUNING_NAMES)("tuning %s", (name) => {
  test.each(["training", "evaluation"] as const)("the same bits on 20 runs: %s", async (mode) => {
    for (const each of CASES) {
      if (mode === "evaluation" && each.options.trackRunningStats === false) continue;
      const run = await prepare(each, name, mode);
      const state = each.options.trackRunningStats === false ? null : run.tensorOf("state");
      const initial = state && (await state.readRaw());
      run.submit();
      const first = await bitsOf(run);
      expect(Object.keys(first)).toContain("dx");
      for (let again = 1; again < 20; again++) {
        // As it was before, so that running statistics can be compared too; outputs must be written anew.
        if (state && initial) device.queue.writeBuffer(state.buffer, 0, initial);
        for (const output of ["y", "saved", "dx", "dGamma", "dBeta", "dResidual"]) {
          const found = run.tensorOf(output) as ReturnType<Run["tensorOf"]> | undefined;
          found?.write(new Float32Array(found.size).fill(NaN));
        }
        run.submit();
        expect(await bitsOf(run)).toEqual(first);
      }
      run.destroy();
    }
  });

  test("a second plan of the same descriptor gives the same bits", async () => {
    for (const each of CASES) {
      const found: Record<string, string>[] = [];
      for (let i = 0; i < 2; i++) {
        const run = await prepare(each, name, "training");
        run.submit();
        found.push(await bitsOf(run));
        run.destroy();
      }
      expect(found[1]).toEqual(found[0]);
    }
  });

  test.each([2, 5])(
    "recorded %d times in one encoder or pass equals run as often",
    async (times) => {
      for (const each of CASES) {
        const apart = await prepare(each, name, "training");
        for (let i = 0; i < times; i++) apart.submit();
        const expected = await bitsOf(apart);

        const together = await prepare(each, name, "training");
        together.submit(times);
        expect(await bitsOf(together)).toEqual(expected);

        const passed = await prepare(each, name, "training");
        const encoder = device.createCommandEncoder();
        const pass = encoder.beginComputePass();
        for (let i = 0; i < times; i++) passed.encode(pass);
        pass.end();
        device.queue.submit([encoder.finish()]);
        expect(await bitsOf(passed)).toEqual(expected);

        if (each.options.trackRunningStats !== false) {
          expect((await together.read()).state!.numBatchesTracked).toBe(2 + times);
          // Each of them has learned: one run alone leaves something else.
          const once = await prepare(each, name, "training");
          once.submit();
          expect((await bitsOf(once))["state"]).not.toBe(expected["state"]);
          once.destroy();
        }
        for (const run of [apart, together, passed]) run.destroy();
      }
    },
  );
});
