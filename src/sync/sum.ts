/**
 * The parts' sum, number by number, added in rank order in float64 and rounded once: gradients, losses, counts.
 *
 * @example
 * ```ts
 * const total = await communicator.allReduce(gradient, sum);
 * ```
 */
export function sum(parts: readonly Float32Array[]): Float32Array<ArrayBuffer> {
  const [first = new Float32Array(0)] = parts;
  return Float32Array.from(first, (_, i) => parts.reduce((total, part) => total + part[i]!, 0));
}
