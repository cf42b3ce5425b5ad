/**
 * Folding for inference: a Batch Normalization with running statistics, as weights and bias of the layer beside it.
 * Float64 inside, no GPU.
 *
 * @packageDocumentation
 */
export { foldIntoConv, foldIntoLinear } from "./fold.js";
export type {
  ConvLayout,
  ConvWeights,
  Folded,
  FoldOptions,
  FoldState,
  LayerWeights,
  LinearLayout,
  LinearWeights,
  WeightTensor,
} from "./fold.js";
