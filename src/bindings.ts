import { kindOf, requireKnown } from "./arguments.js";
import {
  extentOf,
  OPTIONS,
  requireDtype,
  resolveOptions,
  type BatchNormOptions,
  type Dtype,
  type Extent,
} from "./descriptor.js";
import { USAGE } from "./device.js";
import type { Tuning } from "./dispatch/tuning.js";
import { BufferError, complain, OverlapError } from "./errors.js";
import type { BindingName, CoreBindingName } from "./kernels.js";
import type { Limits } from "./plan.js";
import { bindingOf, requireLike, tensorBytes, type Tensor } from "./tensor.js";

/** What a plan binds: a whole buffer, a range of one, or a tensor. */
export type Resource = GPUBuffer | GPUBufferBinding | Tensor;

/** By what it alone has: who binds buffers does not load the class. */
export function isTensor(resource: Resource | undefined): resource is Tensor {
  return Object(resource) === resource && "touch" in resource!;
}

/** What `createForward` and its siblings take. */
export interface PlanDescriptor extends BatchNormOptions {
  /** Shape of x: rank 2 to 5. */
  shape: readonly number[];
  /** Default "f32". */
  dtype?: Dtype | undefined;
  /** Overrides of the tuning table, for sweeps. */
  tuning?: Partial<Tuning> | undefined;
  /** Lowers the device's limits, for tests. */
  limits?: Limits | undefined;
}

/** Names that every descriptor has. */
export const PLAN_OPTIONS: readonly string[] = [...OPTIONS, "shape", "dtype", "tuning", "limits"];

/** Names that a descriptor of some plan of the core has besides. */
const CORE_OPTIONS = "residual,save,invertible,mode,wants,residualGrad,accumulate,from".split(",");

/** Bytes of every buffer that a plan of this descriptor binds. */
export type ByteSizes = Readonly<Record<Exclude<CoreBindingName, "partials">, number>>;

/** Every part of the state buffer starts at a multiple of this, so that each can be bound on its own. */
const STATE_ALIGNMENT = 256;

/** Byte offsets of running mean, running variance and batch counter (u64, low word first) in the `state` buffer. */
export interface StateLayout {
  /** Where the running mean begins, `[C]` f32. */
  readonly mean: number;
  /** Where the running variance begins, `[C]` f32. */
  readonly variance: number;
  /** Where the number of batches begins: 64 bits, the low word first. */
  readonly counter: number;
  /** Of all of it. */
  readonly bytes: number;
}

/** Where the parts of a `state` buffer for so many channels stand. */
export function stateLayout(channels: number): StateLayout {
  const part = Math.ceil((channels * 4) / STATE_ALIGNMENT) * STATE_ALIGNMENT;
  return { mean: 0, variance: part, counter: 2 * part, bytes: 2 * part + 16 };
}

/**
 * Bytes that each buffer of a plan needs at least.
 *
 * x, y, dy, dx, residual, dResidual: the tensor, in whole 32-bit words. gamma, beta, dGamma, dBeta:
 * `[C]` f32. saved: what a forward leaves for its backward. state: see {@link stateLayout}.
 *
 * @param descriptor of any plan of the core.
 * @throws ShapeError on a bad shape; OptionError on a name that no descriptor has.
 * @example
 * ```ts
 * const sizes = byteSizes({ shape: [32, 64, 56, 56] });
 * sizes.gamma; // 256
 * ```
 */
export function byteSizes(descriptor: PlanDescriptor): ByteSizes {
  const subject = "byteSizes";
  requireKnown(subject, descriptor, [...PLAN_OPTIONS, ...CORE_OPTIONS]);
  const extent = extentOf(subject, descriptor.shape, resolveOptions(subject, descriptor).layout);
  return sizesOf(extent, requireDtype(subject, descriptor.dtype ?? "f32"));
}

/** {@link byteSizes} of what has been checked. */
export function sizesOf(extent: Extent, dtype: Dtype): ByteSizes {
  const data = tensorBytes(extent.size, dtype);
  const perChannel = extent.channels * 4;
  return {
    x: data,
    y: data,
    dy: data,
    dx: data,
    residual: data,
    dResidual: data,
    gamma: perChannel,
    beta: perChannel,
    dGamma: perChannel,
    dBeta: perChannel,
    saved: 5 * perChannel,
    state: stateLayout(extent.channels).bytes,
  };
}

/** A checked range of a buffer. */
export interface Range {
  readonly buffer: GPUBuffer;
  readonly offset: number;
  readonly size: number;
}

