/** `tf.layers.batchNormalization` with the drop-in: against the stock layer where it can, and Keras's rules where not. */
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { register, unregister } from "webgpu-batchnorm/tfjs";
import { createRandom } from "../../support/random.js";
import { openTensorFlow, toleranceOf, watchOurs, type TF } from "../../support/tfjs.js";
import "../../support/allclose.js";

type Tensor = import("@tensorflow/tfjs").Tensor;
type Model = import("@tensorflow/tfjs").Sequential;
type Config = Parameters<TF["layers"]["batchNormalization"]>[0];

let tf: TF;
let ours: () => number;
beforeAll(async () => {
  tf = await openTensorFlow();
  ours = watchOurs(tf);
});
afterEach(() => {
  unregister(tf);
  ours();
});

const sizeOf = (of: readonly number[]): number => of.reduce((a, b) => a * b, 1);

async function read(tensors: readonly Tensor[]): Promise<Float32Array[]> {
  return (await Promise.all(tensors.map((each) => each.data()))) as Float32Array[];
}

function compare(found: readonly Float32Array[], expected: readonly Float32Array[]): void {
  expect(found).toHaveLength(expected.length);
  for (const [i, values] of expected.entries()) {
    expect(found[i], `${i}`).toBeAllclose(values, toleranceOf(values));
  }
}

/** One BatchNormalization with a scale before it, so that x has a gradient. */
function build(shape: readonly number[], config: Config): Model {
  const model = tf.sequential();
  const dimensions = shape.slice(1);
  model.add(
    tf.layers.batchNormalization({ ...config, inputShape: dimensions, name: uniqueName() }),
  );
  return model;
}

let names = 0;
const uniqueName = (): string => `layer${names++}`;

/** Weights and outputs after some steps of SGD on the mean square against a target. */
async function train(
  shape: readonly number[],
  config: Config,
  before: (model: Model) => void = () => undefined,
): Promise<Float32Array[]> {
  const model = build(shape, config);
  const random = createRandom(shape.length);
  const x = tf.tensor(random.normals(sizeOf(shape), 2, 3), [...shape]);
  const target = tf.tensor(random.normals(sizeOf(shape)), [...shape]);
  before(model);
  model.compile({ optimizer: tf.train.sgd(0.1), loss: "meanSquaredError" });
  const losses: number[] = [];
  for (let i = 0; i < 3; i++) {
    if (model.trainableWeights.length > 0) {
      losses.push((await model.trainOnBatch(x, target)) as number);
      continue;
    }
    const y = model.apply(x, { training: true }) as Tensor;
    const [loss] = await read([tf.losses.meanSquaredError(target, y)]);
    losses.push(loss![0]!);
  }
  const y = model.predict(x) as Tensor;
  const found = await read([y, ...model.getWeights()]);
  tf.dispose([x, target, y]);
  model.dispose();
  return [Float32Array.from(losses), ...found];
}

describe("training is the stock layer's", () => {
  test.each([
    [[6, 5], {}],
    [[4, 6, 8], { momentum: 0.5, epsilon: 1e-2 }],
    [[3, 4, 5, 6], { momentum: 0.9 }],
  ] as [number[], Config][])("%j %j", async (shape, config) => {
    const stock = await train(shape, config);
    expect(ours()).toBe(0);
    await register(tf);
    const found = await train(shape, config);
    expect(ours()).toBeGreaterThan(5);
    // Moving averages have left where they began, by the batch's population variance.
    expect(stock.at(-1)).not.toBeAllclose(new Float32Array(stock.at(-1)!.length).fill(1), {
      atol: 0.1,
    });
    compare(found, stock);
  });
});

