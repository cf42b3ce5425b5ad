/** What one channel holds, NaN and infinities included, changes no bit of another: forward, backward and state. */
import { beforeAll, describe, expect, test } from "vitest";
import { stateLayout, type BatchNormOptions, type Dtype } from "../../src/index.js";
import { extentOf } from "../../src/descriptor.js";
import { openDevice } from "../support/device.js";
import { createRandom } from "../support/random.js";
import {
  channelsOf,
  rounded,
  runOnce,
  TUNINGS,
  type Call,
  type Inputs,
  type Outputs,
} from "../support/tolerance.js";

let device: GPUDevice;
beforeAll(async () => {
  device = await openDevice();
});

type Layout = NonNullable<BatchNormOptions["layout"]>;

/** Five channels or more, so that 3 has neighbours on both sides; even and odd rows. */
const SHAPES: readonly (readonly [readonly number[], Layout])[] = [
  [[4, 5, 3, 3], "channels-first"], // odd rows: in 16 bits channels share words
  [[3, 6, 2, 5], "channels-first"],
  [[5, 8, 4, 4], "channels-first"],
  [[150, 5, 1], "channels-first"],
  [[12, 5], "channels-last"],
  [[4, 3, 3, 6], "channels-last"],
  [[70, 8], "channels-last"],
];

const BAD = [NaN, Infinity, -Infinity, 3e38] as const;
const CHANNEL = 3;

/** Which channel every 1 to 4 bytes of an output belongs to. */
function channelOfByte(call: Call, name: string): (byte: number) => number {
  const { shape, options, dtype = "f32" } = call;
  const { channels } = extentOf("test", shape, options?.layout ?? "channels-first");
  const layout = stateLayout(channels);
  const perElement = channelsOf(call);
  switch (name) {
    case "y":
    case "dx":
    case "dResidual":
      return (byte) => perElement(Math.floor(byte / (dtype === "f32" ? 4 : 2)));
    case "saved": // planes of one f32 per channel
    case "dGamma":
    case "dBeta":
      return (byte) => Math.floor(byte / 4) % channels;
    default: // the counter and the gaps are nobody's and count as everyone's
      return (byte) => {
        if (byte < layout.mean + 4 * channels) return Math.floor((byte - layout.mean) / 4);
        if (byte < layout.variance || byte >= layout.variance + 4 * channels) return -1;
        return Math.floor((byte - layout.variance) / 4);
      };
  }
}

function expectOthersSame(call: Call, clean: Outputs, dirty: Outputs): void {
  expect(Object.keys(dirty.bits)).toEqual(Object.keys(clean.bits));
  for (const [name, bytes] of Object.entries(dirty.bits)) {
    const channel = channelOfByte(call, name);
    const before = clean.bits[name]!;
    expect(bytes.length).toBe(before.length);
    let differing = -1;
    for (let at = 0; at < bytes.length; at++) {
      if (channel(at) !== CHANNEL && bytes[at] !== before[at]) {
        differing = at;
        break;
      }
    }
    expect(differing, `${name}: first byte of another channel that changed`).toBe(-1);
  }
}

describe.each(["f32", "f16", "bf16"] as const)("%s", (dtype: Dtype) => {
  const names = Object.keys(TUNINGS) as (keyof typeof TUNINGS)[];
  test.each(names)("tuning %s", async (name) => {
    for (const [index, [shape, layout]] of SHAPES.entries()) {
      // From f16 it differs in one fragment: each shape on every second tuning will do.
      if (dtype === "bf16" && (index + names.indexOf(name)) % 2 === 0) continue;
      for (const mode of ["training", "evaluation"] as const) {
        const options: BatchNormOptions = {
          layout,
          activation: index % 2 === 0 ? "none" : "relu",
          eps: index % 3 === 0 ? 0 : 1e-5,
        };
        const call: Call = { shape, options, dtype, tuning: TUNINGS[name], mode };
        const size = shape.reduce((a, b) => a * b, 1);
        const { channels } = extentOf("test", shape, layout);
        const random = createRandom(index + 1);
        const values = (): Float32Array => rounded(random.normals(size, 0.5, 2), dtype);
        const inputs: Inputs = {
          x: values(),
          dy: values(),
          ...(index % 2 === 1 ? { residual: values() } : {}),
          gamma: random.normals(channels),
          beta: random.normals(channels),
          state: {
            mean: random.normals(channels),
            variance: random.uniforms(channels, 0.5, 2),
            numBatchesTracked: 1,
          },
        };
        const clean = await runOnce(device, call, inputs);
        for (const value of clean.y) expect(Number.isFinite(value)).toBe(true);
        const channel = channelsOf(call);
        const spoil = (data: ArrayLike<number>, bad: number): Float32Array =>
          Float32Array.from(data, (value, i) => (channel(i) === CHANNEL ? bad : value));
        const ofChannel = (data: ArrayLike<number>, bad: number): Float32Array =>
          Float32Array.from(data, (value, c) => (c === CHANNEL ? bad : value));
        for (const bad of BAD) {
          expectOthersSame(
            call,
            clean,
            await runOnce(device, call, { ...inputs, x: spoil(inputs.x, bad) }),
          );
        }
        // Everything that belongs to the channel at once: dy, residual, parameters, statistics.
        expectOthersSame(
          call,
          clean,
          await runOnce(device, call, {
            x: spoil(inputs.x, NaN),
            dy: spoil(inputs.dy!, NaN),
            ...(inputs.residual ? { residual: spoil(inputs.residual, Infinity) } : {}),
            gamma: ofChannel(inputs.gamma!, NaN),
            beta: ofChannel(inputs.beta!, Infinity),
            state: {
              mean: ofChannel(inputs.state!.mean, NaN),
              variance: ofChannel(inputs.state!.variance, -Infinity),
              numBatchesTracked: 1,
            },
          }),
        );
        // A single bad value is enough to spoil its own channel's sums, and no more.
        const one = Float32Array.from(inputs.x);
        one[one.findIndex((_, i) => channel(i) === CHANNEL)] = NaN;
        expectOthersSame(call, clean, await runOnce(device, call, { ...inputs, x: one }));
      }
    }
  });
});
