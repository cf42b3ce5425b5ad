import { kindOf } from "./arguments.js";
import {
  BatchNormError,
  BufferError,
  CompileError,
  complain,
  DeviceLostError,
  OptionError,
  OutOfMemoryError,
} from "./errors.js";
import { GPU_TUNING, SOFTWARE_TUNING, type Tuning } from "./dispatch/tuning.js";
import {
  HALF_PROBE,
  isWritable,
  labelOf,
  PARAM_WORDS,
  sourceOf,
  type BindingSpec,
  type Variant,
} from "./kernels.js";

// WebGPU's numbers (the specification fixes them), so that nothing here needs its globals.
export const USAGE = {
  MAP_READ: 0x1,
  COPY_SRC: 0x4,
  COPY_DST: 0x8,
  UNIFORM: 0x40,
  STORAGE: 0x80,
} as const;
const MAP_MODE_READ = 0x1;
const STAGE_COMPUTE = 0x4;

/** A compiled variant. */
export interface Kernel {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
  readonly bindings: readonly BindingSpec[];
}

/** The table that suits an adapter, within what the device allows. */
function tuningFor({ adapterInfo, limits }: GPUDevice): Tuning {
  const info = adapterInfo as GPUAdapterInfo | undefined;
  const names = [info?.architecture, info?.device, info?.description].join(" ");
  const keepsOrder = /swiftshader/i.test(names);
  const software =
    keepsOrder ||
    info?.isFallbackAdapter === true ||
    /llvmpipe|lavapipe|warp|basic render/i.test(names);
  const table = software ? SOFTWARE_TUNING : GPU_TUNING;
  const { maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupSizeX } = limits;
  const limit = Math.min(maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupSizeX);
  const most = 2 ** Math.floor(Math.log2(limit));
  const workgroupSize = Math.min(table.workgroupSize, most);
  return {
    ...table,
    workgroupSize,
    maxTeam: Math.min(table.maxTeam, workgroupSize),
    maxHeldTeam: Math.min(table.maxHeldTeam, most),
    fence: !keepsOrder,
  };
}

/**
 * What the package keeps per device: compiled pipelines, and what went wrong on it since.
 * It sets no handler on the device and keeps it alive no longer than its owner does.
 */
export class DeviceState {
  lost: DeviceLostError | null = null;
  readonly tuning: Tuning;
  #kernels = new Map<string, Kernel | Promise<Kernel>>();
  #layouts = new Map<string, GPUBindGroupLayout>();
  #failure: BatchNormError | null = null;
  #pending = new Set<Promise<void>>();
  /** Whether the device's conversions of binary16 are known to be IEEE's: kernels made from then on use them. */
  native = false;
  /** Failures so far of memory or of a compiler: what was made before them may be unusable. */
  failures = 0;
  #probing: Promise<void> | null = null;

  constructor(readonly device: GPUDevice) {
    this.tuning = tuningFor(device);
    void device.lost.then((info) => {
      this.lost = new DeviceLostError(
        complain(
          "device",
          "a working GPUDevice",
          `one lost (${info.reason || "unknown"}: ${info.message || "no message"})`,
          "request a new device and make modules and tensors anew",
        ),
      );
      this.#kernels.clear();
    });
  }

  /** @throws DeviceLostError once the device is known to be lost. */
  requireAlive(subject: string): void {
    if (this.lost) throw new DeviceLostError(`${subject}: ${this.lost.message}`);
  }

  /** Changes when plans and buffers of our own are worth making anew. */
  get generation(): number {
    return this.failures + Number(this.native);
  }

