import { describe, expect, test } from "vitest";
import { judge, judgeAll, ulp, type Inputs } from "../../scripts/support/check.js";
import {
  bytesOfDigits,
  digitsFromBytes,
  packDigits,
  PIXELS,
  takeDigits,
} from "../../scripts/support/digits.js";
import { byteText, digits3, percent, scientific, times } from "../../scripts/support/format.js";
import { channelOf, histogram, summarise, ticks } from "../../scripts/support/histogram.js";
import { median } from "../../scripts/support/median.js";
import { pictureOf } from "../../scripts/support/picture.js";
import { barOf, Progress } from "../../scripts/support/progress.js";
import { normals, seeded, uniforms } from "../../scripts/support/random.js";
import { table, widthOf } from "../../scripts/support/table.js";
import { measure } from "../../scripts/support/timing.js";
import { LAYERS, objection, shapeOf } from "../../demo/compare/layers.js";
import { extentOf } from "../../src/descriptor.js";
import * as reference from "../../src/reference.js";

describe("table", () => {
  test("aligns columns, numbers to the right, and leaves no space at the end", () => {
    const lines = table(
      [{ title: "name" }, { title: "ms", align: "right" }],
      [["a", "1.5"], ["longer", "120"], ["b"]],
    );
    expect(lines).toEqual(["  name      ms", "  a        1.5", "  longer   120", "  b"]);
  });

  test("counts characters that a terminal shows", () => {
    expect(widthOf("\u001b[32mpass\u001b[39m")).toBe(4);
    expect(widthOf("÷ ×")).toBe(3);
    const lines = table(
      [{ title: "" }, { title: "" }],
      [
        ["\u001b[1mab\u001b[22m", "x"],
        ["abc", "y"],
      ],
      { indent: 0 },
    );
    expect(lines.slice(1)).toEqual(["\u001b[1mab\u001b[22m    x", "abc   y"]);
  });
});

describe("numbers in words", () => {
  test("keep three digits where they are read, one decimal where they are compared", () => {
    expect([0.01234, 1.234, 12.34, 123.4, 999.6, 1234.5].map(digits3)).toEqual([
      "0.0123",
      "1.23",
      "12.3",
      "123",
      "1,000",
      "1,235",
    ]);
    expect([0, 1.26e-7, 0.0123, 4.31, NaN].map(scientific)).toEqual([
      "0",
      "1.3e-7",
      "0.012",
      "4.3",
      "NaN",
    ]);
    expect([0.117, 3.4, 12.34].map(times)).toEqual(["0.12 ×", "3.40 ×", "12.3 ×"]);
    expect([0, 0.004, 0.42, 1, 1134, Infinity].map(percent)).toEqual([
      "0 %",
      "< 1 %",
      "42 %",
      "100 %",
      "1,134 ×",
      "Infinity",
    ]);
    expect([420, 24_600, 12_845_056].map(byteText)).toEqual(["420 bytes", "24.6 kB", "12.8 MB"]);
  });

  test("median of odd and even counts", () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 3, 2])).toBe(2.5);
  });
});

describe("histogram", () => {
  test("puts each value into its bin, the upper edge into the last, others outside", () => {
    const { counts, outside, total } = histogram([0, 0.99, 1, 2, -1, 2.1, NaN], 2, 0, 2);
    expect(Array.from(counts)).toEqual([2, 2]);
    expect([outside, total]).toEqual([3, 7]);
  });

  test("summarises in float64", () => {
    expect(summarise([1, 2, 3, 4])).toEqual({
      mean: 2.5,
      deviation: Math.sqrt(1.25),
      smallest: 1,
      largest: 4,
    });
  });

  test("picks a channel in both layouts", () => {
    const values = [0, 1, 2, 3, 4, 5, 6, 7]; // [2, 2, 2]
    expect(Array.from(channelOf(values, extentOf("t", [2, 2, 2], "channels-first"), 1))).toEqual([
      2, 3, 6, 7,
    ]);
    expect(Array.from(channelOf(values, extentOf("t", [2, 2, 2], "channels-last"), 1))).toEqual([
      1, 3, 5, 7,
    ]);
  });

  test("ticks are round numbers inside the range", () => {
    expect(ticks(0, 256, 6)).toEqual([0, 50, 100, 150, 200, 250]);
    expect(ticks(-0.42, 2.83, 6)).toEqual([0, 1, 2]);
    expect(ticks(3, 3)).toEqual([3]);
  });
});

