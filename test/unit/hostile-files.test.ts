/**
 * Files changed at random: they are read, or refused with a FileError; nothing else is thrown, nothing hangs, and memory
 * stays in proportion to the file.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FileError, findBatchNorms, readOnnx, readSafetensors } from "webgpu-batchnorm/files";
import { files } from "../support/file-fixtures.js";

const RUNS = 3000;

/** A change of a file: bytes flipped, a part cut out, doubled, or overwritten by a number at the edge of its type. */
const change = fc.oneof(
  fc.record({ kind: fc.constant("set" as const), at: fc.nat(), byte: fc.nat(255) }),
  fc.record({
    kind: fc.constant("cut" as const),
    at: fc.nat(),
    length: fc.integer({ min: 1, max: 64 }),
  }),
  fc.record({
    kind: fc.constant("double" as const),
    at: fc.nat(),
    length: fc.integer({ min: 1, max: 64 }),
  }),
  fc.record({
    kind: fc.constant("fill" as const),
    at: fc.nat(),
    byte: fc.constantFrom(0, 0x7f, 0x80, 0xff),
  }),
  fc.record({ kind: fc.constant("end" as const), at: fc.nat() }),
);
type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;

function changed(bytes: Uint8Array, changes: readonly Change[]): Uint8Array {
  let now = Array.from(bytes);
  for (const each of changes) {
    if (now.length === 0) break;
    const at = each.at % now.length;
    if (each.kind === "set") now[at] = each.byte;
    else if (each.kind === "cut") now.splice(at, each.length);
    else if (each.kind === "double") now.splice(at, 0, ...now.slice(at, at + each.length));
    else if (each.kind === "fill")
      now = now.map((byte, i) => (i >= at && i < at + 8 ? each.byte : byte));
    else now = now.slice(0, at);
  }
  return Uint8Array.from(now);
}

/** Whether a file was read whole; every tensor is decoded. */
function reads(
  read: (bytes: Uint8Array) => ReturnType<typeof readOnnx | typeof readSafetensors>,
  bytes: Uint8Array,
): boolean {
  try {
    const file = read(bytes);
    for (const tensor of file.values()) {
      if (!["OTHER", "F8_E4M3", "F8_E5M2", "C64"].includes(tensor.dtype)) void tensor.data;
    }
    findBatchNorms(file);
    return true;
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    expect(error.message).toMatch(/^.+: .+, got .+; .+/s);
    expect(error.message.length).toBeLessThan(1000);
    return false;
  }
}

const options = { nonFinite: "keep" } as const;

describe.each([
  ["model.safetensors", (bytes: Uint8Array) => readSafetensors(bytes, options)],
  ["dtypes.safetensors", (bytes: Uint8Array) => readSafetensors(bytes, options)],
  ["forms.onnx", (bytes: Uint8Array) => readOnnx(bytes, options)],
  ["dynamo.onnx", (bytes: Uint8Array) => readOnnx(bytes, options)],
] as const)("%s", (name, read) => {
  test("with random changes is read or refused", () => {
    const original = files[name]!();
    let read_ = 0;
    let refused = 0;
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        if (reads(read, changed(original, changes))) read_ += 1;
        else refused += 1;
      }),
      { numRuns: RUNS },
    );
    expect(read_ + refused).toBe(RUNS);
    expect(refused).toBeGreaterThan(RUNS / 20);
  });

  test("cut anywhere is read or refused", () => {
    const original = files[name]!();
    for (let length = 0; length < original.length; length += 1) {
      const whole = reads(read, original.subarray(0, length));
      // Nothing may stand or be missing behind the last tensor of a safetensors file.
      if (name.endsWith(".safetensors")) expect(whole, `${length} bytes`).toBe(false);
    }
  });

  test("random bytes are refused", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(reads(read, bytes)).toBe(false);
      }),
      { numRuns: RUNS },
    );
  });
});

test("a file that claims to be huge costs next to nothing", () => {
  const claims = new Uint8Array(1000);
  new DataView(claims.buffer).setBigUint64(0, 90_000_000n, true);
  const giant = Uint8Array.from([7 * 8 + 2, 0xff, 0xff, 0xff, 0xff, 0x07, ...new Uint8Array(1000)]);
  const before = process.memoryUsage();
  for (let i = 0; i < 1000; i += 1) {
    expect(() => readSafetensors(claims)).toThrow(FileError);
    expect(() => readOnnx(giant)).toThrow(FileError);
  }
  const after = process.memoryUsage();
  // 1000 times 90 MB would be 90 GB of buffers; errors and messages are a few kilobytes each.
  expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(16 * 2 ** 20);
  expect(after.heapUsed - before.heapUsed).toBeLessThan(256 * 2 ** 20);
});

describe("an .onnx file of many numbers", () => {
  const MIB = 2 ** 20;
  const varint = (value: number): number[] =>
    value < 128 ? [value] : [(value % 128) | 128, ...varint(Math.floor(value / 128))];
  const field = (id: number, ...bytes: Uint8Array[]): Uint8Array => {
    const length = bytes.reduce((sum, each) => sum + each.length, 0);
    const whole = new Uint8Array(length + 12);
    const head = [...varint(id * 8 + 2), ...varint(length)];
    whole.set(head);
    let at = head.length;
    for (const each of bytes) {
      whole.set(each, at);
      at += each.length;
    }
    return whole.subarray(0, at);
  };
  const INT32 = Uint8Array.of(2 * 8, 6);
  const name = field(8, new TextEncoder().encode("t"));
  const model = (...tensor: Uint8Array[]): Uint8Array => field(7, field(5, ...tensor, INT32, name));
  const ones = (length: number): Uint8Array => new Uint8Array(length).fill(1);

  test("more than 32 dims are refused, packed and one by one", () => {
    for (const dims of [
      field(1, ones(500_000)),
      ...[Uint8Array.from({ length: 2 * 500_000 }, (_, i) => (i % 2 ? 1 : 8))],
      field(1, ones(33)),
    ]) {
      const read = (): unknown => readOnnx(model(dims));
      expect(read).toThrow(FileError);
      expect(read).toThrow(/dims: at most 32, got more/);
    }
    expect(readOnnx(model(field(1, ones(32)), field(5, ones(1)))).get("t")!.data).toEqual(
      Int32Array.of(1),
    );
  });

  test.each([
    ["packed", field(5, ones(8 * MIB))],
    ["one by one", Uint8Array.from({ length: 8 * MIB }, (_, i) => (i % 2 ? 1 : 5 * 8))],
  ])("counts them before it makes room for them: %s", (_, data) => {
    const tensor = readOnnx(model(field(1, ones(1)), data)).get("t")!;
    const before = process.memoryUsage();
    expect(() => tensor.data).toThrow(/"t": 4 bytes \(\[1\], I32\), got \d+/);
    const after = process.memoryUsage();
    // What a view of each field costs until the next collection of a young generation of 16 MiB, and room to spare;
    // an array of them all was 500 MiB.
    expect(after.heapUsed - before.heapUsed).toBeLessThan(64 * MIB);
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(4 * MIB);
  });

  test("and reads as many as the shape has", () => {
    const dims = field(1, Uint8Array.of(0x80, 0x20)); // 4096
    const data = readOnnx(model(dims, field(5, ones(4096)))).get("t")!.data;
    expect(data).toEqual(new Int32Array(4096).fill(1));
  });
});
