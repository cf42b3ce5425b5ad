import { entriesOf } from "./entries.js";
import { quote, refuse } from "./error.js";
import { countVarints, fields, text, varints, type Field } from "./protobuf.js";
import { viewOf } from "./safetensors.js";
import {
  bytesOf,
  FileTensor,
  nonFiniteOf,
  roomFor,
  type FileDtype,
  type NonFinite,
  type ReadOptions,
} from "./tensor.js";

/** Options of {@link readOnnx}. */
export interface OnnxOptions extends ReadOptions {
  /**
   * The files that a model keeps its tensors in beside itself, by the location that it names ("model.onnx.data").
   * Nothing is opened here.
   */
  external?:
    | ReadonlyMap<string, ArrayBufferLike | ArrayBufferView>
    | Readonly<Record<string, ArrayBufferLike | ArrayBufferView>>
    | undefined;
}

/** One BatchNormalization node of a model. */
export interface OnnxNode {
  /** The node's name, or that of its output where it has none. */
  readonly name: string;
  /** The name of x in the graph. */
  readonly x: string;
  /** The name of y in the graph. */
  readonly y: string;
  /** ONNX's `epsilon`, 1e-5 unless the node says otherwise. */
  readonly eps: number;
  /** In this package's direction, the weight of the new batch: 1 - ONNX's `momentum`, which is 0.9 unless said otherwise. */
  readonly momentum: number;
  /**
   * Whether it normalises with its batch's statistics: `training_mode` 1, `is_test` 0 in models before opset 7, and
   * outputs beside y where the node says neither.
   */
  readonly training: boolean;
  /** scale, B, mean and var by the names that they have in the graph, and their tensors where the file holds them. */
  readonly parameters: readonly {
    /** In the graph. */
    readonly name: string;
    /** Undefined where the file does not hold it. */
    readonly tensor: FileTensor | undefined;
  }[];
}

/** The tensors of a model's main graph by name, and its BatchNormalization nodes, those of subgraphs included. */
export interface OnnxFile extends ReadonlyMap<string, FileTensor> {
  /** In the order of the file. */
  readonly nodes: readonly OnnxNode[];
  /** How many functions of its own the model has. They are not followed. */
  readonly functions: number;
}

// Field numbers of onnx.proto.
const MODEL = { graph: 7, function: 25 } as const;
const GRAPH = { node: 1, initializer: 5 } as const;
const NODE = { input: 1, output: 2, name: 3, operator: 4, attribute: 5, domain: 7 } as const;
const ATTRIBUTE = {
  name: 1,
  float: 2,
  integer: 3,
  tensor: 5,
  graph: 6,
  floats: 7,
  graphs: 11,
} as const;
const TENSOR = { dims: 1, type: 2, name: 8, raw: 9, external: 13 } as const;
const ENTRY = { key: 1, value: 2 } as const;

/** Whole numbers of a type, which are varints in a file. */
type Integers = new (
  length: number,
) => Int8Array | Int16Array | Int32Array | Uint8Array | Uint16Array | Uint32Array | BigInt64Array;

/** A type, the field that holds its numbers where there are no raw bytes, and their array. */
type Format = readonly [FileDtype, field: number, integers?: Integers];

/** By ONNX's number. */
const TYPES: Readonly<Record<number, Format>> = {
  1: ["F32", 4],
  2: ["U8", 5, Uint8Array],
  3: ["I8", 5, Int8Array],
  4: ["U16", 5, Uint16Array],
  5: ["I16", 5, Int16Array],
  6: ["I32", 5, Int32Array],
  7: ["I64", 7, BigInt64Array],
  9: ["BOOL", 5, Uint8Array],
  10: ["F16", 5, Uint16Array],
  11: ["F64", 10],
  12: ["U32", 11, Uint32Array],
  13: ["U64", 11, BigInt64Array],
  16: ["BF16", 5, Uint16Array],
};

/** If, Loop and Scan hold graphs in graphs. */
const DEEPEST = 16;

/** ONNX names no limit; runtimes stop far below. */
const MOST_DIMS = 32;

/** A graph's tensors, and those of the graph around it. */
class Scope {
  readonly tensors = new Map<string, FileTensor>();

