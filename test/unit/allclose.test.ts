import { describe, expect, it } from "vitest";
import { compareAllclose } from "../support/allclose.js";

const check = (...call: Parameters<typeof compareAllclose>) => compareAllclose(...call).pass;

describe("toBeAllclose", () => {
  it("compares exactly without a tolerance", () => {
    expect([1, -0, 2]).toBeAllclose([1, 0, 2]);
    expect(check([1], [1 + Number.EPSILON])).toBe(false);
  });

  it("adds atol and rtol·|expected|, the bound itself included", () => {
    expect(check([1.5], [1], { atol: 0.5 })).toBe(true);
    expect(check([1.5001], [1], { atol: 0.5 })).toBe(false);
    expect(check([-12], [-10], { rtol: 0.2 })).toBe(true);
    expect(check([-12], [-10], { rtol: 0.1 })).toBe(false);
    expect(check([-12], [-10], { rtol: 0.1, atol: 1 })).toBe(true);
    // Relative to what was expected, not to what came.
    expect(check([10], [0], { rtol: 1 })).toBe(false);
  });

  it("fails on NaN, on either side and on both", () => {
    const wide = { atol: 1e300 };
    expect(check([NaN], [0], wide)).toBe(false);
    expect(check([0], [NaN], wide)).toBe(false);
    expect(check([NaN], [NaN], wide)).toBe(false);
  });

  it("matches NaN with NaN where that is said, and with nothing else", () => {
    expect(check([NaN, 1], [NaN, 1], { nan: true })).toBe(true);
    expect(check([NaN], [1], { nan: true, atol: 1e300 })).toBe(false);
    expect(check([1], [NaN], { nan: true, atol: 1e300 })).toBe(false);
  });

  it("matches an infinity with the same one only", () => {
    expect(check([Infinity, -Infinity], [Infinity, -Infinity])).toBe(true);
    expect(check([-Infinity], [Infinity], { rtol: 1 })).toBe(false);
    expect(check([1e308], [Infinity], { rtol: 1 })).toBe(false);
    expect(check([Infinity], [1e308], { atol: 1e308, rtol: 1 })).toBe(false);
  });

  it("fails on another length, whatever the tolerance", () => {
    const result = compareAllclose([1, 2, 3], [1, 2], { atol: 1e9 });
    expect(result).toEqual({
      pass: false,
      message: "lengths differ: actual has 3 elements, expected has 2",
    });
    expect(check([], [1])).toBe(false);
    expect(check([1], [])).toBe(false);
    expect(check([], [])).toBe(true);
  });

  it("fails on what is no array of numbers", () => {
    for (const actual of [
      undefined,
      null,
      1,
      "1",
      ["1"],
      [1, undefined],
      {},
      new DataView(new ArrayBuffer(8)),
    ]) {
      expect(check(actual, [1], { atol: 1e9 })).toBe(false);
    }
  });

  it("finds one bad element among many", () => {
    const expected = new Float32Array(1000).fill(1);
    const actual = expected.slice();
    actual[777] = NaN;
    expect(check(actual, expected, { atol: 10 })).toBe(false);
    actual[777] = 12;
    expect(check(actual, expected, { atol: 10 })).toBe(false);
    actual[777] = 11;
    expect(check(actual, expected, { atol: 10 })).toBe(true);
  });

  it("takes a tolerance for each element, as an array or a function", () => {
    expect(check([1, 3], [0, 0], { atol: [1, 3] })).toBe(true);
    expect(check([1, 3], [0, 0], { atol: new Float64Array([3, 1]) })).toBe(false);
    expect(check([1, 3], [0, 0], { atol: (index) => 1 + 2 * index })).toBe(true);
    expect(check([1, 3], [0, 0], { atol: (index) => 1 + index })).toBe(false);
    expect(check([11, 22], [10, 20], { atol: (_, value) => value / 10 })).toBe(true);
    expect(check([11], [10], { rtol: [0.1] })).toBe(true);
  });

  it.each([
    ["negative", -1e-6],
    ["NaN", NaN],
    ["infinite", Infinity],
  ])("throws on a %s tolerance, passing or not", (_, tolerance) => {
    expect(() => check([1], [1], { atol: tolerance })).toThrow(RangeError);
    expect(() => check([1], [1], { rtol: tolerance })).toThrow(RangeError);
    expect(() => check([1], [1], { atol: [tolerance] })).toThrow(RangeError);
    expect(() => check([1], [1], { atol: () => tolerance })).toThrow(RangeError);
    expect(() => check([], [], { atol: tolerance })).toThrow(RangeError);
    expect(() => {
      expect([1]).not.toBeAllclose([2], { atol: tolerance });
    }).toThrow(RangeError);
  });

  it("throws where the tolerances are not as many as the elements", () => {
    expect(() => check([1, 2], [1, 2], { atol: [0] })).toThrow("expected 2 values, got 1");
  });

  it("says where the worst element is, and by how much", () => {
    const { message } = compareAllclose([0, 1.5, 10, 4], [0, 1, 2, 0], { atol: [1, 0.1, 1, 4] });
    expect(message).toBe(
      [
        "2 of 4 elements are out of tolerance, first at index 1; worst:",
        "  index      2",
        "  actual     10",
        "  expected   2",
        "  error      8",
        "  tolerance  1",
      ].join("\n"),
    );
  });

  it("takes NaN for worse than any number", () => {
    const { message } = compareAllclose([100, NaN], [0, 0], { atol: 1 });
    expect(message).toContain("index      1");
    expect(message).toContain("actual     NaN");
  });

  it("fails as a matcher, with that message, and holds with .not", () => {
    expect(() => {
      expect([1, 2]).toBeAllclose([1, 3]);
    }).toThrow(/1 of 2 elements are out of tolerance[^]*index {6}1/);
    expect([1, 2]).not.toBeAllclose([1, 3]);
    expect(() => {
      expect([1]).not.toBeAllclose([1]);
    }).toThrow("all 1 elements are within tolerance");
  });
});
