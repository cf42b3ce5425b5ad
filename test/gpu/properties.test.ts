/** What holds for any shape and data: random ones, found anew from one seed and shrunk where a property fails. */
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import {
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  tensor,
  type BatchNormOptions,
} from "../../src/index.js";
import { extentOf } from "../../src/descriptor.js";
import * as reference from "../../src/reference.js";
import { openDevice } from "../support/device.js";
import { createRandom } from "../support/random.js";
import {
  channelsOf,
  comparisons,
  GRADIENT,
  runOnce,
  TUNINGS,
  type Call,
  type Comparison,
  type Inputs,
  type Outputs,
} from "../support/tolerance.js";
import "../support/allclose.js";

let device: GPUDevice;
beforeAll(async () => {
  device = await openDevice();
});

type Layout = NonNullable<BatchNormOptions["layout"]>;
type Name = Comparison["name"];

const RUNS = { numRuns: 10, seed: 20260730, endOnFailure: false } as const;

const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** A shape of rank 2 to 5 with two values a channel or more, as a call on any path. */
const anyCall: fc.Arbitrary<Call & { options: { layout: Layout; eps: number } }> = fc
  .record({
    batch: fc.integer({ min: 2, max: 9 }),
    channels: fc.integer({ min: 1, max: 9 }),
    spatial: fc.array(fc.integer({ min: 1, max: 6 }), { maxLength: 3 }),
    layout: fc.constantFrom<Layout>("channels-first", "channels-last"),
    eps: fc.constantFrom(1e-5, 1e-3, 0.5),
    tuning: fc.constantFrom(...Object.values(TUNINGS)),
  })
  .map(({ batch, channels, spatial, layout, eps, tuning }) => ({
    shape:
      layout === "channels-first" ? [batch, channels, ...spatial] : [batch, ...spatial, channels],
    options: { layout, eps: Math.fround(eps) },
    tuning,
  }));

const anySeed = fc.integer({ min: 1, max: 2 ** 31 });

/** Multiples of 2^-10 below 8 in size, so that sums with whole numbers and products with powers of two are exact. */
function inputsFor({ shape, options }: Call, seed: number): Inputs & { x: Float32Array } {
  const random = createRandom(seed);
  const { channels } = extentOf("test", shape, options?.layout ?? "channels-first");
  return {
    x: random.normals(size(shape)).map((value) => Math.round(value * 1024) / 1024),
    dy: random.normals(size(shape), 0.2),
    gamma: random.normals(channels, 0, 1.3),
    beta: random.normals(channels),
  };
}

const twice = (atol: Float64Array): Float64Array => atol.map((value) => 2 * value);

function valuesOf(outputs: Outputs, name: Name): Float32Array {
  if (name === "mean" || name === "variance") return outputs.state![name];
  return outputs[name]!;
}

/** Two runs that ought to agree: each is within the bound of the same truth, so they are within two of each other. */
function expectEqual(
  call: Call,
  inputs: Inputs,
  one: Outputs,
  other: Outputs,
  names: readonly Name[],
  move: (values: Float32Array, name: Name) => Float32Array = (values) => values,
): void {
  const bounds = new Map(comparisons(call, inputs, one).map((each) => [each.name, each.atol]));
  for (const name of names) {
    expect(move(valuesOf(other, name), name), name).toBeAllclose(valuesOf(one, name), {
      atol: twice(bounds.get(name)!),
    });
  }
}

test("x * s with eps * s^2 gives the same y, and dx / s", async () => {
  await fc.assert(
    fc.asyncProperty(anyCall, anySeed, fc.integer({ min: -12, max: 12 }), async (call, seed, k) => {
      const s = 2 ** k;
      const inputs = inputsFor(call, seed);
      const scaled: Call = { ...call, options: { ...call.options, eps: call.options.eps * s * s } };
      const one = await runOnce(device, call, inputs);
      const other = await runOnce(device, scaled, {
        ...inputs,
        x: inputs.x.map((value) => value * s),
      });
      expectEqual(call, inputs, one, other, ["y", "dx", "dGamma", "dBeta"], (values, name) =>
        name === "dx" ? values.map((value) => value * s) : values,
      );
    }),
    RUNS,
  );
});

test("x + constant gives the same y and gradients, and the mean moves by it", async () => {
  await fc.assert(
    fc.asyncProperty(
      anyCall,
      anySeed,
      fc.integer({ min: -1000, max: 1000 }),
      async (given, seed, constant) => {
        const call: Call = { ...given, options: { ...given.options, momentum: 1 } };
        const inputs = inputsFor(call, seed);
        const moved = { ...inputs, x: inputs.x.map((value) => value + constant) };
        const one = await runOnce(device, call, inputs);
        const other = await runOnce(device, call, moved);
        expectEqual(call, inputs, one, other, ["y", "dx", "dGamma", "dBeta", "variance"]);
        const { atol } = comparisons(call, moved, other).find(({ name }) => name === "mean")!;
        const expected = one.state!.mean.map((value) => value + constant);
        expect(other.state!.mean).toBeAllclose(expected, { atol: twice(atol) });
      },
    ),
    RUNS,
  );
});

test("dx sums to 0 in every channel in training", async () => {
  await fc.assert(
    fc.asyncProperty(anyCall, anySeed, async (call, seed) => {
      const inputs = inputsFor(call, seed);
      const { dx } = await runOnce(device, call, inputs);
      const { shape, options } = call;
      const { gamma, beta, x, dy } = inputs;
      const want = reference.backward(dy!, x, shape, { ...options, gamma, beta });
      const { channels } = extentOf("test", shape, options.layout);
      const channel = channelsOf(call);
      const sums = new Float64Array(channels);
      dx!.forEach((value, i) => (sums[channel(i)]! += value));
      // Of gamma·invStd·(Σdz - M·(dBeta/M) - Σ(xHat·dGamma/M)) each term is off by its share at most.
      const atol = Float64Array.from(
        sums,
        (_, c) => 3 * GRADIENT * Math.abs(gamma![c]!) * want.invStd[c]! * want.sumAbsDz[c]! + 1e-30,
      );
      expect(sums).toBeAllclose(new Float64Array(channels), { atol });
    }),
    RUNS,
  );
});

