/** WebGPU's numbers, so that nothing here needs its globals. */
export const USAGE = {
  MAP_READ: 0x1,
  COPY_SRC: 0x4,
  COPY_DST: 0x8,
  STORAGE: 0x80,
  QUERY_RESOLVE: 0x200,
} as const;

const UPLOAD = 64 * 2 ** 20;

/** A storage buffer with these bytes, padded to whole vec4s. */
export function bufferWith(
  device: GPUDevice,
  label: string,
  bytes: number,
  contents?: ArrayBufferView<ArrayBuffer>,
): GPUBuffer {
  const buffer = device.createBuffer({
    label: `bench/${label}`,
    size: Math.max(16, Math.ceil(bytes / 16) * 16),
    usage: USAGE.STORAGE | USAGE.COPY_SRC | USAGE.COPY_DST,
  });
  if (contents) {
    for (let at = 0; at < contents.byteLength; at += UPLOAD) {
      const length = Math.min(UPLOAD, contents.byteLength - at);
      device.queue.writeBuffer(buffer, at, contents.buffer, contents.byteOffset + at, length);
    }
  }
  return buffer;
}

/** Reads a buffer back in parts. */
export async function bytesFrom(
  device: GPUDevice,
  buffer: GPUBuffer,
  bytes: number,
): Promise<ArrayBuffer> {
  const padded = Math.ceil(bytes / 4) * 4;
  const result = new Uint8Array(padded);
  const staging = device.createBuffer({
    label: "bench/staging",
    size: Math.min(UPLOAD, padded),
    usage: USAGE.MAP_READ | USAGE.COPY_DST,
  });
  for (let at = 0; at < padded; at += UPLOAD) {
    const length = Math.min(UPLOAD, padded - at);
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, at, staging, 0, length);
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(1, 0, length);
    result.set(new Uint8Array(staging.getMappedRange(0, length)), at);
    staging.unmap();
  }
  staging.destroy();
  return result.buffer;
}

/** Times what is recorded into one pass or between two, by the adapter's clock. */
export class Stopwatch {
  readonly #set: GPUQuerySet;
  readonly #resolved: GPUBuffer;
  readonly #staging: GPUBuffer;

  constructor(readonly device: GPUDevice) {
    this.#set = device.createQuerySet({ type: "timestamp", count: 2 });
    this.#resolved = device.createBuffer({ size: 16, usage: USAGE.QUERY_RESOLVE | USAGE.COPY_SRC });
    this.#staging = device.createBuffer({ size: 16, usage: USAGE.MAP_READ | USAGE.COPY_DST });
  }

  /** Nanoseconds of what `record` puts into one compute pass. */
  async pass(record: (pass: GPUComputePassEncoder) => void): Promise<number> {
    const encoder = this.device.createCommandEncoder();
    const timestampWrites = {
      querySet: this.#set,
      beginningOfPassWriteIndex: 0,
      endOfPassWriteIndex: 1,
    };
    const pass = encoder.beginComputePass({ timestampWrites });
    record(pass);
    pass.end();
    return this.#finish(encoder);
  }

  /** Nanoseconds of what `record` puts into an encoder, between two empty passes. */
  async between(record: (encoder: GPUCommandEncoder) => void): Promise<number> {
    const encoder = this.device.createCommandEncoder();
    encoder
      .beginComputePass({ timestampWrites: { querySet: this.#set, endOfPassWriteIndex: 0 } })
      .end();
    record(encoder);
    encoder
      .beginComputePass({ timestampWrites: { querySet: this.#set, beginningOfPassWriteIndex: 1 } })
      .end();
    return this.#finish(encoder);
  }

  async #finish(encoder: GPUCommandEncoder): Promise<number> {
    encoder.resolveQuerySet(this.#set, 0, 2, this.#resolved, 0);
    encoder.copyBufferToBuffer(this.#resolved, 0, this.#staging, 0, 16);
    this.device.queue.submit([encoder.finish()]);
    await this.#staging.mapAsync(1);
    const [begin, end] = new BigUint64Array(this.#staging.getMappedRange());
    const nanoseconds = Number(end! - begin!);
    this.#staging.unmap();
    return nanoseconds;
  }

  destroy(): void {
    this.#set.destroy();
    this.#resolved.destroy();
    this.#staging.destroy();
  }
}
