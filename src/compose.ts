import { commonFragments, type Fragments } from "./fragments.js";

/** A composed module: its code, and which fragment each of its lines came from. */
export interface Composed {
  readonly code: string;
  /** Names the fragment and line, as `chunk.wgsl:7`, of a 1-based line of the code. */
  where(line: number): string;
}

/**
 * Joins WGSL fragments into one module. Declarations may stand in any order, so this is all the linker
 * there is; a variant is another fragment that defines the same names.
 *
 * @param names of fragments; one named twice stands there once.
 * @param more fragments besides the common ones.
 */
export function compose(head: string, names: readonly string[], more: Fragments = {}): Composed {
  const parts: (readonly [name: string, text: string])[] = [["head", head]];
  for (const name of new Set(names)) {
    const text = commonFragments[name] ?? more[name];
    if (text === undefined) throw new Error(`compose: no fragment ${name}.wgsl`);
    parts.push([`${name}.wgsl`, text]);
  }
  const lines = parts.flatMap(([name, text]) =>
    text
      .trimEnd()
      .split("\n")
      .map((code, index) => ({ code, place: `${name}:${index + 1}` })),
  );
  return {
    code: lines.map(({ code }) => `${code}\n`).join(""),
    where: (line) => lines[Math.min(Math.max(line, 1), lines.length) - 1]!.place,
  };
}
