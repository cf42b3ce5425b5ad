/** Lets in one at a time, in the order in which they came. */
export class Queue {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs when all before it have ended, however they did. A signal ends the waiting, not what runs already. */
  async run<T>(turn: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const before = this.#last;
    const own = before.then(() => {
      signal?.throwIfAborted();
      return turn();
    });
    this.#last = own.catch(() => undefined);
    if (signal) await Promise.race([before, aborted(signal)]);
    return own;
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const end = (): void => {
      reject(signal.reason as Error);
    };
    if (signal.aborted) end();
    else signal.addEventListener("abort", end, { once: true });
  });
}
