/** A step of training in a browser. */
import { BatchNorm2d, tensor } from "webgpu-batchnorm";

const adapter = await navigator.gpu?.requestAdapter();
if (!adapter) throw new Error("no WebGPU in this browser");
const device = await adapter.requestDevice();
const bn = new BatchNorm2d(device, 3, { activation: "relu" });

const shape = [2, 3, 4, 4];
const data = Float32Array.from({ length: 96 }, (_, i) => Math.sin(i)); // what the layer before gives
const y = bn.forward(tensor(device, data, shape)); // batch statistics; updates the running ones
const slope = (await y.read()).map((value) => value - 1); // of the loss: half the square of y - 1
const dx = bn.backward(tensor(device, slope, shape)); // fills bn.gammaGrad and bn.betaGrad
console.log(await dx.read());
