/** First arguments of another kind, and options that there are not: refused with a message, not lost. */
import { tensor1d } from "@tensorflow/tfjs";
import { expect, test } from "vitest";
import { AdapterError, OptionError, ShapeError } from "../../src/errors.js";
import {
  FileError,
  findBatchNorms,
  fromKeras,
  prefixed,
  readOnnx,
  readSafetensors,
  toKeras,
  writeSafetensors,
} from "../../src/files/index.js";
import { createNatsCommunicator } from "../../src/nats/index.js";
import { requestDevice, shareDevice } from "../../src/node.js";
import { fromOrt, toOrt } from "../../src/ort/index.js";
import { Tensor } from "../../src/tensor.js";
import { interpolate, reestimate } from "../../src/statistics/index.js";
import {
  createBroadcastCommunicator,
  createCommunicator,
  createLocalCommunicators,
} from "../../src/sync/index.js";

type Call = (of: never) => unknown;
const two = (value: number): Float32Array => new Float32Array([value, value]);
const state = { running_mean: two(0), running_var: two(1) };
const file = writeSafetensors({ ...state, weight: two(1) });
const later = Promise.resolve(state);
const onnx = { location: "gpu-buffer", type: "float32", dims: [2], gpuBuffer: {} };
const Class = { fromGpuBuffer: () => 1 };
const transport = { maxBytes: 999, open: () => {}, send: () => {}, close: () => Promise.resolve() };
const overNats = { group: "a", rank: 0, size: 2, servers: "nats://127.0.0.1:1" };

