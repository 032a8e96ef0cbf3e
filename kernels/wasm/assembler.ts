/**
 * A few dozen lines of WebAssembly assembler: an instruction is the bytes it is made of, and expressions nest as calls
 * do, operands first. Lists within lists are made one at the end: copied at every step, deep expressions take long.
 * (WebAssembly Core Specification, section 5: binary format.)
 */
export type Code = readonly (number | Code)[];

/** Types of parameters and locals. */
export const I32 = 0x7f;
export const F32 = 0x7d;
export const V128 = 0x7b;

export const unsigned = (n: number): readonly number[] =>
  n < 0x80 ? [n] : [(n & 0x7f) | 0x80, ...unsigned(Math.floor(n / 0x80))];

const signed = (n: number): readonly number[] => {
  const low = n & 0x7f;
  const rest = n >> 7;
  const last = (rest === 0 && !(low & 0x40)) || (rest === -1 && (low & 0x40) !== 0);
  return last ? [low] : [low | 0x80, ...signed(rest)];
};

const list = (items: readonly Code[]): Code => [...unsigned(items.length), ...items];
const flat = (code: Code): readonly number[] => (code as readonly unknown[]).flat(Infinity) as number[];
const sized = (code: Code): Code => {
  const bytes = flat(code);
  return [...unsigned(bytes.length), bytes];
};
const op =
  (...code: number[]) =>
  (...operands: Code[]): Code => [...operands, ...code];
const simd = (n: number) => op(0xfd, ...unsigned(n));
/** Reads or writes memory at an address plus an offset that is baked in. Alignment is a hint, and none is given. */
const memory =
  (code: Code, align = 0) =>
  (offset: number, ...operands: Code[]): Code => [
    ...operands,
    ...code,
    ...unsigned(align),
    ...unsigned(offset),
  ];

export const i32 = (n: number): Code => [0x41, ...signed(n)];
export const get = (local: number): Code => [0x20, ...unsigned(local)];
export const set = (local: number, value: Code): Code => [value, 0x21, ...unsigned(local)];
/** Sets a local, and leaves the value where it is. */
export const tee = (local: number, value: Code): Code => [value, 0x22, ...unsigned(local)];
export const call = (index: number, ...operands: Code[]): Code => [...operands, 0x10, ...unsigned(index)];

export const add = op(0x6a);
export const sub = op(0x6b);
export const mul = op(0x6c);
export const and = op(0x71);
export const shiftLeft = op(0x74);
export const shiftRight = op(0x76); //      unsigned
export const equal = op(0x46);
export const lessThan = op(0x49); //        unsigned, as all numbers here are
export const atLeast = op(0x4f); //         unsigned
export const choose = op(0x1b); //          (a, b, condition) → condition ? a : b

/** The smaller of two unsigned numbers. */
export const least = (a: Code, b: Code): Code => choose(a, b, lessThan(a, b));

export const loadI32 = memory([0x28]);
export const loadF32 = memory([0x2a]);
export const storeF32 = memory([0x38]);
// Atomic accesses must state their true alignment.
export const atomicLoad = memory([0xfe, 0x10], 2);
export const atomicAdd = memory([0xfe, 0x1e], 2);