/** The same by hand: gradients of the mean square through `z = gamma * xHat + beta`, float64. */
function byHand(
  shape: readonly number[],
  { axis = -1, scale = true, center = true, momentum = 0.99, epsilon = 1e-3 }: NonNullable<Config>,
): number[][] {
  const at = Number(axis) < 0 ? Number(axis) + shape.length : Number(axis);
  const channels = shape[at]!;
  const inner = sizeOf(shape.slice(at + 1));
  const size = sizeOf(shape);
  const random = createRandom(shape.length);
  const x = random.normals(size, 2, 3);
  const target = random.normals(size);
  const channel = (i: number): number => Math.floor(i / inner) % channels;
  const perChannel = (term: (i: number) => number): number[] => {
    const sums = new Array<number>(channels).fill(0);
    for (let i = 0; i < size; i++) sums[channel(i)]! += term(i);
    return sums;
  };
  const count = size / channels;
  const mean = perChannel((i) => x[i]!).map((sum) => sum / count);
  const variance = perChannel((i) => (x[i]! - mean[channel(i)]!) ** 2).map((sum) => sum / count);
  const xHat = Array.from(
    x,
    (value, i) => (value - mean[channel(i)]!) / Math.sqrt(variance[channel(i)]! + epsilon),
  );
  const gamma = new Array<number>(channels).fill(1);
  const beta = new Array<number>(channels).fill(0);
  const movingMean = new Array<number>(channels).fill(0);
  const movingVariance = new Array<number>(channels).fill(1);
  const losses: number[] = [];
  for (let step = 0; step < 3; step++) {
    const error = xHat.map(
      (value, i) => gamma[channel(i)]! * value + beta[channel(i)]! - target[i]!,
    );
    losses.push(error.reduce((sum, value) => sum + value ** 2, 0) / size);
    const dGamma = perChannel((i) => (2 * error[i]! * xHat[i]!) / size);
    const dBeta = perChannel((i) => (2 * error[i]!) / size);
    for (let c = 0; c < channels; c++) {
      if (scale) gamma[c]! -= 0.1 * dGamma[c]!;
      if (center) beta[c]! -= 0.1 * dBeta[c]!;
      movingMean[c] = momentum * movingMean[c]! + (1 - momentum) * mean[c]!;
      movingVariance[c] = momentum * movingVariance[c]! + (1 - momentum) * variance[c]!;
    }
  }
  const y = Array.from(x, (value, i) => {
    const c = channel(i);
    const root = Math.sqrt(movingVariance[c]! + epsilon);
    return gamma[c]! * ((value - movingMean[c]!) / root) + beta[c]!;
  });
  const weights = [...(scale ? [gamma] : []), ...(center ? [beta] : [])];
  return [losses, y, ...weights, movingMean, movingVariance];
}

describe("what the stock layer cannot train", () => {
  test.each([
    [[6, 5], { scale: false }],
    [[4, 6, 3], { center: false }],
    [[4, 3, 6], { scale: false, center: false, momentum: 0.8 }],
    [[2, 3, 2, 3, 4], {}],
    [[3, 4, 2, 3, 2], { axis: 1, momentum: 0.7 }],
    [[3, 6, 4, 5], { axis: 1, scale: false }],
    [[3, 4, 6, 5], { axis: -2 }],
    // As Keras writes it into the models it saves.
    [[3, 4, 6, 5], { axis: [1] as unknown as number }],
    [[3, 4, 5], { axis: [2] as unknown as number }],
  ] as [number[], NonNullable<Config>][])("%j %j", async (shape, config) => {
    await register(tf);
    const found = await train(shape, config);
    expect(ours()).toBeGreaterThan(5);
    compare(
      found,
      byHand(shape, config).map((values) => Float32Array.from(values)),
    );
  });
});

