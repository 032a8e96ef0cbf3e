const EVERY_MS = 50;

/**
 * Long arithmetic asks for a turn now and then: timers, a bar and Ctrl-C get theirs. Costs nothing when the last turn was a
 * moment ago.   @throws the signal's reason once it is aborted
 */
export function takeTurns(signal?: AbortSignal): () => Promise<void> | undefined {
  let last = performance.now();
  return () => {
    signal?.throwIfAborted();
    if (performance.now() - last < EVERY_MS) return undefined;
    return new Promise<void>((resolve) => setTimeout(resolve)).then(() => {
      last = performance.now();
      signal?.throwIfAborted();
    });
  };
}
