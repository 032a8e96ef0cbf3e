const numbers = new WeakMap<GPUBuffer, number>();
let next = 1;

/** A number for each buffer, the older the lower: what bind groups are known by, and the order in which a pool lends. */
export function numberOf(buffer: GPUBuffer): number {
  let number = numbers.get(buffer);
  if (number === undefined) {
    number = next++;
    numbers.set(buffer, number);
  }
  return number;
}

/** One 32-bit number of many (FNV-1a, by words). */
export function hashOf(words: ArrayLike<number>, length: number, seed: number): number {
  let hash = 0x811c9dc5 ^ seed;
  for (let i = 0; i < length; i++) hash = Math.imul(hash ^ words[i], 0x01000193);
  return hash ^ (hash >>> 15);
}
