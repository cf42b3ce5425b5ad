/** As many 16-bit numbers as a buffer of the default size holds, on a device that executes nothing. */
import { expect, test } from "vitest";
import { Tensor, tensor } from "../../src/index.js";
import { openNullDevice } from "../support/null-device.js";

test("113 million halves are written and read", async () => {
  const device = await openNullDevice();
  const size = 113e6;
  expect(2 * size).toBeLessThan(device.limits.maxBufferSize);
  const zeros = Tensor.empty(device, [size], { dtype: "f16" });
  expect((await zeros.read()).length).toBe(size);
  zeros.destroy();
  const made = tensor(device, new Float32Array(size), [size], { dtype: "f16" });
  expect(made.size).toBe(size);
  made.destroy();
  device.destroy();
});
