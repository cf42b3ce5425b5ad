/** Modules load PyTorch's own file and give PyTorch's outputs; what they write is read back. */
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import {
  BatchNorm,
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  ShapeError,
  tensor,
  type BatchNormOptions,
} from "webgpu-batchnorm";
import {
  findBatchNorms,
  prefixed,
  readOnnx,
  readSafetensors,
  writeSafetensors,
} from "webgpu-batchnorm/files";
import { inference } from "webgpu-batchnorm/reference";
import { openDevice } from "../support/device.js";
import { expected, files } from "../support/file-fixtures.js";
import { yTolerance } from "../support/tolerance.js";
import "../support/allclose.js";

let device: GPUDevice;
beforeAll(async () => {
  device = await openDevice();
});

const made: { destroy(): void }[] = [];
function keep<T extends { destroy(): void }>(one: T): T {
  made.push(one);
  return one;
}
afterEach(() => {
  for (const each of made.splice(0)) each.destroy();
});

function moduleFor(rank: number, channels: number, options: BatchNormOptions): BatchNorm {
  const Module = rank < 4 ? BatchNorm1d : rank === 4 ? BatchNorm2d : BatchNorm3d;
  return keep(new Module(device, channels, options)).eval();
}

const file = readSafetensors(files["model.safetensors"]!());

describe("PyTorch's file, by prefix", () => {
  test.each(expected.layers)("$prefix ($dtype)", async (layer) => {
    const { prefix, eps, affine, shape } = layer;
    const bn = moduleFor(shape.length, layer.runningMean.length, { eps, affine });
    bn.loadStateDict(file, { prefix });
    const y = await keep(bn.forward(keep(tensor(device, layer.x, shape)))).read();
    const { xHat } = inference(layer.x, shape, {
      eps,
      mean: layer.runningMean,
      variance: layer.runningVar,
    });
    const inner = shape.slice(2).reduce((a, b) => a * b, 1);
    const channel = (i: number): number => Math.floor(i / inner) % layer.runningMean.length;
    // A file of f64 is rounded to f32 here: gamma, beta and the statistics by 2^-24 each, that of the mean relative to
    // the deviation.
    const rounded = (i: number): number => {
      if (layer.dtype !== "float64") return 0;
      const c = channel(i);
      const mean = Math.abs(layer.runningMean[c]!) / Math.sqrt(layer.runningVar[c]! + eps);
      return (
        2 ** -24 *
        (Math.abs(layer.gamma![c]!) * (mean + 2 * Math.abs(xHat[i]!)) + Math.abs(layer.beta![c]!))
      );
    };
    expect(y).toBeAllclose(layer.y, {
      atol: (i, value) => yTolerance(xHat[i]!, layer.gamma?.[channel(i)] ?? 1, value) + rounded(i),
    });
    expect((await bn.stateDict()).num_batches_tracked).toBe(BigInt(layer.numBatchesTracked));
  });

  test("a record, a dictionary of another library's tensors and a found state load alike", async () => {
    const prefix = "layer1.0.bn1.";
    const wanted = moduleFor(4, 5, {});
    wanted.loadStateDict(file, { prefix });
    const { state } = findBatchNorms(file).find((each) => each.prefix === prefix)!;
    for (const source of [
      Object.fromEntries(file),
      Object.fromEntries([...file].map(([name, { data }]) => [name, { data: [...data] }])),
      prefixed(prefix, state),
    ]) {
      const bn = moduleFor(4, 5, {});
      bn.loadStateDict(source, { prefix });
      expect(await bn.stateDict()).toEqual(await wanted.stateDict());
    }
    const bn = moduleFor(4, 5, {});
    bn.loadStateDict(state);
    expect(await bn.stateDict()).toEqual(await wanted.stateDict());
  });

  test("a prefix that fits nothing, half a name or another layer is refused by its full name", async () => {
    const bn = moduleFor(4, 5, {});
    const before = await bn.stateDict();
    for (const [prefix, message] of [
      ["layer9.", /loadStateDict: layer9.weight: 5 values, got none by that name, but under "/],
      ["layer1.0.bn1", /layer1.0.bn1weight: 5 values, got none .* pass \{ prefix: "[^"]+\." \}/],
      ["layer1.", /loadStateDict: layer1.weight: 5 values, got none by that name/],
      ["", /loadStateDict: weight: 5 values, got none by that name/],
      ["volume.", /loadStateDict: volume.weight: 5 values, got 2/],
      ["norm.", /loadStateDict: norm.weight: 5 values, got 6/],
      ["plain.", /loadStateDict: plain.weight: 5 values, got nothing/],
    ] as const) {
      expect(() => bn.loadStateDict(file, { prefix }), prefix).toThrow(ShapeError);
      expect(() => bn.loadStateDict(file, { prefix }), prefix).toThrow(message);
    }
    expect(await bn.stateDict()).toEqual(before);
  });
});

test("the file that PyTorch has loaded is the one that loaded modules write", async () => {
  const ours = readSafetensors(files["ours.safetensors"]!());
  const written: Parameters<typeof writeSafetensors>[0] = {};
  for (const { prefix, channels, affine } of findBatchNorms(ours)) {
    const bn = moduleFor(4, channels, { affine });
    bn.loadStateDict(ours, { prefix });
    Object.assign(written, prefixed(prefix, await bn.stateDict()));
  }
  const rest = [...ours].filter(([name]) => !(name in written));
  const bytes = writeSafetensors({ ...written, ...Object.fromEntries(rest) }, ours.metadata);
  const again = readSafetensors(bytes);
  expect(new Set(again.keys())).toEqual(new Set(ours.keys()));
  for (const [name, { dtype, shape, bytes: own }] of ours) {
    const other = again.get(name)!;
    expect([name, other.dtype, other.shape, other.bytes]).toEqual([name, dtype, shape, own]);
  }
});

test("a module from an ONNX node computes what its node does", async () => {
  for (const { prefix, channels, state, eps, momentum } of findBatchNorms(
    readOnnx(files["forms.onnx"]!()),
  )) {
    const form = expected.forms.find(({ name }) => name === prefix)!;
    const bn = moduleFor(3, channels, {
      eps: eps!,
      momentum: momentum!,
      runningVariance: "population",
    });
    bn.loadStateDict(state);
    const y = await keep(bn.forward(keep(tensor(device, form.x, form.shape)))).read();
    const { xHat } = inference(form.x, form.shape, {
      eps: eps!,
      mean: state.running_mean,
      variance: state.running_var,
    });
    const gamma = (i: number): number => state.weight![Math.floor(i / 2) % 3]!;
    expect(y, prefix).toBeAllclose(form.y, {
      // The forms in f64 hold values of f32.
      atol: (i, value) => yTolerance(xHat[i]!, gamma(i), value),
    });
  }
});