describe("frozen layers normalise with their moving averages and keep them, as Keras says", () => {
  const CONFIGS = [{}, { scale: false }, { center: false }, { scale: false, center: false }];
  const shape = [6, 4, 3];

  const SWITCHES = ["layer", "model", "model of models"] as const;

  test.each(SWITCHES.flatMap((which) => CONFIGS.map((config) => [which, config] as const)))(
    "%s.trainable = false, %j",
    async (which, config) => {
      await register(tf);
      // What is trained stands before it: the gradient has to pass through.
      const base = tf.sequential();
      base.add(tf.layers.batchNormalization({ ...config, inputShape: [4, 3], name: uniqueName() }));
      const outer = tf.sequential();
      const model = tf.sequential();
      model.add(tf.layers.dense({ units: 3, inputShape: [4, 3], name: uniqueName() }));
      if (which === "model of models") outer.add(base);
      model.add(which === "model of models" ? outer : base);
      const frozen = { layer: base.layers[0]!, model: base, "model of models": outer }[which];
      frozen.trainable = false;
      const given = base.getWeights().map((_, i) => tf.tensor1d([1.5 + i, 2, 2.5]));
      base.setWeights(given);
      const random = createRandom(3);
      const x = tf.tensor(random.normals(sizeOf(shape)), shape);
      const target = tf.tensor(random.normals(sizeOf(shape)), shape);
      const kernel = (): Promise<Float32Array[]> => read([model.getWeights()[0]!]);
      const [[before], [y], [wanted]] = await Promise.all([
        kernel(),
        read([model.predict(x) as Tensor]),
        read([target]),
      ]);
      model.compile({ optimizer: tf.train.sgd(0.01), loss: "meanSquaredError" });
      expect(model.trainableWeights).toHaveLength(2);
      const loss = (await model.trainOnBatch(x, target)) as number;
      const squares = y!.reduce((sum, value, i) => sum + (value - wanted![i]!) ** 2, 0);
      expect([loss]).toBeAllclose([squares / y!.length], { rtol: 1e-5 });
      compare(await read(base.getWeights()), await read(given));
      const [after] = await kernel();
      expect(after).not.toBeAllclose(before!, { atol: 1e-4 });

      // And thawed it trains with the batch's own.
      frozen.trainable = true;
      model.compile({ optimizer: tf.train.sgd(0.01), loss: "meanSquaredError" });
      await model.trainOnBatch(x, target);
      const [variance, known] = await read([base.getWeights().at(-1)!, given.at(-1)!]);
      expect(variance).not.toBeAllclose(known!, { atol: 1e-4 });
    },
  );

  test("a layer's own switch stays where its model's is set and set back", async () => {
    await register(tf);
    const model = build([6, 3], {});
    model.layers[0]!.trainable = false;
    for (const trainable of [false, true]) model.trainable = trainable;
    const before = await read(model.getWeights());
    model.apply(tf.tensor2d(createRandom(4).normals(18, 2, 3), [6, 3]), { training: true });
    expect(await read(model.getWeights())).toEqual(before);
  });

  test("a model whose layers are applied within another, as a feature extractor's are", async () => {
    await register(tf);
    const base = build([6, 3], {});
    base.add(tf.layers.dense({ units: 1, name: uniqueName() }));
    base.trainable = false;
    const model = tf.model({
      inputs: base.inputs,
      outputs: base.layers[0]!.output,
    });
    const before = await read(model.getWeights());
    model.apply(tf.tensor2d(createRandom(4).normals(18, 2, 3), [6, 3]), { training: true });
    expect(await read(model.getWeights())).toEqual(before);
  });

  test("a call that throws leaves nothing frozen", async () => {
    await register(tf);
    const model = build([6, 3], {});
    const x = tf.tensor2d(createRandom(4).normals(18, 2, 3), [6, 3]);
    const before = await read(model.getWeights().slice(2));
    model.trainable = false;
    expect(() => model.apply(tf.ones([6, 4]), { training: true })).toThrow();
    model.trainable = true;
    model.apply(x, { training: true });
    expect((await read(model.getWeights().slice(2)))[0]).not.toBeAllclose(before[0]!, {
      atol: 1e-4,
    });
  });
});

test("a model that was saved by the stock layer loads, predicts and trains on", async () => {
  const make = (): Model => {
    const model = tf.sequential();
    model.add(
      tf.layers.conv2d({
        filters: 4,
        kernelSize: 3,
        inputShape: [6, 6, 2],
        kernelInitializer: tf.initializers.glorotNormal({ seed: 1 }),
        name: uniqueName(),
      }),
    );
    model.add(tf.layers.batchNormalization({ momentum: 0.6, name: uniqueName() }));
    model.add(tf.layers.flatten({ name: uniqueName() }));
    return model;
  };
  const random = createRandom(6);
  const x = tf.tensor4d(random.normals(5 * 72), [5, 6, 6, 2]);
  const target = tf.tensor2d(random.normals(5 * 64), [5, 64]);
  const step = async (model: {
    compile: Model["compile"];
    trainOnBatch: Model["trainOnBatch"];
  }) => {
    model.compile({ optimizer: tf.train.sgd(0.1), loss: "meanSquaredError" });
    for (let i = 0; i < 2; i++) await model.trainOnBatch(x, target);
  };
  const stock = make();
  await step(stock);
  let saved: import("@tensorflow/tfjs").io.ModelArtifacts | undefined;
  await stock.save(
    tf.io.withSaveHandler(async (artifacts) => {
      saved = artifacts;
      return { modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: "JSON" } };
    }),
  );
  const expected = await read([stock.predict(x) as Tensor]);
  await register(tf);
  ours();
  const loaded = await tf.loadLayersModel(tf.io.fromMemory(saved!));
  compare(await read([loaded.predict(x) as Tensor]), expected);
  expect(ours()).toBeGreaterThan(0);
  await step(loaded);
  const found = await read([loaded.predict(x) as Tensor, ...loaded.getWeights()]);
  unregister(tf);
  await step(stock);
  ours();
  const again = await read([stock.predict(x) as Tensor, ...stock.getWeights()]);
  expect(ours()).toBe(0);
  compare(found, again);
});

