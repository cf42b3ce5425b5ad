/**
 * Bytes of buffers that one candidate works with: those that were created or bound since {@link mark} and have not
 * been destroyed. Libraries keep freed buffers for reuse, so that counting creations alone would miss some.
 */
export class BufferMeter {
  #active = new Set<GPUBuffer>();
  #bytes = 0;
  #most = 0;

  /** Watches this device from now on. */
  constructor(device: GPUDevice) {
    const createBuffer = device.createBuffer.bind(device);
    Object.defineProperty(device, "createBuffer", {
      configurable: true,
      writable: true,
      value: (descriptor: GPUBufferDescriptor): GPUBuffer => {
        const buffer = createBuffer(descriptor);
        // Staging memory of uploads and readbacks is no part of what an operation holds.
        if ((descriptor.usage & (MAP_READ | MAP_WRITE)) !== 0) return buffer;
        this.#use(buffer);
        const destroy = buffer.destroy.bind(buffer);
        Object.defineProperty(buffer, "destroy", {
          configurable: true,
          value: () => {
            if (this.#active.delete(buffer)) this.#bytes -= buffer.size;
            destroy();
          },
        });
        return buffer;
      },
    });
    const createBindGroup = device.createBindGroup.bind(device);
    Object.defineProperty(device, "createBindGroup", {
      configurable: true,
      writable: true,
      value: (descriptor: GPUBindGroupDescriptor): GPUBindGroup => {
        for (const { resource } of descriptor.entries) {
          if ("buffer" in resource) this.#use(resource.buffer);
        }
        return createBindGroup(descriptor);
      },
    });
  }

  #use(buffer: GPUBuffer): void {
    if (this.#active.has(buffer)) return;
    this.#active.add(buffer);
    this.#bytes += buffer.size;
    this.#most = Math.max(this.#most, this.#bytes);
  }

  /** Forgets everything: what comes next is another candidate's. */
  mark(): void {
    this.#active = new Set();
    this.#bytes = 0;
    this.#most = 0;
  }

  /** The most bytes at once since {@link mark}. */
  get most(): number {
    return this.#most;
  }
}

const MAP_READ = 0x1;
const MAP_WRITE = 0x2;
