import { describe, expect, test } from "vitest";
import { compose } from "../../src/compose.js";
import { commonFragments } from "../../src/fragments.js";
import { backwardKernel } from "../../src/kernels/backward.js";
import { forwardKernel } from "../../src/kernels/forward.js";
import { INFERENCE } from "../../src/kernels/inference.js";
import { statisticsKernel } from "../../src/statistics/kernels.js";
import { bridgeKernel } from "../../src/tfjs/kernels.js";
import { readFragments } from "../../scripts/support/shorten-wgsl.js";

const fragments = {
  ...commonFragments,
  ...INFERENCE.fragments(),
  ...forwardKernel("whole").fragments(),
  ...backwardKernel("whole").fragments(),
  ...statisticsKernel({ kernel: "apply" }).fragments(),
  ...bridgeKernel("inference").fragments(),
};

const names = Object.keys(fragments);

describe("fragments", () => {
  test("are named by their path under shaders/, without ending", () => {
    expect(names.length).toBeGreaterThan(20);
    expect(names).toContain("inference");
    expect(names).toContain("lib/chunk");
    for (const name of names) expect(name).toMatch(/^([a-z]+\/)*[a-z0-9_]+$/);
  });

  test("are text that ends in a line end, with no carriage return or tab", () => {
    for (const [name, text] of Object.entries(fragments)) {
      expect(text.length, name).toBeGreaterThan(0);
      expect(text.endsWith("\n"), `${name} ends in a line end`).toBe(true);
      expect(/[\r\t]/.test(text), `${name} has spaces only`).toBe(false);
    }
  });

  test("hold no workgroup array that an override sizes", () => {
    for (const [name, text] of Object.entries(fragments))
      expect(text, name).not.toMatch(/\boverride\b/);
  });
});

describe("compose", () => {
  test("joins head and fragments in order, each from a line of its own", () => {
    const { code } = compose("const A = 1u;", ["lib/params", "lib/chunk"]);
    expect(code).toBe(`const A = 1u;\n${fragments["lib/params"]}${fragments["lib/chunk"]}`);
    expect(compose("const A = 1u;\n", ["lib/params"]).code).toBe(
      `const A = 1u;\n${fragments["lib/params"]}`,
    );
  });

  test("a head alone is code too", () => {
    expect(compose("const A = 1u;", []).code).toBe("const A = 1u;\n");
  });

  test("names fragment and line of every line of the code", () => {
    const parts = ["lib/params", "lib/chunk", "inference"];
    const composed = compose("// one\n// two", parts, INFERENCE.fragments());
    const { code } = composed;
    const where = (line: number): string => composed.where(line);
    const expected = ["head:1", "head:2"];
    for (const name of parts) {
      const lines = fragments[name]!.split("\n").length - 1;
      for (let line = 1; line <= lines; line++) expected.push(`${name}.wgsl:${line}`);
    }
    const lines = code.split("\n");
    expect(lines.pop()).toBe("");
    expect(lines.map((_, i) => where(i + 1))).toEqual(expected);
    // The line that it names is the line.
    lines.forEach((line, i) => {
      const [file, at] = where(i + 1).split(":") as [string, string];
      if (file !== "head")
        expect(fragments[file.replace(".wgsl", "")]!.split("\n")[Number(at) - 1]).toBe(line);
    });
  });

  test("places outside of the code do not throw", () => {
    const composed = compose("// one", ["lib/params"]);
    expect(composed.where(0)).toMatch(/^head:/);
    expect(composed.where(100_000)).toMatch(/^lib\/params\.wgsl:\d+$/);
  });

  test("a fragment that there is not is named", () => {
    expect(() => compose("", ["lib/params", "lib/nonesuch"])).toThrow(
      "compose: no fragment lib/nonesuch.wgsl",
    );
  });
});

test("nothing but the fenced operations takes a shift away from x", () => {
  const shaders = readFragments();
  const plainly = Object.entries(shaders).flatMap(([name, text]) =>
    text
      .replace(/\/\/.*/g, "")
      .split("\n")
      .filter((line) =>
        /(?<!\.)\bx\s*-|[-+]\s*(by\.|known\.|from\.)?shift\b|loadX\([^)]*\)\s*[-+]/.test(line),
      )
      .map((line) => `${name}: ${line.trim()}`),
  );
  expect(plainly).toEqual([]);
  // And that pattern does find it.
  expect(shaders["lib/normalize"]).toContain("minus(x, by.shift) - by.delta");
  expect(shaders["backward/lib/gradient"]).toMatch(
    /minus\(loadX\(\w+\), \w+\.shift\) - \w+\.delta/,
  );
});
