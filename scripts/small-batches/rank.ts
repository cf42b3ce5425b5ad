// One rank of a synchronised training: prints its test accuracy.
import { requestDevice } from "webgpu-batchnorm/node";
import { loadDigits, testDigits, train, type Task } from "./train.js";

const task = JSON.parse(process.argv[2]!) as Task;
const device = await requestDevice({ quiet: true });
const digits = await loadDigits();
const { network } = await train(device, digits, task, () => undefined);
const { x, labels } = testDigits(digits);
console.log(await network.accuracy(x, labels));
device.destroy();
