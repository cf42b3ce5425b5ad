/** Tensors of more values than a list can be collected of. */
import { expect, test } from "vitest";
import { readSafetensors, writeSafetensors } from "webgpu-batchnorm/files";

const SIZE = 113e6;

test("113 million halves of a file are read", () => {
  const file = writeSafetensors({ a: new Uint16Array(SIZE).fill(0x3c00, SIZE - 1) });
  // The same bytes by the name of another type.
  file[file.indexOf("U".charCodeAt(0), 8)] = "F".charCodeAt(0);
  const tensor = readSafetensors(file).get("a")!;
  expect(tensor.dtype).toBe("F16");
  const { data } = tensor;
  expect([data.length, data[0], data[SIZE - 1]]).toEqual([SIZE, 0, 1]);
});

test("113 million values are written in another type", () => {
  const bytes = new Uint8Array(SIZE).fill(1, SIZE - 1);
  const { data } = readSafetensors(writeSafetensors({ a: { dtype: "F32", data: bytes } })).get(
    "a",
  )!;
  expect([data.length, data[0], data[SIZE - 1]]).toEqual([SIZE, 0, 1]);
});
