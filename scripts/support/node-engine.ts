import { shareDevice } from "../../src/share.js";
import { openWebgpu, type Engine, type TensorFlow } from "../../demo/engine/engine.js";

/** TensorFlow.js on a headless device, with our drop-in. */
export async function openNodeEngine(device: GPUDevice, software: boolean): Promise<Engine> {
  shareDevice(device);
  const tf = (await import("@tensorflow/tfjs-core")) as TensorFlow;
  // Otherwise it advises, at length, to install a native binding.
  tf.enableProdMode();
  // Its union registers the gradients: in Node the core's own file of them cannot be imported.
  await import("@tensorflow/tfjs");
  return openWebgpu(tf, device, software);
}