test("a permutation of the batch permutes y and dx, and changes nothing else", async () => {
  await fc.assert(
    fc.asyncProperty(anyCall, anySeed, async (call, seed) => {
      const inputs = inputsFor(call, seed);
      const batch = call.shape[0]!;
      const length = size(call.shape) / batch;
      const random = createRandom(seed + 1);
      const order = Array.from({ length: batch }, (_, i) => i);
      for (let i = batch - 1; i > 0; i--) {
        const j = random.integer(0, i);
        [order[i], order[j]] = [order[j]!, order[i]!];
      }
      const permuted = (values: ArrayLike<number>): Float32Array =>
        Float32Array.from(
          { length: values.length },
          (_, i) => values[order[Math.floor(i / length)]! * length + (i % length)]!,
        );
      const back = (values: Float32Array): Float32Array => {
        const result = new Float32Array(values.length);
        order.forEach((from, to) => {
          result.set(values.subarray(to * length, (to + 1) * length), from * length);
        });
        return result;
      };
      const one = await runOnce(device, call, inputs);
      const other = await runOnce(device, call, {
        ...inputs,
        x: permuted(inputs.x),
        dy: permuted(inputs.dy!),
      });
      const names: Name[] = ["y", "dx", "dGamma", "dBeta", "mean", "variance"];
      expectEqual(call, inputs, one, other, names, (values, name) =>
        name === "y" || name === "dx" ? back(values) : values,
      );
    }),
    RUNS,
  );
});

test("channels-first equals channels-last", async () => {
  await fc.assert(
    fc.asyncProperty(anyCall, anySeed, async (given, seed) => {
      // Of the call only the sizes are taken: its last dimension counts as the channel here and the second there.
      const [batch, ...rest] = given.shape as [number, ...number[]];
      const channels = rest.pop()!;
      const spatial = size(rest);
      const first: Call = {
        shape: [batch, channels, ...rest],
        options: { ...given.options, layout: "channels-first" },
        tuning: given.tuning!,
      };
      const last: Call = {
        ...first,
        shape: given.shape,
        options: { ...given.options, layout: "channels-last" },
      };
      const inputs = inputsFor(first, seed);
      const transposed = (values: ArrayLike<number>, rows: number, columns: number) =>
        Float32Array.from({ length: values.length }, (_, i) => {
          const within = i % (rows * columns);
          const start = i - within;
          return values[start + (within % rows) * columns + Math.floor(within / rows)]!;
        });
      const one = await runOnce(device, first, inputs);
      const other = await runOnce(device, last, {
        ...inputs,
        x: transposed(inputs.x, channels, spatial),
        dy: transposed(inputs.dy!, channels, spatial),
      });
      const names: Name[] = ["y", "dx", "dGamma", "dBeta", "mean", "variance"];
      expectEqual(first, inputs, one, other, names, (values, name) =>
        name === "y" || name === "dx" ? transposed(values, spatial, channels) : values,
      );
    }),
    RUNS,
  );
});

describe.each(["training", "evaluation"] as const)("%s", (mode) => {
  test("a plan gives a module's bits", async () => {
    await fc.assert(
      fc.asyncProperty(anyCall, anySeed, async ({ shape, options }, seed) => {
        // Without a tuning both take the adapter's.
        const call: Call = { shape, options, mode };
        const { channels } = extentOf("test", shape, options.layout);
        const random = createRandom(seed + 2);
        const inputs: Inputs = {
          ...inputsFor(call, seed),
          state: {
            mean: random.normals(channels),
            variance: random.uniforms(channels, 0.5, 2),
            numBatchesTracked: 6,
          },
        };
        const plan = await runOnce(device, call, inputs);

        const Module = [BatchNorm1d, BatchNorm1d, BatchNorm2d, BatchNorm3d][shape.length - 2]!;
        const bn = new Module(device, channels, options);
        bn.loadStateDict({
          weight: inputs.gamma!,
          bias: inputs.beta!,
          running_mean: inputs.state!.mean,
          running_var: inputs.state!.variance,
          num_batches_tracked: 6n,
        });
        if (mode === "evaluation") bn.eval();
        const x = tensor(device, Float32Array.from(inputs.x), shape);
        const dy = tensor(device, Float32Array.from(inputs.dy!), shape);
        const y = bn.forward(x);
        const dx = bn.backward(dy);
        const dict = await bn.stateDict();
        const bits = (values: Float32Array): string =>
          new Uint32Array(values.slice().buffer).join();
        expect(bits(await y.read())).toBe(bits(plan.y));
        expect(bits(await dx.read())).toBe(bits(plan.dx!));
        expect(bits(await bn.gammaGrad!.read())).toBe(bits(plan.dGamma!));
        expect(bits(await bn.betaGrad!.read())).toBe(bits(plan.dBeta!));
        const learned = mode === "training" ? plan.state! : inputs.state!;
        expect(bits(dict.running_mean!)).toBe(bits(Float32Array.from(learned.mean)));
        expect(bits(dict.running_var!)).toBe(bits(Float32Array.from(learned.variance)));
        expect(dict.num_batches_tracked).toBe(mode === "training" ? 7n : 6n);
        for (const each of [bn, x, dy, y, dx]) each.destroy();
      }),
      RUNS,
    );
  });
});
