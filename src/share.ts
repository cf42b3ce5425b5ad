import { kindOf } from "./arguments.js";
import { complain, OptionError } from "./errors.js";
import { remedyFor } from "./remedy.js";

/** What a library finds out about a GPU before it asks for a device: that of the device which there is. */
function adapterOf(device: GPUDevice): GPUAdapter {
  return {
    features: device.features,
    limits: device.limits,
    info: device.adapterInfo,
    isFallbackAdapter: false,
    requestDevice: () => Promise.resolve(device),
  } as unknown as GPUAdapter;
}

/**
 * Lets libraries that ask `navigator.gpu` for a device (TensorFlow.js, ONNX Runtime Web) work on this very one, in
 * Node, which has no `navigator.gpu`. Call it before they are imported: some look when they load. What they
 * compute is then on the same device as what this package computes, and nothing has to be copied.
 *
 * Adds `navigator` and `navigator.gpu` to the global scope where they are absent, and sets
 * `navigator.gpu.requestAdapter`. In Node the device's `queue.writeBuffer` takes shared memory from then on, which is copied.
 * The device stays the caller's; a later call hands out another.
 *
 * @param device to hand out, from {@link requestDevice}.
 * @throws OptionError where it is no device.
 * @example
 * ```ts
 * shareDevice(await requestDevice());
 * const tf = await import("@tensorflow/tfjs");
 * await import("@tensorflow/tfjs-backend-webgpu");
 * await tf.setBackend("webgpu");
 * ```
 */
export function shareDevice(device: GPUDevice): void {
  if (!(device as GPUDevice | undefined)?.queue) {
    const remedy = remedyFor(device, "pass the one that requestDevice() gave");
    throw new OptionError(complain("shareDevice", "a GPUDevice", kindOf(device), remedy));
  }
  const scope = globalThis as unknown as { navigator?: { gpu?: object } };
  if (scope.navigator === undefined) {
    Object.defineProperty(globalThis, "navigator", {
      value: { userAgent: "" },
      configurable: true,
      writable: true,
    });
  }
  const navigator = scope.navigator!;
  if (navigator.gpu === undefined) {
    Object.defineProperty(navigator, "gpu", {
      value: { getPreferredCanvasFormat: () => "bgra8unorm" },
      configurable: true,
    });
  }
  Object.defineProperty(navigator.gpu, "requestAdapter", {
    value: () => Promise.resolve(adapterOf(device)),
    configurable: true,
  });
  if (!("process" in globalThis)) return;
  // Dawn for Node takes no shared memory, which is what ONNX Runtime's heap is.
  const write = device.queue.writeBuffer.bind(device.queue) as (...of: unknown[]) => undefined;
  Object.defineProperty(device.queue, "writeBuffer", {
    value: (
      buffer: GPUBuffer,
      offset: number,
      data: ArrayBufferView | ArrayBufferLike,
      start = 0,
      size?: number,
    ) => {
      const view = ArrayBuffer.isView(data) ? data : new Uint8Array(data);
      if (!(view.buffer instanceof SharedArrayBuffer)) {
        write(buffer, offset, data, start, size);
        return;
      }
      // Of a typed array, start and size count elements.
      const unit = "BYTES_PER_ELEMENT" in view ? (view.BYTES_PER_ELEMENT as number) : 1;
      const whole = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
      const from = start * unit;
      const bytes = size === undefined ? size : size * unit;
      // What lies outside is for Dawn to refuse.
      const inside = from >= 0 && from <= whole.length;
      const end = bytes === undefined ? whole.length : from + bytes;
      const copy = inside ? whole.slice(from, end) : new Uint8Array(0);
      write(buffer, offset, copy, inside ? 0 : from, bytes);
    },
    configurable: true,
  });
}
