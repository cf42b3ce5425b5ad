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
  const all = new Float32Array(first.length);
  for (let i = 0; i < all.length; i += 1) {
    let total = 0;
    for (const part of parts) total += part[i]!;
    all[i] = total;
  }
  return all;
}
