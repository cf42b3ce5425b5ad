/** What the built package carries for the shaders: the same programs in fewer bytes. That all compile: test/compile. */
import { expect, test } from "vitest";
import { readFragments, shortenWgsl } from "../../scripts/support/shorten-wgsl.js";

const one = (code: string, rest: Record<string, string> = {}): string =>
  shortenWgsl({ one: code, ...rest })["one"]!;

test("names of every kind get one letter, the same wherever they stand", () => {
  const { one, two } = shortenWgsl({
    one: "struct Pair {\n  first: f32,\n  second: f32,\n}\n",
    two: "fn difference(pair: Pair) -> f32 {\n  let first = pair.first;\n  return first - pair.second;\n}\n",
  });
  const [, pair, first, second] = /^struct (\w)\{(\w):f32,(\w):f32,\}\n$/.exec(one!)!;
  const [, parameter, variable, member, returned, minus, other] =
    new RegExp(
      `^fn \\w\\((\\w):${pair}\\)->f32\\{let (\\w)=\\w\\.(\\w);return (\\w)-(\\w)\\.(\\w);\\}\n$`,
    ).exec(two!) ?? [];
  expect([member, other]).toEqual([first, second]);
  expect(returned).toBe(variable);
  expect(minus).toBe(parameter);
  expect(variable).not.toBe(parameter);
});

test("comments go, operators stay apart", () => {
  expect(one("// what it is for\nfn f(a: f32) -> f32 {\n  return a - -a; // so\n}\n")).toMatch(
    /^fn \w\((\w):f32\)->f32\{return \1- -\1;\}\n$/,
  );
});

test("what TypeScript writes beside the fragments keeps its name, and components of vectors", () => {
  const code = one(
    "@compute @workgroup_size(4)\nfn main(@builtin(workgroup_id) workgroup: vec3u) {\n  storeY(workgroup.x, unpack(params.zero, vec2u().yx));\n}\n",
  );
  expect(code).toContain("fn main(@builtin(workgroup_id)");
  expect(code).toContain("storeY(");
  expect(code).toContain("unpack(");
  expect(code).toMatch(/\.x,/);
  expect(code).toMatch(/\.yx\)/);
});

test("no two declarations that may stand in one module share a name", () => {
  const fragments = readFragments();
  const declared = (texts: Readonly<Record<string, string>>, name: string): string[] =>
    [...texts[name]!.matchAll(/^(?:fn|struct|alias|const|var)(?:<\w+>| )\s*(\w+)/gm)].map(
      ([, each]) => each!,
    );
  const short = shortenWgsl(fragments);
  const table = new Map<string, string>();
  for (const name of Object.keys(fragments)) {
    const before = declared(fragments, name);
    const after = declared(short, name);
    expect(after.length, name).toBe(before.length);
    before.forEach((each, i) => {
      expect(table.get(each) ?? after[i], `${name}: ${each}`).toBe(after[i]);
      table.set(each, after[i]!);
    });
  }
  expect(table.size).toBeGreaterThan(80);
  expect(new Set(table.values()).size).toBe(table.size);
});

test("no two names of one declaration become one: parameters and locals of a function, members of a struct", () => {
  const fragments = readFragments();
  const short = shortenWgsl(fragments);
  const namesOf = (code: string): string[] =>
    code.replace(/\b\d[\w.]*|\.[A-Za-z_]\w*/g, "").match(/\b[A-Za-z_]\w*/g) ?? [];
  for (const [name, text] of Object.entries(fragments)) {
    const written = text
      .replace(/\/\/.*/g, "")
      .split(/^(?=(?:@|fn|struct|alias|const|var)\b)/m)
      .filter((code) => code.trim());
    const lines = short[name]!.trimEnd().split("\n");
    expect(lines.length, name).toBe(written.length);
    written.forEach((code, i) => {
      const before = namesOf(code);
      const after = namesOf(lines[i]!);
      expect(after.length, code).toBe(before.length);
      const pairs = new Set(before.map((each, at) => `${each} ${after[at]}`));
      expect(pairs.size, code).toBe(new Set(before).size);
      expect(pairs.size, code).toBe(new Set(after).size);
    });
  }
});

test("numbers stay the f32 that they are", () => {
  expect(one("const A = 1.0;\nconst B = 0.5 - 24.0;\nconst C = 0.25 * 1.5e-07;\n")).toMatch(
    /^const \w=1\.;\nconst \w=\.5-24\.;\nconst \w=\.25\*1\.5e-7;\n$/,
  );
  const fragments = readFragments();
  const short = shortenWgsl(fragments);
  const float = /(?<![\w.])(?:\d+\.\d*|\.\d+|\d+(?=e))(?:e[-+]?\d+)?/g;
  for (const [name, text] of Object.entries(fragments)) {
    const numbers = (of: string): number[] =>
      (of.replace(/\/\/.*/g, "").match(float) ?? []).map((each) => Math.fround(Number(each)));
    expect(numbers(short[name]!), name).toEqual(numbers(text));
  }
});

test("half of the bytes at most", () => {
  const bytes = (of: Readonly<Record<string, string>>): number =>
    Object.values(of).reduce((sum, text) => sum + text.length, 0);
  const fragments = readFragments();
  expect(bytes(shortenWgsl(fragments))).toBeLessThan(bytes(fragments) / 2);
});
