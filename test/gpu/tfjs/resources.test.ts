/** The drop-in works inside TensorFlow.js: its buffers, its count of them, its order, its submits. */
import { afterEach, beforeAll, expect, test } from "vitest";
import { DestroyedError } from "webgpu-batchnorm";
import { batchNormTraining, register, unregister } from "webgpu-batchnorm/tfjs";
import { createRandom } from "../../support/random.js";
import { backendOf, openTensorFlow, settle, watchOurs, type TF } from "../../support/tfjs.js";
import "../../support/allclose.js";

type Tensor = import("@tensorflow/tfjs").Tensor;

let tf: TF;
let ours: () => number;
beforeAll(async () => {
  tf = await openTensorFlow();
  ours = watchOurs(tf);
});
afterEach(() => {
  unregister(tf);
});

test("tf.tidy and dispose free what an operation made, and its buffers are taken again", async () => {
  await register(tf);
  const [x, gamma, beta] = [tf.ones([8, 5, 5, 4]), tf.ones([4]), tf.zeros([4])];
  const step = (): void => {
    tf.tidy(() => {
      const f = (...of: Tensor[]): Tensor =>
        batchNormTraining(of[0]!, of[1]!, of[2]!, { activation: "relu", residual: x }).y;
      f(x, gamma, beta);
      tf.grads(f)([x, gamma, beta]);
      (tf.batchNorm as (...of: unknown[]) => Tensor)(x, beta, gamma, beta, gamma);
    });
  };
  for (let i = 0; i < 3; i++) step();
  await settle(tf);
  const before = tf.memory();
  for (let i = 0; i < 20; i++) {
    step();
    await settle(tf);
  }
  expect(tf.memory()).toEqual(before);
  const { y, mean, variance } = batchNormTraining(x, gamma, beta);
  expect(tf.memory().numTensors).toBe(before.numTensors + 3);
  for (const each of [y, mean, variance]) each.dispose();
  expect(tf.memory().numTensors).toBe(before.numTensors);
  expect(() => batchNormTraining(y, gamma, beta)).toThrow(DestroyedError);
  expect(() => batchNormTraining(x, mean, beta)).toThrow("gamma: a live tensor");
});

test("nothing is copied, read back or submitted on our account", async () => {
  await register(tf);
  const random = createRandom(4);
  // Smaller ones TensorFlow.js computes on the host.
  const x = tf.tensor(random.normals(1280), [8, 40, 4]);
  const [gamma, beta] = [tf.tensor1d([1, 2, 3, 4]), tf.tensor1d([4, 3, 2, 1])];
  const other = tf.neg(x);
  // Parameters on the host are uploaded with their first use, as by any kernel.
  tf.dispose(batchNormTraining(x, gamma, beta).y);
  await settle(tf);
  const { device } = backendOf(tf);
  const calls: string[] = [];
  const submit = device.queue.submit.bind(device.queue);
  const create = device.createCommandEncoder.bind(device);
  device.queue.submit = (buffers) => {
    calls.push("submit");
    submit(buffers);
  };
  device.createCommandEncoder = (descriptor) => {
    calls.push("createCommandEncoder");
    const encoder = create(descriptor);
    const copy = encoder.copyBufferToBuffer.bind(encoder) as (...of: unknown[]) => undefined;
    encoder.copyBufferToBuffer = (...of: unknown[]) => {
      calls.push("copyBufferToBuffer");
      copy(...of);
    };
    const begin = encoder.beginComputePass.bind(encoder);
    encoder.beginComputePass = (descriptor) => {
      calls.push("beginComputePass");
      return begin(descriptor);
    };
    return encoder;
  };
  tf.env().set("WEBGPU_DEFERRED_SUBMIT_BATCH_SIZE", 1000);
  try {
    // Between two operations of TensorFlow.js that write what ours read, and read what ours write.
    const y = tf.tidy(() => {
      const squared = tf.square(x);
      const run = (of: Tensor): Tensor => batchNormTraining(of, gamma, beta).y;
      const dx = tf.grad(run)(squared, other);
      return tf.add(tf.add(run(squared), run(x)), dx);
    });
    expect(ours()).toBeGreaterThan(0);
    expect(calls).toEqual(["createCommandEncoder", "beginComputePass"]);
    expect((await y.data()).every(Number.isFinite)).toBe(true);
  } finally {
    device.queue.submit = submit;
    device.createCommandEncoder = create;
    tf.env().set("WEBGPU_DEFERRED_SUBMIT_BATCH_SIZE", 15);
  }
});