test.each<[string, Call, unknown, new () => Error, RegExp]>([
  ["prefixed", (x) => prefixed("a.", x), later, FileError, /got a Promise; await it/],
  ["prefixed", (x) => prefixed("a.", x), null, FileError, /a record or a Map.* got nothing/],
  ["prefixed", (x) => prefixed("a.", x), { then: () => 1 }, FileError, /got an Object; await it/],
  ["prefixed", (x) => prefixed("a.", x), new Set(["a"]), FileError, /got a Set; pass one/],
  ["prefixed", (x) => prefixed("a.", x), () => state, FileError, /got a function; pass one/],
  ["prefixed", (x) => prefixed(x, "a." as never), state, FileError, /pass the prefix first/],
  ["writeSafetensors", (x) => writeSafetensors(x), later, FileError, /got a Promise; await it/],
  [
    "writeSafetensors",
    (x) => writeSafetensors(x),
    new SharedArrayBuffer(8),
    FileError,
    /got a SharedArrayBuffer; pass readSafetensors\(bytes\)/,
  ],
  ["metadata", (x) => writeSafetensors(state, x), { a: 1 }, FileError, /metadata: a: a string/],
  ["metadata", (x) => writeSafetensors(state, x), "pt", FileError, /metadata: .* got a string;/],
  ["metadata", (x) => writeSafetensors(state, x), later, FileError, /metadata: .* await it/],
  ["findBatchNorms", (x) => findBatchNorms(x), file, FileError, /readSafetensors\(bytes\)/],
  ["findBatchNorms", (x) => findBatchNorms(x), null, FileError, /got nothing/],
  ["fromKeras", (x) => fromKeras(x), null, FileError, /a list of arrays, got nothing/],
  ["fromKeras", (x) => fromKeras(x), later, FileError, /got a Promise; await it/],
  [
    "fromKeras",
    (x) => fromKeras(x),
    [[1], [0], [0], null],
    FileError,
    /moving_variance: .* got nothing/,
  ],
  [
    "fromKeras",
    (x) => fromKeras(x),
    [1, 0, 0, 1].map((each) => tensor1d([each])),
    FileError,
    /gamma: an array of numbers, got a Tensor; pass await .*each\.data\(\)/,
  ],
  ["fromKeras", (x) => fromKeras([[1], [1]], x), { centre: false }, OptionError, /center\?/],
  ["toKeras", (x) => toKeras(x), later, FileError, /got a Promise; await it/],
  ["toKeras", (x) => toKeras(x), undefined, FileError, /got nothing/],
  [
    "readSafetensors",
    (x) => readSafetensors(file, x),
    { nonfinite: "keep" },
    OptionError,
    /nonFinite\?/,
  ],
  [
    "readSafetensors",
    (x) => readSafetensors(file, x),
    { nonFinite: "kep" },
    OptionError,
    /nonFinite: "error" or "keep", got "kep"/,
  ],
  ["readOnnx", (x) => readOnnx(file, x), { extrnal: {} }, OptionError, /external\?/],
  ["readOnnx", (x) => readOnnx(file, x), { nonFinite: "no" }, OptionError, /"error" or "keep"/],
  [
    "readOnnx",
    (x) => readOnnx(file, x),
    { external: file },
    FileError,
    /got a Uint8Array; pass \{ "model/,
  ],
  [
    "createLocalCommunicators",
    (x) => createLocalCommunicators(2, x),
    { timeOut: 5 },
    OptionError,
    /timeout\?/,
  ],
  [
    "interpolate",
    (x) => interpolate(x, state, 0.5),
    later,
    OptionError,
    /^interpolate: a: a state dictionary, got a Promise; await it$/,
  ],
  [
    "interpolate",
    (x) => interpolate(state, x, 0.5),
    { then: () => 1 },
    OptionError,
    /b: .* got an Object; await it/,
  ],
  [
    "interpolate",
    (x) => interpolate(state, x, 0.5),
    undefined,
    OptionError,
    /b: .* got nothing; pass what stateDict\(\) gave/,
  ],
  [
    "interpolate",
    (x) => interpolate(x, state, 0.5),
    new Map(Object.entries(state)),
    OptionError,
    /got a Map/,
  ],
  ["interpolate", (x) => interpolate(state, x, 0.5), {}, ShapeError, /running_mean: .* nothing/],
  ["shareDevice", (x) => shareDevice(x), later, OptionError, /got a Promise; await it/],
  [
    "fromOrt",
    (x) => fromOrt({} as never, x),
    undefined,
    OptionError,
    /a tensor of ONNX Runtime, got nothing/,
  ],
  ["fromOrt", (x) => fromOrt({} as never, x), later, OptionError, /got a Promise; await it/],
  [
    "fromOrt",
    (x) => fromOrt(onnx as never, x),
    { queue: {}, lost: later },
    OptionError,
    /a tensor of ONNX Runtime, got an Object; pass the device, then/,
  ],
  ["fromOrt", (x) => fromOrt({} as never, onnx, x), 4, OptionError, /shape: .* got a number/],
  ["toOrt", (x) => toOrt(x, {} as never), {}, OptionError, /pass the class ort\.Tensor, then/],
  [
    "toOrt",
    (x) => toOrt(x, Class as never),
    Tensor.prototype,
    OptionError,
    /ort\.Tensor, got a Tensor; pass the class ort\.Tensor, then/,
  ],
])("%s of what it does not take", (_, call, given, Class, message) => {
  let error: unknown = null;
  try {
    call(given as never);
  } catch (caught) {
    error = caught;
  }
  expect(error).toBeInstanceOf(Class);
  expect((error as Error).message).toMatch(message);
});

test.each<[string, () => Promise<unknown>, new () => Error, RegExp]>([
  [
    "a misspelt channel",
    () => createBroadcastCommunicator({ chanel: "a", rank: 0, size: 2 } as never),
    OptionError,
    /^createBroadcastCommunicator: chanel: .*did you mean channel\?/,
  ],
  [
    "a misspelt timeout",
    () => createBroadcastCommunicator({ channel: "a", rank: 0, size: 2, timout: 9 } as never),
    OptionError,
    /^createBroadcastCommunicator: timout: .*did you mean timeout\?/,
  ],
  [
    "no options of a group",
    () => (createBroadcastCommunicator as () => Promise<unknown>)(),
    OptionError,
    /^createBroadcastCommunicator: an object of options, got nothing/,
  ],
  [
    "a misspelt option over a transport",
    () => createCommunicator(transport, { rank: 0, size: 2, timout: 9 } as never),
    OptionError,
    /^createCommunicator: timout: .*did you mean timeout\?/,
  ],
  [
    "no transport",
    () => createCommunicator({ rank: 0, size: 2 } as never, transport as never),
    OptionError,
    /^createCommunicator: transport: \{ maxBytes, .*, got an Object; pass the transport first/,
  ],
  [
    "no options over a transport",
    () => createCommunicator(transport, undefined as never),
    OptionError,
    /^createCommunicator: an object of options, got nothing/,
  ],
  [
    "a misspelt option over NATS",
    () => createNatsCommunicator({ ...overNats, timout: 9 } as never),
    OptionError,
    /^createNatsCommunicator: timout: .*did you mean timeout\?/,
  ],
  [
    "no group over NATS",
    () => createNatsCommunicator({ ...overNats, group: undefined as never }),
    OptionError,
    /^createNatsCommunicator: group: letters, digits, - and _, got nothing/,
  ],
  [
    "no rank over NATS",
    () => createNatsCommunicator({ ...overNats, rank: 2 }),
    OptionError,
    /^communicator: .*, got rank 2 of 2/,
  ],
  [
    "a connection to NATS that was not awaited",
    () => createNatsCommunicator({ ...overNats, connection: later as never }),
    OptionError,
    /^createNatsCommunicator: connection: .*, got a Promise; await it/,
  ],
  [
    "no address of NATS",
    () => createNatsCommunicator({ ...overNats, servers: 4222 as never }),
    OptionError,
    /^createNatsCommunicator: servers: .*, got a number/,
  ],
  [
    "no channel",
    () => createBroadcastCommunicator({ rank: 0, size: 2 } as never),
    OptionError,
    /channel: the group's name, got nothing/,
  ],
  [
    "no module",
    () => reestimate(null as never, [1], () => 1),
    OptionError,
    /modules: .* got nothing/,
  ],
  [
    "a module of another kind",
    () => reestimate([{}] as never, [1], () => 1),
    OptionError,
    /modules\[0\]: a BatchNorm, got an Object; pass modules, batches/,
  ],
  [
    "no batches",
    () => reestimate([], null as never, () => 1),
    OptionError,
    /batches: an iterable of batches, got nothing/,
  ],
  [
    "batches that were not awaited",
    () => reestimate([], Promise.resolve([1]) as never, () => 1),
    OptionError,
    /batches: .* got a Promise; await it/,
  ],
  [
    "batches that are given by a function",
    () => reestimate([], (() => [1]) as never, () => 1),
    OptionError,
    /batches: .* got a function/,
  ],
  [
    "progress that nobody hears of",
    () => reestimate([], [1], () => 1, { onProgress: 5 as never }),
    OptionError,
    /onProgress: a function, got a number/,
  ],
  ["no forward", () => reestimate([], [1], undefined as never), OptionError, /run: .* got nothing/],
  [
    "an adapter of another kind",
    () => requestDevice({ adapter: "gpu" as never }),
    OptionError,
    /adapter: "auto", "hardware", "software" or "system", got "gpu"/,
  ],
  [
    "a preference of another kind",
    () => requestDevice({ adapter: "software", powerPreference: "fast" as never }),
    OptionError,
    /powerPreference: .* got "fast"/,
  ],
  [
    "a feature that stands in no list",
    () => requestDevice({ adapter: "software", requiredFeatures: "shader-f16" as never }),
    OptionError,
    /requiredFeatures: a list of names, got "shader-f16"/,
  ],
  [
    "a limit that there is not",
    () => requestDevice({ adapter: "software", requiredLimits: { constructor: 1 } }),
    OptionError,
    /constructor: a limit of WebGPU, got "constructor"/,
  ],
  [
    "a limit that is no number",
    () => requestDevice({ adapter: "software", requiredLimits: { maxBufferSize: -1 } }),
    OptionError,
    /maxBufferSize: a number >= 0, got -1/,
  ],
  [
    "limits that are none",
    () => requestDevice({ adapter: "software", requiredLimits: 5 as never }),
    OptionError,
    /requiredLimits: numbers by name, got a number/,
  ],
  [
    "a limit that Dawn itself refuses",
    () =>
      requestDevice({
        adapter: "software",
        requiredLimits: { minStorageBufferOffsetAlignment: 1000 },
      }),
    AdapterError,
    /what the adapter can give, got ".*1000.*power of two/,
  ],
  [
    "a feature that is not there",
    () => requestDevice({ adapter: "software", requiredFeatures: ["shader-f16"] }),
    AdapterError,
    /feature shader-f16/,
  ],
  [
    "too high a limit",
    () => requestDevice({ adapter: "software", requiredLimits: { maxBufferSize: 2 ** 50 } }),
    AdapterError,
    /maxBufferSize: \d+, as the adapter offers, got \d+/,
  ],
])("%s", async (_, call, Class, message) => {
  const error: unknown = await call().catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(Class);
  expect((error as Error).message).toMatch(message);
});

test("what gives features only once asks for them, and an undefined limit for nothing", async () => {
  const device = await requestDevice({
    adapter: "software",
    requiredFeatures: (["depth-clip-control"] as const).values(),
    requiredLimits: { maxBufferSize: undefined },
  });
  expect(device.features.has("depth-clip-control")).toBe(true);
});

test("a Map is taken as a record is", () => {
  const names = Object.keys(prefixed("a.", readSafetensors(file)));
  expect(names.sort()).toEqual(["a.running_mean", "a.running_var", "a.weight"]);
  const map = new Map(Object.entries(state));
  expect(toKeras(map, { scale: false, center: false })).toEqual(Object.values(state));
  const written = writeSafetensors(map, new Map([["format", "pt"]]));
  expect(readSafetensors(written).metadata).toEqual({ format: "pt" });
});

test("a record may be empty, and without a prototype", () => {
  expect(prefixed("a.", {})).toEqual({});
  expect(prefixed("a.", Object.create(null) as object)).toEqual({});
  expect(readSafetensors(writeSafetensors({})).size).toBe(0);
});

test("the types refuse a promise too", () => {
  // @ts-expect-error -- not awaited
  expect(() => prefixed("a.", later)).toThrow(FileError);
  // @ts-expect-error -- not awaited
  expect(() => writeSafetensors(later)).toThrow(FileError);
  // @ts-expect-error -- not awaited
  expect(() => toKeras(later)).toThrow(FileError);
  // @ts-expect-error -- not awaited
  expect(() => findBatchNorms(later)).toThrow(FileError);
  // @ts-expect-error -- not awaited
  expect(() => interpolate(later, state, 0.5)).toThrow(OptionError);
});
