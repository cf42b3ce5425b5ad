/**
 * ONNX Runtime Web's GPU tensors as this package's, and back: the same buffer on the same device, without a copy.
 *
 * @packageDocumentation
 */
import { kindOf } from "../arguments.js";
import { BufferError, complain, OptionError, ShapeError } from "../errors.js";
import { requireShape, type Dtype } from "../descriptor.js";
import { remedyFor } from "../remedy.js";
import { requireTensor, Tensor } from "../tensor.js";

/** What is used of a tensor of ONNX Runtime. Its own `Tensor` is one. */
export interface OrtTensor {
  /** "gpu-buffer" for one that lies on the GPU. */
  readonly location: string;
  /** "float32" or "float16" for one that can be taken. */
  readonly type: string;
  /** Its shape. */
  readonly dims: readonly number[];
  /** Only there, and only read, where `location` is "gpu-buffer". */
  readonly gpuBuffer: unknown;
}

/** What is used of ONNX Runtime: the class `Tensor` of whichever of its builds is at work. */
export interface OrtTensorClass<T> {
  /** A tensor over a buffer that stays its owner's. */
  fromGpuBuffer(
    buffer: never,
    options: {
      dataType: "float32" | "float16";
      dims: readonly number[];
      download?: () => Promise<never>;
    },
  ): T;
}

const DTYPES: Readonly<Record<string, Dtype>> = { float32: "f32", float16: "f16" };

/**
 * Views a GPU tensor of ONNX Runtime, so that modules and plans read and write it in place.
 *
 * Order: when `await session.run()` comes back, ONNX Runtime has submitted its commands to the device's queue; what is
 * submitted to that queue afterwards sees their results. A forward without `encoder` is submitted at once. A caller's
 * encoder must be submitted before the next `run` that uses what it writes.
 *
 * Ownership: the buffer stays ONNX Runtime's. `destroy()` on the view frees nothing; after `dispose()` of the ONNX
 * tensor, ONNX Runtime gives the buffer to its next tensor, and the view must not be used any more.
 *
 * @param device ONNX Runtime's own: `await ort.env.webgpu.device` once a session exists, or the one that was passed to it.
 * @param shape the tensor's own unless given: another of as many values, such as `[N, C, L]` for a `[N, C]` module.
 * @throws OptionError where it is no such tensor; BufferError where the tensor is not on the GPU; ShapeError where its type is not float32 or float16, or a shape
 * has another number of values.
 * @example
 * ```ts
 * import * as ort from "onnxruntime-web/webgpu";
 * import { BatchNorm2d } from "webgpu-batchnorm";
 * import { fromOrt, toOrt } from "webgpu-batchnorm/ort";
 * declare const conv: ort.InferenceSession, head: ort.InferenceSession, image: ort.Tensor, bn: BatchNorm2d;
 * const { features } = await conv.run({ image }); // preferredOutputLocation: "gpu-buffer"
 * const x = fromOrt(await ort.env.webgpu.device, features!);
 * bn.forward(x, { out: x }); // in place, in evaluation
 * const { scores } = await head.run({ features: toOrt(ort.Tensor, x) });
 * features!.dispose(); // only now
 * ```
 * @see https://onnxruntime.ai/docs/tutorials/web/ep-webgpu.html
 */
export function fromOrt(
  device: GPUDevice,
  tensor: OrtTensor,
  shape: readonly number[] = (tensor as OrtTensor | undefined)?.dims ?? [],
): Tensor {
  const subject = "fromOrt";
  const { location, dims } = Object(tensor) as Partial<OrtTensor>;
  if (typeof location !== "string" || !Array.isArray(dims)) {
    const remedy = remedyFor(tensor, "pass the device, then an output of session.run()");
    throw new OptionError(complain(subject, "a tensor of ONNX Runtime", kindOf(tensor), remedy));
  }
  requireSizes(`${subject}: shape`, shape);
  if (tensor.location !== "gpu-buffer") {
    throw new BufferError(
      complain(
        subject,
        'a tensor at location "gpu-buffer"',
        `one at "${tensor.location}"`,
        'create the session with preferredOutputLocation: "gpu-buffer"; an empty tensor is never on the GPU',
      ),
    );
  }
  const dtype = Object.hasOwn(DTYPES, tensor.type) ? DTYPES[tensor.type] : undefined;
  if (!dtype) {
    throw new ShapeError(
      complain(`${subject}: type`, "float32 or float16", tensor.type, "cast it in the model"),
    );
  }
  const size = (sizes: readonly number[]): number => sizes.reduce((a, b) => a * b, 1);
  if (size(shape) !== size(tensor.dims)) {
    throw new ShapeError(
      complain(
        `${subject}: shape`,
        `${size(tensor.dims)} values ([${tensor.dims.join(", ")}])`,
        `${size(shape)} ([${shape.join(", ")}])`,
        "pass another shape of as many",
      ),
    );
  }
  return Tensor.wrap(device, tensor.gpuBuffer as GPUBuffer, shape, { dtype });
}