describe("progress", () => {
  test("a bar fills from left to right and never beyond", () => {
    expect(barOf(0.5, 4)).toBe("██░░");
    expect(barOf(7, 4)).toBe("████");
    expect(barOf(-1, 4)).toBe("░░░░");
  });

  test("writes nothing where the output is no terminal, and leaves nothing behind on one", () => {
    const written: string[] = [];
    const write = (text: string): number => written.push(text);
    const quiet = new Progress("a", 2, { write });
    quiet.tick(2);
    quiet.end();
    expect(written).toEqual([]);
    const seen = new Progress("a", 2, { isTTY: true, write });
    seen.end();
    expect(written.at(-1)).toBe("\r\u001b[K");
  });
});

describe("digits", () => {
  const file = (value: number, count: number): number[] =>
    new Array<number>(count * PIXELS).fill(value);

  test("are scaled to 0 to 255 and shuffled, each with its label", () => {
    const digits = packDigits([file(0, 3), file(0.004, 2), file(1, 4)]);
    expect(digits.count).toBe(9);
    const scaled = [0, 1, 255];
    for (let i = 0; i < 9; i++) {
      const values = new Set(takeDigits(digits, i, i + 1));
      expect([...values]).toEqual([scaled[digits.labels[i]!]]);
    }
    expect(Array.from(digits.labels).sort()).toEqual([0, 0, 0, 1, 1, 2, 2, 2, 2]);
    expect(Array.from(digits.labels)).not.toEqual([0, 0, 0, 1, 1, 2, 2, 2, 2]);
  });

  test("survive the way through one file", () => {
    const digits = packDigits([file(0, 3), file(1, 2)]);
    expect(digitsFromBytes(bytesOfDigits(digits))).toEqual(digits);
    expect(() => digitsFromBytes(bytesOfDigits(digits).subarray(1))).toThrow(/785 bytes each/);
  });
});

describe("random numbers", () => {
  test("are the same for the same seed and have the moments asked for", () => {
    expect([seeded(7)(), seeded(7)()]).toEqual([seeded(7)(), seeded(7)()]);
    const { mean, deviation } = summarise(normals(20_001, 5, 3, 2));
    expect(Math.abs(mean - 3)).toBeLessThan(0.06);
    expect(Math.abs(deviation - 2)).toBeLessThan(0.04);
    const { smallest, largest } = summarise(uniforms(1000, 5, -1, 2));
    expect(smallest).toBeGreaterThanOrEqual(-1);
    expect(largest).toBeLessThanOrEqual(2);
  });
});