export const loadV128 = memory([0xfd, 0x00]);
export const loadSplat = memory([0xfd, 0x09]); //    one float32 in all four lanes
export const storeV128 = memory([0xfd, 0x0b]);
/** Reads `bytes` bytes (1, 2 or 4) into one lane of that size of a vector. */
export const loadLane = (bytes: 1 | 2 | 4, lane: number, address: Code, vector: Code): Code => [
  ...memory([0xfd, 0x54 + Math.log2(bytes)])(0, address, vector),
  lane,
];
export const splat = simd(0x13);
export const addF32x4 = simd(0xe4);
export const mulF32x4 = simd(0xe6);
export const magnitudes = simd(0xe0);
export const atLeastF32x4 = simd(0x46); //           all bits of a lane set, or none
export const andV128 = simd(0x4e);
export const orV128 = simd(0x50);
export const subI8x16 = simd(0x71);
export const shiftRightI8x16 = simd(0x6d); //        unsigned
export const shiftRightI32x4 = simd(0xac); //        signed
export const extendI8 = [simd(0x87), simd(0x88)]; // lower and upper eight → eight 16-bit integers, signed
export const extendI16 = [simd(0xa7), simd(0xa8)]; // lower and upper four → four 32-bit integers, signed
export const convertI32x4 = simd(0xfa); //           signed integers → float32
/** A vector of `bytes`, again and again. */
export const filled = (...bytes: number[]): Code => [
  ...[0xfd, 0x0c],
  ...Array.from({ length: 16 }, (_, i) => bytes[i % bytes.length]),
];
export const zeroV128 = filled(0);
export const HALVES = ['lower', 'upper'] as const;
/** Lanes of `bytes` bytes from the lower halves of `a` and `b` in turns, or from the upper ones. */
export const interleave = (bytes: number, half: (typeof HALVES)[number], a: Code, b: Code): Code => [
  a,
  b,
  ...[0xfd, 0x0d],
  ...Array.from({ length: 16 }, (_, i) => {
    const [lane, at] = [Math.floor(i / (2 * bytes)), i % (2 * bytes)];
    const from = at < bytes ? at : 16 + at - bytes;
    return (half === 'lower' ? 0 : 8) + lane * bytes + from;
  }),
];

export const when = (condition: Code, then: Code, otherwise: Code = []): Code => [
  condition,
  0x04,
  0x40,
  then,
  ...(otherwise.length ? [0x05, otherwise] : []),
  0x0b,
];
/** Runs `body` as long as `condition` holds, which is asked before each round. */
export const during = (condition: Code, body: Code): Code => [
  ...[0x02, 0x40, 0x03, 0x40], // block, loop
  condition,
  ...[0x45, 0x0d, 0x01], //        leave the block unless it holds
  body,
  ...[0x0c, 0x00, 0x0b, 0x0b], //  again
];
/** Runs `body` for `step` units at a time, then `single` for each that is left over.   `at` counts up to `end`. */
export const unrolled = (at: number, end: Code, step: number, body: Code, single: Code): Code => [
  ...during(atLeast(end, add(get(at), i32(step))), [...body, ...increase(at, i32(step))]),
  ...during(lessThan(get(at), end), [...single, ...increase(at, i32(1))]),
];
export const increase = (local: number, by: Code): Code => set(local, add(get(local), by));

/** Hands out the indices of a function's parameters and locals. */
export class Frame {
  readonly #parameters: number;
  readonly #types: number[];

  constructor(...parameters: number[]) {
    this.#parameters = parameters.length;
    this.#types = [...parameters];
  }

  /** A new local of this type. */
  local(type: number): number {
    return this.#types.push(type) - 1;
  }

  locals(count: number, type: number): number[] {
    return Array.from({ length: count }, () => this.local(type));
  }

  get parameters(): readonly number[] {
    return this.#types.slice(0, this.#parameters);
  }

  get extra(): readonly number[] {
    return this.#types.slice(this.#parameters);
  }
}

export type FunctionCode = { readonly name: string; readonly frame: Frame; readonly body: Code };

/** A module of functions without results, all exported, on an imported memory `env.memory`. */
export function assemble(functions: readonly FunctionCode[], { shared }: { shared: boolean }): Uint8Array {
  const section = (id: number, content: Code): Code => [id, ...sized(content)];
  const text = (s: string): Code => sized([...new TextEncoder().encode(s)]);
  // A shared memory must state its maximum, and an import may not state a smaller one than the memory has.
  const limits = shared ? [0x03, 0, ...unsigned(65536)] : [0x00, 0];
  const types = functions.map(({ frame }) => [0x60, ...sized(frame.parameters), 0]);
  const bodies = functions.map(({ frame, body }) =>
    sized([...list(frame.extra.map((type) => [1, type])), ...body, 0x0b]),
  );
  return Uint8Array.from(
    flat([
      ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0], // "\0asm", version 1
      ...section(1, list(types)),
      ...section(2, list([[...text('env'), ...text('memory'), 0x02, ...limits]])),
      ...section(3, list(functions.map((_, i) => unsigned(i)))),
      ...section(7, list(functions.map(({ name }, i) => [...text(name), 0x00, ...unsigned(i)]))),
      ...section(10, list(bodies)),
    ]),
  );
}
