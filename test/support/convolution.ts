/** Layers in float64, as their formulas say: what folding is held against. */

const product = (sizes: readonly number[]): number => sizes.reduce((a, b) => a * b, 1);

function* places(shape: readonly number[]): Generator<number[]> {
  for (let flat = 0; flat < product(shape); flat += 1) {
    let rest = flat;
    const place: number[] = [];
    for (const size of [...shape].reverse()) {
      place.unshift(rest % size);
      rest = Math.floor(rest / size);
    }
    yield place;
  }
}

const flatten = (shape: readonly number[], place: readonly number[]): number =>
  place.reduce((at, each, axis) => at * shape[axis]! + each, 0);

/** A layer of PyTorch: `[O, I/groups, ...]`, transposed `[I, O/groups, ...]`, linear `[O, I]`. */
export interface Layer {
  readonly weight: ArrayLike<number>;
  readonly weightShape: readonly number[];
  readonly bias?: ArrayLike<number> | undefined;
  readonly groups: number;
  readonly stride: readonly number[];
  readonly padding: readonly number[];
  readonly transposed: boolean;
}

/** y of `yShape`, and for each of its values the sum of magnitudes of its terms. */
export function convolve(
  layer: Layer,
  x: ArrayLike<number>,
  shape: readonly number[],
  yShape: readonly number[],
): { y: Float64Array; magnitude: Float64Array } {
  const y = new Float64Array(product(yShape));
  const magnitude = new Float64Array(y.length);
  const [outputs, channels] = [yShape[1]!, shape[1]!];
  const add = (at: number, term: number): void => {
    y[at]! += term;
    magnitude[at]! += Math.abs(term);
  };
  const space = product(yShape.slice(2));
  for (let at = 0; at < y.length; at += 1) {
    if (layer.bias) add(at, layer.bias[Math.floor(at / space) % outputs]!);
  }
  const kernel = layer.weightShape.slice(2);
  const [from, to] = layer.transposed ? [shape, yShape] : [yShape, shape];
  // Of a transposed convolution x stands where y stands in a plain one.
  const [wholes, parts] = layer.transposed ? [channels, outputs] : [outputs, channels];
  const [wholeGroup, partGroup] = [wholes / layer.groups, parts / layer.groups];
  for (const [batch, whole, ...position] of places(from)) {
    for (let part = 0; part < partGroup; part += 1) {
      const channel = Math.floor(whole! / wholeGroup) * partGroup + part;
      for (const tap of places(kernel)) {
        const other = position.map(
          (each, axis) => each * layer.stride[axis]! + tap[axis]! - layer.padding[axis]!,
        );
        if (other.some((each, axis) => each < 0 || each >= to[axis + 2]!)) continue;
        const near = flatten(from, [batch!, whole!, ...position]);
        const far = flatten(to, [batch!, channel, ...other]);
        const w = layer.weight[flatten(layer.weightShape, [whole!, part, ...tap])]!;
        if (layer.transposed) add(far, w * x[near]!);
        else add(near, w * x[far]!);
      }
    }
  }
  return { y, magnitude };
}

/** Dimensions in another order; the layout's letters say which. */
export function permute(
  data: ArrayLike<number>,
  shape: readonly number[],
  from: string,
  to: string,
): { data: Float64Array; shape: number[] } {
  const order = [...to].map((letter) => from.indexOf(letter));
  const permuted = order.map((axis) => shape[axis]!);
  const result = new Float64Array(data.length);
  for (const place of places(shape)) {
    result[
      flatten(
        permuted,
        order.map((axis) => place[axis]!),
      )
    ] = data[flatten(shape, place)]!;
  }
  return { data: result, shape: permuted };
}
