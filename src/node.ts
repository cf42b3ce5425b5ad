/// <reference types="node" />
/**
 * A headless `GPUDevice` in Node, through Dawn.
 *
 * @packageDocumentation
 */
import { randomUUID } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { homedir, tmpdir } from "node:os";
import { dirname, isAbsolute, join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { brotliDecompress } from "node:zlib";
import { kindOf, requireKnown, shown } from "./arguments.js";
import { AdapterError, complain, OptionError } from "./errors.js";

export { shareDevice } from "./share.js";

/** Options of {@link requestDevice}. */
export interface RequestDeviceOptions {
  /**
   * `hardware`: the machine's GPU; `software`: SwiftShader; `auto`: the first that there is. `system`: what the system's
   * drivers offer, one in software too (Mesa's llvmpipe, Direct3D's WARP). Default "auto".
   */
  adapter?: "auto" | "hardware" | "software" | "system" | undefined;
  /** As `GPUDeviceDescriptor.requiredFeatures`; features that the adapter lacks make the request fail. */
  requiredFeatures?: Iterable<GPUFeatureName> | undefined;
  /** As `GPUDeviceDescriptor.requiredLimits`. */
  requiredLimits?: Record<string, number | undefined> | undefined;
  /** As `GPURequestAdapterOptions.powerPreference`. */
  powerPreference?: GPUPowerPreference | undefined;
  /**
   * As `GPURequestAdapterOptions.featureLevel`: "compatibility" also finds what only OpenGL ES 3.1 drives, and gives any
   * adapter the smaller default limits of such. Default "core".
   */
  featureLevel?: "core" | "compatibility" | undefined;
  /** As `GPUDeviceDescriptor.label`. */
  label?: string | undefined;
  /** Does not say on stderr that the software adapter was taken. Default false. */
  quiet?: boolean | undefined;
}

const DEVICE_OPTIONS = [
  ...["adapter", "requiredFeatures", "requiredLimits", "powerPreference", "featureLevel"],
  ...["label", "quiet"],
];

/** What the npm package `webgpu` exports. */
interface Dawn {
  create(flags: string[]): GPU;
  globals: Record<string, unknown>;
}

const require = createRequire(import.meta.url);

// Dawn aborts the process when what create() returned is collected while a device of it is in use.
const kept: GPU[] = [];
let original: Promise<Dawn> | null = null;
let beside: Promise<Dawn> | null = null;

function install(name: string): string {
  return `npm install ${name}`;
}

/** Where a package's entry is; null where it is not installed. */
function locate(name: string): string | null {
  try {
    return require.resolve(name);
  } catch {
    return null;
  }
}

async function loadOriginal(): Promise<Dawn> {
  const path = locate("webgpu");
  if (!path) {
    throw new AdapterError(
      complain(
        "requestDevice",
        "the npm package webgpu (Dawn)",
        "none installed",
        install("webgpu"),
      ),
    );
  }
  return (await import(/* @vite-ignore */ pathToFileURL(path).href)) as Dawn;
}

/** Files of a tar archive: name and contents. */
function* untar(archive: Buffer): Generator<{ name: string; contents: Buffer }> {
  for (let at = 0; at + 512 <= archive.length && archive[at] !== 0;) {
    const text = (from: number, length: number): string =>
      archive.toString("latin1", at + from, at + from + length).replace(/\0.*$/s, "");
    const size = parseInt(text(124, 12).trim() || "0", 8);
    if (text(156, 1) === "0" || text(156, 1) === "") {
      yield { name: text(0, 100), contents: archive.subarray(at + 512, at + 512 + size) };
    }
    at += 512 + Math.ceil(size / 512) * 512;
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** A folder of the user's own that can be written. */
async function cacheFolder(): Promise<string> {
  const { WEBGPU_BATCHNORM_CACHE: own, XDG_CACHE_HOME: cache } = process.env;
  // Only an absolute path counts there, by its specification.
  const caches = (): string => (cache && isAbsolute(cache) ? cache : join(homedir(), ".cache"));
  const tried: string[] = [];
  // A user without an entry in passwd may have no home.
  const candidates = [
    ...(own ? [() => own] : []),
    () => join(caches(), "webgpu-batchnorm"),
    () => join(tmpdir(), `webgpu-batchnorm-${process.getuid?.() ?? "user"}`),
  ];
  for (const candidate of candidates) {
    let folder = "the home folder";
    try {
      folder = candidate();
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const info = await stat(folder);
      const foreign = process.getuid !== undefined && info.uid !== process.getuid();
      if (foreign) throw new Error("belongs to another user");
      const probe = join(folder, `.probe-${randomUUID()}`);
      await writeFile(probe, "");
      await rm(probe);
      return folder;
    } catch (error) {
      tried.push(`${folder} (${(error as Error).message})`);
    }
  }
  throw new AdapterError(
    complain(
      "requestDevice",
      "a folder to unpack SwiftShader into",
      tried.join(", "),
      "set WEBGPU_BATCHNORM_CACHE to one that can be written",
    ),
  );
}

const BINARIES = join("dist", "linux-x64");
const LOADER = join(BINARIES, "libvulkan.so.1");
const OF_DAWN = ["index.js", "package.json", join(BINARIES, "dawn.node")];
/** The sizes of what was unpacked, written last. */
const RECORD = "sizes.json";
const HOUR = 3_600_000;

/** Whether all that was unpacked is still of its size: a binary cut short ends the process that loads it. */
async function isWhole(folder: string): Promise<boolean> {
  try {
    const record = await readFile(join(folder, RECORD), "utf8");
    const sizes = JSON.parse(record) as Record<string, number>;
    for (const file of [...OF_DAWN, LOADER]) {
      if ((await stat(join(folder, file))).size !== sizes[file]) return false;
    }
    return true;
  } catch {
    return false;
  }
}

/** Lays Dawn out of its package beside SwiftShader out of its own, as a new folder or over a damaged one. */
async function unpack(webgpu: string, chromium: string, folder: string): Promise<void> {
  const files = new Map<string, Buffer>();
  for (const file of OF_DAWN) files.set(file, await readFile(join(webgpu, file)));
  const packed = await readFile(join(chromium, "bin", "swiftshader.tar.br"));
  for (const { name, contents } of untar(await promisify(brotliDecompress)(packed))) {
    if (/(^|\/)libvk_swiftshader\.so$/.test(name)) files.set(LOADER, contents);
  }
  const sizes = Object.fromEntries([...files].map(([file, { length }]) => [file, length]));
  files.set(RECORD, Buffer.from(JSON.stringify(sizes)));
  // Made under another name and moved into place whole: two processes may do it at once.
  const making = `${folder}.${randomUUID()}`;
  try {
    await mkdir(join(making, BINARIES), { recursive: true, mode: 0o700 });
    for (const [file, contents] of files) {
      await writeFile(join(making, file), contents, { mode: 0o700, flush: true });
    }
    await rename(making, folder).catch(async () => {
      if (await isWhole(folder)) return;
      // File by file over what is there: whoever loads it meanwhile misses none.
      await mkdir(join(folder, BINARIES), { recursive: true, mode: 0o700 });
      for (const file of files.keys()) await rename(join(making, file), join(folder, file));
    });
  } finally {
    await rm(making, { recursive: true, force: true });
  }
}

/** Removes what processes that died while they unpacked have left; one that still unpacks is younger. */
async function sweep(folder: string): Promise<void> {
  const parent = dirname(folder);
  for (const name of await readdir(parent).catch(() => [])) {
    const path = join(parent, name);
    if (!path.startsWith(`${folder}.`)) continue;
    const made = await stat(path).catch(() => null);
    if (!made || Date.now() - made.mtimeMs < HOUR) continue;
    await rm(path, { recursive: true, force: true }).catch(() => undefined);
  }
}

/**
 * Dawn looks for `libvulkan.so.1` beside its own binary, so a copy of Dawn is laid beside the SwiftShader that
 * `@sparticuz/chromium` ships, under that name: it exports what a Vulkan loader does. No loader is needed then, nor
 * `VK_ICD_FILENAMES`, which a worker thread cannot set, and node_modules stays as it is.
 */
async function layBeside(subject: string): Promise<Dawn> {
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new AdapterError(
      complain(
        subject,
        "Linux on x64, for which SwiftShader is shipped",
        `${process.platform} on ${process.arch}`,
        'use adapter: "hardware" or "system"',
      ),
    );
  }
  const [dawn, browser] = [locate("webgpu"), locate("@sparticuz/chromium")];
  if (!dawn || !browser) {
    const missing = [...(dawn ? [] : ["webgpu"]), ...(browser ? [] : ["@sparticuz/chromium"])];
    throw new AdapterError(
      complain(
        subject,
        "a GPU, or the npm packages webgpu (Dawn) and @sparticuz/chromium (SwiftShader)",
        `no ${missing.join(" and no ")}`,
        install(missing.join(" ")),
      ),
    );
  }
  const webgpu = dirname(dawn);
  const chromium = join(dirname(browser), "..");
  const version = async (folder: string): Promise<string> =>
    (JSON.parse(await readFile(join(folder, "package.json"), "utf8")) as { version: string })
      .version;
  const name = `dawn-${await version(webgpu)}-on-swiftshader-${await version(chromium)}`;
  const folder = join(await cacheFolder(), name);
  await sweep(folder);
  if (!(await isWhole(folder))) await unpack(webgpu, chromium, folder);
  return (await import(/* @vite-ignore */ pathToFileURL(join(folder, "index.js")).href)) as Dawn;
}

/** Adds WebGPU's constants and classes to the global scope, where a browser has them, if they are absent. */
function installGlobals(dawn: Dawn): void {
  for (const [name, value] of Object.entries(dawn.globals)) {
    if (!(name in globalThis))
      Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
}

function isSoftware(adapter: GPUAdapter): boolean {
  const { info } = adapter;
  return (
    info.isFallbackAdapter ||
    /swiftshader|llvmpipe|lavapipe|warp/i.test(
      `${info.architecture} ${info.device} ${info.description}`,
    )
  );
}

/** Whether looking for a GPU can succeed: on Linux one shows as a device node, without which Dawn only warns. */
async function mayHaveGpu(): Promise<boolean> {
  if (process.platform !== "linux") return true;
  const render = await readdir("/dev/dri").catch(() => []);
  return (
    render.some((name) => name.startsWith("render")) ||
    (await exists("/dev/nvidia0")) ||
    (await exists("/dev/nvidiactl")) ||
    (await exists("/dev/dxg"))
  );
}

/** What the system's drivers offer, or null. */
async function offered(
  asked: GPURequestAdapterOptions,
  inSoftware: boolean,
): Promise<{ dawn: Dawn; adapter: GPUAdapter } | null> {
  const dawn = await (original ??= loadOriginal().catch((error: unknown) => {
    original = null;
    throw error;
  }));
  const gpu = dawn.create([]);
  const adapter = await gpu.requestAdapter(asked);
  if (!adapter || (!inSoftware && isSoftware(adapter))) return null;
  kept.push(gpu);
  return { dawn, adapter };
}

async function software(
  subject: string,
  asked: GPURequestAdapterOptions,
): Promise<{ dawn: Dawn; adapter: GPUAdapter }> {
  const dawn = await (beside ??= layBeside(subject).catch((error: unknown) => {
    // What can be mended (a full disk, a missing package) is tried again by the next request.
    beside = null;
    throw error;
  }));
  const gpu = dawn.create([]);
  const adapter = await gpu.requestAdapter(asked);
  if (!adapter) {
    throw new AdapterError(
      complain(subject, "SwiftShader", "no adapter", "report it with the output of ldd --version"),
    );
  }
  kept.push(gpu);
  return { dawn, adapter };
}

/**
 * A headless WebGPU device: the machine's GPU through Dawn or, where there is none, SwiftShader out of
 * the npm package `@sparticuz/chromium`, which then is said on stderr. WebGPU's globals
 * (`GPUBufferUsage` and the like) are added to the global scope if they are absent.
 *
 * Needs the npm packages `webgpu` and, for the software adapter, `@sparticuz/chromium`; nothing of the
 * system. SwiftShader is unpacked once, into the user's cache folder or `WEBGPU_BATCHNORM_CACHE`.
 *
 * @returns a device that the caller owns.
 * @throws AdapterError where there is no adapter of that kind, it lacks a feature or a limit, or a package is missing;
 * OptionError where an option is none, or of another kind.
 * @example
 * ```ts
 * const device = await requestDevice();
 * ```
 */
export async function requestDevice(options: RequestDeviceOptions = {}): Promise<GPUDevice> {
  requireKnown("requestDevice", options, DEVICE_OPTIONS);
  const { adapter: kind = "auto", powerPreference, requiredLimits = {} } = options;
  const { featureLevel = "core" } = options;
  requireChoice("adapter", kind, ["auto", "hardware", "software", "system"]);
  if (powerPreference !== undefined) {
    requireChoice("powerPreference", powerPreference, ["low-power", "high-performance"]);
  }
  requireChoice("featureLevel", featureLevel, ["core", "compatibility"]);
  const asked = { featureLevel, ...(powerPreference ? { powerPreference } : {}) };
  const requiredFeatures = namesOf(options.requiredFeatures ?? []);
  requireLimits(requiredLimits);
  const ofSystem = kind === "hardware" || kind === "system";
  const probe = ofSystem || (kind === "auto" && (await mayHaveGpu()));
  let found = probe ? await offered(asked, kind === "system") : null;
  if (!found) {
    if (ofSystem) {
      throw new AdapterError(
        complain(
          `requestDevice: adapter "${kind}"`,
          `${kind === "system" ? "an adapter" : "a GPU"} with a driver for Vulkan, Metal or Direct3D 12`,
          "none",
          'install the driver (on Linux the Vulkan loader too), or use adapter: "software"',
        ),
      );
    }
    found = await software(
      kind === "software" ? 'requestDevice: adapter "software"' : "requestDevice",
      asked,
    );
    if (kind === "auto" && options.quiet !== true) {
      process.stderr.write(
        "webgpu-batchnorm: no GPU found, running on SwiftShader (software, slow)\n",
      );
    }
  }
  installGlobals(found.dawn);
  requireOffered(found.adapter, requiredFeatures, requiredLimits);
  try {
    return await found.adapter.requestDevice({
      ...(options.label ? { label: options.label } : {}),
      requiredFeatures,
      requiredLimits,
    });
  } catch (error) {
    const [reason] = (error as Error).message.split("\n");
    const remedy = "see requiredFeatures and requiredLimits";
    throw new AdapterError(
      complain("requestDevice", "what the adapter can give", `"${reason}"`, remedy),
      { cause: error },
    );
  }
}

/** @throws OptionError where a value is none of those that an option takes. */
function requireChoice(name: string, given: unknown, choices: readonly string[]): void {
  if (choices.includes(given as string)) return;
  const [last, ...others] = choices.map(shown).reverse();
  const expected = `${others.reverse().join(", ")} or ${last}`;
  throw new OptionError(
    complain(`requestDevice: ${name}`, expected, shown(given), "pass one of these"),
  );
}

/** Features in a list: what is iterable may give its names only once. */
function namesOf(features: Iterable<GPUFeatureName>): GPUFeatureName[] {
  if (typeof features === "object" && Symbol.iterator in features) return [...features];
  const received = typeof features === "string" ? shown(features) : kindOf(features);
  const asked = "a list of names";
  const remedy = 'pass ["shader-f16"]';
  throw new OptionError(complain("requestDevice: requiredFeatures", asked, received, remedy));
}

/** @throws OptionError where there is anything but numbers by name; undefined asks for nothing. */
function requireLimits(given: Readonly<Record<string, number | undefined>>): void {
  const subject = "requestDevice: requiredLimits";
  if (Object(given) !== given) {
    throw new OptionError(complain(subject, "numbers by name", kindOf(given), "pass an object"));
  }
  for (const [name, asked] of Object.entries(given)) {
    if (asked === undefined || (typeof asked === "number" && asked >= 0)) continue;
    throw new OptionError(
      complain(
        `${subject}: ${name}`,
        "a number >= 0",
        shown(asked),
        "leave it out, or count again",
      ),
    );
  }
}

/**
 * @throws AdapterError naming a feature that the adapter lacks, or a limit beyond its own; OptionError naming a limit that
 * WebGPU does not have.
 */
function requireOffered(
  { features, limits }: GPUAdapter,
  requiredFeatures: readonly GPUFeatureName[],
  requiredLimits: Readonly<Record<string, number | undefined>>,
): void {
  const missing = requiredFeatures.find((each) => !features.has(each));
  if (missing !== undefined) {
    const has = `an adapter with the feature ${missing}`;
    const remedy = "ask only for what adapter.features has";
    throw new AdapterError(complain("requestDevice: requiredFeatures", has, "one without", remedy));
  }
  for (const [name, asked] of Object.entries(requiredLimits)) {
    if (asked === undefined) continue;
    const subject = `requestDevice: requiredLimits: ${name}`;
    const most = limits[name as keyof GPUSupportedLimits] as unknown;
    if (typeof most !== "number") {
      const remedy = "see adapter.limits for their names";
      throw new OptionError(complain(subject, "a limit of WebGPU", `"${name}"`, remedy));
    }
    if (/^min/.test(name) ? asked >= most : asked <= most) continue;
    throw new AdapterError(
      complain(
        subject,
        `${most}, as the adapter offers`,
        `${asked}`,
        "ask for what adapter.limits says",
      ),
    );
  }
}

/**
 * An adapter in words: `SwiftShader (software)`, or what its driver calls the GPU.
 *
 * @param of - a device, or what `adapter.info` or `device.adapterInfo` says.
 */
export function describeAdapter(of: GPUDevice | GPUAdapterInfo): string {
  const info = "adapterInfo" in of ? of.adapterInfo : of;
  const { vendor, architecture, description, device, isFallbackAdapter } = info;
  if (/swiftshader/i.test(`${architecture} ${description}`)) return "SwiftShader (software)";
  const words =
    [device, description].filter(Boolean).join(", ") ||
    [vendor, architecture].filter(Boolean).join(" ");
  return `${words || "unknown adapter"}${isFallbackAdapter ? " (software)" : ""}`;
}
