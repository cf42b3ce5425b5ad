/**
 * What was chosen on an earlier page or visit. A browser may deny its storage; then nothing is known, and the address
 * alone carries the choice.
 */
export function recall(name: string): string | null {
  try {
    return localStorage.getItem(`webgpu-batchnorm.${name}`);
  } catch {
    return null;
  }
}

export function remember(name: string, value: string): void {
  try {
    localStorage.setItem(`webgpu-batchnorm.${name}`, value);
  } catch {
    // Denied, or full.
  }
}
