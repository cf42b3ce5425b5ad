import { kindOf, requireKnown } from "./arguments.js";
import { createBuffer, readBytes, requireDevice, stateOf, USAGE } from "./device.js";
import { requireDtype, requireShape, type Dtype } from "./descriptor.js";
import { narrowAll, widenAll } from "./half.js";
import { watched } from "./record.js";
import { remedyFor } from "./remedy.js";
import { BufferError, complain, destroyedError, OptionError, ShapeError } from "./errors.js";

/** What a tensor can be made of. A `Uint16Array` holds the bits of 16-bit floats where `raw` says so. */
export type TensorData = ArrayLike<number> & (readonly number[] | ArrayBufferView);

/** Options of {@link tensor} and its relatives. */
export interface TensorOptions {
  /** How the values are stored on the device. Default "f32"; of a tensor that is viewed, its own. */
  dtype?: Dtype | undefined;
  /** Whether a `Uint16Array` holds the bits of 16-bit floats. Default false: numbers are expected. */
  raw?: boolean | undefined;
  /** Shown in WebGPU's messages. */
  label?: string | undefined;
}

const TENSOR_OPTIONS = ["dtype", "raw", "label"];

/** Bytes of one element. */
export function elementBytes(dtype: Dtype): number {
  return dtype === "f32" ? 4 : 2;
}

/** Bytes that a tensor needs in a buffer: whole 32-bit words. */
export function tensorBytes(size: number, dtype: Dtype): number {
  return Math.ceil((size * elementBytes(dtype)) / 4) * 4;
}

/**
 * A shape and a type over a range of a `GPUBuffer`.
 *
 * A tensor from {@link tensor} or {@link Tensor.empty} owns its buffer, and `destroy()` frees it.
 * One from {@link Tensor.wrap} borrows the buffer, which is never destroyed here.
 */
export class Tensor {
  /** Values: the product of the shape. */
  readonly size: number;
  #destroyed = false;
  #version = 0;

  private constructor(
    /** Whose memory it is. */
    readonly device: GPUDevice,
    /** What holds it, from `offset` on. */
    readonly buffer: GPUBuffer,
    /** Where the tensor begins in its buffer, in bytes. */
    readonly offset: number,
    /** Row-major. */
    readonly shape: readonly number[],
    /** How a value is stored. */
    readonly dtype: Dtype,
    /** Whether `destroy()` frees the buffer: not one that was wrapped. */
    readonly ownsBuffer: boolean,
  ) {
    this.size = shape.reduce((a, b) => a * b, 1);
  }

  /** Bytes it takes in its buffer. */
  get byteLength(): number {
    return tensorBytes(this.size, this.dtype);
  }

  /** True after `destroy()`. */
  get destroyed(): boolean {
    return this.#destroyed;
  }

  /** Grows whenever this package writes into it by this tensor; another tensor on the same bytes has its own. */
  get version(): number {
    return this.#version;
  }

  /** @internal */
  touch(): void {
    this.#version += 1;
  }

  /**
   * Views somebody else's buffer, a range of it, or a tensor's, without a copy. The buffer stays theirs.
   *
   * @throws BufferError where it is none, or the range is too short, misaligned or outside the buffer.
   * @example
   * ```ts
   * const rows = Tensor.wrap(device, x, [32, 64 * 7 * 7]); // x of [32, 64, 7, 7] in another shape
   * ```
   */
  static wrap(
    device: GPUDevice,
    source: Tensor | GPUBuffer | GPUBufferBinding,
    shape: readonly number[],
    options: TensorOptions = {},
  ): Tensor {
    requireDevice(device);
    requireKnown("Tensor.wrap", options, TENSOR_OPTIONS);
    const viewed = source instanceof Tensor ? source : null;
    viewed?.requireUsable("Tensor.wrap");
    if (viewed) requireSameDevice("Tensor.wrap", viewed, device, "device given");
    const binding = bindingOf(source);
    if (!binding) {
      const remedy = remedyFor(source, "make one with tensor(device, data, shape)");
      throw new BufferError(
        complain("Tensor.wrap", "a buffer, a binding or a tensor", kindOf(source), remedy),
      );
    }
    const { buffer, offset, size } = binding;
    const dtype = requireDtype("Tensor.wrap", options.dtype ?? viewed?.dtype ?? "f32");
    if (!(offset >= 0 && offset % 4 === 0)) {
      throw new BufferError(
        complain(
          "Tensor.wrap",
          "an offset in whole words of 4 bytes",
          `${offset}`,
          "align the range",
        ),
      );
    }
    const made = new Tensor(device, buffer, offset, checkShape("Tensor.wrap", shape), dtype, false);
    const room = Math.min(size, buffer.size - offset);
    if (!(made.byteLength <= room)) {
      throw new BufferError(
        complain(
          "Tensor.wrap",
          `${made.byteLength} bytes ([${shape.join(", ")}], ${dtype})`,
          `${Math.max(0, room)}`,
          "pass a larger buffer or a smaller shape",
        ),
      );
    }
    return made;
  }

