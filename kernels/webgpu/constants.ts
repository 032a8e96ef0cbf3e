import { hashOf } from './buffer-numbers.ts';

type Entry = {
  readonly words: Int32Array | Uint32Array;
  readonly usage: number;
  readonly buffer: GPUBuffer;
  usedIn: number;
};

const PASSES_KEPT = 2; // as in the pool

/** Buffers of few words that never change, shared by all calls that ask for the same words. */
export class Constants {
  readonly #device: GPUDevice;
  readonly #known = new Map<number, Entry[]>();
  #pass = 0;

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** `words` are copied: the caller may change them afterwards. */
  find(words: Int32Array | Uint32Array, usage: number): GPUBuffer {
    const hash = hashOf(words, words.length, usage);
    const alike = this.#known.get(hash);
    if (alike) {
      for (const entry of alike) {
        if (entry.usage !== usage || !sameWords(entry.words, words)) continue;
        entry.usedIn = this.#pass;
        return entry.buffer;
      }
    }
    const entry = { words: words.slice(), usage, buffer: this.#make(words, usage), usedIn: this.#pass };
    if (alike) alike.push(entry);
    else this.#known.set(hash, [entry]);
    return entry.buffer;
  }

  /** Ends a pass: what the last two did not use is destroyed. All that was recorded must have been submitted.   → these */
  trim(): readonly GPUBuffer[] {
    const oldest = this.#pass - PASSES_KEPT;
    this.#pass++;
    const gone: GPUBuffer[] = [];
    for (const [hash, entries] of this.#known) {
      const left = entries.filter(({ usedIn }) => usedIn > oldest);
      if (left.length === entries.length) continue;
      for (const { usedIn, buffer } of entries) if (usedIn <= oldest) gone.push(buffer);
      if (left.length > 0) this.#known.set(hash, left);
      else this.#known.delete(hash);
    }
    for (const buffer of gone) buffer.destroy();
    return gone;
  }

  #make(words: Int32Array | Uint32Array, usage: number): GPUBuffer {
    const size = Math.max(16, Math.ceil(words.byteLength / 16) * 16);
    const buffer = this.#device.createBuffer({ size, usage, mappedAtCreation: true });
    new Uint32Array(buffer.getMappedRange(), 0, words.length).set(words);
    buffer.unmap();
    return buffer;
  }
}

function sameWords(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
