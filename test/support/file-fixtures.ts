/**
 * The committed files of test/fixtures/files as bytes, in Node and in a browser alike, and what PyTorch and ONNX made of
 * them.
 */
import conv from "../fixtures/files/conv.onnx?inline";
import dtypes from "../fixtures/files/dtypes.safetensors?inline";
import dynamo from "../fixtures/files/dynamo.onnx?inline";
import expectedText from "../fixtures/files/expected.json?raw";
import external from "../fixtures/files/external.onnx?inline";
import externalData from "../fixtures/files/external.onnx.data?inline";
import foldText from "../fixtures/files/fold.json?raw";
import forms from "../fixtures/files/forms.onnx?inline";
import head from "../fixtures/files/head.onnx?inline";
import model from "../fixtures/files/model.safetensors?inline";
import modelOnnx from "../fixtures/files/model.onnx?inline";
import ours from "../fixtures/files/ours.safetensors?inline";
import pipelineText from "../fixtures/files/pipeline.json?raw";
import plain from "../fixtures/files/plain.onnx?inline";

function bytesOf(dataUrl: string): Uint8Array<ArrayBuffer> {
  const text = atob(dataUrl.slice(dataUrl.indexOf(",") + 1));
  return Uint8Array.from(text, (each) => each.charCodeAt(0));
}

/** Fresh bytes of every file. */
export const files = Object.fromEntries(
  Object.entries({
    "model.safetensors": model,
    "dtypes.safetensors": dtypes,
    "ours.safetensors": ours,
    "model.onnx": modelOnnx,
    "dynamo.onnx": dynamo,
    "external.onnx": external,
    "external.onnx.data": externalData,
    "forms.onnx": forms,
    "plain.onnx": plain,
    "conv.onnx": conv,
    "head.onnx": head,
  }).map(([name, url]) => [name, () => bytesOf(url)]),
) as Record<string, () => Uint8Array<ArrayBuffer>>;

/** A layer of model.safetensors, and PyTorch's output in evaluation, in float64 on the file's values. */
export interface LayerFixture {
  readonly prefix: string;
  readonly dtype: "float16" | "bfloat16" | "float32" | "float64";
  readonly eps: number;
  readonly affine: boolean;
  readonly numBatchesTracked: number;
  readonly runningMean: readonly number[];
  readonly runningVar: readonly number[];
  readonly gamma?: readonly number[];
  readonly beta?: readonly number[];
  readonly shape: readonly number[];
  readonly x: readonly number[];
  readonly y: readonly number[];
}

/** A layer beside a batch norm, and PyTorch's output of both. */
export interface FoldFixture {
  readonly name: string;
  readonly position: "after" | "before";
  readonly transposed: boolean;
  readonly weightShape: readonly number[];
  readonly weight: readonly number[];
  readonly bias?: readonly number[];
  readonly groups: number;
  readonly stride: readonly number[];
  readonly padding: readonly number[];
  readonly bn: {
    readonly weight: readonly number[];
    readonly bias: readonly number[];
    readonly running_mean: readonly number[];
    readonly running_var: readonly number[];
    readonly eps: number;
  };
  readonly shape: readonly number[];
  readonly x: readonly number[];
  readonly yShape: readonly number[];
  readonly y: readonly number[];
}

export const expected = JSON.parse(expectedText) as {
  readonly layers: readonly LayerFixture[];
  readonly dtypes: readonly { name: string; shape: number[]; values: string[] }[];
  readonly exported: readonly {
    readonly eps: number;
    readonly momentum: number;
    readonly gamma: readonly number[];
    readonly beta: readonly number[];
    readonly runningMean: readonly number[];
    readonly runningVar: readonly number[];
  }[];
  readonly forms: readonly {
    readonly name: string;
    readonly eps: number;
    readonly momentum: number;
    readonly shape: readonly number[];
    readonly x: readonly number[];
    readonly y: readonly number[];
  }[];
};

export const foldFixtures = (JSON.parse(foldText) as { readonly cases: readonly FoldFixture[] })
  .cases;

/** What PyTorch makes of conv.onnx, a batch norm and head.onnx. */
const {
  conv: convs,
  head: heads,
  bn: bns,
  anew,
  images,
} = JSON.parse(pipelineText) as {
  readonly conv: readonly { weight: number[]; bias: number[]; weightShape: number[] }[];
  readonly head: readonly { weight: number[]; bias: number[] }[];
  readonly bn: readonly FoldFixture["bn"][];
  readonly anew: readonly {
    running_mean: number[];
    running_var: number[];
    num_batches_tracked: number;
  }[];
  readonly images: readonly { x: number[]; scores: number[]; scoresAnew: number[] }[];
};
export const pipeline = { conv: convs[0]!, head: heads[0]!, bn: bns[0]!, anew: anew[0]!, images };