  /**
   * A tensor of zeros that owns its buffer.
   *
   * @throws ShapeError on a bad shape; BufferError above the device's `maxBufferSize`.
   */
  static empty(device: GPUDevice, shape: readonly number[], options: TensorOptions = {}): Tensor {
    return make(device, shape, options);
  }

  /** @internal */
  static own(device: GPUDevice, buffer: GPUBuffer, shape: readonly number[], dtype: Dtype): Tensor {
    return new Tensor(device, buffer, 0, shape, dtype, true);
  }

  /** @throws DestroyedError after `destroy()`; DeviceLostError on a lost device. */
  requireUsable(subject: string): void {
    if (this.#destroyed) throw destroyedError(subject, `tensor [${this.shape.join(", ")}]`);
    stateOf(this.device).requireAlive(subject);
  }

  /**
   * The values as numbers, whatever the type on the device: those that it has at the time of the call, whatever
   * happens to it before the promise resolves.
   *
   * Rejects with DestroyedError, DeviceLostError, OutOfMemoryError or BufferError, the last two also for earlier work
   * on this device that has failed since.
   */
  async read(): Promise<Float32Array> {
    const bytes = await this.#bytes("read");
    const { dtype, size } = this;
    if (dtype === "f32") return new Float32Array(bytes, 0, size);
    return widenAll(new Uint16Array(bytes, 0, size), dtype);
  }

  /**
   * The bytes as they stand on the device: 4 or 2 per value, little-endian.
   *
   * Rejects as {@link read}.
   */
  async readRaw(): Promise<ArrayBuffer> {
    const bytes = await this.#bytes("readRaw");
    return bytes.slice(0, this.size * elementBytes(this.dtype));
  }

  /**
   * Replaces all values. What the device has against it, such as a wrapped buffer that was destroyed, is a BufferError
   * of the next {@link read} or `status()`.
   *
   * @throws ShapeError where the number of values differs.
   */
  write(data: TensorData, options: { raw?: boolean | undefined } = {}): void {
    this.requireUsable("write");
    requireKnown("write", options, ["raw"]);
    requireUsage("write", this.buffer, "COPY_DST");
    const bytes = encode("write", data, this.size, this.dtype, options.raw ?? false);
    watched(this.device, "write", () => {
      this.device.queue.writeBuffer(this.buffer, this.offset, bytes);
    });
    this.touch();
  }

  /** The copy is submitted before anything is waited for. */
  async #bytes(subject: string): Promise<ArrayBuffer> {
    this.requireUsable(subject);
    if ((this.buffer.usage & USAGE.COPY_SRC) === 0) {
      // What failed earlier, such as the buffer's own allocation, says more than a missing flag.
      await stateOf(this.device).pending();
      requireUsage(subject, this.buffer, "COPY_SRC");
    }
    return readBytes(this.device, subject, this.buffer, this.offset, this.byteLength);
  }

  /** Frees the buffer if the tensor owns it. Idempotent. */
  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    if (this.ownsBuffer) this.buffer.destroy();
  }
}

/** What was given as a buffer, a range of one or a tensor, as a range; undefined where it is none of these. */
export function bindingOf(given: unknown): Required<GPUBufferBinding> | undefined {
  const {
    buffer = given as GPUBuffer,
    offset = 0,
    size = Infinity,
    byteLength = size,
  } = Object(given) as GPUBufferBinding & Partial<Tensor>;
  const { usage } = Object(buffer) as Partial<GPUBuffer>;
  return usage === undefined ? usage : { buffer, offset, size: byteLength };
}

/** What a tensor has to be like. */
export interface Likeness {
  /** Whose device it must be on, in words. */
  readonly whose: string;
  readonly device: GPUDevice;
  readonly dtype: Dtype;
  /** null where any shape will do. */
  readonly shape: readonly number[] | null;
}

/**
 * Checks one tensor against what it is needed for.
 *
 * @throws OptionError where it is none; DestroyedError, BufferError on another device, ShapeError; DeviceLostError.
 */
export function requireTensor(subject: string, given: Tensor, like?: Likeness): void {
  if (!(given instanceof Tensor)) {
    throw new OptionError(
      complain(
        subject,
        "a Tensor",
        kindOf(given),
        "make one with tensor(device, data, shape) or Tensor.wrap(device, buffer, shape)",
      ),
    );
  }
  given.requireUsable(subject);
  if (like) requireLike(subject, given, like);
}

/** @throws BufferError on another device. */
function requireSameDevice(subject: string, given: Tensor, device: GPUDevice, its: string): void {
  if (given.device === device) return;
  throw new BufferError(
    complain(
      subject,
      `a tensor on the ${its}`,
      "one of another device",
      "make it on the same device",
    ),
  );
}

