import { describe, expect, test } from "vitest";
import { batches, samplesOf } from "../../demo/engine/digits.js";
import { EPS, openCpu, type TensorFlow } from "../../demo/engine/engine.js";
import { Network } from "../../demo/lab/network.js";
import { loadDigits } from "../../scripts/support/load-digits.js";
import { median } from "../../scripts/support/median.js";
import { centred } from "../../demo/digits/centre.js";
import { corrupted, isClean } from "../../demo/digits/corrupt.js";
import { ghosts, renormalised } from "../../demo/lab/methods.js";
import { PIXELS, SIDE, type Digits } from "../../scripts/support/digits.js";
import { trainBriefly } from "../../scripts/support/brief-training.js";
import { normals, seeded } from "../../scripts/support/random.js";
import * as reference from "../../src/reference.js";

describe("a drawing", () => {
  /** A slanted stroke of a width, at a place and a size. */
  const stroke = (size: number, left: number, top: number, length: number): Float32Array =>
    Float32Array.from({ length: size * size }, (_, i) => {
      const [row, column] = [Math.floor(i / size), i % size];
      const along = row - top;
      return along >= 0 && along < length && Math.abs(column - left - along / 3) <= length / 12
        ? 1
        : 0;
    });

  test("is set to its centre of mass, whatever its place and size", () => {
    const one = centred(stroke(280, 60, 40, 120), 280)!;
    const two = centred(stroke(280, 120, 20, 240), 280)!;
    for (const digit of [one, two]) {
      const mass = digit.reduce((a, b) => a + b, 0);
      const at = (of: (i: number) => number): number =>
        digit.reduce((sum, value, i) => sum + value * of(i), 0) / mass;
      // Moved by whole pixels, so that half a pixel is left at most.
      expect(Math.abs(at((i) => Math.floor(i / SIDE) + 0.5) - 14)).toBeLessThanOrEqual(0.5);
      expect(Math.abs(at((i) => (i % SIDE) + 0.5) - 14)).toBeLessThanOrEqual(0.5);
      const rows = new Set(
        Array.from(digit, (value, i) => (value > 0 ? Math.floor(i / SIDE) : -1)),
      );
      rows.delete(-1);
      expect(rows.size).toBe(20);
    }
    const difference = Math.max(...one.map((value, i) => Math.abs(value - two[i]!)));
    expect(difference).toBeLessThan(0.35);
    expect(centred(new Float32Array(100), 10)).toBeNull();
  });

  test("is spoilt the same way for the same seed, and not at all by nothing", () => {
    const pixels = Float32Array.from({ length: PIXELS }, (_, i) => (i % 7) / 6);
    const clean = { contrast: 1, brightness: 0, noise: 0, inverted: false };
    expect(isClean(clean)).toBe(true);
    corrupted(pixels, clean, 1).forEach((value, i) => {
      expect(value).toBeCloseTo(pixels[i]!, 6);
    });
    corrupted(pixels, { ...clean, inverted: true }, 1).forEach((value, i) => {
      expect(value).toBeCloseTo(1 - pixels[i]!, 6);
    });
    const noisy = { ...clean, noise: 0.2 };
    expect(corrupted(pixels, noisy, 3)).toEqual(corrupted(pixels, noisy, 3));
    expect(corrupted(pixels, noisy, 3)).not.toEqual(corrupted(pixels, noisy, 4));
    expect(Math.max(...corrupted(pixels, { ...noisy, brightness: 2 }, 3))).toBe(1);
  });
});

