import { describe, expect, test } from "vitest";
import { narrow, widen } from "../../src/half.js";

const FORMATS = {
  f16: { fraction: 10, bias: 15, largest: 65504, infinity: 0x7c00 },
  bf16: { fraction: 7, bias: 127, largest: 2 ** 127 * (2 - 2 ** -7), infinity: 0x7f80 },
} as const;

describe.each(["f16", "bf16"] as const)("%s", (dtype) => {
  const { fraction, bias, largest, infinity } = FORMATS[dtype];
  const smallest = 2 ** (1 - bias - fraction);
  const normal = 2 ** (1 - bias);

  test("every bit pattern widens to its value, and narrows back", () => {
    let wrong = 0;
    for (let bits = 0; bits < 65536; bits++) {
      const sign = bits & 0x8000 ? -1 : 1;
      const exponent = (bits & 0x7fff) >> fraction;
      const rest = bits & (2 ** fraction - 1);
      const value = widen(bits, dtype);
      const back = narrow(value, dtype);
      if ((bits & 0x7fff) > infinity) {
        // a NaN of any kind stays a NaN
        if (!(Number.isNaN(value) && (back & 0x7fff) > infinity)) wrong++;
        continue;
      }
      const expected =
        (bits & 0x7fff) === infinity
          ? sign * Infinity
          : exponent === 0
            ? sign * rest * smallest
            : sign * (1 + rest / 2 ** fraction) * 2 ** (exponent - bias);
      if (!(Object.is(value, expected) && back === bits)) wrong++;
    }
    expect(wrong).toBe(0);
  });

  test("values between two neighbours go to the nearer, a tie to the even one", () => {
    let wrong = 0;
    for (let bits = 0; bits + 1 < infinity; bits++) {
      const low = widen(bits, dtype);
      const high = widen(bits + 1, dtype);
      // exact in float64: it has more than twice the digits
      const middle = (low + high) / 2;
      const even = bits % 2 === 0 ? bits : bits + 1;
      const quarter = (high - low) / 4;
      const nudge = (high - low) * 2 ** -30;
      const cases = [
        [middle, even],
        [middle - quarter, bits],
        [middle + quarter, bits + 1],
        [middle - nudge, bits],
        [middle + nudge, bits + 1],
      ] as const;
      for (const [value, expected] of cases) {
        if (narrow(value, dtype) !== expected) wrong++;
        if (narrow(-value, dtype) !== (expected | 0x8000)) wrong++;
      }
    }
    expect(wrong).toBe(0);
  });

  test("overflow: from half a unit above the largest on it is infinity", () => {
    const half = 2 ** (Math.floor(Math.log2(largest)) - fraction - 1);
    expect(widen(infinity - 1, dtype)).toBe(largest);
    expect(narrow(largest, dtype)).toBe(infinity - 1);
    expect(narrow(largest + half * (1 - 2 ** -20), dtype)).toBe(infinity - 1);
    expect(narrow(largest + half, dtype)).toBe(infinity); // a tie, and the largest is odd
    expect(narrow(-largest - half, dtype)).toBe(infinity | 0x8000);
    expect(narrow(2 * largest, dtype)).toBe(infinity);
    expect(narrow(1e300, dtype)).toBe(infinity);
    expect(narrow(Infinity, dtype)).toBe(infinity);
    expect(narrow(-Infinity, dtype)).toBe(infinity | 0x8000);
  });

  test("subnormals and what is below them", () => {
    expect(narrow(smallest, dtype)).toBe(1);
    expect(narrow(normal, dtype)).toBe(2 ** fraction);
    expect(narrow(normal - smallest, dtype)).toBe(2 ** fraction - 1);
    // the tie between the largest subnormal and the smallest normal is at the even one: the normal
    expect(narrow(normal - smallest / 2, dtype)).toBe(2 ** fraction);
    expect(narrow(1.5 * smallest, dtype)).toBe(2);
    expect(narrow(0.5 * smallest, dtype)).toBe(0);
    expect(narrow(0.5 * smallest * (1 + 2 ** -40), dtype)).toBe(1);
    expect(narrow(-0.5 * smallest, dtype)).toBe(0x8000);
    expect(narrow(Number.MIN_VALUE, dtype)).toBe(0);
  });

  test("zeros keep their sign, NaN is one", () => {
    expect(narrow(0, dtype)).toBe(0);
    expect(narrow(-0, dtype)).toBe(0x8000);
    expect(widen(0x8000, dtype)).toBe(-0);
    expect(narrow(NaN, dtype) & 0x7fff).toBeGreaterThan(infinity);
    expect(widen(narrow(NaN, dtype), dtype)).toBeNaN();
  });

  test("nothing but 16 bits comes out", () => {
    for (const value of [1, -1, 1e10, -1e10, 1e-10, Math.PI, NaN, -Infinity]) {
      const bits = narrow(value, dtype);
      expect(Number.isInteger(bits) && bits >= 0 && bits <= 0xffff).toBe(true);
    }
  });
});
