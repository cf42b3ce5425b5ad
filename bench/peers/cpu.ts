import { backward, forward, inference } from "webgpu-batchnorm/reference";
import type { Candidate } from "../candidate.js";
import { extentsOf, sizeOf } from "../cases.js";
import { EPS } from "../data.js";

const MOST = 1 << 22;

/** The package's own reference: float64 in JavaScript, on one core. */
export const CPU: Candidate = {
  name: "reference on the CPU",
  kind: "cpu",
  refuses: (each) =>
    sizeOf(each) > MOST
      ? "takes too long at this size"
      : each.dtype !== "f32"
        ? "is float64 whatever the type"
        : null,
  holds: () => 0,
  prepare(_device, each, inputs) {
    const shape = extentsOf(each);
    const { x, dy, gamma, beta, mean, variance } = inputs;
    const options = { gamma, beta, eps: EPS };
    const step = (): void => {
      if (each.operation === "inference") inference(x, shape, { ...options, mean, variance });
      else if (each.operation !== "backward") forward(x, shape, options);
      if (each.operation.endsWith("backward")) backward(dy, x, shape, options);
    };
    return Promise.resolve({
      run(repeats) {
        for (let i = 0; i < repeats; i++) step();
        return Promise.resolve();
      },
      outputs: () => Promise.resolve(null),
      dispose() {
        // Nothing is held.
      },
    });
  },
};
