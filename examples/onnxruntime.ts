/** A Batch Normalization between two models of ONNX Runtime Web, on its device, without a copy. */
import type * as Ort from "onnxruntime-web";
import { BatchNorm2d } from "webgpu-batchnorm";
import { fromOrt, toOrt } from "webgpu-batchnorm/ort";
import { reestimate } from "webgpu-batchnorm/statistics";

/** What `import * as ort from "onnxruntime-web/webgpu"` gives, and two sessions; conv's output stays on the GPU. */
export interface Pipeline {
  readonly ort: typeof Ort;
  /** Made with `preferredOutputLocation: "gpu-buffer"`. */
  readonly conv: Ort.InferenceSession;
  readonly head: Ort.InferenceSession;
  readonly bn: BatchNorm2d;
}

/** The first model's features, normalised in place, through the second model. */
export async function classify(
  { ort, conv, head, bn }: Pipeline,
  image: Ort.Tensor,
): Promise<Ort.Tensor> {
  const { features } = await conv.run({ image });
  const x = fromOrt(bn.device, features!);
  bn.eval().forward(x, { out: x });
  const { scores } = await head.run({ features: toOrt(ort.Tensor, x) });
  features!.dispose(); // the buffer is ONNX Runtime's; x ends with it
  return scores!;
}

/** Replaces bn's running statistics by those of the user's own images, all together; the rest of bn stays. */
export async function adapt({ conv, bn }: Pipeline, images: Iterable<Ort.Tensor>): Promise<void> {
  await reestimate(bn, images, async (image) => {
    const { features } = await conv.run({ image });
    bn.forward(fromOrt(bn.device, features!)).destroy(); // counted and merged on the GPU
    features!.dispose();
  });
}