describe("tf.grads and tf.variableGrads see the layer", () => {
  test("fit and variableGrads", async () => {
    await register(tf);
    const model = build([4, 3], {});
    const x = tf.tensor2d(createRandom(1).normals(12), [4, 3]);
    const { grads } = tf.variableGrads(() =>
      tf.sum<import("@tensorflow/tfjs").Scalar>(
        tf.square(tf.add(model.apply(x, { training: true }) as Tensor, 1)),
      ),
    );
    expect(Object.keys(grads)).toHaveLength(2);
    // d/dbeta of the sum of (xHat + 1)^2 is 2 * M, as xHat sums to 0.
    const [dGamma, dBeta] = await read(Object.values(grads));
    expect(dBeta).toBeAllclose([8, 8, 8], { atol: 1e-4 });
    expect(dGamma![0]).toBeGreaterThan(1);
    model.compile({ optimizer: "sgd", loss: "meanSquaredError" });
    const { history } = await model.fit(x, x, { epochs: 2, batchSize: 2, verbose: 0 });
    expect(history["loss"]).toHaveLength(2);
  });

  test("on another backend it is the stock layer", async () => {
    await register(tf);
    await tf.setBackend("cpu");
    ours();
    const found = await train([6, 5], {});
    expect(ours()).toBe(0);
    unregister(tf);
    expect(await train([6, 5], {})).toEqual(found);
    await tf.setBackend("webgpu");
  });

  test("with a gamma of integers it is the stock layer, moving averages included", async () => {
    // What tf.layers casts to float32 keeps its integers.
    const whole = tf.initializers.ones();
    whole.apply = () => tf.fill([3], 2, "int32");
    const x = tf.tensor2d(createRandom(8).normals(18, 2, 3), [6, 3]);
    const step = async (): Promise<Float32Array[]> => {
      const model = build([6, 3], { gammaInitializer: whole, momentum: 0.75 });
      const y = model.apply(x, { training: true }) as Tensor;
      return read([y, ...model.getWeights()]);
    };
    const stock = await step();
    await register(tf);
    ours();
    compare(await step(), stock);
    expect(ours()).toBe(0);
    // A quarter of the batch's mean, which is some 2.
    expect(stock[3]!.every((mean) => mean > 0.1)).toBe(true);
  });

  test.each([
    { momentum: -0.5 },
    { momentum: 1.5 },
    { momentum: NaN },
    { epsilon: -0.1 },
    { epsilon: NaN },
    { epsilon: Infinity },
    { epsilon: 1e39 },
  ])("with %o it is the stock layer", async (config) => {
    const step = async (): Promise<Float32Array[]> => {
      const model = build([6, 3], config);
      const x = tf.tensor2d(createRandom(8).normals(18, 2, 3), [6, 3]);
      const y = model.apply(x, { training: true }) as Tensor;
      return read([y, model.predict(x) as Tensor, ...model.getWeights()]);
    };
    const stock = await step();
    await register(tf);
    for (const [i, values] of (await step()).entries()) {
      expect(values, `${i}`).toBeAllclose(stock[i]!, { ...toleranceOf([1]), nan: true });
    }
    const frozen = build([6, 3], config);
    frozen.trainable = false;
    expect(frozen.apply(tf.ones([6, 3]), { training: true })).toHaveProperty("shape", [6, 3]);
  });

  test("one row is normalised to beta, and an empty batch leaves the averages alone", async () => {
    await register(tf);
    const model = build([1, 3], { momentum: 0.5 });
    const y = model.apply(tf.tensor2d([[1, 2, 3]]), { training: true }) as Tensor;
    expect(await y.data()).toBeAllclose([0, 0, 0]);
    const [mean, variance] = await read(model.getWeights().slice(2));
    expect(mean).toBeAllclose([0.5, 1, 1.5]);
    expect(variance).toBeAllclose([0.5, 0.5, 0.5]);
    expect((model.apply(tf.zeros([0, 3]), { training: true }) as Tensor).shape).toEqual([0, 3]);
    compare(await read(model.getWeights().slice(2)), [mean!, variance!]);
  });
});

test("layers of one size learn with momenta of their own", async () => {
  await register(tf);
  const x = tf.tensor2d(createRandom(4).normals(18, 2, 3), [6, 3]);
  for (const momentum of [0.9, 0.5]) {
    const model = build([6, 3], { momentum });
    model.apply(x, { training: true });
    const [moving, batch] = await read([model.getWeights()[2]!, tf.mean(x, 0)]);
    expect(moving).toBeAllclose(
      batch!.map((each) => (1 - momentum) * each),
      { rtol: 1e-5 },
    );
  }
});

test("names that layers get by themselves stay as they were", async () => {
  const number = (): number => Number(tf.layers.batchNormalization().name.match(/\d+$/)![0]);
  const before = number();
  await register(tf);
  expect(number()).toBe(before + 1);
});
