import { extentOf, type Layout } from "../src/descriptor.js";
import type { Operation } from "../scripts/support/experiment.js";
import { PIXELS } from "../scripts/support/digits.js";
import { grouped } from "../scripts/support/format.js";

/** What the page is set to: all of it stands in the address. */
export interface Settings {
  readonly data: "random" | "digits";
  /** N, C, ...: channels first, whatever the layout in memory. */
  readonly shape: readonly number[];
  readonly layout: Layout;
  readonly run: Operation;
  readonly channel: number;
}

/** A choice of the first control. */
export interface Preset {
  readonly data: Settings["data"];
  readonly shape: readonly number[];
  readonly what: string;
}

export const PRESETS: readonly Preset[] = [
  { data: "random", shape: [32, 64, 28, 28], what: "images" },
  { data: "random", shape: [16, 64, 56, 56], what: "images" },
  { data: "random", shape: [4, 32, 16, 32, 32], what: "volumes" },
  { data: "random", shape: [256, 512], what: "features" },
  { data: "random", shape: [4096, 1024], what: "features" },
  { data: "digits", shape: [128, 1, 28, 28], what: "images" },
  { data: "digits", shape: [10_000, 1, 28, 28], what: "all, as images" },
  { data: "digits", shape: [128, PIXELS], what: "features" },
  { data: "digits", shape: [10_000, PIXELS], what: "all, as features" },
];

const DEFAULTS: Settings = {
  data: "random",
  shape: PRESETS[0]!.shape,
  layout: "channels-first",
  run: "backward",
  channel: 0,
};

/** The CPU reference keeps several float64 arrays of x's size. */
const MOST_ELEMENTS = 2 ** 24;

/** Where the channel stands in memory. */
export function shapeInMemory({ shape, layout }: Pick<Settings, "shape" | "layout">): number[] {
  const [outer, channels, ...inner] = shape;
  return layout === "channels-last" ? [outer!, ...inner, channels!] : [...shape];
}

/** Numbers out of `32, 64, 28, 28` or `[32,64,28,28]` or `32x64x28x28`. */
export function parseShape(text: string): number[] {
  const trimmed = text.trim().replace(/^\[|\]$/g, "");
  return trimmed.split(/[\s,x×]+/).map((part) => (/^\d+$/.test(part) ? Number(part) : NaN));
}

/** What is wrong with a shape here, in plain words; null if nothing. */
export function objection(settings: Pick<Settings, "data" | "shape" | "run">): string | null {
  const { data, shape, run } = settings;
  if (shape.some((each) => !Number.isInteger(each)))
    return "Whole numbers with commas, such as 32, 64, 28, 28.";
  if (shape.length < 2 || shape.length > 5)
    return "Two to five numbers: N, C and up to three more.";
  if (shape.some((each) => each < 1)) return "Each number is at least 1.";
  const { count, size } = extentOf("demo", shape, "channels-first");
  if (size > MOST_ELEMENTS) {
    return `At most ${grouped(MOST_ELEMENTS)} values here (the CPU checks each of them); these are ${grouped(size)}.`;
  }
  if (count === 1 && run !== "inference") return "Training needs more than one value per channel.";
  if (data === "digits" && (size % PIXELS !== 0 || size > 10_000 * PIXELS)) {
    return "Up to 10,000 digits of 784 pixels.";
  }
  return null;
}

export function readSettings(search: string): Settings {
  const parameters = new URLSearchParams(search);
  const pick = <T extends string>(name: string, allowed: readonly T[], otherwise: T): T => {
    const value = parameters.get(name) as T | null;
    return value !== null && allowed.includes(value) ? value : otherwise;
  };
  const run = pick("run", ["training", "inference", "backward"], DEFAULTS.run);
  const layout = pick("layout", ["channels-first", "channels-last"], DEFAULTS.layout);
  const data = pick("data", ["random", "digits"], DEFAULTS.data);
  const shape = parseShape(parameters.get("shape") ?? DEFAULTS.shape.join());
  const usable = objection({ data, shape, run }) === null;
  const channels = usable ? shape[1]! : DEFAULTS.shape[1]!;
  const channel = Math.min(
    channels - 1,
    Math.max(0, Math.floor(Number(parameters.get("channel")) || 0)),
  );
  return usable ? { data, shape, layout, run, channel } : { ...DEFAULTS, layout, run, channel };
}

/** The query string; what is as it is by default is left out. */
export function writeSettings(settings: Settings): string {
  const parameters = new URLSearchParams();
  for (const name of ["data", "shape", "layout", "run", "channel"] as const) {
    const value = String(settings[name]);
    if (value !== String(DEFAULTS[name])) parameters.set(name, value);
  }
  const text = parameters.toString().replaceAll("%2C", ",");
  return text === "" ? "" : `?${text}`;
}
