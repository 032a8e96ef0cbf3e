import { assemble } from './assembler.ts';
import { CLOSED, gemmFunctions, JOB, JOB_BYTES, SCRATCH_BYTES, STRIP } from './gemm-code.ts';
import { memoryOf, reserve, type WasmBackend } from './heap.ts';
import { PANEL } from './pack-code.ts';
import { type SpawnThread, THREAD_SOURCE, type ThreadData } from './thread.ts';
import { LAYOUT, type Layout } from './widen-code.ts';

/** A matrix in the backend's memory: where it begins, and how far apart its rows (or columns) lie, in bytes. */
export type Operand = { readonly address: number; readonly stride: number };

/** c [m, n] ← alpha · a [m, k] · b [k, n] (+ bias [n]) (+ c). Rows of `a` and `c` are contiguous. */
export type Product = {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly a: Operand;
  readonly b: Operand;
  /** How b lies, and in which type. Default: rows. */
  readonly layout?: Layout;
  /** Of a quantised b: float32 for int8 and float16 for int4, column by column. */
  readonly scales?: Operand;
  readonly c: Operand;
  /** Address of n float32 values. Default: none. */
  readonly bias?: number;
  readonly accumulate?: boolean;
  readonly alpha?: number;
};

// Waking a thread takes some tens of microseconds: about what 2 million multiplications take.
const WORTH_THREADS = 1 << 21;

/** Matrix products on the memory of TF.js's WebAssembly backend, with threads of its own where that memory is shared. */
export class Gemm {
  readonly #memory: WebAssembly.Memory;
  readonly #module: WebAssembly.Module;
  readonly #work: (job: number, scratch: number) => void;
  readonly #backend: WasmBackend;
  readonly #job: number;
  readonly #scratch: number;
  readonly #shared: boolean;
  #epoch: Int32Array | null = null;
  #threads = 1;

  /** Null where the engine knows no SIMD (every one since 2021 or 2023 does). */
  static on(backend: WasmBackend): Gemm | null {
    const memory = memoryOf(backend);
    const shared = !(memory.buffer instanceof ArrayBuffer);
    const code = assemble(gemmFunctions(), { shared }) as Uint8Array<ArrayBuffer>;
    return WebAssembly.validate(code) ? new Gemm(backend, memory, shared, code) : null;
  }

  private constructor(
    backend: WasmBackend,
    memory: WebAssembly.Memory,
    shared: boolean,
    code: Uint8Array<ArrayBuffer>,
  ) {
    this.#backend = backend;
    this.#memory = memory;
    this.#shared = shared;
    this.#module = new WebAssembly.Module(code);
    const { work } = new WebAssembly.Instance(this.#module, { env: { memory } }).exports;
    this.#work = work as (job: number, scratch: number) => void;
    this.#job = reserve(backend, JOB_BYTES);
    this.#scratch = reserve(backend, SCRATCH_BYTES);
    const words = new Int32Array(memory.buffer);
    words[(this.#job + JOB.next) >>> 2] = CLOSED;
    words[(this.#job + JOB.active) >>> 2] = 0;
  }

  /** Threads that compute, the caller's included. */
  get threads(): number {
    return this.#threads;
  }

  /** Adds threads, and comes back when they wait for work. Once only; does nothing where memory is not shared. */
  async addThreads(count: number, spawn: SpawnThread): Promise<void> {
    if (!this.#shared || this.#epoch || count < 1) return;
    const epoch = new SharedArrayBuffer(4);
    const data = Array.from(
      { length: count },
      (): ThreadData => ({
        module: this.#module,
        memory: this.#memory,
        epoch,
        job: this.#job,
        scratch: reserve(this.#backend, SCRATCH_BYTES),
      }),
    );
    await Promise.all(data.map((d) => spawn(THREAD_SOURCE, d)));
    this.#epoch = new Int32Array(epoch);
    this.#threads += count;
  }

  /** Blocks until the product is there. The result does not depend on the number of threads. */
  multiply({
    m,
    n,
    k,
    a,
    b,
    layout = 'rows',
    scales,
    c,
    bias = 0,
    accumulate = false,
    alpha = 1,
  }: Product): void {
    const words = new Int32Array(this.#memory.buffer); // anew each time: the memory may have grown
    const at = (field: keyof typeof JOB): number => (this.#job + JOB[field]) >>> 2;
    const awaitIdle = () => {
      while (Atomics.load(words, at('active')) !== 0); // the rest of one strip: too short to sleep
    };
    const threaded = this.#epoch !== null && m * n * k >= WORTH_THREADS;
    // Two strips a thread at least, so that one which starts late is helped out.
    const even = Math.ceil(n / (2 * this.#threads) / PANEL) * PANEL;
    const strip = threaded ? Math.min(STRIP, even) : STRIP;

    // A thread that was woken for an earlier job may only now look: it finds the job closed, and must leave before it changes.
    awaitIdle();
    words[at('strips')] = Math.ceil(n / strip);
    words[at('strip')] = strip;
    words[at('m')] = m;
    words[at('n')] = n;
    words[at('k')] = k;
    words[at('a')] = a.address;
    words[at('aStride')] = a.stride;
    words[at('b')] = b.address;
    words[at('bStride')] = b.stride;
    words[at('layout')] = LAYOUT[layout];
    words[at('scales')] = scales?.address ?? 0;
    words[at('scaleStride')] = scales?.stride ?? 0;
    words[at('c')] = c.address;
    words[at('cStride')] = c.stride;
    words[at('bias')] = bias;
    words[at('accumulate')] = accumulate ? 1 : 0;
    new Float32Array(words.buffer)[at('alpha')] = alpha;
    Atomics.store(words, at('next'), 0);
    if (threaded && this.#epoch) {
      Atomics.add(this.#epoch, 0, 1);
      Atomics.notify(this.#epoch, 0);
    }
    this.#work(this.#job, this.#scratch);
    awaitIdle();
    Atomics.store(words, at('next'), CLOSED);
  }
}

const started = new WeakMap<WasmBackend, Gemm | null>();

/** The products of a backend: made at the first call, one for each backend. */
export function gemmOn(backend: WasmBackend): Gemm | null {
  let gemm = started.get(backend);
  if (gemm === undefined) {
    gemm = Gemm.on(backend);
    started.set(backend, gemm);
  }
  return gemm;
}