  /** Notes an error that came after the call which caused it. */
  fail(error: BatchNormError): void {
    const isCause = error instanceof OutOfMemoryError || error instanceof CompileError;
    // It says more than the commands that it made invalid, whichever is told first.
    if (!this.#failure || (isCause && this.#failure instanceof BufferError)) this.#failure = error;
    if (isCause) this.failures += 1;
  }

  /** Watches a promise whose failure belongs to this device. */
  watch(promise: Promise<unknown>): void {
    const done = promise.then(
      () => undefined,
      (error: unknown) => {
        this.fail(error instanceof BatchNormError ? error : new BatchNormError(String(error)));
      },
    );
    this.#pending.add(done);
    void done.then(() => this.#pending.delete(done));
  }

  /** Watches an error scope around work of our own. */
  watchScope(subject: string, scope: Promise<GPUError | null>): void {
    this.watch(
      scope.then(
        (error) => {
          if (error && !this.lost) {
            throw new BufferError(
              complain(
                subject,
                "commands that the device accepts",
                `"${error.message}"`,
                "check that no buffer was destroyed or mapped",
              ),
            );
          }
        },
        () => undefined,
      ),
    );
  }

  /** Waits for what may fail late and has been started; rejects with the first failure. */
  async pending(): Promise<void> {
    await Promise.all(this.#pending);
    this.rethrow();
  }

  /** Waits for the queue and for everything that may fail late; rejects with the first failure. */
  async settle(): Promise<void> {
    await Promise.all(this.#pending);
    if (!this.lost) {
      await this.device.queue.onSubmittedWorkDone().catch(() => undefined);
      await Promise.resolve();
    }
    this.rethrow();
  }

  /** @throws the device's loss or the first late failure, which is then forgotten. */
  rethrow(): void {
    if (this.lost) throw this.lost;
    const failure = this.#failure;
    this.#failure = null;
    if (failure) throw failure;
  }

  /**
   * Finds out, once, whether the device's own conversions of binary16 are IEEE's. Kernels made before that is known do
   * with integers what they cannot be sure of; the results are the same.
   */
  #probe(): Promise<void> {
    return (this.#probing ??= probeHalves(this).then(
      (found) => {
        this.native = found;
      },
      // It stays unknown.
      () => undefined,
    ));
  }

  #withConversion(variant: Variant): Variant {
    return this.native && convertsHalves(variant) ? { ...variant, native: true } : variant;
  }

  /** The kernel of a variant, compiled now where it is not there yet. */
  kernelSync(asked: Variant): Kernel {
    if (convertsHalves(asked)) void this.#probe();
    const variant = this.#withConversion(asked);
    const key = JSON.stringify(variant);
    const ready = this.#kernels.get(key);
    if (ready && !(ready instanceof Promise)) return ready;
    const { pipeline, module, error, ...rest } = this.#begin(variant, (descriptor) =>
      this.device.createComputePipeline(descriptor),
    );
    this.watch(
      error.then(async (found) => {
        if (found && !this.lost) {
          this.#kernels.delete(key);
          throw await compileError(variant, module, found.message);
        }
      }),
    );
    const kernel = { pipeline, ...rest };
    this.#kernels.set(key, kernel);
    return kernel;
  }

