import { refuse } from "./error.js";

/** A field of a message: a number of up to 64 bits, or the bytes of anything else. */
export interface Field {
  readonly id: number;
  /** A varint, as two's complement; 0 for other fields. */
  readonly value: bigint;
  /** Contents of a fixed or length-delimited field: a view. */
  readonly bytes: Uint8Array;
  /** Whether it came with a length: text, bytes, a message, or packed numbers. */
  readonly delimited: boolean;
}

const NOTHING = new Uint8Array(0);
const VARINT = 0;
const FIXED64 = 1;
const DELIMITED = 2;
const FIXED32 = 5;

/** A varint at `at`, and where it ends. At most ten bytes are looked at. */
function varint(bytes: Uint8Array, at: number): [value: bigint, end: number] {
  let value = 0n;
  for (let i = 0; i < 10 && at + i < bytes.length; i += 1) {
    const byte = bytes[at + i]!;
    value |= BigInt(byte & 0x7f) << BigInt(7 * i);
    if (byte < 0x80) return [BigInt.asIntN(64, value), at + i + 1];
  }
  return refuse(
    "readOnnx: a number",
    "a varint of at most 10 bytes",
    "more, or the end of its message",
    "the file is truncated, damaged, or no .onnx file",
  );
}

/**
 * The fields of a protocol buffer's message, one after the other: views of its bytes, so that a length costs nothing
 * before it is known to lie within the message.
 *
 * @see https://protobuf.dev/programming-guides/encoding/
 */
export function* fields(bytes: Uint8Array): Generator<Field> {
  let at = 0;
  while (at < bytes.length) {
    const [tag, begin] = varint(bytes, at);
    const id = Number(BigInt.asUintN(32, tag) >> 3n);
    const wire = Number(tag & 7n);
    if (id === 0 || ![VARINT, FIXED64, DELIMITED, FIXED32].includes(wire)) {
      refuse(
        "readOnnx: a field",
        "a number >= 1 of a known wire type",
        `${id} of type ${wire}`,
        "the file is damaged, or no .onnx file",
      );
    }
    if (wire === VARINT) {
      const [value, end] = varint(bytes, begin);
      yield { id, value, bytes: NOTHING, delimited: false };
      at = end;
      continue;
    }
    const [length, from] =
      wire === DELIMITED ? varint(bytes, begin) : [wire === FIXED64 ? 8n : 4n, begin];
    if (length < 0n || length > BigInt(bytes.length - from)) {
      refuse(
        "readOnnx: a field's length",
        `at most ${bytes.length - from} bytes, the rest of its message`,
        `${BigInt.asUintN(64, length)}`,
        "the file is truncated, damaged, or no .onnx file",
      );
    }
    at = from + Number(length);
    yield { id, value: 0n, bytes: bytes.subarray(from, at), delimited: wire === DELIMITED };
  }
}

/** Numbers of a repeated field, packed or not, one after the other. */
export function* varints(field: Field): Generator<bigint> {
  if (!field.delimited) {
    yield field.value;
    return;
  }
  for (let at = 0; at < field.bytes.length;) {
    const [value, end] = varint(field.bytes, at);
    yield value;
    at = end;
  }
}

/** How many {@link varints} gives at most: each ends with a byte below 0x80. */
export function countVarints({ bytes, delimited }: Field): number {
  if (!delimited) return 1;
  let count = 0;
  for (const byte of bytes) if (byte < 0x80) count += 1;
  return count;
}

/** Text of a field; what is no UTF-8 is replaced. */
export function text(field: Field): string {
  const { bytes } = field;
  return new TextDecoder().decode(bytes.buffer instanceof ArrayBuffer ? bytes : bytes.slice());
}
