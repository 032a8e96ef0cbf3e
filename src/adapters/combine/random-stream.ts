/**
 * Uniform numbers in [0, 1) that depend on seed and name alone: the same on every machine, backend and order of work.
 * sfc32 (Doty-Humphrey, PractRand), its state hashed from `seed/name` by four FNV-1a lanes.
 */
export function randomStream(seed: number, name: string): () => number {
  let [a, b, c, counter] = [0x811c9dc5, 0x9e3779b9, 0x243f6a88, 0xb7e15162].map((start) =>
    hash(`${seed}/${name}`, start),
  );
  const next = () => {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return (sum >>> 0) / 2 ** 32;
  };
  for (let i = 0; i < 16; i++) next(); // similar seeds part here
  return next;
}

function hash(text: string, start: number): number {
  let h = start;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h ^ (h >>> 15);
}
