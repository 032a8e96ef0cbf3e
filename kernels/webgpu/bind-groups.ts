import { hashOf, numberOf } from './buffer-numbers.ts';

type Entry = { readonly key: readonly number[]; readonly group: GPUBindGroup };

// Small each; a model of 68 blocks has some 1200 dispatches with weights of their own.
const MOST = 4096;

/** The bind groups of past calls, by their pipeline's number and their buffers'. */
export class BindGroups {
  readonly #known = new Map<number, Entry[]>();
  #size = 0;
  readonly #key: number[] = [];

  /** The group of these buffers, bound 0 … n−1; `make` is called where there is none yet. */
  find(pipeline: number, buffers: readonly GPUBuffer[], make: () => GPUBindGroup): GPUBindGroup {
    const key = this.#key;
    const length = buffers.length + 1;
    key[0] = pipeline;
    for (let i = 1; i < length; i++) key[i] = numberOf(buffers[i - 1]);
    const hash = hashOf(key, length, length);
    const alike = this.#known.get(hash);
    if (alike) for (const entry of alike) if (sameStart(entry.key, key, length)) return entry.group;
    const entry = { key: key.slice(0, length), group: make() };
    if (this.#size >= MOST) this.#clear();
    const list = this.#known.get(hash);
    if (list) list.push(entry);
    else this.#known.set(hash, [entry]);
    this.#size++;
    return entry.group;
  }

  /** Lets go of the groups that name one of these buffers: a group keeps its buffers known to the driver. */
  forget(buffers: readonly GPUBuffer[]): void {
    if (buffers.length === 0) return;
    const gone = new Set(buffers.map(numberOf));
    for (const [hash, entries] of this.#known) {
      const left = entries.filter(({ key }) => !key.some((number, i) => i > 0 && gone.has(number)));
      if (left.length === entries.length) continue;
      this.#size -= entries.length - left.length;
      if (left.length > 0) this.#known.set(hash, left);
      else this.#known.delete(hash);
    }
  }

  get size(): number {
    return this.#size;
  }

  #clear(): void {
    this.#known.clear();
    this.#size = 0;
  }
}

function sameStart(a: readonly number[], b: readonly number[], length: number): boolean {
  if (a.length !== length) return false;
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return false;
  return true;
}
