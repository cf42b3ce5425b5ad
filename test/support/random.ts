/** Random numbers that are the same on every run and machine: mulberry32, 32 bits of state. */
export interface Random {
  /** Uniform in [0, 1). */
  uniform(): number;
  /** Uniform whole number in [low, high]. */
  integer(low: number, high: number): number;
  /** Normal by Box and Muller, mean 0 and deviation 1 unless given. */
  normal(mean?: number, std?: number): number;
  /** `length` normal values rounded to f32. */
  normals(length: number, mean?: number, std?: number): Float32Array;
  /** `length` uniform values in [low, high), rounded to f32. */
  uniforms(length: number, low: number, high: number): Float32Array;
  /** One of the items. */
  pick<T>(items: readonly [T, ...T[]] | readonly T[]): T;
}

/** A generator with its own state; the seed is a whole number. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
  const integer = (low: number, high: number): number =>
    low + Math.floor(uniform() * (high - low + 1));
  // 1 - uniform is in (0, 1], whose logarithm is finite.
  const normal = (mean = 0, std = 1): number =>
    mean + std * Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  const normals = (length: number, mean = 0, std = 1): Float32Array =>
    Float32Array.from({ length }, () => normal(mean, std));
  const uniforms = (length: number, low: number, high: number): Float32Array =>
    Float32Array.from({ length }, () => low + (high - low) * uniform());
  function pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new RangeError("pick: expected at least one item, got none");
    return items[integer(0, items.length - 1)] as T;
  }
  return { uniform, integer, normal, normals, uniforms, pick };
}
