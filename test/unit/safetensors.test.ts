/** The safetensors format: files of PyTorch, files of our own, and what is refused. */
import { describe, expect, test } from "vitest";
import {
  FileError,
  FileTensor,
  findBatchNorms,
  prefixed,
  readSafetensors,
  writeSafetensors,
  type WritableTensor,
} from "webgpu-batchnorm/files";
import { ours } from "../fixtures/files/ours.js";
import { expected, files } from "../support/file-fixtures.js";

/** A file of any header and data. */
function fileOf(header: string | object, data = 0, length?: bigint): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(
    typeof header === "string" ? header : JSON.stringify(header),
  );
  const file = new Uint8Array(8 + text.length + data);
  new DataView(file.buffer).setBigUint64(0, length ?? BigInt(text.length), true);
  file.set(text, 8);
  return file;
}

const f32 = (begin: number, end: number, shape = [(end - begin) / 4]): object => ({
  dtype: "F32",
  shape,
  data_offsets: [begin, end],
});

describe("a file of PyTorch", () => {
  const file = readSafetensors(files["model.safetensors"]!());

  test("tells its tensors, shapes and notes", () => {
    expect(file.metadata).toEqual({ note: "ü" });
    const weight = file.get("layer1.0.conv1.weight")!;
    expect([weight.dtype, weight.shape, weight.data.length]).toEqual(["F32", [5, 3, 3, 3], 135]);
    expect([...file.keys()]).toContain("norm.weight");
    expect(file.get("flat.num_batches_tracked")!.shape).toEqual([]);
  });

  test("every Batch Normalization is found, with the values of its own type", () => {
    const found = findBatchNorms(file);
    expect(found.map(({ prefix }) => prefix).sort()).toEqual(
      expected.layers.map(({ prefix }) => prefix).sort(),
    );
    for (const layer of expected.layers) {
      const { state, channels, affine } = found.find(({ prefix }) => prefix === layer.prefix)!;
      expect([channels, affine]).toEqual([layer.runningMean.length, layer.affine]);
      expect(Array.from(state.running_mean)).toEqual(layer.runningMean);
      expect(Array.from(state.running_var)).toEqual(layer.runningVar);
      expect(state.weight && Array.from(state.weight)).toEqual(layer.gamma);
      expect(state.bias && Array.from(state.bias)).toEqual(layer.beta);
      expect(state.num_batches_tracked).toBe(BigInt(layer.numBatchesTracked));
      expect(state.running_mean).toBeInstanceOf(
        layer.dtype === "float64" ? Float64Array : Float32Array,
      );
    }
  });

  test("every type that PyTorch saves", () => {
    const every = readSafetensors(files["dtypes.safetensors"]!());
    expect([...every.keys()].sort()).toEqual(expected.dtypes.map(({ name }) => name).sort());
    for (const { name, shape, values } of expected.dtypes) {
      const tensor = every.get(name)!;
      expect(tensor.shape).toEqual(shape);
      if (["F8_E4M3", "F8_E5M2", "C64"].includes(name)) {
        expect(() => tensor.data, name).toThrow(FileError);
        expect(tensor.bytes.length).toBe(name === "C64" ? 8 : 2);
        continue;
      }
      const numbers = Array.from<number | bigint>(tensor.data as ArrayLike<number>);
      const wanted = values.map((text) =>
        name === "BOOL"
          ? Number(text === "True")
          : /^[IU]64$/.test(name)
            ? BigInt(text)
            : Number(text),
      );
      expect(numbers, name).toEqual(wanted);
    }
  });

  test("bytes at any alignment, in shared memory, and as a view of a larger buffer read the same", () => {
    const bytes = files["model.safetensors"]!();
    const before = readSafetensors(bytes).get("flat.running_var")!.data;
    for (const shift of [1, 2, 4, 7]) {
      const shifted = new Uint8Array(bytes.length + 16);
      shifted.set(bytes, shift);
      const view = shifted.subarray(shift, shift + bytes.length);
      expect(readSafetensors(view).get("flat.running_var")!.data).toEqual(before);
    }
    const shared = new SharedArrayBuffer(bytes.length);
    new Uint8Array(shared).set(bytes);
    expect(readSafetensors(shared).get("flat.running_var")!.data).toEqual(before);
  });
});