  /** The kernel of a variant, compiled in the background. */
  async kernel(asked: Variant): Promise<Kernel> {
    if (convertsHalves(asked)) await this.#probe();
    const variant = this.#withConversion(asked);
    const key = JSON.stringify(variant);
    const ready = this.#kernels.get(key);
    if (ready) return ready;
    const { pipeline, module, error, ...rest } = this.#begin(variant, (descriptor) =>
      this.device
        .createComputePipelineAsync(descriptor)
        .catch((reason: unknown) => reason as Error),
    );
    const compiled = Promise.all([pipeline, error]).then(async ([made, found]): Promise<Kernel> => {
      if (this.lost) throw this.lost;
      if (!found && !(made instanceof Error)) return { pipeline: made, ...rest };
      throw await compileError(variant, module, (found ?? (made as Error)).message);
    });
    this.#kernels.set(key, compiled);
    void compiled.then(
      (kernel) => this.#kernels.set(key, kernel),
      () => this.#kernels.delete(key),
    );
    return compiled;
  }

  /** Begins a variant's pipeline; `error` settles with what the device has against it. */
  #begin<P>(
    variant: Variant,
    create: (descriptor: GPUComputePipelineDescriptor) => P,
  ): Omit<Kernel, "pipeline"> & {
    pipeline: P;
    module: GPUShaderModule;
    error: Promise<GPUError | null>;
  } {
    const { device } = this;
    // A driver's own compiler fails with an internal error, and not every implementation rejects.
    device.pushErrorScope("internal");
    device.pushErrorScope("validation");
    const { bindings } = variant.kernel.specOf(variant);
    const label = `bn.${labelOf(variant)}`;
    const module = device.createShaderModule({ label, code: sourceOf(variant).code });
    const types = bindings.map((binding) => isWritable(binding, variant));
    const key = types.map(Number).join("");
    let layout = this.#layouts.get(key);
    if (!layout) {
      layout = device.createBindGroupLayout({
        label: `bn.layout[${key}]`,
        entries: [
          { binding: 0, visibility: STAGE_COMPUTE, buffer: { type: "uniform" } },
          ...types.map((writable, index) => ({
            binding: index + 1,
            visibility: STAGE_COMPUTE,
            buffer: { type: writable ? ("storage" as const) : ("read-only-storage" as const) },
          })),
        ],
      });
      this.#layouts.set(key, layout);
    }
    const pipeline = create({
      label,
      layout: device.createPipelineLayout({ label, bindGroupLayouts: [layout] }),
      compute: { module, entryPoint: "main" },
    });
    const scopes = [device.popErrorScope(), device.popErrorScope()];
    const error = Promise.all(scopes.map((scope) => scope.catch(() => null))).then(
      ([invalid, internal]) => invalid ?? internal ?? null,
    );
    return { pipeline, module, layout, bindings, error };
  }
}

/** Whether a variant would make use of a device's own conversions. */
function convertsHalves({ dtype }: Variant): boolean {
  return dtype === "f16";
}

/** Lets a device try its conversions, see `shaders/lib/half_probe.wgsl`. */
async function probeHalves(state: DeviceState): Promise<boolean> {
  const { device } = state;
  const { pipeline, layout } = await state.kernel(HALF_PROBE);
  const buffer = (size: number, usage: number): GPUBuffer =>
    device.createBuffer({ label: "bn.half_probe", size, usage });
  const params = buffer(4 * PARAM_WORDS, USAGE.UNIFORM);
  const found = buffer(16, USAGE.STORAGE | USAGE.COPY_SRC);
  const staging = buffer(16, USAGE.MAP_READ | USAGE.COPY_DST);
  try {
    const encoder = device.createCommandEncoder({ label: "bn.half_probe" });
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(
      0,
      device.createBindGroup({
        layout,
        entries: [params, found].map((each, binding) => ({ binding, resource: { buffer: each } })),
      }),
    );
    pass.dispatchWorkgroups(65536 / 64);
    pass.end();
    encoder.copyBufferToBuffer(found, 0, staging, 0, 16);
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(MAP_MODE_READ);
    const [differs, ran] = new Uint32Array(staging.getMappedRange());
    return differs === 0 && ran === 1;
  } finally {
    for (const each of [params, found, staging]) each.destroy();
  }
}

async function compileError(
  variant: Variant,
  module: GPUShaderModule,
  message: string,
): Promise<CompileError> {
  const source = sourceOf(variant);
  const { getCompilationInfo } = module as Partial<GPUShaderModule>;
  const info = await getCompilationInfo?.call(module).catch(() => null);
  const lines = (info?.messages ?? [])
    .filter((each) => each.type === "error")
    .map((each) => `${source.where(each.lineNum)}: ${each.message}`);
  return new CompileError(
    complain(
      `bn.${labelOf(variant)}`,
      "a shader that compiles",
      lines.length > 0 ? lines.join("; ") : message,
      "please report it with the adapter's name",
    ),
  );
}

const states = new WeakMap<GPUDevice, DeviceState>();

/** @throws OptionError where it is no device. */
export function requireDevice(device: GPUDevice): void {
  const given = device as Partial<GPUDevice & PromiseLike<GPUDevice>> | undefined;
  if (given?.queue && given.lost) return;
  throw new OptionError(
    complain(
      "device",
      "a GPUDevice",
      kindOf(given),
      given?.then ? "await it" : "pass the one that requestDevice() gave",
    ),
  );
}

