import type { Candidate } from "../candidate.js";
import { memoryShape, sizeOf } from "../cases.js";
import { EPS } from "../data.js";
import { shareDevice } from "../../src/share.js";
import { bufferWith, bytesFrom } from "../gpu.js";
import { batchNormalizationModel } from "./onnx-model.js";

/** ONNX Runtime Web's WebGPU provider with `preferredLayout: "NCHW"`; it trains nothing. */
export async function onnxruntime(device: GPUDevice): Promise<Candidate> {
  shareDevice(device);
  const ort = await import("onnxruntime-web/webgpu");
  ort.env.logLevel = "error";
  ort.env.wasm.numThreads = 1;

  return {
    name: "ONNX Runtime Web",
    kind: "peer",
    version: `onnxruntime-web ${ort.env.versions.web ?? ""}`,
    refuses: ({ dtype, operation, layout, shape }) =>
      operation !== "inference"
        ? "does inference only"
        : dtype !== "f32"
          ? "measured in f32 only"
          : layout === "channels-last" && shape.length > 2
            ? "ONNX has the channel second"
            : null,
    holds: () => 2,
    async prepare(_device, each, inputs) {
      const shape = memoryShape(each);
      const channels = inputs.gamma.length;
      const session = await ort.InferenceSession.create(batchNormalizationModel(shape, EPS), {
        executionProviders: [{ name: "webgpu", preferredLayout: "NCHW", device }],
        preferredOutputLocation: "gpu-buffer",
        graphOptimizationLevel: "all",
      });
      const buffers: GPUBuffer[] = [];
      const wrap = (
        label: string,
        dims: number[],
        contents?: Float32Array<ArrayBuffer>,
      ): InstanceType<typeof ort.Tensor> => {
        const bytes = 4 * dims.reduce((a, b) => a * b, 1);
        const buffer = bufferWith(device, label, bytes, contents);
        buffers.push(buffer);
        return ort.Tensor.fromGpuBuffer(buffer, { dataType: "float32", dims });
      };
      const feeds = {
        X: wrap("ort/X", shape, inputs.x),
        scale: wrap("ort/scale", [channels], inputs.gamma),
        B: wrap("ort/B", [channels], inputs.beta),
        input_mean: wrap("ort/mean", [channels], inputs.mean),
        input_var: wrap("ort/variance", [channels], inputs.variance),
      };
      const Y = wrap("ort/Y", shape);
      const target = buffers.at(-1)!;
      return {
        async run(repeats) {
          for (let i = 0; i < repeats; i++) await session.run(feeds, { Y });
          await device.queue.onSubmittedWorkDone();
        },
        async outputs() {
          await session.run(feeds, { Y });
          return {
            y: new Float32Array(await bytesFrom(device, target, 4 * sizeOf(each)), 0, sizeOf(each)),
          };
        },
        dispose() {
          void session.release();
          for (const buffer of buffers) buffer.destroy();
        },
      };
    },
  };
}
