import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** WGSL by its path under `shaders/` without ending, as in `src/compose.ts`. */
export type Fragments = Readonly<Record<string, string>>;

/** Names that `src/kernels.ts` writes beside the fragments, and the entry point's. */
const KEPT_GLOBALS =
  /^(main|Params|Value|ValueBits|Storage|Channel|ChannelBits|unpack|pack|unpackHalf|packPair|withLow)$/;
/** So too, and the components of vectors, which look like members of structs. */
const KEPT_MEMBERS = /^(valueStride|[xyzw]+|[rgba]+)$/;

/** Those that a short name could be. */
const KEYWORDS: ReadonlySet<string> = new Set(["as", "do", "fn", "if", "of"]);
const LOWER = "abcdefghijklmnopqrstuvwxyz";
const UPPER = LOWER.toUpperCase();

/** A declaration at module scope begins a line; what is in it is indented. */
const DECLARATION = /^(?=(?:@|fn|struct|alias|const|var)\b)/m;
const DECLARED = /^(?:fn|struct|alias|const|var)(?:<\w+>)? (\w+)/;
const MEMBER = /\b(\w+)(?=:)/g;
const LOCAL = /\b(\w+)(?=:)|\b(?:let|var|const) (\w+)/g;
const NAME = /(\.?)\b([A-Za-z_]\w*)\b(:?)/g;
const FLOAT = /\b\d+\.\d+(e[-+]?\d+)?\b/g;
/** Two that could be read as one: `a - -b`. */
const OPERATORS = /^[-+*/%&|<>=!]{2}$/;

/** Every fragment under `shaders/`. */
export function readFragments(): Fragments {
  const folder = fileURLToPath(new URL("../../shaders/", import.meta.url));
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" });
  return Object.fromEntries(
    files
      .filter((file) => file.endsWith(".wgsl"))
      .map((file) => [
        file.replaceAll("\\", "/").slice(0, -".wgsl".length),
        readFileSync(folder + file, "utf8"),
      ]),
  );
}

/** a to z, then aa to zz, and so on. */
function* namesOf(letters: string): Generator<string> {
  yield* letters;
  for (const begin of namesOf(letters)) for (const end of LOWER) yield begin + end;
}

/**
 * Gives each name a short one, the same wherever it stands. Only names of one scope must differ: in few letters that
 * come back, gzip finds more to repeat.
 *
 * @param counts how often a name occurs: the first to choose is the most frequent.
 */
function tableOf(
  scopes: readonly ReadonlySet<string>[],
  counts: ReadonlyMap<string, number>,
  letters: string,
  kept = /^$/,
  taken: ReadonlySet<string> = KEYWORDS,
): ReadonlyMap<string, string> {
  const names = [...new Set(scopes.flatMap((scope) => [...scope]))];
  const table = new Map(names.filter((name) => kept.test(name)).map((name) => [name, name]));
  names.sort((a, b) => counts.get(b)! - counts.get(a)! || (a < b ? -1 : 1));
  for (const name of names.filter((each) => !table.has(each))) {
    const beside = scopes.filter((scope) => scope.has(name)).flatMap((scope) => [...scope]);
    const used = new Set(beside.map((each) => table.get(each)));
    for (const short of namesOf(letters)) {
      if (taken.has(short) || used.has(short)) continue;
      table.set(name, short);
      break;
    }
  }
  return table;
}

/** Takes out white space that separates nothing. */
function squeeze(code: string): string {
  return code.trim().replace(/\s+/g, (_, at: number, all: string) => {
    const [after] = /\S/.exec(all.slice(at))!;
    const around = all[at - 1]! + after;
    return /^\w\w$/.test(around) || OPERATORS.test(around) ? " " : "";
  });
}

/** The number in as few digits as still round to the same f32: `1.`, `.5`. */
function shortest(number: string): string {
  const value = Math.fround(Number(number));
  const rounded = Array.from({ length: 9 }, (_, i) => Number(value.toPrecision(i + 1)));
  const short = String(rounded.find((each) => Math.fround(each) === value));
  return (/^\d+$/.test(short) ? `${short}.` : short).replace(/^0(?=\.\d)/, "");
}

const wordsOf = (code: string): string[] => code.match(/\w+/g) ?? [];
const localsOf = (code: string): Set<string> =>
  new Set([...code.matchAll(LOCAL)].map(([, parameter, variable]) => parameter ?? variable!));
const membersOf = (code: string): Set<string> =>
  new Set([...code.matchAll(MEMBER)].map(([name]) => name));

/**
 * Shortens fragments so that any of them still join: no comments, a declaration a line, short names for what is declared
 * at module scope, for members of structs and for what is local to a function, no digits beyond those of an f32.
 */
export function shortenWgsl(fragments: Fragments): Fragments {
  const declarations = Object.entries(fragments).map(([name, text]) => {
    const all = text.replace(/\/\/.*/g, "").split(DECLARATION);
    return [name, all.filter((code) => code.trim())] as const;
  });
  const all = declarations.flatMap(([, codes]) => codes);
  const counts = new Map<string, number>();
  for (const word of all.flatMap(wordsOf)) counts.set(word, (counts.get(word) ?? 0) + 1);
  const globals = [new Set(all.flatMap((code) => DECLARED.exec(code)?.[1] ?? []))];
  const structs = all.filter((code) => code.startsWith("struct")).map(membersOf);
  const functions = all.filter((code) => code.startsWith("fn")).map(localsOf);
  const globalTable = tableOf(globals, counts, UPPER, KEPT_GLOBALS, new Set(counts.keys()));
  const memberTable = tableOf(structs, counts, LOWER, KEPT_MEMBERS);
  const localTable = tableOf(functions, counts, LOWER);

  const shorten = (code: string): string => {
    const isStruct = code.startsWith("struct");
    const locals = code.startsWith("fn") ? localsOf(code) : new Set();
    const renamed = code.replace(NAME, (_, dot: string, name: string, colon: string) => {
      const isMember = dot !== "" || (isStruct && colon !== "");
      const table = isMember ? memberTable : locals.has(name) ? localTable : globalTable;
      return `${dot}${table.get(name) ?? name}${colon}`;
    });
    return `${squeeze(renamed).replace(FLOAT, shortest)}\n`;
  };
  return Object.fromEntries(
    declarations.map(([name, codes]) => [name, codes.map(shorten).join("")]),
  );
}
