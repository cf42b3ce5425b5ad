/** How long after a failure the browser may tell that the device was lost, in milliseconds. */
const LATE = 3000;

/**
 * Whether it was the signal that ended what has just failed. A lost device fails whatever waits for it, and only then is
 * told of, so that this waits for a while.
 */
export async function endedBy(signal: AbortSignal): Promise<boolean> {
  if (!signal.aborted) {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, LATE);
      signal.addEventListener(
        "abort",
        () => {
          clearTimeout(timer);
          resolve();
        },
        { once: true },
      );
    });
  }
  return signal.aborted;
}
