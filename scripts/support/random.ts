/** Numbers in [0, 1) that are the same on every run: mulberry32. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Normally distributed numbers, rounded to f32: Box-Muller. */
export function normals(
  count: number,
  seed: number,
  mean = 0,
  deviation = 1,
): Float32Array<ArrayBuffer> {
  const next = seeded(seed);
  const values = new Float32Array(count);
  for (let i = 0; i < count; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - next()));
    const angle = 2 * Math.PI * next();
    values[i] = mean + deviation * radius * Math.cos(angle);
    if (i + 1 < count) values[i + 1] = mean + deviation * radius * Math.sin(angle);
  }
  return values;
}

/** Evenly distributed numbers in [low, high), rounded to f32. */
export function uniforms(
  count: number,
  seed: number,
  low: number,
  high: number,
): Float32Array<ArrayBuffer> {
  const next = seeded(seed);
  return Float32Array.from({ length: count }, () => low + (high - low) * next());
}
