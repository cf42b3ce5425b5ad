/** A message of a protocol buffer: fields of bytes, text or a number. */
export function message(
  ...fields: (readonly [id: number, value: number | string | Uint8Array])[]
): Uint8Array {
  const varint = (value: number): number[] =>
    value < 128 ? [value] : [(value % 128) | 128, ...varint(Math.floor(value / 128))];
  return Uint8Array.from(
    fields.flatMap(([id, value]) => {
      if (typeof value === "number") return [...varint(id * 8), ...varint(value)];
      const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
      return [...varint(id * 8 + 2), ...varint(bytes.length), ...bytes];
    }),
  );
}
