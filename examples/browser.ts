/** Inference in a browser with trained weights, as at the top of the README. */
import { BatchNorm2d, tensor } from "webgpu-batchnorm";
import { readSafetensors } from "webgpu-batchnorm/files";

const adapter = await navigator.gpu?.requestAdapter();
if (!adapter) throw new Error("no WebGPU in this browser");
const device = await adapter.requestDevice();

const file = readSafetensors(await (await fetch("model.safetensors")).arrayBuffer());
const bn = new BatchNorm2d(device, 64, { activation: "relu" }).eval();
bn.loadStateDict(file, { prefix: "bn1." });

const data = new Float32Array(64 * 56 * 56); // what the layer before gives
const x = tensor(device, data, [1, 64, 56, 56]);
console.log(await bn.forward(x, { out: x }).read()); // written over x
