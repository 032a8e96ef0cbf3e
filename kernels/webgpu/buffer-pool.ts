import { numberOf } from './buffer-numbers.ts';

type Entry = {
  readonly buffer: GPUBuffer;
  readonly number: number;
  readonly size: number;
  /** The last pass that had it. */
  usedIn: number;
  /** Submits before it was given back: what was recorded since the last of them may use it. */
  freedAfter: number;
};

/** The fields of TF.js's own manager (buffer_manager.ts of 4.22) that hold buffers; private in its types. */
export type StockPool = {
  readonly freeBuffers: Map<string, GPUBuffer[]>;
  readonly usedBuffers: Map<string, GPUBuffer[]>;
};

// An image's call is two passes, tower and decoder: the next one of its shape finds the buffers of both.
const PASSES_KEPT = 2;

/**
 * The buffers of tensors, in the place of TF.js's buffer manager, which never lets one go. What is free is lent in the order
 * of its numbers: the same calls get the same buffers again, and so find their bind groups.
 */
export class BufferPool {
  numBytesUsed = 0;
  numBytesAllocated = 0;
  readonly #device: GPUDevice;
  readonly #used = new Map<GPUBuffer, Entry>();
  /** By size and usage, lowest number last. */
  readonly #free = new Map<number, Entry[]>();
  #numFree = 0;
  #pass = 0;
  #submits = 0;

  /** Takes over what another manager of this device holds. */
  constructor(device: GPUDevice, { freeBuffers, usedBuffers }: Partial<StockPool> = {}) {
    this.#device = device;
    for (const buffer of [...(usedBuffers?.values() ?? [])].flat()) this.#lend(this.#entry(buffer));
    for (const buffer of [...(freeBuffers?.values() ?? [])].flat()) this.#take(this.#entry(buffer));
  }

  /** As TF.js asks. A mapped buffer is mapped only if it is new. `reuse`: a free one will do. */
  acquireBuffer(size: number, usage: number, mappedAtCreation = false, reuse = true): GPUBuffer {
    let entry: Entry | undefined;
    if (reuse) {
      entry = this.#free.get(keyOf(size, usage))?.pop();
      if (entry) this.#numFree--;
    }
    entry ??= this.#entry(this.#device.createBuffer({ size, usage, mappedAtCreation }));
    this.#lend(entry);
    return entry.buffer;
  }

  /** A buffer that the queue may write into: it would write before the commands that are recorded, so none of them uses it. */
  acquireIdle(size: number, usage: number): GPUBuffer {
    const free = this.#free.get(keyOf(size, usage)) ?? [];
    const at = free.findLastIndex(({ freedAfter }) => freedAfter < this.#submits);
    if (at < 0) return this.acquireBuffer(size, usage, false, false);
    const [entry] = free.splice(at, 1);
    this.#numFree--;
    this.#lend(entry);
    return entry.buffer;
  }

  /** All that was recorded so far is submitted now. */
  submitted(): void {
    this.#submits++;
  }

  /** As TF.js gives back. `reuse`: it waits for the next. */
  releaseBuffer(buffer: GPUBuffer, reuse = true): void {
    const entry = this.#used.get(buffer);
    if (!entry) return; // tensors that outlive `dispose`
    this.#used.delete(buffer);
    this.numBytesUsed -= entry.size;
    entry.freedAfter = this.#submits;
    if (reuse) this.#take(entry);
    else this.#destroy(entry);
  }

  /**
   * Ends a pass: of the free buffers those stay that the last two passes used, the latest first, up to `most` bytes; the
   * others are destroyed. All that was recorded must have been submitted.   → what was destroyed
   */
  trim(most: number): readonly GPUBuffer[] {
    const oldest = this.#pass - PASSES_KEPT;
    this.#pass++;
    return this.#keep(most, oldest);
  }

  /** The same within a pass, where other sizes follow: of the free buffers `most` bytes stay, the latest.   → what was destroyed */
  shrink(most: number): readonly GPUBuffer[] {
    return this.#keep(most, Number.NEGATIVE_INFINITY);
  }

  /** Keeps free buffers that were used after the pass `oldest`, the latest first. */
  #keep(most: number, oldest: number): readonly GPUBuffer[] {
    const free = [...this.#free.values()].flat();
    free.sort((a, b) => b.usedIn - a.usedIn || a.number - b.number);
    this.#free.clear();
    this.#numFree = 0;
    const gone: GPUBuffer[] = [];
    let left = most;
    for (const entry of free) {
      if (entry.usedIn > oldest && entry.size <= left) {
        left -= entry.size;
        this.#take(entry);
      } else {
        this.#destroy(entry);
        gone.push(entry.buffer);
      }
    }
    return gone;
  }

  get numBytesFree(): number {
    return this.numBytesAllocated - this.numBytesUsed;
  }

  get numUsedBuffers(): number {
    return this.#used.size;
  }

  get numFreeBuffers(): number {
    return this.#numFree;
  }

  getNumUsedBuffers = (): number => this.numUsedBuffers;
  getNumFreeBuffers = (): number => this.numFreeBuffers;

  dispose(): void {
    this.trim(0);
    for (const entry of this.#used.values()) this.#destroy(entry);
    this.#used.clear();
    this.numBytesUsed = 0;
  }

  #entry(buffer: GPUBuffer): Entry {
    const { size } = buffer;
    this.numBytesAllocated += size;
    return { buffer, number: numberOf(buffer), size, usedIn: this.#pass, freedAfter: -1 };
  }

  #lend(entry: Entry): void {
    entry.usedIn = this.#pass;
    this.#used.set(entry.buffer, entry);
    this.numBytesUsed += entry.size;
  }

  #take(entry: Entry): void {
    const key = keyOf(entry.size, entry.buffer.usage);
    let free = this.#free.get(key);
    if (!free) {
      free = [];
      this.#free.set(key, free);
    }
    let at = free.length;
    while (at > 0 && free[at - 1].number < entry.number) at--;
    free.splice(at, 0, entry);
    this.#numFree++;
  }

  #destroy({ buffer, size }: Entry): void {
    buffer.destroy();
    this.numBytesAllocated -= size;
  }
}

// Usages are ten bits.
const keyOf = (size: number, usage: number): number => size * 1024 + usage;
