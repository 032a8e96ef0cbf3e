type Disposable = { dispose(): void };

/**
 * Adapters that are taken off while calls run: freed when the calls that had begun before have ended, and not by the calls
 * that begin after, so that a busy server frees them, too.
 */
export class Retirement {
  readonly #running = new Set<symbol>();
  readonly #waiting = new Map<Disposable, Set<symbol>>();

  /** A call begins. → what ends it; ending twice is ending once */
  enter(): () => void {
    const call = Symbol('call');
    this.#running.add(call);
    return () => {
      this.#running.delete(call);
      for (const [retired, calls] of this.#waiting) {
        calls.delete(call);
        if (calls.size === 0) this.#free(retired);
      }
    };
  }

  /** Frees `retired`, now or after the calls that are running. */
  retire(retired: Disposable): void {
    if (this.#running.size === 0) retired.dispose();
    else this.#waiting.set(retired, new Set(this.#running));
  }

  /** Frees all that wait. */
  dispose(): void {
    for (const retired of this.#waiting.keys()) this.#free(retired);
  }

  #free(retired: Disposable): void {
    this.#waiting.delete(retired);
    retired.dispose();
  }
}
