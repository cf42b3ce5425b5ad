/** What to do about an argument of another kind: `otherwise`, but for a promise of what is asked for. */
export function remedyFor(given: unknown, otherwise: string): string {
  const { then } = Object(given) as { then?: unknown };
  return typeof then === "function" ? "await it" : otherwise;
}
