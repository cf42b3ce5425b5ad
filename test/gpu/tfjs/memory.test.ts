/** Memory over a training: in browsers alone, since Node takes three times as long for TensorFlow.js's own kernels. */
import { afterEach, beforeAll, expect, test } from "vitest";
import { register, unregister } from "webgpu-batchnorm/tfjs";
import { createRandom } from "../../support/random.js";
import { backendOf, openTensorFlow, settle, type TF } from "../../support/tfjs.js";

let tf: TF;
beforeAll(async () => {
  tf = await openTensorFlow();
});
afterEach(() => {
  unregister(tf);
});

interface Memory {
  numTensors: number;
  numDataBuffers: number;
  numBytes: number;
  numBytesInGPU: number;
  numBytesAllocatedInGPU: number;
}

const COUNTS = [
  "numTensors",
  "numDataBuffers",
  "numBytes",
  "numBytesInGPU",
  "numBytesAllocatedInGPU",
] as const satisfies readonly (keyof Memory)[];

/** What `tf.memory()` tells after each half of 200 steps, and the buffers that the second half made. */
async function train200(): Promise<{ half: number[]; end: number[]; made: number }> {
  const model = tf.sequential();
  model.add(tf.layers.batchNormalization({ inputShape: [6, 6, 1] }));
  model.add(tf.layers.flatten());
  model.add(tf.layers.dense({ units: 2 }));
  const x = tf.tensor4d(createRandom(1).normals(4 * 36), [4, 6, 6, 1]);
  const target = tf.tensor2d(createRandom(2).normals(8), [4, 2]);
  const optimizer = tf.train.sgd(0.01);
  model.compile({ optimizer, loss: "meanSquaredError" });
  const memory = async (): Promise<number[]> => {
    await settle(tf);
    const found = tf.memory() as unknown as Memory;
    return COUNTS.map((name) => found[name]);
  };
  const { device } = backendOf(tf);
  const create = device.createBuffer.bind(device);
  let made = 0;
  device.createBuffer = (descriptor) => {
    made += 1;
    return create(descriptor);
  };
  try {
    for (let i = 0; i < 100; i++) await model.trainOnBatch(x, target);
    const half = await memory();
    made = 0;
    for (let i = 0; i < 100; i++) await model.trainOnBatch(x, target);
    const end = await memory();
    tf.dispose([x, target]);
    model.dispose();
    optimizer.dispose();
    return { half, end, made };
  } finally {
    device.createBuffer = create;
  }
}

test("tf.memory() is as flat over 200 steps as without us, and smaller", async () => {
  const stock = await train200();
  const before = tf.memory().numTensors;
  await register(tf);
  const found = await train200();
  expect(stock.end).toEqual(stock.half);
  expect(found.end).toEqual(found.half);
  // Tensors, data buffers and bytes in use are the same: what lives on is the model.
  expect(found.end.slice(0, 3)).toEqual(stock.end.slice(0, 3));
  expect(found.made).toBeLessThanOrEqual(stock.made);
  expect(tf.memory().numTensors).toBe(before);
});
