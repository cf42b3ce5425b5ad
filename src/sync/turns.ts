/** Steps one after another in the order in which they were asked for, however each of them ends. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();

  run<T>(step: () => Promise<T>): Promise<T> {
    const own = this.#last.then(step);
    this.#last = own.catch(() => undefined);
    return own;
  }
}
