/** A model's file of PyTorch: every Batch Normalization of it loaded, trained on, and saved again. */
import { BatchNorm2d } from "webgpu-batchnorm";
import {
  findBatchNorms,
  prefixed,
  readSafetensors,
  writeSafetensors,
} from "webgpu-batchnorm/files";

/** Modules for a file's every Batch Normalization, by prefix. */
export function loadAll(
  device: GPUDevice,
  bytes: ArrayBuffer | Uint8Array,
): Map<string, BatchNorm2d> {
  const modules = new Map<string, BatchNorm2d>();
  for (const { prefix, channels, affine, state } of findBatchNorms(readSafetensors(bytes))) {
    const bn = new BatchNorm2d(device, channels, { affine, eps: 1e-5 }); // eps is in no file of weights
    bn.loadStateDict(state);
    modules.set(prefix, bn);
  }
  return modules;
}

/** The file with the modules' states in the place of its own; everything else stays as it was, to the bit. */
export async function saveAll(
  bytes: ArrayBuffer | Uint8Array,
  modules: ReadonlyMap<string, BatchNorm2d>,
): Promise<Uint8Array<ArrayBuffer>> {
  const file = readSafetensors(bytes);
  const tensors: Parameters<typeof writeSafetensors>[0] = Object.fromEntries(file);
  for (const [prefix, bn] of modules) {
    Object.assign(tensors, prefixed(prefix, await bn.stateDict()));
  }
  return writeSafetensors(tensors, file.metadata);
}
