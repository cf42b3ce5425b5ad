/**
 * All parts, one behind the other in rank order: for what is merged elsewhere, such as on the GPU.
 *
 * @example
 * ```ts
 * const all = await communicator.allReduce(Float32Array.of(loss), gather); // one loss of each rank
 * ```
 */
export function gather(parts: readonly Float32Array[]): Float32Array<ArrayBuffer> {
  const all = new Float32Array(parts.reduce((total, { length }) => total + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
