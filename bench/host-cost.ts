import { BatchNorm2d, byteSizes, createForward, tensor } from "webgpu-batchnorm";
import { bufferWith } from "./gpu.js";
import { quantile } from "./measure.js";

/** Microseconds of JavaScript (the least of ten medians), GPU not waited for, and buffers that the steady state made. */
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
const WARM = 500;
const COUNT = 1000;
const TURNS = 10;

/**
 * The least of some medians, each of calls in rows of ten. Calls that only record are below some clocks' grain, so ten
 * are timed in one. Calls that submit are timed one by one, and the device is waited for after every ten, or its full
 * queue would be timed. A software adapter works beside us and takes our core for a while: hence the least.
 */
async function cost(count: number, call: () => void, rest?: () => Promise<unknown>) {
  const together = rest ? 1 : 10;
  const medians: number[] = [];
  for (let turn = 0; turn < TURNS; turn++) {
    const samples: number[] = [];
    for (let done = 0; done < count / TURNS; done += together) {
      const start = performance.now();
      for (let k = 0; k < together; k++) call();
      samples.push(((performance.now() - start) * 1000) / together);
      if (done % 10 === 9) await rest?.();
    }
    medians.push(quantile(samples, 0.5));
  }
  return Math.min(...medians);
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
    const least = await cost(count, () => {
      plan.encode(pass, bindings);
    });
    pass.end();
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
    return least;
  };
  const forward = (): void => {
    module.forward(x, { out: y });
  };
  const step = (): void => {
    module.forward(x, { out: y });
    module.backward(dy, { out: dx });
  };
  const settled = (count: number, call: () => void): Promise<number> =>
    cost(count, call, () => device.queue.onSubmittedWorkDone());
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