/**
 * Views a tensor as one of ONNX Runtime, to feed to a session or to have its output written to. `getData()` of it reads the
 * tensor back.
 *
 * Ownership: the buffer stays whose it was. `dispose()` on the view frees nothing; the tensor must live until the `run` that
 * uses the view has come back.
 *
 * @param Class `ort.Tensor` of the build that the session is of.
 * @param dims the tensor's shape unless given: another of as many values.
 * @throws OptionError where arguments are of another kind; ShapeError where the tensor is bf16 (ONNX Runtime has no such
 * GPU tensors) or `dims` are no whole numbers or of another number of values; BufferError where it does not begin at its
 * buffer's start, which ONNX Runtime always does, or the buffer has no room for whole 16 bytes, in which ONNX Runtime
 * copies; DestroyedError.
 * @example
 * ```ts
 * import * as ort from "onnxruntime-web/webgpu";
 * import { tensor } from "webgpu-batchnorm";
 * import { toOrt } from "webgpu-batchnorm/ort";
 * declare const session: ort.InferenceSession;
 * const x = tensor(await ort.env.webgpu.device, new Float32Array(12), [1, 3, 2, 2]);
 * const results = await session.run({ x: toOrt(ort.Tensor, x) });
 * ```
 */
export function toOrt<T>(
  Class: OrtTensorClass<T>,
  tensor: Tensor,
  dims: readonly number[] = (tensor as Tensor | undefined)?.shape ?? [],
): T {
  const subject = "toOrt";
  if (typeof (Class as Partial<OrtTensorClass<T>> | undefined)?.fromGpuBuffer !== "function") {
    const remedy = "pass the class ort.Tensor, then the tensor";
    throw new OptionError(complain(subject, "ort.Tensor", kindOf(Class), remedy));
  }
  requireTensor(subject, tensor);
  requireSizes(`${subject}: dims`, dims);
  const remedy = "pass other dims of as many";
  requireShape(`${subject}: dims`, dims, remedy);
  if (tensor.dtype === "bf16") {
    throw new ShapeError(
      complain(`${subject}: dtype`, "f32 or f16", "bf16", "store it as f16 or f32"),
    );
  }
  if (tensor.offset !== 0) {
    throw new BufferError(
      complain(
        subject,
        "a tensor at the start of its buffer",
        `one ${tensor.offset} bytes into it`,
        "copy it to a buffer of its own: ONNX Runtime takes no offset",
      ),
    );
  }
  const copied = Math.ceil(tensor.byteLength / 16) * 16;
  if (tensor.buffer.size < copied) {
    throw new BufferError(
      complain(
        subject,
        `a buffer of ${copied} bytes, for ONNX Runtime copies 16 at a time`,
        `${tensor.buffer.size}`,
        "make it as large, or let tensor() or Tensor.empty() make it",
      ),
    );
  }
  const size = dims.reduce((a, b) => a * b, 1);
  if (size !== tensor.size) {
    throw new ShapeError(
      complain(
        `${subject}: dims`,
        `${tensor.size} values ([${tensor.shape.join(", ")}])`,
        `${size} ([${dims.join(", ")}])`,
        remedy,
      ),
    );
  }
  return Class.fromGpuBuffer(tensor.buffer as never, {
    dataType: tensor.dtype === "f32" ? "float32" : "float16",
    dims,
    download: () => download(tensor),
  });
}

/** @throws OptionError where a shape is no list. */
function requireSizes(subject: string, shape: readonly number[]): void {
  if (Array.isArray(shape)) return;
  throw new OptionError(complain(subject, "a list of sizes", kindOf(shape), "pass [n, c, h, w]"));
}

/** The values in the array that ONNX Runtime takes for a type. */
async function download(tensor: Tensor): Promise<never> {
  if (tensor.dtype === "f32") return (await tensor.read()) as never;
  const Half =
    (globalThis as { Float16Array?: new (bytes: ArrayBuffer) => object }).Float16Array ??
    Uint16Array;
  return new Half(await tensor.readRaw()) as never;
}
