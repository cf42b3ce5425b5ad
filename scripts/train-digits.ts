/**
 * `npm run train:digits [-- --epochs N]`: trains the demo's small network in Node on Dawn with our drop-in for
 * TensorFlow.js, and writes its weights and the log of the run into demo/digits.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describeAdapter, requestDevice } from "webgpu-batchnorm/node";
import { Cnn, shareRight } from "../demo/engine/cnn.js";
import { batches, samplesOf, trainingCount } from "../demo/engine/digits.js";
import { PIXELS, SIDE } from "./support/digits.js";
import { loadDigits } from "./support/load-digits.js";
import { openNodeEngine } from "./support/node-engine.js";
import { Progress } from "./support/progress.js";
import { seeded } from "./support/random.js";

const FOLDER = join("demo", "digits");
const BATCH = 32;
const RATE = 0.05;
const REACH = 1;
const SEED = 1;
const LEAST = 0.97;

/** Each digit moved by up to a pixel either way: a drawn one never stands quite where MNIST has it. */
function move(x: Float32Array, next: () => number): Float32Array {
  const moved = new Float32Array(x.length);
  for (let n = 0; n < x.length / PIXELS; n++) {
    const [down, right] = [0, 0].map(() => Math.floor(next() * (2 * REACH + 1)) - REACH) as [
      number,
      number,
    ];
    // What comes in from the edge is background, as the corner is.
    const background = x[n * PIXELS]!;
    for (let row = 0; row < SIDE; row++) {
      for (let column = 0; column < SIDE; column++) {
        const [r, c] = [row - down, column - right];
        const inside = r >= 0 && r < SIDE && c >= 0 && c < SIDE;
        moved[n * PIXELS + row * SIDE + column] = inside
          ? x[n * PIXELS + r * SIDE + c]!
          : background;
      }
    }
  }
  return moved;
}

const words = process.argv.slice(2);
const at = words.indexOf("--epochs");
const epochs = at < 0 ? 4 : Number(words[at + 1]);
if (!(Number.isInteger(epochs) && epochs > 0))
  throw new Error(`--epochs: a whole number above 0, got ${words[at + 1]}; leave it out for 4`);

const started = performance.now();
const device = await requestDevice({ quiet: true });
const adapter = describeAdapter(device);
const engine = await openNodeEngine(device, adapter.includes("(software)"));
const digits = await loadDigits();
const training = samplesOf(digits, 0, trainingCount(digits));
const held = samplesOf(digits, trainingCount(digits), digits.count);
const cnn = new Cnn(engine, { batchNorm: true, seed: SEED });
const lines: string[] = [];
const say = (line: string): void => {
  lines.push(line);
  process.stdout.write(`${line}\n`);
};
say(
  `adapter    ${adapter}, Node ${process.versions.node}, TensorFlow.js ${engine.tf.version_core} with webgpu-batchnorm/tfjs`,
);
say(
  `data       ${training.count} MNIST digits, moved by up to ${REACH} pixel; ${held.count} held out`,
);
say(
  `training   ${epochs} epochs, batches of ${BATCH}, rate ${RATE} to 0 along a cosine, momentum 0.9, seed ${SEED}`,
);
const source = batches(training, BATCH, seeded(SEED));
const next = seeded(SEED + 1);
const each = Math.floor(training.count / BATCH);
for (let epoch = 1; epoch <= epochs; epoch++) {
  const progress = new Progress(`epoch ${epoch} of ${epochs}`, each);
  let loss = 0;
  let accuracy = 0;
  for (let step = 0; step < each; step++) {
    const { x, labels } = source.next().value;
    const share = ((epoch - 1) * each + step) / (epochs * each);
    const result = await cnn.step(
      move(x, next),
      labels,
      (RATE / 2) * (1 + Math.cos(Math.PI * share)),
    );
    loss += result.loss / each;
    accuracy += result.accuracy / each;
    progress.tick();
  }
  progress.end();
  const right = shareRight(await cnn.predict(held.x, "running"), held.labels);
  say(
    `epoch ${String(epoch).padEnd(5)}loss ${loss.toFixed(4)}, right in training ${(100 * accuracy).toFixed(2)} %, on held-out digits ${(100 * right).toFixed(2)} %`,
  );
}
const right = shareRight(await cnn.predict(held.x, "running"), held.labels);
say(
  `held out   ${Math.round(right * held.count)} of ${held.count} right: ${(100 * right).toFixed(2)} %`,
);
const file = await cnn.save({ held_out_accuracy: right.toFixed(4) });
if (right >= LEAST) {
  await writeFile(join(FOLDER, "weights.safetensors"), file);
  await writeFile(join(FOLDER, "training.log"), `${lines.join("\n")}\n`);
  process.stdout.write(
    `written to ${FOLDER}, ${file.length} bytes, after ${((performance.now() - started) / 1000).toFixed(0)} s\n`,
  );
} else {
  process.stdout.write(`below ${100 * LEAST} %: nothing is written\n`);
  process.exitCode = 1;
}
device.destroy();