test("floats of 8 bits and less are told, and kept as bytes", () => {
  for (const [dtype, bits] of [
    ["F4", 4],
    ["F6_E2M3", 6],
    ["F6_E3M2", 6],
    ["F8_E4M3", 8],
    ["F8_E4M3FNUZ", 8],
    ["F8_E5M2", 8],
    ["F8_E5M2FNUZ", 8],
    ["F8_E8M0", 8],
  ] as const) {
    const bytes = fileOf({ a: { dtype, shape: [4], data_offsets: [0, bits / 2] } }, bits / 2);
    const tensor = readSafetensors(bytes).get("a")!;
    expect([tensor.dtype, tensor.bytes.length]).toEqual([dtype, bits / 2]);
    expect(() => tensor.data, dtype).toThrow(FileError);
    expect(readSafetensors(writeSafetensors({ a: tensor })).get("a")!.dtype).toBe(dtype);
  }
});

describe("a file of our own", () => {
  test("is the one that check_torch.py has loaded in PyTorch, byte by byte", () => {
    expect(ours()).toEqual(files["ours.safetensors"]!());
  });

  test("comes back as it was, every tensor aligned to its type", () => {
    const tensors = {
      a: Uint8Array.of(1, 2, 3),
      b: Float64Array.of(Math.PI, -0),
      c: Float32Array.of(1.5, 2 ** -149),
      d: 7n,
      e: BigUint64Array.of(2n ** 64n - 1n),
      f: { dtype: "F16", shape: [1, 2], data: [0.5, -2] },
      g: { dtype: "BF16", data: [3] },
      h: { shape: [2, 0], data: new Float32Array(0) },
      i: { dtype: "BOOL", data: [1, 0] },
      'ü "\\\n': Int16Array.of(-1),
      __proto__of: Int8Array.of(-1),
    } as const satisfies Record<string, WritableTensor>;
    const bytes = writeSafetensors(tensors, { by: "us" });
    const file = readSafetensors(bytes);
    expect(file.metadata).toEqual({ by: "us" });
    const read = Object.fromEntries([...file].map(([name, { data }]) => [name, data]));
    expect(read).toEqual({
      a: tensors.a,
      b: tensors.b,
      c: tensors.c,
      d: BigInt64Array.of(7n),
      e: tensors.e,
      f: Float32Array.of(0.5, -2),
      g: Float32Array.of(3),
      h: new Float32Array(0),
      i: Uint8Array.of(1, 0),
      'ü "\\\n': tensors['ü "\\\n'],
      __proto__of: Int8Array.of(-1),
    });
    for (const tensor of file.values()) {
      const { BYTES_PER_ELEMENT } = tensor.data as unknown as { BYTES_PER_ELEMENT: number };
      if (!/F16/.test(tensor.dtype)) expect(tensor.bytes.byteOffset % BYTES_PER_ELEMENT).toBe(0);
      expect(tensor).toBeInstanceOf(FileTensor);
    }
    // What was read can be written again, types without numbers included.
    const every = readSafetensors(files["dtypes.safetensors"]!());
    const again = readSafetensors(writeSafetensors(every));
    for (const [name, { dtype, shape, bytes }] of every) {
      const other = again.get(name)!;
      expect([other.dtype, other.shape, other.bytes]).toEqual([dtype, shape, bytes]);
    }
  });

  test("a Float16Array's numbers are written as they are", () => {
    // Where there is none, what has its bits and its name.
    const { Float16Array: Half = class Float16Array extends Uint16Array {} } = globalThis as {
      Float16Array?: typeof Uint16Array;
    };
    const data = new Half(Uint16Array.of(0x3e00, 0xc000).buffer);
    for (const tensor of [data, { data }, { data, shape: [2, 1] }]) {
      const read = readSafetensors(writeSafetensors({ a: tensor })).get("a")!;
      expect([read.dtype, ...(read.data as Float32Array)]).toEqual(["F16", 1.5, -2]);
    }
  });

  test("an empty one", () => {
    expect([...readSafetensors(writeSafetensors({}))]).toEqual([]);
  });

  test("a dictionary gets a prefix, and what is absent stays so", () => {
    expect(prefixed("a.", { weight: Float32Array.of(1), bias: undefined })).toEqual({
      "a.weight": Float32Array.of(1),
    });
  });

  test.each<[string, WritableTensor, RegExp]>([
    ["too few values", { shape: [2, 3], data: Float32Array.of(1) }, /6 values \(\[2, 3\]\), got 1/],
    ["numbers without a type", { data: [1, 2] }, /dtype: one of BOOL.*an array without a type/],
    ["a type without numbers", { dtype: "F8_E4M3", data: [1] }, /got F8_E4M3/],
    ["a fraction", { dtype: "I32", data: [1, 1.5] }, /value 1: a whole number.*\(I32\), got 1.5/],
    ["no number", { dtype: "U8", data: [NaN] }, /value 0: a whole number from 0 to 255 .*NaN/],
    ...[null, undefined, "1", true, [3]].flatMap((each): [string, WritableTensor, RegExp][] =>
      (["F16", "BF16", "F32", "F64"] as const).map((dtype) => [
        `${JSON.stringify(each)} in the place of a number, ${dtype}`,
        { dtype, data: [1, each] as number[] },
        new RegExp(`value 1: a number \\(${dtype}\\), got `),
      ]),
    ),
    ["too large a number", { dtype: "I8", data: [-128, 128] }, /value 1: .* -128 to 127 .*got 128/],
    ["too small a number", { dtype: "U16", data: [-1] }, /0 to 65535 .*got -1/],
    ["what is neither true nor false", { dtype: "BOOL", data: [2] }, /0 to 1 \(BOOL\), got 2/],
    ["a bigint of 65 bits", 2n ** 63n, /9223372036854775807 \(I64\), got 9223372036854775808/],
    ["a bigint below zero", { dtype: "U64", data: [-1n] }, /\(U64\), got -1/],
    [
      "a negative shape",
      { shape: [-1, -1], data: Float32Array.of(1) },
      /whole numbers >= 0, got \[-1,-1\]; pass a list/,
    ],
    [
      "a shape of another kind",
      { shape: Int32Array.of(1) as never, data: Float32Array.of(1) },
      /"a": shape: whole numbers >= 0, got a.? Int32Array; pass a list of them, such as \[2, 3\]/,
    ],
    [
      "an array of a type that there is not",
      new Uint8ClampedArray(2) as never,
      /dtype: one of BOOL.*, got a.? Uint8ClampedArray; pass a typed array, or say dtype/,
    ],
  ])("refuses %s", (_, value, message) => {
    expect(() => writeSafetensors({ a: value })).toThrow(FileError);
    expect(() => writeSafetensors({ a: value })).toThrow(message);
  });

  test("numbers and bigints of any type that holds them", () => {
    const tensors = {
      a: { dtype: "I64", shape: [], data: [12] },
      b: { dtype: "U64", data: [2 ** 53, 0] },
      c: { dtype: "F32", data: BigInt64Array.of(-3n) },
      d: { dtype: "F64", data: [2n ** 60n] },
      e: { dtype: "F16", data: BigInt64Array.of(5n) },
      f: { dtype: "BF16", data: [7n] },
      g: { dtype: "I8", data: [127n, -128n] },
      h: { dtype: "I32", data: Float64Array.of(-(2 ** 31)) },
      i: -(2n ** 63n),
    } as const satisfies Record<string, WritableTensor>;
    const read = [...readSafetensors(writeSafetensors(tensors))];
    expect(Object.fromEntries(read.map(([name, { data }]) => [name, data]))).toEqual({
      a: BigInt64Array.of(12n),
      b: BigUint64Array.of(2n ** 53n, 0n),
      c: Float32Array.of(-3),
      d: Float64Array.of(2 ** 60),
      e: Float32Array.of(5),
      f: Float32Array.of(7),
      g: Int8Array.of(127, -128),
      h: Int32Array.of(-(2 ** 31)),
      i: BigInt64Array.of(-(2n ** 63n)),
    });
  });

  test("refuses a tensor by the name of the notes", () => {
    expect(() => writeSafetensors({ __metadata__: Float32Array.of(1) })).toThrow(FileError);
  });
});