  constructor(readonly parent?: Scope) {}

  find(name: string): FileTensor | undefined {
    return this.tensors.get(name) ?? this.parent?.find(name);
  }
}

/**
 * Reads the tensors of an `.onnx` file and its BatchNormalization nodes; `findBatchNorms` makes state dictionaries of
 * these. Of the protocol buffer only the fields needed here are followed. Nothing is copied: tensors are views of the
 * file, every length is held against the message around it before it is used, graphs in graphs are followed 16 deep.
 *
 * @param bytes the whole file; it stays the caller's, and must not change while tensors of it are in use.
 * @throws FileError; OptionError on an unknown option.
 * @example
 * ```ts
 * import { findBatchNorms, readOnnx } from "webgpu-batchnorm/files";
 * declare const bytes: ArrayBuffer; // await (await fetch("model.onnx")).arrayBuffer()
 * for (const { prefix, channels, eps } of findBatchNorms(readOnnx(bytes))) console.log(prefix, channels, eps);
 * ```
 * @see https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
 */
export function readOnnx(
  bytes: ArrayBufferLike | ArrayBufferView,
  options: OnnxOptions = {},
): OnnxFile {
  const nonFinite = nonFiniteOf("readOnnx", options, ["external"]);
  const remedy = 'pass { "model.onnx.data": bytes }, under the name that the model has for it';
  const external = new Map(entriesOf("readOnnx: external", options.external ?? {}, remedy));
  const context: Context = { external, nonFinite, nodes: [] };
  const scope = new Scope();
  let graphs = 0;
  let functions = 0;
  for (const field of fields(viewOf(bytes))) {
    if (field.id === MODEL.function) functions += 1;
    if (field.id !== MODEL.graph || !field.delimited) continue;
    graphs += 1;
    if (graphs === 1) readGraph(context, field.bytes, scope, 1);
  }
  if (graphs !== 1) {
    refuse("readOnnx", "a model with one graph", `${graphs}`, "check that it is an .onnx file");
  }
  return Object.assign(scope.tensors, { nodes: context.nodes, functions });
}

interface Context {
  readonly external: ReadonlyMap<string, ArrayBufferLike | ArrayBufferView>;
  readonly nonFinite: NonFinite;
  readonly nodes: OnnxNode[];
}

function readGraph(context: Context, bytes: Uint8Array, scope: Scope, depth: number): void {
  if (depth > DEEPEST) {
    refuse("readOnnx: graphs", `at most ${DEEPEST} in one another`, "more", "the file is hostile");
  }
  // A graph's tensors stand behind its nodes.
  for (const { id, bytes: contents } of fields(bytes)) {
    if (id !== GRAPH.initializer) continue;
    const tensor = readTensor(context, contents);
    if (scope.tensors.has(tensor.name)) {
      refuse(quote(tensor.name), "a name given once", "one given twice", "the file is damaged");
    }
    scope.tensors.set(tensor.name, tensor);
  }
  for (const { id, bytes: contents } of fields(bytes)) {
    if (id === GRAPH.node) readNode(context, contents, scope, depth);
  }
}

interface Attribute {
  float: number;
  integer: bigint;
  tensor?: Uint8Array;
  /** All of it. */
  readonly bytes: Uint8Array;
}

