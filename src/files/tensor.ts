import { requireKnown, shown } from "../arguments.js";
import { complain, OptionError } from "../errors.js";
import { widenAll } from "../half.js";
import { quote, refuse } from "./error.js";
import { requireFinite } from "./values.js";

/** What a tensor's numbers come as: 16-bit floats widened to f32, 64-bit integers as bigints. */
export type FileData =
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/** What reading does about NaN and ±Infinity: an error that names the place, or nothing. */
export type NonFinite = "error" | "keep";

/** Options of the readers. */
export interface ReadOptions {
  /** What the `data` of a tensor does about NaN and ±Infinity. Default "error". */
  nonFinite?: NonFinite | undefined;
}

/** @throws OptionError on options that a reader does not have, or a value that `nonFinite` does not take. */
export function nonFiniteOf(
  subject: string,
  options: ReadOptions,
  others: readonly string[] = [],
): NonFinite {
  requireKnown(subject, options, ["nonFinite", ...others]);
  const { nonFinite = "error" } = options;
  if (nonFinite === "error" || nonFinite === "keep") return nonFinite;
  throw new OptionError(
    complain(`${subject}: nonFinite`, '"error" or "keep"', shown(nonFinite), "pass one of these"),
  );
}

/** Types by safetensors' names. Those of 4, 6 and 8-bit floats and `C64` are told, and kept as bytes. */
export type FileDtype =
  | "BOOL"
  | "U8"
  | "I8"
  | "U16"
  | "I16"
  | "U32"
  | "I32"
  | "U64"
  | "I64"
  | "F16"
  | "BF16"
  | "F32"
  | "F64"
  | "F4"
  | "F6_E2M3"
  | "F6_E3M2"
  | "F8_E4M3"
  | "F8_E4M3FNUZ"
  | "F8_E5M2"
  | "F8_E5M2FNUZ"
  | "F8_E8M0"
  | "C64";

interface Format {
  readonly bits: number;
  /** Numbers of aligned bytes; absent where the type has no counterpart here. */
  readonly decode?: (bytes: Uint8Array<ArrayBuffer>) => FileData;
}

const as =
  <T extends FileData>(
    Type: (new (buffer: ArrayBuffer, offset: number, length: number) => T) & {
      readonly BYTES_PER_ELEMENT: number;
    },
  ) =>
  (bytes: Uint8Array<ArrayBuffer>): T =>
    new Type(bytes.buffer, bytes.byteOffset, bytes.byteLength / Type.BYTES_PER_ELEMENT);

const halves = (dtype: "f16" | "bf16") => (bytes: Uint8Array<ArrayBuffer>) =>
  widenAll(as(Uint16Array)(bytes), dtype);

/** The types of safetensors, by its names. */
const FORMATS: Readonly<Record<FileDtype, Format>> = {
  BOOL: { bits: 8, decode: as(Uint8Array) },
  U8: { bits: 8, decode: as(Uint8Array) },
  I8: { bits: 8, decode: as(Int8Array) },
  U16: { bits: 16, decode: as(Uint16Array) },
  I16: { bits: 16, decode: as(Int16Array) },
  U32: { bits: 32, decode: as(Uint32Array) },
  I32: { bits: 32, decode: as(Int32Array) },
  U64: { bits: 64, decode: as(BigUint64Array) },
  I64: { bits: 64, decode: as(BigInt64Array) },
  F16: { bits: 16, decode: halves("f16") },
  BF16: { bits: 16, decode: halves("bf16") },
  F32: { bits: 32, decode: as(Float32Array) },
  F64: { bits: 64, decode: as(Float64Array) },
  F4: { bits: 4 },
  F6_E2M3: { bits: 6 },
  F6_E3M2: { bits: 6 },
  F8_E4M3: { bits: 8 },
  F8_E4M3FNUZ: { bits: 8 },
  F8_E5M2: { bits: 8 },
  F8_E5M2FNUZ: { bits: 8 },
  F8_E8M0: { bits: 8 },
  C64: { bits: 64 },
};

/** The names of all types. */
export const DTYPES = Object.keys(FORMATS) as readonly FileDtype[];

/** Types whose numbers `data` gives. */
export const NUMERIC = DTYPES.filter((dtype) => FORMATS[dtype].decode);

const FLOATS = ["F16", "BF16", "F32", "F64"] as const satisfies readonly FileDtype[];

/** Bytes that a shape takes in a type; NaN where that is no whole number, or one beyond 2^53. */
export function bytesOf(dtype: FileDtype, shape: readonly number[]): number {
  let { bits } = FORMATS[dtype];
  for (const size of shape) {
    bits *= size;
    if (!Number.isSafeInteger(bits)) return NaN;
  }
  return bits % 8 === 0 ? bits / 8 : NaN;
}

/** What {@link bytesOf} gives, in words. */
export function roomFor(dtype: FileDtype, shape: readonly number[]): string {
  const bytes = bytesOf(dtype, shape);
  const room = Number.isNaN(bytes) ? "a shape of whole bytes below 2^53" : `${bytes} bytes`;
  return `${room} ([${shape.slice(0, 8).join(", ")}], ${dtype})`;
}

/**
 * A tensor of a file: a view of the file's bytes, decoded when `data` is asked for. It owns nothing but that view, and
 * keeps the file's buffer alive.
 */
export class FileTensor {
  readonly #load: () => Uint8Array;
  readonly #nonFinite: NonFinite;

  /** @internal */
  constructor(
    /** As the file calls it. */
    readonly name: string,
    /** "OTHER": one of ONNX's that safetensors does not have (texts, 4-bit integers, …). */
    readonly dtype: FileDtype | "OTHER",
    /** Row-major; [] for a single value. */
    readonly shape: readonly number[],
    load: () => Uint8Array,
    nonFinite: NonFinite,
  ) {
    this.#load = load;
    this.#nonFinite = nonFinite;
  }

  /**
   * The bytes as they stand in the file, little-endian, without a copy.
   *
   * @throws FileError where they lie in another file that was not passed, or where `dtype` is "OTHER" and the file holds
   * no bytes but numbers or texts one by one.
   */
  get bytes(): Uint8Array {
    return this.#load();
  }

  /**
   * The numbers, row-major. A view of the file where its bytes are aligned, else a copy; decoded anew at each call.
   *
   * @throws FileError where the type has no numbers here (`F8_E4M3` and the like), or on NaN and ±Infinity unless the
   * file was read with `nonFinite: "keep"`.
   */
  get data(): FileData {
    const format: Format | undefined = this.dtype === "OTHER" ? undefined : FORMATS[this.dtype];
    if (!format?.decode) {
      return refuse(
        `${quote(this.name)}: dtype`,
        `one of ${NUMERIC.join(", ")}`,
        this.dtype,
        "read its bytes, or convert the file first",
      );
    }
    const { bytes } = this;
    const here = bytes.buffer instanceof ArrayBuffer && bytes.byteOffset % (format.bits / 8) === 0;
    const data = format.decode(here ? (bytes as Uint8Array<ArrayBuffer>) : bytes.slice());
    if (this.#nonFinite === "error" && (FLOATS as readonly string[]).includes(this.dtype)) {
      const remedy = 'check the training that wrote it, or read with { nonFinite: "keep" }';
      requireFinite(quote(this.name), data, remedy);
    }
    return data;
  }
}