/** @throws BufferError on another device; ShapeError of another dtype or shape. */
export function requireLike(subject: string, given: Tensor, like: Likeness): void {
  const { device, whose, dtype, shape } = like;
  requireSameDevice(subject, given, device, `${whose}'s device`);
  if (given.dtype !== dtype) {
    throw new ShapeError(
      complain(subject, `dtype ${dtype}`, given.dtype, "make both with the same dtype"),
    );
  }
  if (
    !shape ||
    (given.shape.length === shape.length && shape.every((size, i) => given.shape[i] === size))
  )
    return;
  throw new ShapeError(
    complain(
      subject,
      `shape [${shape.join(", ")}]`,
      `[${given.shape.join(", ")}]`,
      "pass a tensor of that shape",
    ),
  );
}

function requireUsage(subject: string, buffer: GPUBuffer, flag: "COPY_SRC" | "COPY_DST"): void {
  if ((buffer.usage & USAGE[flag]) !== 0) return;
  throw new BufferError(
    complain(
      subject,
      `usage GPUBufferUsage.${flag}`,
      `0x${buffer.usage.toString(16)}`,
      "add the flag where the buffer is created",
    ),
  );
}

function checkShape(subject: string, shape: readonly number[], remedy?: string): readonly number[] {
  requireShape(subject, shape, remedy);
  return Object.freeze([...shape]);
}

/** @throws ShapeError where data is no array of numbers. */
function requireNumbers(subject: string, data: TensorData): void {
  const isList = Array.isArray(data);
  const isTyped = ArrayBuffer.isView(data) && "length" in data && typeof data[0] !== "bigint";
  const wrong = isList ? data.findIndex((each) => typeof each !== "number") : -1;
  if ((isList || isTyped) && wrong < 0) return;
  throw new ShapeError(
    complain(
      subject,
      "an array or a typed array of numbers",
      wrong < 0 ? kindOf(data) : `${kindOf(data[wrong])} at ${wrong}`,
      "convert it first",
    ),
  );
}

/** The bytes of `data` as they stand on the device: whole words. */
function encode(
  subject: string,
  data: TensorData,
  size: number,
  dtype: Dtype,
  raw: boolean,
): Uint8Array<ArrayBuffer> {
  requireNumbers(`${subject}: data`, data);
  if (raw && !(data instanceof Uint16Array && dtype !== "f32")) {
    throw new ShapeError(
      complain(
        `${subject}: raw`,
        "bits of f16 or bf16 in a Uint16Array",
        `${kindOf(data)} for ${dtype}`,
        "say which dtype the bits are of, or leave raw out",
      ),
    );
  }
  if (data.length !== size) {
    throw new ShapeError(
      complain(
        `${subject}: data`,
        `${size} values`,
        `${data.length}`,
        "pass as many as the shape has",
      ),
    );
  }
  if (dtype === "f32") {
    // Dawn for Node writes no shared memory.
    const isOwn = data instanceof Float32Array && data.buffer instanceof ArrayBuffer;
    const values = isOwn ? (data as Float32Array<ArrayBuffer>) : new Float32Array(data);
    return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  }
  if (data instanceof Uint16Array && !raw) {
    throw new ShapeError(
      complain(
        `${subject}: data`,
        `numbers to be stored as ${dtype}`,
        "a Uint16Array",
        "say { raw: true } if it holds the bits, or pass numbers",
      ),
    );
  }
  const halves = new Uint16Array(Math.ceil(size / 2) * 2);
  if (raw) halves.set(data);
  else narrowAll(data, dtype, halves);
  return new Uint8Array(halves.buffer);
}

function make(
  device: GPUDevice,
  shape: readonly number[],
  options: TensorOptions,
  contents?: Uint8Array,
): Tensor {
  requireKnown("tensor", options, TENSOR_OPTIONS);
  const dtype = requireDtype("tensor", options.dtype ?? "f32");
  const sizes = checkShape("tensor", shape);
  const size = sizes.reduce((a, b) => a * b, 1);
  const buffer = createBuffer(
    device,
    options.label ?? `tensor[${sizes.join(", ")}]`,
    tensorBytes(size, dtype),
    USAGE.STORAGE | USAGE.COPY_SRC | USAGE.COPY_DST,
    contents && ((zeros) => new Uint8Array(zeros).set(contents)),
  );
  return Tensor.own(device, buffer, sizes, dtype);
}

/**
 * Puts numbers on the device.
 *
 * @param data as many numbers as the shape has, row-major (the last dimension fastest).
 * @returns a tensor that the caller owns.
 * Numbers are rounded to the nearest value of `dtype` (ties to even).
 * @throws ShapeError where data and shape disagree; BufferError where it is too large for the device.
 * @example
 * ```ts
 * const x = tensor(device, new Float32Array(32 * 64), [32, 64]);
 * ```
 */
export function tensor(
  device: GPUDevice,
  data: TensorData,
  shape: readonly number[],
  options: TensorOptions = {},
): Tensor {
  requireKnown("tensor", options, TENSOR_OPTIONS);
  requireDevice(device);
  const size = checkShape("tensor", shape, "tensor(device, data, shape) is the order").reduce(
    (a, b) => a * b,
    1,
  );
  const dtype = requireDtype("tensor", options.dtype ?? "f32");
  const contents = encode("tensor", data, size, dtype, options.raw ?? false);
  return make(device, shape, options, contents);
}
