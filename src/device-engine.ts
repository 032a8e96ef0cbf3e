export type BackendName = 'tensorflow' | 'webgpu' | 'wasm' | 'cpu';

/** What looking at the machine found, before anything heavy is loaded. */
export type EngineReport = {
  readonly available: boolean;
  /** One sentence: what was found, or why it cannot be used and how to get it. */
  readonly detail: string;
  /** What kind of hardware would do the work. `software` is a GPU emulated on the CPU: used only when asked for by name. */
  readonly hardware: 'cuda' | 'gpu' | 'apple' | 'software' | 'cpu';
  /** Whether it computes in float16 (`shader-f16`), where known. */
  readonly half?: boolean;
  /** Name of the adapter or processor, where known. */
  readonly device?: string;
  /** Threads that will compute, where known. */
  readonly threads?: number;
  /** Bytes of device memory, where known (null: shared with the host). */
  readonly memory?: number | null;
};

export type EngineOptions = {
  /** Worker threads for wasm. Default: the number of cores, at most 4. */
  readonly threads?: number;
  /** A GPU emulated on the CPU will do. Default: it will not, also where it is all that is left of a real one. */
  readonly software?: boolean;
};

/** One TF.js backend on one platform. Its packages are imported inside `probe` and `start`, never before. */
export interface Engine {
  readonly name: BackendName;
  /** Never throws: a missing package or driver is a report with `available: false`. */
  probe(): Promise<EngineReport>;
  /** Registers the backend with TF.js and makes it ready. Idempotent. `DeviceError` when it cannot. */
  start(options?: EngineOptions): Promise<EngineReport>;
}
