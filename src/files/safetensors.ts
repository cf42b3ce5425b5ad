import { kindOf, shown } from "../arguments.js";
import { entriesOf } from "./entries.js";
import { narrow } from "../half.js";
import { quote, refuse } from "./error.js";
import { headerEntries, wholeNumbers } from "./header.js";
import {
  bytesOf,
  DTYPES,
  FileTensor,
  nonFiniteOf,
  NUMERIC,
  roomFor,
  type FileData,
  type FileDtype,
  type ReadOptions,
} from "./tensor.js";

/** Tensors of a file by name, in the order of their bytes, and the file's own notes. */
export interface SafetensorsFile extends ReadonlyMap<string, FileTensor> {
  /** What the file says about itself (`__metadata__`); PyTorch's tools write `format: "pt"`. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** The reference implementation's limit of a header, in bytes. */
const LONGEST_HEADER = 100_000_000;
const METADATA = "__metadata__";

/**
 * The bytes that a buffer or a view holds, without a copy.
 *
 * @throws FileError where it is neither.
 */
export function viewOf(bytes: ArrayBufferLike | ArrayBufferView, subject = "file"): Uint8Array {
  if (typeof (bytes as ArrayBuffer | undefined)?.byteLength !== "number") {
    refuse(
      subject,
      "a file's bytes, as an ArrayBuffer or a view of one",
      kindOf(bytes),
      "read it first: await readFile(name), or await (await fetch(url)).arrayBuffer()",
    );
  }
  return ArrayBuffer.isView(bytes)
    ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    : new Uint8Array(bytes);
}

/**
 * Reads a safetensors file: 8 bytes of header length, a header in JSON, the tensors' bytes. Nothing is copied: a tensor
 * is a view, decoded when its `data` is asked for. The result is a `Map` that `loadStateDict` and `findBatchNorms` take.
 *
 * The whole header is checked first: lengths, types, offsets that leave the file, overlap or leave holes, names given
 * twice. Reading ends at the first entry that is wrong, and costs memory in proportion to the header.
 *
 * @param bytes the whole file; it stays the caller's, and must not change while tensors of it are in use.
 * @throws FileError; OptionError on an unknown option.
 * @example
 * ```ts
 * import { readSafetensors, writeSafetensors } from "webgpu-batchnorm/files";
 * const bytes = writeSafetensors({ "bn1.running_mean": new Float32Array([1, 2]) });
 * readSafetensors(bytes).get("bn1.running_mean")?.data; // Float32Array [1, 2]
 * ```
 * @see https://github.com/huggingface/safetensors#format
 */
export function readSafetensors(
  bytes: ArrayBufferLike | ArrayBufferView,
  options: ReadOptions = {},
): SafetensorsFile {
  const subject = "readSafetensors";
  const nonFinite = nonFiniteOf(subject, options);
  const file = viewOf(bytes, subject);
  if (file.length < 8) {
    refuse(subject, "a header length of 8 bytes", `${file.length}`, "the file is truncated");
  }
  const length = new DataView(file.buffer, file.byteOffset, 8).getBigUint64(0, true);
  if (length > LONGEST_HEADER || length > file.length - 8) {
    refuse(
      `${subject}: header length`,
      `at most ${Math.min(LONGEST_HEADER, file.length - 8)} bytes`,
      `${length}`,
      "the file is truncated, or no .safetensors file",
    );
  }
  const start = 8 + Number(length);
  const data = file.subarray(start);
  const tensors: Located[] = [];
  let metadata: Record<string, string> = {};
  for (const [name, fields] of headerEntries(decodeText(subject, file.subarray(8, start)))) {
    if (name === METADATA) metadata = metadataOf(fields);
    else tensors.push(locate(name, fields, data.length));
  }
  tensors.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let filled = 0;
  for (const { name, begin, end } of tensors) {
    if (begin !== filled) {
      refuse(
        `${quote(name)}: data_offsets`,
        `a beginning at ${filled}, where the tensor before it ends`,
        `${begin}`,
        "the file is damaged or hostile",
      );
    }
    filled = end;
  }
  if (filled !== data.length) {
    refuse(
      `${subject}: data`,
      `${filled} bytes, where its last tensor ends`,
      `${data.length}`,
      "the file is damaged or hostile",
    );
  }
  const read = tensors.map(
    ({ name, dtype, shape, begin, end }) =>
      [
        name,
        new FileTensor(name, dtype, shape, () => data.subarray(begin, end), nonFinite),
      ] as const,
  );
  return Object.assign(new Map(read), { metadata });
}

function decodeText(subject: string, bytes: Uint8Array): string {
  try {
    // A view of shared memory is not decoded; a header is small.
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(
      bytes.buffer instanceof ArrayBuffer ? bytes : bytes.slice(),
    );
  } catch {
    return refuse(
      `${subject}: header`,
      "UTF-8",
      "other bytes",
      "check that it is a .safetensors file",
    );
  }
}

/** Where a tensor lies in the data. */
interface Located {
  readonly name: string;
  readonly dtype: FileDtype;
  readonly shape: number[];
  readonly begin: number;
  readonly end: number;
}

function locate(name: string, fields: ReadonlyMap<string, unknown>, room: number): Located {
  const dtype = fields.get("dtype");
  if (!DTYPES.includes(dtype as FileDtype)) {
    refuse(
      `${quote(name)}: dtype`,
      `one of ${DTYPES.join(", ")}`,
      JSON.stringify(dtype)?.slice(0, 80) ?? "none",
      "convert the file first",
    );
  }
  const sizes = wholeNumbers(name, "shape", fields.get("shape"));
  const offsets = wholeNumbers(name, "data_offsets", fields.get("data_offsets"));
  const [begin = NaN, end = NaN] = offsets;
  if (!(offsets.length === 2 && begin <= end && end <= room)) {
    refuse(
      `${quote(name)}: data_offsets`,
      `a range within ${room} bytes of data`,
      JSON.stringify(offsets).slice(0, 80),
      "the file is truncated, damaged or hostile",
    );
  }
  if (bytesOf(dtype as FileDtype, sizes) !== end - begin) {
    refuse(
      `${quote(name)}: data_offsets`,
      roomFor(dtype as FileDtype, sizes),
      `${end - begin}`,
      "the file is damaged or hostile",
    );
  }
  return { name, dtype: dtype as FileDtype, shape: sizes, begin, end };
}

function metadataOf(fields: ReadonlyMap<string, unknown>): Record<string, string> {
  for (const [name, text] of fields) {
    if (typeof text === "string") continue;
    refuse(
      `readSafetensors: ${METADATA}: ${quote(name)}`,
      "a text",
      JSON.stringify(text).slice(0, 80),
      "the file is damaged",
    );
  }
  return Object.fromEntries(fields) as Record<string, string>;
}

/**
 * What {@link writeSafetensors} takes for a tensor: a typed array (of rank 1, stored in its own type), a bigint (an `I64`
 * without dimensions, as `num_batches_tracked` is), a {@link FileTensor}, or numbers with type and shape.
 */
export type WritableTensor =
  | FileData
  | bigint
  | FileTensor
  | {
      /** Any numeric type; 16-bit floats are rounded to the nearest, ties to even. Default: the array's own. */
      readonly dtype?: FileDtype;
      /** Default: rank 1. */
      readonly shape?: readonly number[];
      /** The numbers, row-major. */
      readonly data: ArrayLike<number> | ArrayLike<bigint>;
    };

/** What each type is stored in; a typed array's own type comes first. */
const STORED = {
  U8: Uint8Array,
  I8: Int8Array,
  U16: Uint16Array,
  I16: Int16Array,
  U32: Uint32Array,
  I32: Int32Array,
  U64: BigUint64Array,
  I64: BigInt64Array,
  F32: Float32Array,
  F64: Float64Array,
  BOOL: Uint8Array,
  F16: Uint16Array,
  BF16: Uint16Array,
} as const;

type Stored = keyof typeof STORED;

function isStored(dtype: string | undefined): dtype is Stored {
  return dtype !== undefined && Object.hasOwn(STORED, dtype);
}

/** The type of a typed array; undefined for anything else. */
function dtypeOf(data: unknown): Stored | undefined {
  // By its name: not every runtime has one.
  if (kindOf(data) === "a Float16Array") return "F16";
  const found = Object.entries(STORED).find(([, Type]) => data instanceof Type);
  return found?.[0] as Stored | undefined;
}

interface Encoded {
  readonly name: string;
  readonly dtype: FileDtype;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

function encode(name: string, value: WritableTensor): Encoded {
  if (value instanceof FileTensor && value.dtype !== "OTHER") {
    const { dtype, shape, bytes } = value;
    return { name, dtype, shape, bytes };
  }
  if (typeof value === "bigint") return encodeNumbers(name, [value], "I64", []);
  if (ArrayBuffer.isView(value)) return encodeNumbers(name, value, dtypeOf(value), [value.length]);
  const given = value as Partial<typeof value> | undefined;
  if (typeof given?.data?.length !== "number") {
    return refuse(
      `writeSafetensors: ${quote(name)}`,
      "a typed array, a bigint, or { data, dtype, shape }",
      kindOf(value),
      'say { data: [1, 2], dtype: "F32" }, or new Float32Array([1, 2])',
    );
  }
  const { data, dtype = dtypeOf(data), shape = [data.length] } = value;
  return encodeNumbers(name, data, dtype, shape);
}

function encodeNumbers(
  name: string,
  data: ArrayLike<number> | ArrayLike<bigint>,
  dtype: FileDtype | "OTHER" | undefined,
  shape: readonly number[],
): Encoded {
  const subject = `writeSafetensors: ${quote(name)}`;
  if (!isStored(dtype)) {
    return refuse(
      `${subject}: dtype`,
      `one of ${NUMERIC.join(", ")}`,
      dtype ?? (ArrayBuffer.isView(data) ? kindOf(data) : "an array without a type"),
      "pass a typed array, or say dtype",
    );
  }
  const sizes = wholeNumbers(name, "shape", shape, "pass a list of them, such as [2, 3]");
  const size = sizes.reduce((a, b) => a * b, 1);
  if (size !== data.length) {
    refuse(
      `${subject}: data`,
      `${size} values ([${shape.join(", ")}])`,
      `${data.length}`,
      "pass as many as the shape has",
    );
  }
  if (dtypeOf(data) === dtype) return { name, dtype, shape, bytes: viewOf(data as FileData) };
  // A list of either: what comes is asked, not believed. (TypedArray.from would collect them first, in a list.)
  const made: Record<number, number | bigint> & ArrayBufferView = new STORED[dtype](size);
  const stored = storing(subject, dtype);
  for (let index = 0; index < size; index += 1) made[index] = stored(data[index], index);
  return { name, dtype, shape, bytes: viewOf(made) };
}

/** What an array of a type stores for a value. */
function storing(
  subject: string,
  dtype: Stored,
): (value: unknown, index: number) => number | bigint {
  const refuseValue = (value: unknown, index: number, expected: string): never =>
    refuse(
      `${subject}: value ${index}`,
      `${expected} (${dtype})`,
      shown(value),
      "say another dtype, or mend the value",
    );
  if (dtype.includes("F")) {
    const half = dtype === "F16" ? "f16" : dtype === "BF16" ? "bf16" : undefined;
    return (value, index) => {
      const known = typeof value === "number" || typeof value === "bigint";
      const each = known ? Number(value) : refuseValue(value, index, "a number");
      return half ? narrow(each, half) : each;
    };
  }
  const [least, most] = rangeOf(dtype);
  const wide = dtype === "I64" || dtype === "U64";
  return (value, index) => {
    const exact = typeof value === "bigint" || Number.isInteger(value);
    const each = value as number | bigint;
    if (exact && each >= least && each <= most) return wide ? BigInt(each) : Number(each);
    return refuseValue(value, index, `a whole number from ${least} to ${most}`);
  };
}

/** What a type of whole numbers holds. */
function rangeOf(dtype: Stored): readonly [least: bigint, most: bigint] {
  if (dtype === "BOOL") return [0n, 1n];
  const bits = BigInt(dtype.slice(1));
  return dtype.startsWith("U")
    ? [0n, (1n << bits) - 1n]
    : [-(1n << (bits - 1n)), (1n << (bits - 1n)) - 1n];
}

/**
 * Writes a safetensors file, which PyTorch's `safetensors.torch.load_file` reads. The widest types come first, so that
 * every tensor is aligned.
 *
 * @param tensors by name: a record or a `Map`; `prefixed` names a module's state dictionary as a model does.
 * @param metadata texts about the file; some of PyTorch's tools ask for `{ format: "pt" }`.
 * @returns the file, which the caller owns.
 * @throws FileError where shape and values disagree, a type is unknown or does not hold a value, metadata is no text, or `tensors` is a promise.
 * @example
 * ```ts
 * import { prefixed, writeSafetensors } from "webgpu-batchnorm/files";
 * const state = { running_mean: new Float32Array(64), num_batches_tracked: 12n }; // or await bn.stateDict()
 * const file = writeSafetensors(prefixed("layer1.0.bn1.", state), { format: "pt" });
 * ```
 * @see https://github.com/huggingface/safetensors#format
 */
export function writeSafetensors(
  tensors: ReadonlyMap<string, WritableTensor> | Readonly<Record<string, WritableTensor>>,
  metadata?: ReadonlyMap<string, string> | Readonly<Record<string, string>>,
): Uint8Array<ArrayBuffer> {
  const encoded = entriesOf("writeSafetensors", tensors).map(([name, value]) => {
    if (name === METADATA) {
      refuse(`writeSafetensors: ${METADATA}`, "a tensor's name", "it", "pass it as metadata");
    }
    return encode(name, value);
  });
  const notes = metadata && entriesOf("writeSafetensors: metadata", metadata);
  for (const [name, text] of notes ?? []) {
    if (typeof text === "string") continue;
    refuse(`writeSafetensors: metadata: ${name}`, "a string", kindOf(text), "write it as text");
  }
  const width = ({ dtype }: { dtype: FileDtype }): number => bytesOf(dtype, [8]);
  encoded.sort((a, b) => width(b) - width(a));
  let end = 0;
  const header: [string, unknown][] = notes ? [[METADATA, Object.fromEntries(notes)]] : [];
  for (const { name, dtype, shape, bytes } of encoded) {
    header.push([name, { dtype, shape, data_offsets: [end, (end += bytes.length)] }]);
  }
  const text = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)));
  const start = 8 + Math.ceil(text.length / 8) * 8;
  const file = new Uint8Array(start + end).fill(0x20, 8, start);
  new DataView(file.buffer).setBigUint64(0, BigInt(start - 8), true);
  file.set(text, 8);
  let at = start;
  for (const { bytes } of encoded) {
    file.set(bytes, at);
    at += bytes.length;
  }
  return file;
}
