/** BatchNormalization nodes out of .onnx files: every way in which one comes by its parameters, and what is refused. */
import { describe, expect, test } from "vitest";
import { FileError, findBatchNorms, readOnnx } from "webgpu-batchnorm/files";
import { inference } from "webgpu-batchnorm/reference";
import { expected, files } from "../support/file-fixtures.js";
import { message } from "../support/protobuf.js";
import "../support/allclose.js";

const model = (...graph: Parameters<typeof message>): Uint8Array => message([7, message(...graph)]);
const floats = (...values: number[]): Uint8Array =>
  new Uint8Array(Float32Array.from(values).buffer);
const tensor = (name: string, values: number[], dims = [values.length]): Uint8Array =>
  message(...dims.map((size) => [1, size] as const), [2, 1], [8, name], [9, floats(...values)]);
const normalize = (...attributes: Uint8Array[]): Uint8Array =>
  message(
    ...["x", "s", "b", "m", "v"].map((each) => [1, each] as const),
    [2, "y"],
    [4, "BatchNormalization"],
    ...attributes.map((each) => [5, each] as const),
  );
const held = ["s", "b", "m", "v"].map((name) => [5, tensor(name, [1, 2])] as const);
const attribute = (name: string, value: number): Uint8Array =>
  Uint8Array.from([...message([1, name]), 2 * 8 + 5, ...floats(value)]);

describe("Constant nodes", () => {
  const constant = (name: string, ...fields: Parameters<typeof message>): Uint8Array =>
    message([2, name], [4, "Constant"], [5, message([1, "value_floats"], ...fields)]);

  test("give floats in one piece or several", () => {
    const fixed = (...values: number[]): Uint8Array =>
      Uint8Array.from(values.flatMap((value) => [7 * 8 + 5, ...floats(value)]));
    const several = Uint8Array.from([...message([1, "value_floats"]), ...fixed(3, 4)]);
    const file = readOnnx(
      model(
        [1, constant("s", [7, floats(1, 2)])],
        [1, message([2, "b"], [4, "Constant"], [5, several])],
        [1, normalize()],
        ...held.slice(2),
      ),
    );
    const [found] = findBatchNorms(file);
    expect(found!.state.weight).toEqual(Float32Array.of(1, 2));
    expect(found!.state.bias).toEqual(Float32Array.of(3, 4));
    expect(file.get("b")!.shape).toEqual([2]);
  });

  test("of torn floats are refused, others left alone", () => {
    const torn = model([1, constant("s", [7, floats(1, 2).slice(1)])]);
    expect(() => readOnnx(torn)).toThrow(/"s": whole floats of 4 bytes, got 7 bytes/);
    const text = message([2, "s"], [4, "Constant"], [5, message([1, "value_string"], [4, "a"])]);
    expect([...readOnnx(model([1, text]))]).toEqual([]);
  });
});

describe("a file of PyTorch", () => {
  test.each([
    ["model.onnx", {}],
    ["dynamo.onnx", {}],
    ["external.onnx", { external: { "external.onnx.data": files["external.onnx.data"]!() } }],
  ])("%s gives what the modules held", (name, options) => {
    const found = findBatchNorms(readOnnx(files[name]!(), options));
    expect(found).toHaveLength(expected.exported.length);
    found.forEach(({ state, eps, momentum, affine }, index) => {
      const wanted = expected.exported[index]!;
      expect(affine).toBe(true);
      expect(Array.from(state.weight!)).toEqual(wanted.gamma);
      expect(Array.from(state.bias!)).toEqual(wanted.beta);
      expect(Array.from(state.running_mean)).toEqual(wanted.runningMean);
      expect(Array.from(state.running_var)).toEqual(wanted.runningVar);
      // Attributes are f32: half a unit of numbers up to 1.
      expect(Math.abs(eps! - wanted.eps)).toBeLessThanOrEqual(wanted.eps * 2 ** -24);
      expect(Math.abs(momentum! - wanted.momentum)).toBeLessThanOrEqual(2 ** -24);
    });
  });

  test("its other tensors are there too", () => {
    const file = readOnnx(files["model.onnx"]!());
    expect([...file.keys()]).toContain("first.weight");
    expect(file.nodes.map(({ x, y }) => [x, y])[1]).toEqual(["/Relu_output_0", expect.any(String)]);
  });

  test("tensors in another file are asked for by its name, and only where they are used", () => {
    const file = readOnnx(files["external.onnx"]!());
    expect(() => findBatchNorms(file)).toThrow(FileError);
    expect(() => findBatchNorms(file)).toThrow(
      /"first.running_mean": a tensor in this file, got one in "external.onnx.data"; pass that file/,
    );
    const short = files["external.onnx.data"]!().subarray(0, 20);
    expect(() =>
      findBatchNorms(
        readOnnx(files["external.onnx"]!(), { external: { "external.onnx.data": short } }),
      ),
    ).toThrow(/its range in "external.onnx.data": one within 20 bytes/);
  });
});