/** The package's state of a device. */
export function stateOf(device: GPUDevice): DeviceState {
  let state = states.get(device);
  if (!state) {
    requireDevice(device);
    state = new DeviceState(device);
    states.set(device, state);
  }
  return state;
}

/** @throws BufferError where a device's limit is too low, and less of `what` would help. */
export function requireWithin(
  { limits }: GPUDevice,
  limit: "maxBufferSize" | "maxStorageBufferBindingSize",
  subject: string,
  bytes: number,
  what: string,
): void {
  const most = limits[limit];
  if (bytes <= most) return;
  throw new BufferError(
    complain(
      subject,
      `at most ${most} bytes (${limit})`,
      `${bytes}`,
      `request the device with a higher limit, or split the ${what}`,
    ),
  );
}

/**
 * Creates a buffer. Too large for the device is an error now; no memory left is one later, through
 * `read()`, `prepare()` and `status()`.
 *
 * @param fill writes into its zeros what it begins with; called once the size is known to be right.
 * @throws BufferError above `maxBufferSize`; DeviceLostError on a lost device.
 */
export function createBuffer(
  device: GPUDevice,
  subject: string,
  bytes: number,
  usage: number,
  fill?: (zeros: ArrayBuffer) => void,
): GPUBuffer {
  const state = stateOf(device);
  state.requireAlive(subject);
  // Whole vec4s, one at least: ONNX Runtime copies no less.
  const size = Math.max(16, Math.ceil(bytes / 16) * 16);
  requireWithin(device, "maxBufferSize", subject, size, "batch");
  const refused = ({ message }: Pick<Error, "message">): OutOfMemoryError =>
    new OutOfMemoryError(
      complain(
        subject,
        `${size} bytes of memory`,
        `"${message}"`,
        "free tensors, or use a smaller batch",
      ),
    );
  device.pushErrorScope("out-of-memory");
  let buffer: GPUBuffer;
  try {
    buffer = device.createBuffer({
      label: subject,
      size,
      usage,
      mappedAtCreation: fill !== undefined,
    });
  } catch (error) {
    void device.popErrorScope().catch(() => undefined);
    throw refused(error as Error);
  }
  const scope = device.popErrorScope();
  state.watch(
    scope.then(
      (error) => {
        if (error && !state.lost) throw refused(error);
      },
      () => undefined,
    ),
  );
  if (fill) {
    fill(buffer.getMappedRange());
    buffer.unmap();
  }
  return buffer;
}

/** Copies a range of a buffer to the host. */
export async function readBytes(
  device: GPUDevice,
  subject: string,
  buffer: GPUBuffer,
  offset: number,
  bytes: number,
): Promise<ArrayBuffer> {
  const state = stateOf(device);
  state.requireAlive(subject);
  const refused = ({ message }: Pick<Error, "message">): BufferError =>
    new BufferError(
      complain(
        subject,
        "a buffer that can be copied",
        `"${message}"`,
        "check its usage and whether it was destroyed",
      ),
    );
  const aligned = Math.ceil(bytes / 4) * 4;
  const staging = createBuffer(
    device,
    `${subject} (staging)`,
    aligned,
    USAGE.MAP_READ | USAGE.COPY_DST,
  );
  try {
    if (aligned > 0) {
      device.pushErrorScope("validation");
      const encoder = device.createCommandEncoder({ label: `${subject}.read` });
      encoder.copyBufferToBuffer(buffer, offset, staging, 0, aligned);
      device.queue.submit([encoder.finish()]);
      const scope = device.popErrorScope().catch(() => null);
      // An earlier failure (no memory for this very buffer) says more than its consequence.
      await state.pending();
      const error = await scope;
      if (error && !state.lost) throw refused(error);
    }
    try {
      await staging.mapAsync(MAP_MODE_READ);
    } catch (error) {
      await Promise.resolve();
      state.rethrow();
      await state.settle();
      throw refused(error as Error);
    }
    const copy = staging.getMappedRange().slice(0, bytes);
    staging.unmap();
    await state.pending();
    return copy;
  } finally {
    staging.destroy();
  }
}
