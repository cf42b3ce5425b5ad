import { BatchNorm2d, byteSizes, createForward, tensor } from "webgpu-batchnorm";
import { bufferWith } from "./gpu.js";
import { quantile } from "./measure.js";

/** Median microseconds of JavaScript, GPU not waited for, and buffers that the steady state made. */
export interface HostCost {
  /** One `plan.encode()` of a planned forward into an open pass. */
  readonly encode: number;
  /** One `module.forward(x, { out })`: checks, encoder, submit. */
  readonly moduleForward: number;
  /** One `module.forward(x, { out })` and `module.backward(dy, { out })`. */
  readonly moduleStep: number;
  /** Buffers created by all the timed calls together. */
  readonly buffersMade: number;
}

const SHAPE = [8, 16, 4, 4];
const WARM = 100;
const COUNT = 500;

/** `rest` comes between samples: where calls submit, they would wait for the device once its queue is full. */
async function median(
  count: number,
  call: () => void,
  rest?: () => Promise<unknown>,
): Promise<number> {
  const samples: number[] = [];
  // Single calls are below some clocks' grain: ten in one.
  for (let i = 0; i < count / 10; i++) {
    const start = performance.now();
    for (let k = 0; k < 10; k++) call();
    samples.push((performance.now() - start) * 100);
    await rest?.();
  }
  return quantile(samples, 0.5);
}

/** Measures what the calls cost the thread that makes them. */
export async function hostCost(device: GPUDevice): Promise<HostCost> {
  const descriptor = { shape: SHAPE };
  const sizes = byteSizes(descriptor);
  const bindings = {
    x: bufferWith(device, "x", sizes.x),
    gamma: bufferWith(device, "gamma", sizes.gamma),
    beta: bufferWith(device, "beta", sizes.beta),
    y: bufferWith(device, "y", sizes.y),
    saved: bufferWith(device, "saved", sizes.saved),
    state: bufferWith(device, "state", sizes.state),
  };
  const plan = await createForward(device, descriptor);
  const values = new Float32Array(8 * 16 * 16).map((_, i) => Math.sin(i));
  const module = new BatchNorm2d(device, 16);
  await module.prepare(SHAPE);
  const [x, y, dy, dx] = [0, 1, 2, 3].map(() => tensor(device, values, SHAPE)) as [
    ReturnType<typeof tensor>,
    ReturnType<typeof tensor>,
    ReturnType<typeof tensor>,
    ReturnType<typeof tensor>,
  ];

  let buffersMade = 0;
  const create = device.createBuffer.bind(device);
  const encodeSome = async (count: number): Promise<number> => {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    const cost = await median(count, () => {
      plan.encode(pass, bindings);
    });
    pass.end();
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
    return cost;
  };
  const forward = (): void => {
    module.forward(x, { out: y });
  };
  const step = (): void => {
    module.forward(x, { out: y });
    module.backward(dy, { out: dx });
  };
  const settled = (count: number, call: () => void): Promise<number> =>
    median(count, call, () => device.queue.onSubmittedWorkDone());
  await encodeSome(WARM);
  await settled(WARM, forward);
  await settled(WARM, step);
  device.createBuffer = (...of) => {
    buffersMade += 1;
    return create(...of);
  };
  try {
    return {
      encode: await encodeSome(COUNT),
      moduleForward: await settled(COUNT, forward),
      moduleStep: await settled(COUNT / 2, step),
      get buffersMade() {
        return buffersMade;
      },
    };
  } finally {
    device.createBuffer = create;
    plan.destroy();
    module.destroy();
    for (const each of [x, y, dy, dx]) each.destroy();
    for (const buffer of Object.values(bindings)) buffer.destroy();
  }
}