describe("every form of parameters", () => {
  const file = readOnnx(files["forms.onnx"]!());
  const found = findBatchNorms(file);

  test("all nodes are found, those of a branch too, and none of another domain", () => {
    expect(found.map(({ prefix }) => prefix)).toEqual(expected.forms.map(({ name }) => name));
  });

  test.each(expected.forms)("$name computes as onnx.reference does", (form) => {
    const { state, eps, momentum } = found.find(({ prefix }) => prefix === form.name)!;
    expect(Math.abs(eps! - form.eps)).toBeLessThanOrEqual(form.eps * 2 ** -24);
    expect(Math.abs(momentum! - form.momentum)).toBeLessThanOrEqual(2 ** -24);
    const { y } = inference(form.x, form.shape, {
      // ONNX's attributes are f32, their defaults too.
      eps: Math.fround(form.eps),
      gamma: state.weight!,
      beta: state.bias!,
      mean: state.running_mean,
      variance: state.running_var,
    });
    // onnx.reference multiplies, divides and adds in float64 once each on numbers below 100.
    expect(y).toBeAllclose(form.y, { atol: 100 * 2 ** -50 });
  });

  test("numbers of every field", () => {
    const data = (name: string): unknown => file.get(name)!.data;
    expect(data("int64_data")).toEqual(BigInt64Array.of(-1n, 2n ** 62n));
    expect(data("int32_data")).toEqual(Int32Array.of(-1, 2 ** 30));
    expect(data("uint64_data")).toEqual(BigUint64Array.of(2n ** 63n));
    expect(data("bf16")).toEqual(Float32Array.of(1.5, -2));
    expect(data("yes")).toEqual(Uint8Array.of(1));
    expect(file.get("words")!.dtype).toBe("OTHER");
    expect(() => file.get("words")!.data).toThrow(FileError);
    expect(() => file.get("words")!.bytes).toThrow(FileError);
    expect(() => file.get("words")!.bytes).toThrow(
      /"words": bytes: raw bytes, or a type that safetensors has, got numbers or texts of ONNX's type 8/,
    );
  });
});

