import { BufferPool } from '../kernels/webgpu/buffer-pool.ts';
import { KEPT_BYTES } from './device-webgpu.ts';

/** Bytes of buffers where most are there at once: of tensors that are alive, and of those that wait to be lent again. */
export type MostHeld = { readonly alive: number; readonly waiting: number };

/**
 * The GPU's buffers without a GPU: the pool of buffer-pool.ts lends buffers of a device that makes none. It takes what is free
 * by the rules that hold on a GPU, so that what lies there follows from the order in which tensors are made and freed.
 */
export class DryRun {
  readonly #pool = new BufferPool(BARE_DEVICE);
  #made: GPUBuffer[] = [];
  #most: MostHeld = { alive: 0, waiting: 0 };

  /** A tensor of so many values, four bytes each. */
  make(values: number): GPUBuffer {
    const buffer = this.#pool.acquireBuffer(4 * values, 0);
    this.#made.push(buffer);
    const { numBytesUsed: alive, numBytesFree: waiting } = this.#pool;
    const more = alive + waiting - this.#most.alive - this.#most.waiting;
    if (more > 0 || (more === 0 && alive > this.#most.alive)) this.#most = { alive, waiting };
    return buffer;
  }

  /** As `tf.tidy`: what `f` made is freed, but for its result. */
  tidy(f: () => GPUBuffer): GPUBuffer {
    const outer = this.#made;
    this.#made = [];
    const result = f();
    this.free(...this.#made.filter((buffer) => buffer !== result));
    this.#made = [...outer, result];
    return result;
  }

  free(...buffers: readonly GPUBuffer[]): void {
    for (const buffer of buffers) this.#pool.releaseBuffer(buffer);
  }

  /** As the pool does where sizes change. */
  shrink(): void {
    this.#pool.shrink(KEPT_BYTES);
  }

  /** As `trimBufferPool` at the end of a pass. */
  trim(): void {
    this.#pool.trim(KEPT_BYTES);
  }

  /** The most that was there since the last time this was asked. */
  most(): MostHeld {
    const most = this.#most;
    this.#most = { alive: 0, waiting: 0 };
    return most;
  }
}

const BARE_DEVICE = {
  createBuffer: ({ size, usage }: GPUBufferDescriptor) => ({ size, usage, destroy: () => {} }),
} as unknown as GPUDevice;
