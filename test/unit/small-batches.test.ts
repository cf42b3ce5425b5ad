/** What `npm run train:small-batches` is made of, where a mistake would be a wrong table in the docs. */
import { describe, expect, test } from "vitest";
import { chartOf } from "../../scripts/small-batches/chart.js";
import { CORRUPTIONS } from "../../scripts/small-batches/corruptions.js";
import {
  CLASSES,
  Network,
  NORM_WIDTHS,
  type Micro,
  type Norm,
} from "../../scripts/small-batches/network.js";
import { backward, forward } from "../../src/reference.js";
import { createRandom } from "../support/random.js";

/** Batch Normalization and ReLU in float64, over all micro-batches together. */
class ReferenceNorm implements Norm {
  #x = new Float64Array();
  #rows: number[] = [];
  #grads = new Float32Array();
  #values: Float32Array;

  constructor(readonly channels: number) {
    this.#values = new Float32Array(2 * channels).fill(1, 0, channels);
  }

  #options() {
    const { channels } = this;
    return {
      activation: "relu" as const,
      gamma: this.#values.subarray(0, channels),
      beta: this.#values.subarray(channels),
    };
  }

  #split(all: Float64Array): Micro {
    let at = 0;
    return this.#rows.map((rows) =>
      Float32Array.from(all.subarray(at, (at += rows * this.channels))),
    );
  }

  forward(h: Micro): Promise<Micro> {
    this.#rows = h.map((each) => each.length / this.channels);
    this.#x = Float64Array.from(h.flatMap((each) => [...each]));
    const shape = [this.#x.length / this.channels, this.channels];
    return Promise.resolve(this.#split(forward(this.#x, shape, this.#options()).y));
  }

  backward(dy: Micro): Promise<Micro> {
    const all = Float64Array.from(dy.flatMap((each) => [...each]));
    const shape = [all.length / this.channels, this.channels];
    const { dx, dGamma, dBeta } = backward(all, this.#x, shape, this.#options());
    this.#grads = Float32Array.of(...dGamma, ...dBeta);
    return Promise.resolve(this.#split(dx));
  }

  gradients(): Promise<Float32Array> {
    return Promise.resolve(this.#grads);
  }
  parameters(): Float32Array {
    return this.#values;
  }
  setParameters(values: Float32Array): void {
    this.#values = values;
  }
  async evaluate(h: Float32Array): Promise<Float32Array> {
    return (await this.forward([h]))[0]!;
  }
}

const random = createRandom(3);
const x = Float32Array.from(random.normals(6 * 784, 0, 1));
const labels = Uint8Array.of(3, 1, 4, 1, 5, 9);
const make = (): Network =>
  new Network(
    NORM_WIDTHS.map((width) => new ReferenceNorm(width)),
    1,
  );

async function lossOf(network: Network): Promise<number> {
  const logits = await network.logits(x);
  let loss = 0;
  for (const [row, label] of labels.entries()) {
    const own = logits.subarray(row * CLASSES, (row + 1) * CLASSES);
    const total = own.reduce((sum, logit) => sum + Math.exp(logit), 0);
    loss -= Math.log(Math.exp(own[label]!) / total) / labels.length;
  }
  return loss;
}

describe("the network", () => {
  test("descends: a small step lowers the loss by rate times the gradient's square", async () => {
    const rate = 1e-4;
    const network = make();
    const before = await lossOf(network);
    let square = 0;
    await network.step([x], [labels], rate, (gradients) => {
      square = gradients.reduce((sum, value) => sum + value * value, 0);
      return Promise.resolve(gradients);
    });
    const fall = (before - (await lossOf(network))) / (rate * square);
    // To first order 1; the curvature over a step of 1e-4 and f32 losses take some percent.
    expect(fall).toBeGreaterThan(0.9);
    expect(fall).toBeLessThan(1.1);
  });

  test("micro-batches give the gradients of the whole batch", async () => {
    const gradientsOf = async (xs: Micro, of: Uint8Array[]): Promise<Float32Array> => {
      let found = new Float32Array();
      await make().step(xs, of, 0.1, (gradients) => {
        found = gradients.slice();
        return Promise.resolve(gradients);
      });
      return found;
    };
    const whole = await gradientsOf([x], [labels]);
    const cut = 2 * 784;
    const parts = await gradientsOf(
      [x.subarray(0, cut), x.subarray(cut)],
      [labels.subarray(0, 2), labels.subarray(2)],
    );
    // Rounding of f32 sums of some hundred terms.
    expect(whole.length).toBe(parts.length);
    whole.forEach((value, i) => {
      expect(Math.abs(parts[i]! - value) <= 1e-5 * (1 + Math.abs(value))).toBe(true);
    });
  });
});

test("corruptions stay within a pixel's range", () => {
  const pixels = Float32Array.from({ length: 500 }, (_, i) => i / 499);
  for (const [name, corrupt] of Object.entries(CORRUPTIONS)) {
    const changed = corrupt(pixels);
    for (const value of changed) expect(value >= 0 && value <= 1, name).toBe(true);
    if (name !== "none") expect(changed).not.toEqual(pixels);
  }
});

test("the chart has a line and a name for each method", () => {
  const chart = chartOf("Accuracy", "batch size", [
    {
      name: "plain",
      points: [
        [2, 80],
        [4, 90],
      ],
    },
    {
      name: "ghost",
      points: [
        [2, 91],
        [4, 91],
      ],
    },
  ]);
  expect(chart.match(/<polyline/g)).toHaveLength(2);
  expect(chart).toContain(">ghost</text>");
  expect(chart).not.toContain("NaN");
});