test("the raw bytes of a type without a counterpart are told", () => {
  const [INT4, raw] = [22, Uint8Array.of(0x21)];
  const file = readOnnx(model([5, message([1, 2], [2, INT4], [8, "t"], [9, raw])]));
  expect(file.get("t")!.bytes).toEqual(raw);
  const single = readOnnx(model([5, message([1, 2], [2, INT4], [5, 0x21], [8, "t"])]));
  expect(() => single.get("t")!.bytes).toThrow(/got numbers or texts of ONNX's type 22/);
});

describe("a model", () => {
  test("without one says so", () => {
    const file = readOnnx(files["plain.onnx"]!());
    expect(file.nodes).toEqual([]);
    expect(() => findBatchNorms(file)).toThrow(FileError);
    expect(() => findBatchNorms(file)).toThrow(
      /a model with Batch Normalization \(BatchNormalization nodes\), got one without; an exporter may have folded/,
    );
  });

  test("with functions of its own says that these are not followed", () => {
    const own = message([1, "BN"], [7, normalize()]);
    const bytes = Uint8Array.from([...model(...held), ...message([25, own])]);
    expect(() => findBatchNorms(readOnnx(bytes))).toThrow(
      /got one without; the model has functions of its own, which are not followed: inline them/,
    );
  });

  test("whose parameters are inputs names the first that is missing", () => {
    const file = readOnnx(model([1, normalize()], ...held.slice(1)));
    expect(() => findBatchNorms(file)).toThrow(
      /"y": scale, B, mean and var that the file holds, got "s"/,
    );
  });

  test("a small one made here is read, so that what follows fails for its own reason", () => {
    const found = findBatchNorms(
      readOnnx(model([1, normalize(attribute("epsilon", 0.5))], ...held)),
    );
    expect(found).toMatchObject([{ prefix: "y", channels: 2, eps: 0.5 }]);
  });
});

describe("whether a node normalises with its batch's statistics", () => {
  const integer = (name: string, value: number): Uint8Array => message([1, name], [3, value]);
  test.each<[string, Uint8Array[], outputs: string[], boolean]>([
    ["nothing said", [], ["y"], false],
    ["training_mode 1", [integer("training_mode", 1)], ["y", "mean", "var"], true],
    ["training_mode 1 and one output", [integer("training_mode", 1)], ["y"], true],
    ["training_mode 0", [integer("training_mode", 0)], ["y"], false],
    ["five outputs, of opset 9", [], ["y", "mean", "var", "saved_mean", "saved_var"], true],
    ["outputs without a name", [], ["y", "", ""], false],
    ["is_test 0, of opset 6", [integer("is_test", 0)], ["y"], true],
    ["is_test 1, of opset 6", [integer("is_test", 1)], ["y", "mean"], false],
  ])("%s", (_, attributes, [, ...others], training) => {
    const node = Uint8Array.from([
      ...normalize(...attributes),
      ...message(...others.map((each) => [2, each] as const)),
    ]);
    expect(findBatchNorms(readOnnx(model([1, node], ...held)))).toMatchObject([{ training }]);
  });
});

describe("a damaged or hostile file is refused, and says where", () => {
  const graph = model([1, normalize()], ...held);
  /** A field of bytes that says another length than it has. */
  const lying = (id: number, length: number[]): Uint8Array =>
    Uint8Array.from([id * 8 + 2, ...length]);
  const huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
  let deep = message([1, normalize()]);
  for (let i = 0; i < 40; i += 1) deep = message([1, message([5, message([6, deep])])]);

  test.each<[string, Uint8Array, RegExp]>([
    ["an empty file", new Uint8Array(0), /a model with one graph, got 0/],
    ["another file", files["model.safetensors"]!(), /readOnnx/],
    ["two graphs", Uint8Array.from([...graph, ...graph]), /a model with one graph, got 2/],
    ["a truncated one", graph.subarray(0, graph.length - 3), /length: at most \d+ bytes/],
    [
      "a giant length",
      lying(7, huge),
      /length: at most 0 bytes, the rest of its message, got 9223372036854775807/,
    ],
    ["a negative length", lying(7, [...huge.slice(0, 8), 0xff, 0x01]), /length: at most 0 bytes/],
    [
      "an endless number",
      Uint8Array.from(new Array<number>(30).fill(0xff)),
      /a varint of at most 10 bytes/,
    ],
    ["a giant length within", model([1, lying(1, huge)]), /length: at most 0 bytes/],
    ["a group", Uint8Array.of(7 * 8 + 3), /known wire type, got 7 of type 3/],
    ["field 0", Uint8Array.of(2, 0), /a number >= 1/],
    ["deep graphs", message([7, deep]), /graphs: at most 16 in one another/],
    ["a name given twice", model(...held, held[0]!), /"s": a name given once/],
    [
      "negative dims",
      model([5, Uint8Array.from([8, ...new Array<number>(9).fill(0xff), 1])]),
      /dims: whole numbers >= 0, got -1/,
    ],
    [
      "a NaN for epsilon",
      model([1, normalize(attribute("epsilon", NaN))], ...held),
      /epsilon >= 0.*got NaN/,
    ],
    ["a negative epsilon", model([1, normalize(attribute("epsilon", -1))], ...held), /got -1 and/],
    [
      "a momentum of 2",
      model([1, normalize(attribute("momentum", 2))], ...held),
      /momentum in \[0, 1\]/,
    ],
    [
      "statistics per position",
      model([1, normalize(message([1, "spatial"], [3, 0]))], ...held),
      /spatial: 1, statistics per channel/,
    ],
    [
      "a shape that its bytes do not have",
      model([1, normalize()], [5, tensor("s", [1, 2], [3])], ...held.slice(1)),
      /"s": 12 bytes \(\[3\], F32\), got 8/,
    ],
    [
      "a giant shape",
      model([1, normalize()], [5, tensor("s", [1, 2], [2 ** 40])], ...held.slice(1)),
      /"s": 4398046511104 bytes/,
    ],
    [
      "sizes whose product overflows",
      model([1, normalize()], [5, tensor("s", [1, 2], [2 ** 40, 2 ** 40])], ...held.slice(1)),
      /"s": a shape of whole bytes below 2\^53 \(\[1099511627776, 1099511627776\], F32\), got 8/,
    ],
    [
      "rank 2",
      model([1, normalize()], [5, tensor("s", [1, 2], [1, 2])], ...held.slice(1)),
      /"s": one value per channel, got \[1, 2\]/,
    ],
    [
      "another length",
      model([1, normalize()], [5, tensor("s", [1])], ...held.slice(1)),
      /"s": 2 values, as "m" has, got 1/,
    ],
    [
      "a NaN",
      model([1, normalize()], [5, tensor("s", [1, NaN])], ...held.slice(1)),
      /"s": value 1: a finite number, got NaN/,
    ],
    [
      "a negative variance",
      model([1, normalize()], ...held.slice(0, 3), [5, tensor("v", [1, -1])]),
      /"v": value 1: a variance >= 0/,
    ],
  ])("%s", (_, bytes, text) => {
    const read = (): unknown => findBatchNorms(readOnnx(bytes));
    expect(read).toThrow(FileError);
    expect(read).toThrow(text);
  });

  test("the names of an object's own are not files", () => {
    const outside = message(
      [1, 2],
      [2, 1],
      [8, "s"],
      [13, message([1, "location"], [2, "toString"])],
    );
    const file = readOnnx(model([1, normalize()], [5, outside], ...held.slice(1)));
    expect(() => findBatchNorms(file)).toThrow(/got one in "toString"/);
  });
});
