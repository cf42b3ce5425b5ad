/** A Web Worker with a device of its own: batches move its running statistics; it gives the state to save. */
import { BatchNorm1d, tensor } from "webgpu-batchnorm";
import { writeSafetensors } from "webgpu-batchnorm/files";

export interface Batch {
  readonly values: Float32Array<ArrayBuffer>;
  readonly shape: readonly [number, number];
}

const adapter = await navigator.gpu.requestAdapter();
const device = await adapter!.requestDevice();
let bn: BatchNorm1d | undefined;

self.addEventListener("message", (event: MessageEvent<Batch | "save">) => {
  if (event.data === "save") {
    void save();
    return;
  }
  const { values, shape } = event.data;
  bn ??= new BatchNorm1d(device, shape[1]);
  const x = tensor(device, values, shape);
  bn.forward(x).destroy(); // the queue keeps what it needs
  x.destroy();
});

async function save(): Promise<void> {
  const file = writeSafetensors({ ...(await bn!.stateDict()) });
  self.postMessage(file, { transfer: [file.buffer] });
}

// Messages that came while the device was on its way are delivered from here on.
self.postMessage("ready");
