import { seeded } from "../../scripts/support/random.js";

/** What is done to the input. */
export interface Corruption {
  /** 1 leaves it; smaller is flatter, around middle grey. */
  readonly contrast: number;
  /** Added; 0 leaves it. */
  readonly brightness: number;
  /** Standard deviation of what is added to each pixel. */
  readonly noise: number;
  readonly inverted: boolean;
}

export function isClean({ contrast, brightness, noise, inverted }: Corruption): boolean {
  return contrast === 1 && brightness === 0 && noise === 0 && !inverted;
}

/** Pixels from 0 to 1, spoilt and kept within 0 to 1; the noise is the same for the same seed. */
export function corrupted(
  pixels: ArrayLike<number>,
  { contrast, brightness, noise, inverted }: Corruption,
  seed: number,
): Float32Array<ArrayBuffer> {
  const next = seeded(seed);
  const normal = (): number =>
    Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
  return Float32Array.from({ length: pixels.length }, (_, i) => {
    const pixel = inverted ? 1 - pixels[i]! : pixels[i]!;
    const value = 0.5 + contrast * (pixel - 0.5) + brightness + (noise > 0 ? noise * normal() : 0);
    return Math.min(1, Math.max(0, value));
  });
}
