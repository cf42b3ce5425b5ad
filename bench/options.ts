import type { Dtype, Layout, Tuning } from "webgpu-batchnorm";
import { DTYPES, LAYOUTS, OPERATIONS, type Operation } from "./cases.js";
import { UsageError } from "./usage.js";

/** What a run is asked to do. */
export interface Options {
  readonly shapes: readonly string[];
  readonly dtypes: readonly Dtype[];
  readonly layouts: readonly Layout[];
  readonly operations: readonly Operation[];
  /** Names of peers, or none. */
  readonly peers: readonly string[];
  readonly rounds: number;
  readonly sampleMs: number;
  /** Bytes of buffers that all candidates of one case may hold together. */
  readonly memory: number;
  /** Seconds that one run of one candidate may take; what is foreseen to take longer is left out. */
  readonly patience: number;
  /** After so many no further case is begun. */
  readonly minutes: number;
  readonly json: string | null;
  /** Keeps what the file has of other cases. */
  readonly append: boolean;
  readonly browser: boolean;
  /** null: no sweep; {}: the built-in ranges. */
  readonly sweep: Partial<Record<keyof Tuning, readonly (number | boolean)[]>> | null;
  readonly tuning: Partial<Tuning> | null;
  readonly adapter: "auto" | "hardware" | "software" | "system";
  readonly hostCost: boolean;
}

export const PEERS = ["tensorflow", "drop-in", "jax", "onnxruntime", "cpu"] as const;

export const HELP = `npm run bench -- [options]

  --browser             in Chromium instead of Node on Dawn
  --peers [a,b]         with other libraries: ${PEERS.join(", ")} (all without a list)
  --shapes a,b          typical (default), all, series, a group (resnet1, resnet16, resnet64, mobilenet, dense,
                        volume, tiny), a name, or a shape such as 16x64x56x56 (channel second)
  --ops a,b             ${OPERATIONS.join(", ")} (default: all but backward)
  --dtypes a,b          ${DTYPES.join(", ")} (default f32)
  --layouts a,b         ${LAYOUTS.join(", ")} (default: both)
  --quick               fewer and shorter samples
  --rounds N            samples of each candidate (default 9)
  --sample MS           length of a sample (default 20)
  --memory MB           what the candidates of one case may hold together (default 4096)
  --patience S          leave out what would take longer than this for one run (default 10)
  --minutes N           begin no further case after so long (default 60)
  --sweep [JSON]        vary the tuning table: {"workgroupSize":[64,128]}, or each entry in turn
  --tuning JSON         override entries of the tuning table
  --adapter KIND        auto, hardware, software or system, as requestDevice has them (Node)
  --no-host-cost        leave out the cost of encode() and forward() in JavaScript
  --json FILE           where results go (default bench/results/<adapter>-<node|browser>.json)
  --append              keep what that file has of other cases
`;

function oneOf<T extends string>(
  name: string,
  text: string | undefined,
  allowed: readonly T[],
): T[] {
  const words = (text ?? "").split(",").filter(Boolean);
  for (const word of words) {
    if (!(allowed as readonly string[]).includes(word)) {
      throw new UsageError(`${name}: ${allowed.join(", ")}, got ${word}`);
    }
  }
  return words as T[];
}

/** @throws UsageError with what is allowed, on anything else. */
export function parseOptions(words: readonly string[]): Options {
  const given = new Map<string, string | undefined>();
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if (!word.startsWith("--")) throw new UsageError(`what is ${word}? --help lists the options`);
    const [name, inline] = word.slice(2).split(/=(.*)/s) as [string, string | undefined];
    const next = words[i + 1];
    const value = inline ?? (next !== undefined && !next.startsWith("--") ? words[++i] : undefined);
    given.set(name, value);
  }
  const names = [...HELP.matchAll(/ {2}--([\w-]+)/g)].map(([, name]) => name!);
  for (const name of given.keys()) {
    if (!names.includes(name)) throw new UsageError(`--${name}: no such option; --help lists them`);
  }
  const number = (name: string, otherwise: number): number => {
    const text = given.get(name);
    if (!given.has(name)) return otherwise;
    const value = Number(text);
    if (!(value > 0)) throw new UsageError(`--${name}: a number above 0, got ${text}`);
    return value;
  };
  const json = <T>(name: string): T | null => {
    if (!given.has(name)) return null;
    try {
      return JSON.parse(given.get(name) ?? "{}") as T;
    } catch (error) {
      throw new UsageError(`--${name}: JSON, got ${given.get(name)} (${(error as Error).message})`);
    }
  };
  const list = <T extends string>(
    name: string,
    allowed: readonly T[],
    otherwise: readonly T[],
  ): readonly T[] => (given.has(name) ? oneOf(`--${name}`, given.get(name), allowed) : otherwise);
  const quick = given.has("quick");
  const adapter = list("adapter", ["auto", "hardware", "software", "system"], ["auto"])[0]!;
  return {
    shapes: (given.get("shapes") ?? "typical").split(","),
    dtypes: list("dtypes", DTYPES, ["f32"]),
    layouts: list("layouts", LAYOUTS, LAYOUTS),
    operations: list(
      "ops",
      OPERATIONS,
      OPERATIONS.filter((operation) => operation !== "backward"),
    ),
    peers:
      given.has("peers") && given.get("peers") === undefined ? PEERS : list("peers", PEERS, []),
    rounds: number("rounds", quick ? 5 : 9),
    sampleMs: number("sample", quick ? 10 : 20),
    memory: number("memory", 4096) * 2 ** 20,
    patience: number("patience", 10),
    minutes: number("minutes", 60),
    json: given.get("json") ?? null,
    append: given.has("append"),
    browser: given.has("browser"),
    sweep: json("sweep"),
    tuning: json("tuning"),
    adapter,
    hostCost: !given.has("no-host-cost"),
  };
}

/** Runs a command to its end, and tells what is wrong with its options. */
export async function runCommand(main: (options: Options) => Promise<void>): Promise<never> {
  const words = process.argv.slice(2);
  try {
    if (words.includes("--help")) process.stdout.write(HELP);
    else await main(parseOptions(words));
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(2);
  }
  // Dawn's worker threads outlive the last promise.
  process.exit(0);
}