function readNode(context: Context, bytes: Uint8Array, scope: Scope, depth: number): void {
  const inputs: string[] = [];
  const outputs: string[] = [];
  const attributes = new Map<string, Attribute>();
  let [name, operator, domain] = ["", "", ""];
  for (const field of fields(bytes)) {
    if (field.id === NODE.input) inputs.push(text(field));
    else if (field.id === NODE.output) outputs.push(text(field));
    else if (field.id === NODE.name) name = text(field);
    else if (field.id === NODE.operator) operator = text(field);
    else if (field.id === NODE.domain) domain = text(field);
    else if (field.id === NODE.attribute) {
      readAttribute(context, field.bytes, attributes, scope, depth);
    }
  }
  const [x = "", ...rest] = inputs;
  const [y = ""] = outputs;
  if (domain !== "" && domain !== "ai.onnx") return;
  // Exporters keep parameters in Constant nodes, and share them through Identity.
  const held =
    operator === "Identity"
      ? scope.find(x)
      : operator === "Constant"
        ? readConstant(context, attributes, y)
        : undefined;
  if (held && !scope.tensors.has(y)) scope.tensors.set(y, held);
  if (operator !== "BatchNormalization") return;
  const node = name || y;
  if (attributes.get("spatial")?.integer === 0n) {
    refuse(
      `readOnnx: ${quote(node)}: spatial`,
      "1, statistics per channel",
      "0",
      "convert the model to opset 9 or later",
    );
  }
  const eps = attributes.get("epsilon")?.float ?? 1e-5;
  const momentum = 1 - (attributes.get("momentum")?.float ?? 0.9);
  if (!(eps >= 0 && eps < Infinity && momentum >= 0 && momentum <= 1)) {
    refuse(
      `readOnnx: ${quote(node)}`,
      "epsilon >= 0 and momentum in [0, 1]",
      `${eps} and ${1 - momentum}`,
      "the file is damaged",
    );
  }
  const mode = attributes.get("training_mode")?.integer;
  const tested = attributes.get("is_test")?.integer;
  const others = outputs.slice(1).some((each) => each !== "");
  const training = mode !== undefined ? mode !== 0n : tested !== undefined ? tested === 0n : others;
  const parameters = rest.slice(0, 4).map((each) => ({ name: each, tensor: scope.find(each) }));
  context.nodes.push({ name: node, x, y, eps, momentum, training, parameters });
}

/** A Constant's tensor; of its other forms the one that holds a list of floats. */
function readConstant(
  context: Context,
  attributes: ReadonlyMap<string, Attribute>,
  name: string,
): FileTensor | undefined {
  const tensor = attributes.get("value")?.tensor;
  if (tensor) return readTensor(context, tensor, name);
  const floats = attributes.get("value_floats")?.bytes;
  if (!floats) return undefined;
  let length = 0;
  for (const { bytes } of fieldsOf(floats, ATTRIBUTE.floats)) length += bytes.length;
  if (length % 4 !== 0) {
    refuse(quote(name), "whole floats of 4 bytes", `${length} bytes`, "the file is damaged");
  }
  const load = (): Uint8Array => joined(floats, ATTRIBUTE.floats, length);
  return new FileTensor(name, "F32", [length / 4], load, context.nonFinite);
}

function readAttribute(
  context: Context,
  bytes: Uint8Array,
  attributes: Map<string, Attribute>,
  scope: Scope,
  depth: number,
): void {
  let name = "";
  const attribute: Attribute = { float: 0, integer: 0n, bytes };
  for (const field of fields(bytes)) {
    if (field.id === ATTRIBUTE.name) name = text(field);
    else if (field.id === ATTRIBUTE.float) attribute.float = floatOf(field);
    else if (field.id === ATTRIBUTE.integer) attribute.integer = field.value;
    else if (field.id === ATTRIBUTE.tensor) attribute.tensor = field.bytes;
    else if (field.id === ATTRIBUTE.graph || field.id === ATTRIBUTE.graphs) {
      readGraph(context, field.bytes, new Scope(scope), depth + 1);
    }
  }
  attributes.set(name, attribute);
}

function floatOf({ bytes }: Field): number {
  return bytes.length === 4
    ? new DataView(bytes.buffer, bytes.byteOffset).getFloat32(0, true)
    : NaN;
}

