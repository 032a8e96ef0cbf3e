/** What a thread is given when it starts. */
export type ThreadData = {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  /** One int32 that counts jobs: a thread sleeps until it changes. */
  readonly epoch: SharedArrayBuffer;
  readonly job: number;
  readonly scratch: number;
};

/**
 * Starts a worker on `source`, a script that defines `serve(data, ready)`, calls it with `data`, and resolves when the
 * worker has called `ready`. The worker never returns from `serve`, and must not keep a finished process alive.
 */
export type SpawnThread = (source: string, data: ThreadData) => Promise<void>;

/** A thread's whole life. As text, because a worker has a world of its own, and bundlers each their own idea of one. */
export const THREAD_SOURCE = `
function serve({ module, memory, epoch, job, scratch }, ready) {
  const { work } = new WebAssembly.Instance(module, { env: { memory } }).exports;
  const jobs = new Int32Array(epoch);
  let seen = 0;
  ready();
  for (;;) {
    Atomics.wait(jobs, 0, seen);
    seen = Atomics.load(jobs, 0);
    work(job, scratch);
  }
}`;
