/** Files that claim to be more, or less, than they hold: refused before they cost more than their own size. */
import { expect, test } from "vitest";
import {
  FileError,
  findBatchNorms,
  readOnnx,
  readSafetensors,
  type OnnxFile,
} from "webgpu-batchnorm/files";

/** A delimited field of a protocol buffer. */
function field(id: number, bytes: Uint8Array): Uint8Array {
  const head = [id * 8 + 2];
  let { length } = bytes;
  for (; length >= 128; length = Math.floor(length / 128)) head.push((length % 128) | 128);
  const made = new Uint8Array(head.length + 1 + bytes.length);
  made.set([...head, length]);
  made.set(bytes, head.length + 1);
  return made;
}

const [GRAPH, INITIALIZER, DIMS, DATA_TYPE, INT32_DATA, NAME, EXTERNAL] = [7, 5, 1, 2, 5, 8, 13];
const [INT32, FLOAT] = [6, 1];
const model = (...parts: Uint8Array[]): Uint8Array =>
  field(GRAPH, field(INITIALIZER, Uint8Array.from(Buffer.concat(parts))));
const name = field(NAME, new TextEncoder().encode("t"));

/** By how much the process has outgrown its peak so far, in MiB. A later test may hide beneath an earlier one's. */
function growth(run: () => void): number {
  const before = process.resourceUsage().maxRSS;
  run();
  return (process.resourceUsage().maxRSS - before) / 1024;
}

const MANY = 4_000_000;
/** MiB: the collector's nursery (two spaces of 16) as often again, and nothing in proportion to the numbers. */
const MOST = 64;

const typed = Uint8Array.of(DIMS * 8, 1, DATA_TYPE * 8, INT32);

test.each([
  ["lists of objects", `{"a":[${"{},".repeat(MANY)}{}]}`],
  ["lists of objects in an entry", `{"a":{"shape":[${"{},".repeat(MANY)}{}]}}`],
  ["entries without fields", `{${Array.from({ length: MANY / 4 }, (_, i) => `"${i}":{}`).join()}}`],
])("a header of millions of %s costs nothing", (_, header) => {
  const bytes = new Uint8Array(8 + header.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true);
  new TextEncoder().encodeInto(header, bytes.subarray(8));
  expect(growth(() => expect(() => readSafetensors(bytes)).toThrow(FileError))).toBeLessThan(MOST);
});

test("an entry of external data with millions of fields costs nothing", () => {
  const entry = new Uint8Array(MANY).map((_, i) => (i % 2 === 0 ? 1 * 8 + 2 : 0));
  const bytes = model(name, typed, field(EXTERNAL, entry));
  let file: OnnxFile | undefined;
  expect(growth(() => (file = readOnnx(bytes)))).toBeLessThan(MOST);
  expect(() => file!.get("t")!.data).toThrow(FileError);
  expect(() => findBatchNorms(file!)).toThrow(FileError);
});

test("packed dims by the hundred thousand are refused", () => {
  const dims = field(DIMS, new Uint8Array(500_000).fill(1));
  const bytes = model(name, dims, Uint8Array.of(DATA_TYPE * 8, FLOAT));
  expect(() => readOnnx(bytes)).toThrow(FileError);
  expect(() => readOnnx(bytes)).toThrow("readOnnx: dims: at most 32, got more");
});

test("32 dims are read", () => {
  const dims = field(DIMS, new Uint8Array(32).fill(1));
  const bytes = model(
    name,
    dims,
    Uint8Array.of(DATA_TYPE * 8, INT32),
    field(INT32_DATA, Uint8Array.of(5)),
  );
  expect(readOnnx(bytes).get("t")!.shape).toHaveLength(32);
  expect(readOnnx(bytes).get("t")!.data).toEqual(Int32Array.of(5));
});

test.each([
  ["packed", field(INT32_DATA, new Uint8Array(MANY).fill(1))],
  ["one by one", new Uint8Array(MANY).fill(1).map((_, i) => (i % 2 === 0 ? INT32_DATA * 8 : 1))],
])("millions of numbers for a shape of one, %s, cost nothing", (_, numbers) => {
  const bytes = model(name, typed, numbers);
  const grown = growth(() => {
    const file = readOnnx(bytes);
    expect(() => file.get("t")!.data).toThrow(FileError);
    expect(() => file.get("t")!.data).toThrow(/"t": 4 bytes \(\[1\], I32\), got \d+; /);
  });
  expect(grown).toBeLessThan(MOST);
});

test("a tensor that many nodes share is decoded once", () => {
  const FLOAT16 = 10;
  const RAW = 9;
  const shared = field(
    GRAPH,
    Uint8Array.from(
      Buffer.concat([
        field(
          INITIALIZER,
          Uint8Array.from(
            Buffer.concat([
              name,
              Uint8Array.of(DIMS * 8, 160, 141, 6, DATA_TYPE * 8, FLOAT16), // 100,000
              field(RAW, new Uint8Array(200_000)),
            ]),
          ),
        ),
        ...Array.from({ length: 300 }, () =>
          field(
            1,
            Uint8Array.from(
              Buffer.concat([
                ...["x", "t", "t", "t", "t"].map((each) => field(1, Buffer.from(each))),
                field(2, Buffer.from("y")),
                field(4, Buffer.from("BatchNormalization")),
              ]),
            ),
          ),
        ),
      ]),
    ),
  );
  let found: ReturnType<typeof findBatchNorms> = [];
  // Anew for each, they would take 480 MB.
  expect(growth(() => (found = findBatchNorms(readOnnx(shared))))).toBeLessThan(MOST);
  expect(found).toHaveLength(300);
  expect(found[299]!.state.weight).toBe(found[0]!.state.running_var);
});