function readTensor(context: Context, bytes: Uint8Array, calledBy?: string): FileTensor {
  const shape: number[] = [];
  let type = 0;
  let name = "";
  let location: Map<string, string> | undefined;
  for (const field of fields(bytes)) {
    if (field.id === TENSOR.dims) readDims(field, shape);
    else if (field.id === TENSOR.type) type = Number(field.value);
    else if (field.id === TENSOR.name) name = text(field);
    else if (field.id === TENSOR.external) {
      location ??= new Map();
      let key = "";
      let value = "";
      for (const each of fields(field.bytes)) {
        if (each.id === ENTRY.key) key = text(each);
        else if (each.id === ENTRY.value) value = text(each);
      }
      location.set(key, value);
    }
  }
  name = calledBy ?? name;
  const format = TYPES[type];
  const dtype = format?.[0];
  const requireBytes = (found: number): void => {
    if (!dtype || found === bytesOf(dtype, shape)) return;
    refuse(quote(name), roomFor(dtype, shape), `${found}`, "the file is truncated or damaged");
  };
  const load = (): Uint8Array => {
    const found = location ? outside(context, name, location) : rawBytes(bytes);
    if (found) {
      requireBytes(found.length);
      return found;
    }
    if (format) return numbers(bytes, format, requireBytes);
    return refuse(
      `${quote(name)}: bytes`,
      "raw bytes, or a type that safetensors has",
      `numbers or texts of ONNX's type ${type}`,
      "convert the model first",
    );
  };
  return new FileTensor(name, dtype ?? "OTHER", shape, load, context.nonFinite);
}

function readDims(field: Field, shape: number[]): void {
  for (const size of varints(field)) {
    if (size < 0n || size > Number.MAX_SAFE_INTEGER) {
      refuse("readOnnx: dims", "whole numbers >= 0", `${size}`, "the file is damaged or hostile");
    }
    if (shape.length === MOST_DIMS) {
      refuse("readOnnx: dims", `at most ${MOST_DIMS}`, "more", "the file is damaged or hostile");
    }
    shape.push(Number(size));
  }
}

function rawBytes(tensor: Uint8Array): Uint8Array | undefined {
  for (const { id, bytes } of fields(tensor)) if (id === TENSOR.raw) return bytes;
  return undefined;
}

function* fieldsOf(tensor: Uint8Array, id: number): Generator<Field> {
  for (const field of fields(tensor)) if (field.id === id) yield field;
}

/**
 * The bytes of numbers that stand in a field of their type, packed or one by one. Nothing is made before
 * `requireBytes` has agreed to its size.
 */
function numbers(
  tensor: Uint8Array,
  [dtype, id, Integers]: Format,
  requireBytes: (found: number) => void,
): Uint8Array {
  let count = 0;
  for (const field of fieldsOf(tensor, id)) {
    count += Integers ? countVarints(field) : field.bytes.length;
  }
  requireBytes(Integers ? bytesOf(dtype, [count]) : count);
  return viewOf(Integers ? integers(tensor, id, new Integers(count)) : joined(tensor, id, count));
}

function integers<T extends InstanceType<Integers>>(tensor: Uint8Array, id: number, values: T): T {
  let at = 0;
  for (const field of fieldsOf(tensor, id)) {
    for (const value of varints(field)) {
      values[at] = values instanceof BigInt64Array ? value : Number(value);
      at += 1;
    }
  }
  return values;
}

function joined(tensor: Uint8Array, id: number, length: number): Uint8Array {
  // In one piece, as exporters write them: a view.
  for (const { bytes } of fieldsOf(tensor, id)) if (bytes.length === length) return bytes;
  const all = new Uint8Array(length);
  let at = 0;
  for (const { bytes } of fieldsOf(tensor, id)) {
    all.set(bytes, at);
    at += bytes.length;
  }
  return all;
}

/** A tensor's range of another file. */
function outside(context: Context, name: string, location: Map<string, string>): Uint8Array {
  const place = location.get("location") ?? "";
  const file = context.external.get(place);
  if (!file) {
    return refuse(
      quote(name),
      "a tensor in this file",
      `one in ${quote(place)}`,
      "pass that file to readOnnx as external: { [its name]: its bytes }",
    );
  }
  const all = viewOf(file);
  const offset = Number(location.get("offset") ?? 0);
  const length = Number(location.get("length") ?? all.length - offset);
  if (
    !(Number.isSafeInteger(offset) && Number.isSafeInteger(length)) ||
    !(offset >= 0 && length >= 0 && offset + length <= all.length)
  ) {
    refuse(
      `${quote(name)}: its range in ${quote(place)}`,
      `one within ${all.length} bytes`,
      `${length} bytes at ${offset}`,
      "pass the file that belongs to the model",
    );
  }
  return all.subarray(offset, offset + length);
}
