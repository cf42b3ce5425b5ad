import { BatchNorm1d, tensor, type BatchNorm, type Tensor } from "webgpu-batchnorm";
import { AccumulatedBatchNorm, ExtendedBatchNorm } from "webgpu-batchnorm/statistics";
import { SyncBatchNorm, type Communicator } from "webgpu-batchnorm/sync";
import type { Micro, Norm } from "./network.js";

export const METHODS = ["plain", "ghost", "renorm", "accumulated", "synchronised"] as const;
export type Method = (typeof METHODS)[number];

/** A layer of the network over one of the package's modules. */
abstract class ModuleNorm implements Norm {
  protected readonly xs: Tensor[] = [];

  constructor(readonly module: BatchNorm) {}

  abstract forward(h: Micro): Promise<Micro>;
  abstract backward(dy: Micro): Promise<Micro>;

  async gradients(): Promise<Float32Array> {
    const { gammaGrad, betaGrad } = this.module;
    const [gamma, beta] = await Promise.all([gammaGrad!.read(), betaGrad!.read()]);
    return Float32Array.of(...gamma, ...beta);
  }

  #parameters: Float32Array | null = null;

  parameters(): Float32Array {
    const { channels } = this.module;
    return (this.#parameters ??= new Float32Array(2 * channels).fill(1, 0, channels));
  }

  setParameters(values: Float32Array): void {
    const { channels, gamma, beta } = this.module;
    this.#parameters = values;
    gamma!.write(values.subarray(0, channels));
    beta!.write(values.subarray(channels));
  }

  async evaluate(h: Float32Array): Promise<Float32Array> {
    this.module.eval();
    const y = await this.through(h);
    this.module.train();
    return y;
  }

  /** The module's forward as it stands. */
  async through(h: Float32Array): Promise<Float32Array> {
    const x = this.put(h);
    const y = this.module.forward(x);
    const values = await take(y);
    x.destroy();
    return values;
  }

  protected put(values: Float32Array): Tensor {
    const { channels, device } = this.module;
    return tensor(device, values, [values.length / channels, channels]);
  }

  protected forget(): void {
    for (const x of this.xs.splice(0)) x.destroy();
  }
}

async function take(one: Tensor): Promise<Float32Array> {
  const values = await one.read();
  one.destroy();
  return values;
}

/** One batch at a time. */
class BatchModuleNorm extends ModuleNorm {
  async forward([h]: Micro): Promise<Micro> {
    this.forget();
    this.xs.push(this.put(h!));
    return [await take(this.module.forward(this.xs[0]!))];
  }

  async backward([dy]: Micro): Promise<Micro> {
    const given = this.put(dy!);
    const dx = await take(this.module.backward(given));
    given.destroy();
    return [dx];
  }
}

class AccumulatedNorm extends ModuleNorm {
  declare readonly module: AccumulatedBatchNorm;

  async forward(h: Micro): Promise<Micro> {
    this.forget();
    this.xs.push(...h.map((each) => this.put(each)));
    for (const x of this.xs) this.module.observe(x);
    return Promise.all(this.xs.map((x) => take(this.module.forward(x))));
  }

  async backward(dy: Micro): Promise<Micro> {
    const dys = dy.map((each) => this.put(each));
    dys.forEach((each, i) => this.module.observeGradient(each, { x: this.xs[i]! }));
    const dx = dys.map((each, i) => this.module.backward(each, { x: this.xs[i]! }));
    const values = await Promise.all(dx.map(take));
    for (const each of dys) each.destroy();
    return values;
  }
}

class SynchronisedNorm extends ModuleNorm {
  readonly #sync: SyncBatchNorm;

  constructor(module: BatchNorm, communicator: Communicator, name: string) {
    super(module);
    this.#sync = new SyncBatchNorm(module, communicator, { name });
  }

  async forward([h]: Micro): Promise<Micro> {
    this.forget();
    this.xs.push(this.put(h!));
    return [await take(await this.#sync.forward(this.xs[0]!))];
  }

  async backward([dy]: Micro): Promise<Micro> {
    const given = this.put(dy!);
    const dx = await take(await this.#sync.backward(given));
    given.destroy();
    return [dx];
  }
}

/** A layer of so many channels by a method; `size` digits share statistics, or stand on one device. */
export function normOf(
  method: Method,
  device: GPUDevice,
  channels: number,
  size: number,
  sync?: { communicator: Communicator; name: string },
): ModuleNorm {
  const options = { activation: "relu", singleValue: "zero" } as const;
  switch (method) {
    case "plain":
      return new BatchModuleNorm(new BatchNorm1d(device, channels, options));
    case "ghost":
      return new BatchModuleNorm(
        new ExtendedBatchNorm(device, channels, { ...options, virtualBatchSize: size }),
      );
    case "renorm": {
      // The paper's ramp, shortened with the training: no correction at first, r to 3 and d to 5 at the end.
      const batches = SAMPLES / size;
      const corner = (share: number, value: number) => [share * batches, value] as const;
      const renormClipping = {
        rMax: [corner(0.05, 1), corner(0.4, 3)],
        rMin: [corner(0.05, 1), corner(0.4, 1 / 3)],
        dMax: [corner(0.05, 0), corner(0.25, 5)],
      };
      return new BatchModuleNorm(
        new ExtendedBatchNorm(device, channels, { ...options, renorm: true, renormClipping }),
      );
    }
    case "accumulated":
      return new AccumulatedNorm(new AccumulatedBatchNorm(device, channels, options));
    case "synchronised":
      return new SynchronisedNorm(
        new BatchNorm1d(device, channels, options),
        sync!.communicator,
        sync!.name,
      );
  }
}

/** Digits that every training sees, with repeats. */
export const SAMPLES = 8000;
/** Digits to train on, and to test on. */
export const TRAIN = 4000;
export const TEST = 2000;
/** Digits of a step where a method sums up smaller batches. */
export const WHOLE = 64;