describe("the demo's networks on the CPU", () => {
  const load = async (): Promise<Awaited<ReturnType<typeof openCpu>>> => {
    const tf = (await import("@tensorflow/tfjs-core")) as TensorFlow;
    tf.enableProdMode();
    await import("@tensorflow/tfjs");
    return openCpu(tf);
  };

  test("ghosts are normalised apart, and their merged statistics are the whole batch's", async () => {
    const engine = await load();
    const { tf } = engine;
    const [count, size, channels] = [12, 4, 3];
    const values = normals(count * channels, 5, 2, 3);
    const [x, gamma, beta] = [
      tf.tensor(values, [count, channels]),
      tf.ones([channels]),
      tf.zeros([channels]),
    ];
    const running = { mean: beta, variance: gamma };
    const { y, mean, variance } = ghosts(size)(engine, x, gamma, beta, running);
    const whole = reference.forward(values, [count, channels]);
    (await mean.data()).forEach((value, c) => {
      expect(value).toBeCloseTo(whole.mean[c]!, 5);
    });
    (await variance.data()).forEach((value, c) => {
      expect(value).toBeCloseTo(whole.varBiased[c]!, 4);
    });
    const found = await y.data();
    for (let ghost = 0; ghost < count / size; ghost++) {
      const from = ghost * size * channels;
      const part = reference.forward(values.subarray(from, from + size * channels), [
        size,
        channels,
      ]);
      part.y.forEach((value, i) => {
        expect(found[from + i]).toBeCloseTo(value, 5);
      });
    }
    expect(() => ghosts(5)(engine, x, gamma, beta, running)).toThrow(/5 divides, got 12/);
  });

  test("renormalised with wide limits is evaluation, with narrow ones training", async () => {
    const engine = await load();
    const { tf } = engine;
    const values = normals(24, 6, 1, 2);
    const [x, gamma, beta] = [
      tf.tensor(values, [8, 3]),
      tf.tensor1d([1, 2, 0.5]),
      tf.tensor1d([0, 1, -1]),
    ];
    const running = { mean: tf.tensor1d([0.5, 1, 2]), variance: tf.tensor1d([4, 1, 9]) };
    const affine = { gamma: [1, 2, 0.5], beta: [0, 1, -1] };
    const wide = await renormalised(1e6, 1e6)(engine, x, gamma, beta, running).y.data();
    const evaluated = reference.inference(values, [8, 3], {
      ...affine,
      mean: [0.5, 1, 2],
      variance: [4, 1, 9],
    }).y;
    wide.forEach((value, i) => {
      expect(value).toBeCloseTo(evaluated[i]!, 4);
    });
    const narrow = await renormalised(1, 0)(engine, x, gamma, beta, running).y.data();
    const trained = reference.forward(values, [8, 3], affine).y;
    narrow.forEach((value, i) => {
      expect(value).toBeCloseTo(trained[i]!, 4);
    });
  });

  test("after training gamma and beta are not the identity, nor on their way to it", async () => {
    const engine = await load();
    const digits = await loadDigits();
    const samples = samplesOf(digits, 0, 2000, 14);
    const network = new Network(engine, {
      inputs: samples.inputs,
      depth: 2,
      width: 16,
      activation: "tanh",
      initialisation: "xavier",
      batchNorm: true,
      order: "before",
      seed: 3,
    });
    /** How far half of the units are from γ = √(var + ε), β = mean, in standard deviations of what they are given. */
    const distance = async (): Promise<{ gamma: number; beta: number }> => {
      const off = { gamma: [] as number[], beta: [] as number[] };
      for (const layer of [0, 1]) {
        const { gamma, beta, mean, variance } = await network.learned(layer);
        gamma.forEach((each, i) => {
          const deviation = Math.sqrt(variance[i]! + EPS);
          off.gamma.push(Math.abs(Math.log(Math.abs(each) / deviation)));
          off.beta.push(Math.abs(beta[i]! - mean[i]!) / deviation);
        });
      }
      return { gamma: median(off.gamma), beta: median(off.beta) };
    };
    const source = batches(samples, 32, seeded(4));
    const steps = async (count: number): Promise<number> => {
      let loss = NaN;
      for (let step = 0; step < count; step++) {
        const { x, labels } = source.next().value;
        ({ loss } = await network.step(x, labels, { rate: 0.5, momentum: 0.1 }));
      }
      return loss;
    };
    // The running statistics forget where they started: 0.9^50 of it is left.
    await steps(50);
    const before = await distance();
    const loss = await steps(350);
    const after = await distance();
    expect(loss).toBeLessThan(0.5);
    // Half of the γ are off by a quarter and more, and training has led none of the two nearer.
    expect(after.gamma).toBeGreaterThan(Math.log(1.25));
    expect(after.gamma).toBeGreaterThan(before.gamma);
    expect(after.beta).toBeGreaterThan(before.beta);
    network.dispose();
  });

  test("the short training of npm start learns a simple thing, with Batch Normalization and without", async () => {
    const engine = await load();
    const next = seeded(9);
    const count = 1040;
    // A bright block whose place tells the class.
    const labels = Uint8Array.from({ length: count }, () => Math.floor(next() * 10));
    const pixels = new Uint8Array(count * PIXELS);
    labels.forEach((label, n) => {
      for (let row = 0; row < 8; row++) {
        for (let column = 0; column < 8; column++) {
          pixels[
            n * PIXELS + (row + 2 + 12 * Math.floor(label / 5)) * SIDE + column + 4 * (label % 5)
          ] = 200 + Math.floor(next() * 55);
        }
      }
    });
    const made: Digits = { count, labels, pixels };
    let ticks = 0;
    const results = await trainBriefly(engine, made, {
      steps: 12,
      batch: 8,
      rate: 0.05,
      held: 40,
      tick: () => ticks++,
    });
    expect(ticks).toBe(24);
    expect(results.map(({ batchNorm }) => batchNorm)).toEqual([false, true]);
    expect(results[1]!.lastLoss).toBeLessThan(0.8 * results[1]!.firstLoss);
    expect(results[1]!.accuracy).toBeGreaterThan(0.3);
  });
});
