/** What tells rank and round apart in every number, so that a mix-up shows. */
export function partOf(rank: number, round: number, length: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length }, (_, i) => 1e4 * (round % 1000) + 100 * rank + (i % 100));
}

/** A merge that forgets nothing: all parts, one behind the other. */
export function join(parts: readonly Float32Array[]): Float32Array<ArrayBuffer> {
  return Float32Array.from(parts.flatMap((part) => [...part]));
}

/** What {@link join} gives of the parts of all ranks. */
export function joined(size: number, round: number, length: number): number[] {
  return [...join(Array.from({ length: size }, (_, rank) => partOf(rank, round, length)))];
}