/** What a binding is checked against. */
export interface Need {
  readonly name: BindingName;
  readonly bytes: number;
  /** For the message: what the bytes are, such as `64 channels, f32`. */
  readonly what: string;
  readonly dtype: Dtype;
  /** null where any shape of that size will do. */
  readonly shape: readonly number[] | null;
  /** What is done with the buffer. Default "STORAGE": it is bound. */
  readonly usage?: "STORAGE" | "COPY_SRC";
}

/**
 * Checks one resource.
 *
 * @throws BufferError, ShapeError, DestroyedError, DeviceLostError: what is wrong and how to mend it.
 */
export function rangeOf(
  device: GPUDevice,
  operation: string,
  need: Need,
  resource: Resource | undefined,
): Range {
  const subject = `${operation}: ${need.name}`;
  if (isTensor(resource)) {
    resource.requireUsable(subject);
    requireLike(subject, resource, { ...need, device, whose: "plan" });
  }
  const range = bindingOf(resource);
  if (!range) {
    throw new BufferError(
      complain(
        subject,
        "a buffer, a binding or a tensor",
        kindOf(resource),
        `pass ${need.name} to encode()`,
      ),
    );
  }
  const { buffer, offset } = range;
  const room = Math.min(range.size, buffer.size - offset);
  const { usage = "STORAGE" } = need;
  const [alignment, limit] =
    usage === "STORAGE"
      ? [device.limits.minStorageBufferOffsetAlignment, " (minStorageBufferOffsetAlignment)"]
      : [4, ""];
  if (!(Number.isSafeInteger(offset) && offset >= 0 && offset % alignment === 0)) {
    throw new BufferError(
      complain(
        subject,
        `an offset divisible by ${alignment}${limit}`,
        `${offset}`,
        "align the range in its buffer",
      ),
    );
  }
  if (!(room >= need.bytes)) {
    throw new BufferError(
      complain(
        subject,
        `needs ${need.bytes} bytes (${need.what})`,
        `${Math.max(0, room)}`,
        `byteSizes(descriptor).${need.name} tells the size`,
      ),
    );
  }
  if ((buffer.usage & USAGE[usage]) === 0) {
    throw new BufferError(
      complain(
        subject,
        `usage GPUBufferUsage.${usage}`,
        `0x${buffer.usage.toString(16)}`,
        "add the flag where the buffer is created",
      ),
    );
  }
  return { buffer, offset, size: Math.max(4, need.bytes) };
}

function isBinding(resource: Resource | undefined): resource is GPUBufferBinding {
  return Object(resource) === resource && "buffer" in resource! && !isTensor(resource);
}

/** A resource as it is now: a binding is an object of the caller's, who may change it. */
export function remembered(resource: Resource | undefined): Resource | undefined {
  if (!isBinding(resource)) return resource;
  const { buffer, offset, size } = resource;
  return { buffer, offset, size } as GPUBufferBinding;
}

/** Whether a resource that was found good and remembered is what is given now, and still good. */
export function isUnchanged(known: Resource | undefined, given: Resource | undefined): boolean {
  if (known === given) return !isTensor(known) || !known.destroyed;
  return (
    isBinding(known) &&
    isBinding(given) &&
    known.buffer === given.buffer &&
    known.offset === given.offset &&
    known.size === given.size
  );
}

/** Whether both name the same bytes. */
export function isSameRange(a: Resource, b: Resource | undefined): boolean {
  const [one, other] = [a, b].map(bindingOf);
  return one?.buffer === other?.buffer && one?.offset === other?.offset;
}

/**
 * An output may not overlap any other range of the same call. Inputs may overlap each other, but not in a buffer that
 * an output is in too: all of that buffer's bindings are writable then, and WebGPU lets no two of these overlap.
 *
 * @throws OverlapError naming both.
 */
export function requireDisjoint(
  operation: string,
  ranges: ReadonlyMap<BindingName, Range>,
  outputs: readonly BindingName[],
): void {
  const written = new Set(outputs.map((output) => ranges.get(output)?.buffer));
  for (const output of new Set([...outputs, ...ranges.keys()])) {
    const mine = ranges.get(output);
    if (!mine || !written.has(mine.buffer)) continue;
    for (const [name, other] of ranges) {
      if (name === output || other.buffer !== mine.buffer) continue;
      if (mine.offset < other.offset + other.size && other.offset < mine.offset + mine.size) {
        throw new OverlapError(
          complain(
            `${operation}: ${output}`,
            "a range of its own",
            `bytes ${mine.offset} to ${mine.offset + mine.size}, which overlap ${name} (${other.offset} to ${other.offset + other.size})`,
            "use another buffer or disjoint ranges",
          ),
        );
      }
    }
  }
}