describe("a damaged or hostile file is refused, and says where", () => {
  test.each<[string, Uint8Array, RegExp]>([
    ["an empty file", new Uint8Array(0), /8 bytes, got 0/],
    ["half a length", new Uint8Array(7), /8 bytes, got 7/],
    [
      "a huge header length",
      fileOf("{}", 0, 2n ** 63n),
      /header length: at most 2 bytes, got 9223372036854775808/,
    ],
    ["a header longer than the file", fileOf("{}", 0, 3n), /header length: at most 2/],
    ["no JSON", fileOf("hello"), /header: character 0: "\{", got "hello"/],
    ["no UTF-8", fileOf("{}").fill(0xff, 8), /header: UTF-8/],
    ["a list", fileOf("[]"), /header: character 0: "\{", got "\[\]"/],
    ["an entry that is no object", fileOf({ a: 1 }), /header: character 5: "\{", got "1\}"/],
    ["an entry without fields", fileOf({ a: {} }), /"a": dtype/],
    ["a name that is no text", fileOf("{a:{}}"), /header: character 1: a text, got "a:/],
    ["a comma and nothing behind it", fileOf('{"__metadata__":{},}'), /character 19: a text, got/],
    ["no comma", fileOf('{"__metadata__":{"a":"1""b":"2"}}'), /header: character 24: "\}"/],
    ["a text that does not end", fileOf('{"a'), /header: JSON/],
    [
      "an object that does not end",
      fileOf('{"__metadata__":{}'),
      /character 18: "\}", got its end/,
    ],
    ["an object behind the first", fileOf("{} {}"), /header: character 3: its end, got "\{\}"/],
    [
      "a name given twice",
      fileOf(
        '{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"\\u0061":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
      ),
      /every name once/,
    ],
    [
      "a field given twice",
      fileOf('{"a":{"dtype":"U8","dtype":"F32","shape":[0],"data_offsets":[0,0]}}'),
      /every name once/,
    ],
    ["deep nesting", fileOf(`{"a":${"[".repeat(1e6)}${"]".repeat(1e6)}}`), /character 5: "\{"/],
    ["deep nesting that never ends", fileOf(`{"a":${'{"a":'.repeat(1e5)}`), /character 10: a text/],
    ["a list of lists", fileOf('{"a":{"shape":[1,[]]}}'), /character 14: .* or a list of numbers/],
    [
      "an unknown type",
      fileOf({ a: { dtype: "F7", shape: [0], data_offsets: [0, 0] } }),
      /"a": dtype: one of BOOL.*got "F7"/,
    ],
    [
      "a type of an object's own name",
      fileOf({ a: { dtype: "toString", shape: [0], data_offsets: [0, 0] } }),
      /dtype/,
    ],
    [
      "a negative size",
      fileOf({ a: f32(0, 4, [-1]) }, 4),
      /"a": shape: whole numbers >= 0, got \[-1\]/,
    ],
    ["a fraction of a size", fileOf({ a: f32(0, 4, [1.5]) }, 4), /shape: whole numbers/],
    [
      "a size that is no number",
      fileOf('{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}', 4),
      /header: JSON/,
    ],
    [
      "a size beyond any number",
      fileOf('{"a":{"dtype":"F32","shape":[1e999],"data_offsets":[0,4]}}', 4),
      /shape: whole numbers/,
    ],
    [
      "sizes whose product overflows",
      fileOf({ a: f32(0, 4, [2 ** 40, 2 ** 40]) }, 4),
      /"a": data_offsets: a shape of whole bytes below 2\^53 \(\[1099511627776, 1099511627776\], F32\), got 4/,
    ],
    [
      "half a byte",
      fileOf({ a: { dtype: "F4", shape: [3], data_offsets: [0, 2] } }, 2),
      /"a": data_offsets: a shape of whole bytes below 2\^53 \(\[3\], F4\), got 2/,
    ],
    [
      "a shape that is no list",
      fileOf({ a: { dtype: "U8", shape: 4, data_offsets: [0, 4] } }, 4),
      /"a": shape: whole numbers >= 0, got a number; the file is damaged/,
    ],
    ["a huge shape", fileOf({ a: f32(0, 4, [2 ** 40]) }, 4), /data_offsets: 4398046511104 bytes/],
    [
      "offsets that leave the file",
      fileOf({ a: f32(0, 8) }, 4),
      /a range within 4 bytes of data, got \[0,8\]/,
    ],
    [
      "offsets in reverse",
      fileOf({ a: { dtype: "F32", shape: [1], data_offsets: [4, 0] } }, 4),
      /a range within/,
    ],
    [
      "one offset",
      fileOf({ a: { dtype: "F32", shape: [1], data_offsets: [0] } }, 4),
      /a range within/,
    ],
    [
      "no offsets",
      fileOf({ a: { dtype: "F32", shape: [1] } }, 4),
      /data_offsets: whole numbers >= 0, got nothing/,
    ],
    [
      "overlapping tensors",
      fileOf({ a: f32(0, 8), b: f32(4, 12) }, 12),
      /"b": data_offsets: a beginning at 8/,
    ],
    [
      "one range for two",
      fileOf({ a: f32(0, 8), b: f32(0, 8) }, 8),
      /data_offsets: a beginning at 8/,
    ],
    ["a hole", fileOf({ a: f32(0, 4), b: f32(8, 12) }, 12), /"b": data_offsets: a beginning at 4/],
    ["bytes behind the last tensor", fileOf({ a: f32(0, 4) }, 8), /data: 4 bytes.*got 8/],
    [
      "notes that are no texts",
      fileOf({ __metadata__: { a: 1 } }),
      /__metadata__: "a": a text, got 1/,
    ],
  ])("%s", (_, bytes, message) => {
    expect(() => readSafetensors(bytes)).toThrow(FileError);
    expect(() => readSafetensors(bytes)).toThrow(message);
  });

  test("a name as long as the file is cut short in the message", () => {
    const file = fileOf({ ["x".repeat(100_000)]: f32(0, 8) }, 4);
    expect(() => readSafetensors(file)).toThrow(/^"x{80}…"/);
  });

  test("NaN and infinity, unless they are asked for", () => {
    for (const bad of [NaN, Infinity, -Infinity]) {
      const bytes = writeSafetensors({ "a.running_var": Float32Array.of(1, bad) });
      expect(() => readSafetensors(bytes).get("a.running_var")!.data).toThrow(
        new RegExp(`^"a.running_var": value 1: a finite number, got ${bad}`),
      );
      const kept = readSafetensors(bytes, { nonFinite: "keep" });
      expect(kept.get("a.running_var")!.data[1]).toBe(bad);
    }
  });
});

describe("finding", () => {
  test("takes what a file was read to keep", () => {
    const [one, bad] = [Float32Array.of(1, 1), Float32Array.of(1, NaN)];
    const bytes = writeSafetensors({ running_mean: one, running_var: bad });
    const [{ state }] = findBatchNorms(readSafetensors(bytes, { nonFinite: "keep" })) as [
      ReturnType<typeof findBatchNorms>[0],
    ];
    expect(state.running_var).toEqual(bad);
  });

  const good = {
    "a.weight": [1, 2],
    "a.bias": [3, 4],
    "a.running_mean": [5, 6],
    "a.running_var": [7, 8],
    "a.num_batches_tracked": 9,
  };

  test("Keras's names, with what the layer has", () => {
    const found = findBatchNorms({
      "bn/gamma": [1, 2],
      "bn/beta": [3, 4],
      "bn/moving_mean": [5, 6],
      "bn/moving_variance": [7, 8],
      "free/moving_mean": [1],
      "free/moving_variance": [2],
      "unscaled/beta": [3],
      "unscaled/moving_mean": [1],
      "unscaled/moving_variance": [2],
    });
    expect(found).toEqual([
      {
        prefix: "bn/",
        channels: 2,
        affine: true,
        state: { weight: [1, 2], bias: [3, 4], running_mean: [5, 6], running_var: [7, 8] },
      },
      {
        prefix: "free/",
        channels: 1,
        affine: false,
        state: { running_mean: [1], running_var: [2] },
      },
      {
        prefix: "unscaled/",
        channels: 1,
        affine: true,
        state: { weight: Float32Array.of(1), bias: [3], running_mean: [1], running_var: [2] },
      },
    ]);
  });

  test("TensorFlow's names, which may end with :0", () => {
    const names = { "bn/gamma:0": [1], "bn/beta:0": [2], "bn/moving_mean:0": [3] };
    expect(findBatchNorms({ ...names, "bn/moving_variance:0": [4] })).toEqual([
      {
        ...{ prefix: "bn/", channels: 1, affine: true },
        state: { weight: [1], bias: [2], running_mean: [3], running_var: [4] },
      },
    ]);
    expect(() => findBatchNorms(names)).toThrow(FileError);
  });

  test("a module's own dictionary, which has no prefix", () => {
    const own = Object.fromEntries(
      Object.entries(good).map(([name, value]) => [name.slice(2), value]),
    );
    expect(findBatchNorms(own)).toEqual([
      {
        prefix: "",
        channels: 2,
        affine: true,
        state: {
          weight: [1, 2],
          bias: [3, 4],
          running_mean: [5, 6],
          running_var: [7, 8],
          num_batches_tracked: 9n,
        },
      },
    ]);
  });

  test("null is none", () => {
    const rest = { "a.running_mean": [5, 6], "a.running_var": [7, 8] };
    const none = { "a.weight": null, "a.bias": null, "a.num_batches_tracked": null };
    const found = findBatchNorms({ ...rest, ...none } as unknown as typeof rest);
    expect(found).toEqual(findBatchNorms(rest));
    expect(found[0]!.affine).toBe(false);
  });

  test("another's name that ends alike is not one", () => {
    const file = { ...good, loss_running_mean: [1], "x.my_running_var": [1] };
    expect(findBatchNorms(file)).toHaveLength(1);
  });

  test("a model without one says so", () => {
    for (const model of [{}, { "fc.weight": [1], "fc.bias": [1], "norm.weight": [1] }]) {
      expect(() => findBatchNorms(model)).toThrow(FileError);
      expect(() => findBatchNorms(model)).toThrow(
        /a model with Batch Normalization \(running_mean or moving_mean\), got none among \d tensors/,
      );
    }
  });

  test.each<[string, Record<string, unknown>, RegExp]>([
    [
      "no variance",
      { "a.running_var": undefined },
      /"a.running_var": one value per channel, got nothing/,
    ],
    [
      "a variance that is null",
      { "a.running_var": null },
      /"a.running_var": one value per channel, got nothing/,
    ],
    [
      "a tensor that has not been read",
      { "a.running_mean": { data: async () => [1, 2], shape: [2] } },
      /"a.running_mean": values, got a tensor not yet read; read it first: \{ data: await tensor.data\(\)/,
    ],
    [
      "no mean",
      { "a.running_mean": undefined },
      /"a.running_mean": one value per channel, got nothing/,
    ],
    ["another length", { "a.weight": [1] }, /"a.weight": 2 values, as "a.running_mean" has, got 1/],
    [
      "rank 2",
      { "a.bias": { data: [1, 2], shape: [1, 2] } },
      /"a.bias": one value per channel, got \[1, 2\]/,
    ],
    ["no channel", { "a.running_mean": [] }, /one value per channel/],
    ["a number", { "a.running_mean": 3 }, /one value per channel/],
    ["integers of 64 bits", { "a.running_var": [1n, 2n] }, /numbers, got values of type bigint/],
    ["a negative variance", { "a.running_var": [1, -2] }, /value 1: a variance >= 0, got -2/],
    ["a NaN", { "a.running_mean": Float32Array.of(NaN, 1) }, /value 0: a finite number, got NaN/],
    ...[NaN, Infinity].flatMap((bad): [string, Record<string, unknown>, RegExp][] =>
      ["weight", "bias", "running_mean", "running_var"].flatMap((name) => [
        [
          `${bad} in a plain array, ${name}`,
          { [`a.${name}`]: [1, bad] },
          new RegExp(`^"a.${name}": value 1: a finite number, got ${bad}`),
        ],
        [
          `${bad} in a tensor of another library, ${name}`,
          { [`a.${name}`]: { data: Float32Array.of(bad, 1), shape: [2] } },
          new RegExp(`^"a.${name}": value 0: a finite number, got ${bad}`),
        ],
      ]),
    ),
    ["a negative count", { "a.num_batches_tracked": -1 }, /a count >= 0, got -1/],
    ["a broken count", { "a.num_batches_tracked": 1.5 }, /a count >= 0, got 1.5/],
  ])("refuses %s", (_, change, message) => {
    const file = Object.fromEntries(
      Object.entries({ ...good, ...change }).filter(([, value]) => value !== undefined),
    ) as Parameters<typeof findBatchNorms>[0];
    expect(() => findBatchNorms(file)).toThrow(FileError);
    expect(() => findBatchNorms(file)).toThrow(message);
  });
});