describe("check", () => {
  test("ulp is the distance to the next f32", () => {
    expect([1, -1.5, 2, 0.75, 0].map(ulp)).toEqual([
      2 ** -23,
      2 ** -23,
      2 ** -22,
      2 ** -24,
      2 ** -149,
    ]);
  });

  test("a NaN, a missing value and a broken tolerance of 0 fail; the worst value is told", () => {
    const judged = (actual: number[], expected: number[], tolerance: number) =>
      judge("o", "n", actual, expected, () => tolerance);
    expect(judged([1, NaN], [1, 2], 1)).toMatchObject({ pass: false, used: NaN });
    expect(judged([1], [1, 2], 1).pass).toBe(false);
    expect(judged([1, 2.5], [1, 2], 0)).toMatchObject({ pass: false, used: Infinity });
    expect(judged([1, 2], [1, 2], 0)).toMatchObject({ pass: true, used: 0 });
    expect(judged([1.1, 2.5], [1, 2], 1)).toMatchObject({ pass: true, error: 0.5, used: 0.5 });
  });

  const inputs: Inputs = {
    shape: [6, 3, 5],
    layout: "channels-first",
    eps: 1e-5,
    momentum: 0.1,
    x: normals(90, 1, 4, 2),
    dy: normals(90, 2),
    gamma: uniforms(3, 3, 0.5, 1.5),
    beta: uniforms(3, 4, -1, 1),
    runningMean: new Float32Array(3),
    runningVar: new Float32Array(3).fill(1),
  };
  const { x, dy, shape, gamma, beta, runningMean: mean, runningVar: variance } = inputs;
  const computed = () => {
    const forward = reference.forward(x, shape, {
      gamma,
      beta,
      state: { mean, variance, numBatchesTracked: 0 },
    });
    const backward = reference.backward(dy, x, shape, { gamma, beta });
    return {
      training: {
        y: Float32Array.from(forward.y),
        runningMean: Float32Array.from(forward.state!.mean),
        runningVar: Float32Array.from(forward.state!.variance),
      },
      inference: {
        y: Float32Array.from(reference.inference(x, shape, { gamma, beta, mean, variance }).y),
      },
      backward: {
        dx: Float32Array.from(backward.dx),
        dGamma: Float32Array.from(backward.dGamma),
        dBeta: Float32Array.from(backward.dBeta),
      },
    };
  };

  test("the reference rounded to f32 passes", () => {
    expect(judgeAll(inputs, computed()).map(({ pass }) => pass)).toEqual(new Array(7).fill(true));
  });

  test.each([
    ["y", (o: ReturnType<typeof computed>) => (o.training.y[7]! += 1e-4)],
    [
      "running variance by M instead of M-1",
      (o: ReturnType<typeof computed>) => (o.training.runningVar[1]! -= 0.01),
    ],
    ["dx", (o: ReturnType<typeof computed>) => (o.backward.dx[7]! += 1e-3)],
    ["dBeta", (o: ReturnType<typeof computed>) => (o.backward.dBeta[0] = NaN)],
  ])("a planted defect in %s fails", (_, spoil) => {
    const outputs = computed();
    spoil(outputs);
    expect(judgeAll(inputs, outputs).filter(({ pass }) => !pass)).toHaveLength(1);
  });
});

describe("measure", () => {
  test("runs programs in turns, reports its progress and can be cancelled", async () => {
    const order: string[] = [];
    const program = (name: string) => ({
      name,
      run: (repeats: number): Promise<void> => {
        order.push(`${name}${repeats}`);
        return Promise.resolve();
      },
    });
    const shares: number[] = [];
    const timings = await measure([program("a"), program("b")], {
      rounds: 2,
      sampleMs: 0,
      onProgress: (share) => shares.push(share),
    });
    expect(timings.map(({ name, samples }) => [name, samples.length])).toEqual([
      ["a", 2],
      ["b", 2],
    ]);
    expect(order.slice(-4)).toEqual(["a1", "b1", "b1", "a1"]);
    expect(shares).toEqual([0.25, 0.5, 0.75, 1]);
    await expect(measure([program("a")], { signal: AbortSignal.abort() })).rejects.toThrow();
  });
});

describe("picture", () => {
  test("is small, well-formed and says in its title what it shows", () => {
    const batches = [histogram([1, 2, 3], 32, 0, 4), histogram([2, 2], 32, 0, 4)];
    const svg = pictureOf(
      [{ title: "a < b", subtitle: "s", xLabel: "x", batches, mean: 2, deviation: 1 }],
      ["note"],
    );
    expect(svg).toContain("<title>a &lt; b: mean 2.00, deviation 1.00</title>");
    expect(svg.match(/class="batch"/g)).toHaveLength(2);
    expect(svg).not.toMatch(/NaN|undefined/);
  });
});

describe("the demo's shapes", () => {
  test("are read as people write them, and refused in words", () => {
    expect(["32x64x28x28", " 32, 64, 28,28 ", "32×64×28×28"].map(shapeOf)).toEqual(
      new Array(3).fill([32, 64, 28, 28]),
    );
    for (const { value } of LAYERS) expect(objection(value)).toBeNull();
    expect(objection("32x64")).toBeNull();
    const english = (text: string): string => (objection(text) as { en: string }).en;
    expect(english("5")).toMatch(/Two to five/);
    expect(english("32, b")).toMatch(/Two to five/);
    expect(english("0x5")).toMatch(/at least 1/);
    expect(english("1x5")).toMatch(/more than one value/);
    expect(english("100000x1000")).toMatch(/At most/);
  });
});