test("it submits as often as TensorFlow.js says", async () => {
  await register(tf);
  const x = tf.ones([4, 4]);
  await settle(tf);
  const { device } = backendOf(tf);
  const submit = device.queue.submit.bind(device.queue);
  let submits = 0;
  device.queue.submit = (buffers) => {
    submits += 1;
    submit(buffers);
  };
  try {
    for (let i = 0; i < 10; i++) tf.dispose(batchNormTraining(x, null, null).y);
    // Each counts for three, and fifteen are sent.
    expect(submits).toBe(2);
  } finally {
    device.queue.submit = submit;
  }
});

test("each counts for as many dispatches as it may take", async () => {
  await register(tf);
  const [x, ones, zeros] = [tf.ones([4, 4]), tf.ones([4]), tf.zeros([4])];
  await settle(tf);
  const backend = backendOf(tf);
  const trained = (of: Tensor): Tensor => batchNormTraining(of, null, null).y;
  const inferred = (of: Tensor): Tensor => tf.batchNorm(of, zeros, ones);
  const counted = (run: () => Tensor): number => {
    const before = backend.dispatchCountInPass;
    tf.dispose(run());
    return backend.dispatchCountInPass - before;
  };
  tf.env().set("WEBGPU_DEFERRED_SUBMIT_BATCH_SIZE", 1000);
  try {
    expect(counted(() => trained(x))).toBe(3);
    expect(counted(() => tf.grad(trained)(x, x))).toBe(3 + 2);
    expect(counted(() => inferred(x))).toBe(1);
    expect(counted(() => tf.grad(inferred)(x, x))).toBe(1 + 2);
  } finally {
    tf.env().set("WEBGPU_DEFERRED_SUBMIT_BATCH_SIZE", 15);
  }
});

test("tf.profile and tf.time see it", async () => {
  await register(tf);
  const x = tf.ones([4, 4]);
  const profile = await tf.profile(() => batchNormTraining(x, null, null).y);
  expect(profile.kernels.map(({ name }) => name)).toContain("batchNormTraining");
  const time = await tf.time(() => tf.dispose(batchNormTraining(x, null, null).y));
  expect(time.kernelMs).toBeGreaterThanOrEqual(0);
  const y = batchNormTraining(x, null, null).y;
  expect(await y.data()).toBeAllclose(new Float32Array(16));
});

test("what pending commands hold is nobody else's before they are submitted", async () => {
  await register(tf);
  const [x, other] = [tf.ones([8, 40, 4]), tf.fill([8, 40, 4], 2)];
  await settle(tf);
  const bufferOf = ({ dataId }: Tensor) => backendOf(tf).tensorMap.get(dataId).resource;
  const { y } = batchNormTraining(x, null, null);
  const held = bufferOf(y);
  expect(held).not.toBeNull();
  y.dispose();
  expect(bufferOf(tf.neg(other))).not.toBe(held);
});

test("unregister while commands are pending leaves them whole", async () => {
  await register(tf);
  const y = batchNormTraining(tf.tensor2d([[1], [3]]), null, null, { eps: 0 }).y;
  unregister(tf);
  expect(await y.data()).toBeAllclose([-1, 1]);
});

test("unregister frees what plans held", async () => {
  await register(tf);
  const { device } = backendOf(tf);
  const live = new Set<GPUBuffer>();
  const create = device.createBuffer.bind(device);
  device.createBuffer = (descriptor) => {
    const buffer = create(descriptor);
    if (!descriptor.label?.startsWith("bn.")) return buffer;
    live.add(buffer);
    const destroy = buffer.destroy.bind(buffer);
    buffer.destroy = () => {
      live.delete(buffer);
      return destroy();
    };
    return buffer;
  };
  try {
    tf.dispose(batchNormTraining(tf.tensor2d([[1], [3]]), tf.tensor1d([2]), null).y);
    await settle(tf);
    expect(live.size).toBeGreaterThan(0);
    unregister(tf);
    expect([...live].map((each) => each.label)).toEqual([]);
  } finally {
    device.createBuffer = create;
  }
});
