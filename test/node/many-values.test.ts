/** A word of 32 bits counts the values of a channel: what would be more is refused. On a device that executes nothing. */
import { expect, test } from "vitest";
import { Tensor } from "../../src/index.js";
import { StatisticsAccumulator } from "../../src/statistics/index.js";
import { openNullDevice } from "../support/null-device.js";

test("an accumulator takes 2^32 - 1 values per channel", async () => {
  const device = await openNullDevice();
  const values = 2 ** 25;
  const all = new StatisticsAccumulator(device, 1);
  const x = Tensor.empty(device, [values, 1]);
  const rest = Tensor.empty(device, [values - 1, 1]);
  for (let i = 0; i < 2 ** 32 / values - 1; i++) all.add(x);
  const mask = Tensor.empty(device, [values]);
  for (const options of [{}, { mask }]) {
    expect(() => all.add(x, options)).toThrow(
      /^add: x: at most 4294967295 values per channel in all, got 4261412864 and 33554432 more; read/,
    );
  }
  all.add(rest);
  expect(() => all.add(Tensor.empty(device, [1, 1]))).toThrow(/got 4294967295 and 1 more/);
  all.reset();
  all.add(x);
  all.destroy();
  device.destroy();
});
