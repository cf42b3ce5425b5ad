// The same program in Node (Dawn), Deno (wgpu) and Bun (Dawn), from the installed package:
//   node runtime.mjs
//   deno run --allow-all --unstable-webgpu runtime.mjs
//   bun runtime.mjs
import { BatchNorm2d, tensor } from "webgpu-batchnorm";

async function openDevice() {
  if (globalThis.navigator?.gpu) {
    const adapter = await navigator.gpu.requestAdapter();
    return adapter.requestDevice();
  }
  const { requestDevice } = await import("webgpu-batchnorm/node");
  return requestDevice({ quiet: true });
}

const device = await openDevice();
const bn = new BatchNorm2d(device, 2, { activation: "relu" });
const x = tensor(device, [1, 2, 3, 4, 10, 20, 30, 40], [1, 2, 2, 2]);
const y = bn.forward(x);
const dx = bn.backward(y);
console.log([...(await y.read())].map((value) => value.toFixed(4)).join(" "));
console.log([...(await dx.read())].map((value) => value.toFixed(4)).join(" "));
for (const each of [x, y, dx, bn]) each.destroy();
device.destroy();
