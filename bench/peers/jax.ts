import type { Array as JaxArray } from "@jax-js/jax";
import type { Candidate, Outputs } from "../candidate.js";
import { memoryShape } from "../cases.js";
import { EPS } from "../data.js";
import { shareDevice } from "../../src/share.js";

/**
 * jax-js: Batch Normalization composed of its arrays' operations, fused by its `jit`; forward + backward by its
 * `vjp` in one jitted function. Running statistics are left out.
 */
export async function jax(device: GPUDevice): Promise<Candidate> {
  shareDevice(device);
  const { init, defaultDevice, jit, numpy, vjp } = await import("@jax-js/jax");
  const devices = await init("webgpu");
  if (!devices.includes("webgpu")) throw new Error("jax-js found no WebGPU");
  defaultDevice("webgpu");

  return {
    name: "jax-js",
    kind: "peer",
    version: "@jax-js/jax 0.1.25",
    refuses: ({ dtype, operation }) =>
      dtype !== "f32"
        ? "measured in f32 only"
        : operation === "backward"
          ? "does a forward with every backward"
          : null,
    holds: ({ operation }) => (operation === "inference" ? 2 : operation === "forward" ? 3 : 8),
    prepare(_device, each, inputs) {
      const shape = memoryShape(each);
      const axis = each.layout === "channels-last" || shape.length === 2 ? shape.length - 1 : 1;
      const axes = shape.map((_, i) => i).filter((i) => i !== axis);
      const perChannel = shape.map((_, i) => (i === axis ? inputs.gamma.length : 1));
      const made: JaxArray[] = [];
      const keep = (values: Float32Array<ArrayBuffer>, of: number[]): JaxArray => {
        const array = numpy.array(values, { shape: of });
        made.push(array);
        return array;
      };
      // jax-js's functions consume what they are given; `.ref` keeps a value for another use.
      const composed = (x: JaxArray, gamma: JaxArray, beta: JaxArray): JaxArray => {
        const mean = numpy.mean(x.ref, axes, { keepdims: true });
        const centred = x.sub(mean);
        const variance = numpy.mean(numpy.square(centred.ref), axes, { keepdims: true });
        const factor = gamma.div(numpy.sqrt(variance.add(EPS)));
        return centred.mul(factor).add(beta);
      };
      const x = keep(inputs.x, shape);
      const gamma = keep(inputs.gamma, perChannel);
      const beta = keep(inputs.beta, perChannel);
      let step: () => JaxArray[];
      let free: () => void;
      if (each.operation === "inference") {
        const mean = keep(inputs.mean, perChannel);
        const variance = keep(inputs.variance, perChannel);
        const f = jit(
          (value: JaxArray, scale: JaxArray, shift: JaxArray, m: JaxArray, v: JaxArray) =>
            value
              .sub(m)
              .mul(scale.div(numpy.sqrt(v.add(EPS))))
              .add(shift),
        );
        step = () => [f(x.ref, gamma.ref, beta.ref, mean.ref, variance.ref)];
        free = () => {
          f.dispose();
        };
      } else if (each.operation === "forward") {
        const f = jit(composed);
        step = () => [f(x.ref, gamma.ref, beta.ref)];
        free = () => {
          f.dispose();
        };
      } else {
        const dy = keep(inputs.dy, shape);
        const f = jit(
          (value: JaxArray, scale: JaxArray, shift: JaxArray, gradient: JaxArray): JaxArray[] => {
            const [y, pull] = vjp(composed, [value, scale, shift]);
            const grads = pull(gradient) as JaxArray[];
            pull.dispose();
            return [y, ...grads];
          },
        );
        step = () => f(x.ref, gamma.ref, beta.ref, dy.ref);
        free = () => {
          f.dispose();
        };
      }
      return Promise.resolve({
        async run(repeats) {
          for (let i = 0; i < repeats; i++) {
            const results = step();
            // Work is recorded lazily: asking for the buffer submits it, and consumes the array.
            for (const result of results) result.gpuBufferSync();
          }
          await device.queue.onSubmittedWorkDone();
        },
        async outputs() {
          const results = step();
          const [y, dx, dGamma, dBeta] = (await Promise.all(
            results.map((each) => each.data()),
          )) as Float32Array[];
          const outputs: Outputs = { y: y! };
          if (dx) Object.assign(outputs, { dx, dGamma, dBeta });
          return outputs;
        },
        dispose() {
          for (const array of made) array.dispose();
          free();
        },
      });
    },
  };
}
