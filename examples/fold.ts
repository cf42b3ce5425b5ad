/** For inference: a Batch Normalization becomes part of the convolution before it. */
import { findBatchNorms, readSafetensors, writeSafetensors } from "webgpu-batchnorm/files";
import { foldIntoConv } from "webgpu-batchnorm/fold";

/** Folds `PREFIX.bn1` into `PREFIX.conv1`, and gives a file without it. */
export function foldBlock(bytes: Uint8Array, prefix: string): Uint8Array<ArrayBuffer> {
  const file = readSafetensors(bytes);
  const bn = findBatchNorms(file).find((each) => each.prefix === `${prefix}.bn1.`)!;
  const weight = file.get(`${prefix}.conv1.weight`)!; // [O, I, H, W]
  // Undefined where the convolution has none.
  const bias = file.get(`${prefix}.conv1.bias`)?.data as ArrayLike<number> | undefined;

  const folded = foldIntoConv({ weight, bias, layout: "OIHW" }, { ...bn.state, eps: 1e-5 });

  const rest = [...file].filter(([name]) => !name.startsWith(bn.prefix));
  const tensors = {
    ...Object.fromEntries(rest),
    [`${prefix}.conv1.weight`]: folded.weight,
    [`${prefix}.conv1.bias`]: folded.bias,
  };
  return writeSafetensors(tensors, file.metadata);
}
