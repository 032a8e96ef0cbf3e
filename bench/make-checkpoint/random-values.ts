import { bytesPerElement } from '../../weights/dtypes.ts';
import { narrowToBf16, narrowToF16 } from '../../weights/narrow.ts';

export type WeightDtype = 'BF16' | 'F16' | 'F32';

/** What the values of a tensor are like. */
export type Distribution = { readonly mean: number; readonly std: number };

/** Endless values of one tensor: fills whole buffers, one after the other. Bytes must be a multiple of 4. */
export type ValueStream = (target: Uint32Array) => void;

// Every draw of 16 random bits looks a value up in the table of the 65,536 normal quantiles: no arithmetic a value, and a
// table of two bytes a value stays in the L2 cache. Largest value 4.3 standard deviations.
const QUANTILES = 1 << 16;

/**
 * Seeded normal values of one tensor. The stream depends on seed, name and distribution alone: not on the file the tensor
 * is in, nor on what was written before it. Another dtype gives the same values, rounded to it.
 */
export function valueStream(
  seed: number,
  name: string,
  distribution: Distribution,
  dtype: WeightDtype,
): ValueStream {
  const table = tableOf(distribution, dtype);
  const state = seedState(seed, name);
  if (bytesPerElement(dtype) === 4) return (target) => fillWords(target, table, state);
  return (target) => fillPairs(target, table, state);
}

// Two values of 16 bits a word. The generator is sfc32 (Chris Doty-Humphrey, PractRand), written out in both loops because
// a call a draw would halve the speed.
function fillPairs(target: Uint32Array, table: Uint16Array | Uint32Array, state: Int32Array): void {
  let [a, b, c, d] = state;
  for (let i = 0; i < target.length; i++) {
    const draw = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + draw) | 0;
    target[i] = table[draw & 0xffff] | (table[draw >>> 16] << 16);
  }
  state.set([a, b, c, d]);
}

// One value of 32 bits a word: an even word draws, the odd one after it takes the other half of the bits.
function fillWords(target: Uint32Array, table: Uint16Array | Uint32Array, state: Int32Array): void {
  let [a, b, c, d] = state;
  for (let i = 0; i < target.length; i += 2) {
    const draw = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + draw) | 0;
    target[i] = table[draw & 0xffff];
    target[i + 1] = table[draw >>> 16]; // past the end of an odd target: ignored by the typed array
  }
  state.set([a, b, c, d]);
}

/** Four words from seed and name (FNV-1a with four offsets), run in until they have nothing to do with either. */
function seedState(seed: number, name: string): Int32Array {
  const state = new Int32Array(4);
  for (let word = 0; word < 4; word++) {
    let hash = (0x811c9dc5 ^ Math.imul(seed + word, 0x9e3779b1)) | 0;
    for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
    state[word] = hash ^ (hash >>> 15);
  }
  fillPairs(new Uint32Array(16), new Uint16Array(QUANTILES), state);
  return state;
}

const tables = new Map<string, Uint16Array | Uint32Array>();

/** The bits of the quantiles in a dtype. Kept: a model has about ten distributions. */
function tableOf({ mean, std }: Distribution, dtype: WeightDtype): Uint16Array | Uint32Array {
  const key = `${dtype} ${mean} ${std}`;
  const known = tables.get(key);
  if (known) return known;
  const values = Float32Array.from(
    { length: QUANTILES },
    (_, i) => mean + std * normalQuantile((i + 0.5) / QUANTILES),
  );
  const bits =
    dtype === 'BF16'
      ? narrowToBf16(values)
      : dtype === 'F16'
        ? narrowToF16(values)
        : new Uint32Array(values.buffer);
  tables.set(key, bits);
  return bits;
}

const CENTRE = [
  [2.50662823884, -18.61500062529, 41.39119773534, -25.44106049637],
  [-8.4735109309, 23.08336743743, -21.06224101826, 3.13082909833],
] as const;
const TAIL = [
  0.3374754822726147, 0.9761690190917186, 0.1607979714918209, 0.0276438810333863, 0.0038405729373609,
  0.0003951896511919, 0.0000321767881768, 0.0000002888167364, 0.0000003960315187,
] as const;

/** Inverse of the normal distribution function, error below 3e-9 (Moro 1995, "The Full Monte"). */
function normalQuantile(p: number): number {
  const y = p - 0.5;
  if (Math.abs(y) < 0.42) {
    const r = y * y;
    const [a, b] = CENTRE;
    const numerator = y * (a[0] + r * (a[1] + r * (a[2] + r * a[3])));
    return numerator / (1 + r * (b[0] + r * (b[1] + r * (b[2] + r * b[3]))));
  }
  const s = Math.log(-Math.log(Math.min(p, 1 - p)));
  const x = TAIL.reduceRight((sum, c) => sum * s + c, 0);
  return y < 0 ? -x : x;
}
