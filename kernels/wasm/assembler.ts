/**
 * A few dozen lines of WebAssembly assembler: an instruction is the bytes it is made of, and expressions nest as calls
 * do, operands first. (WebAssembly Core Specification, section 5: binary format.)
 */
export type Code = readonly number[];

/** Types of parameters and locals. */
export const I32 = 0x7f;
export const F32 = 0x7d;
export const V128 = 0x7b;

export const unsigned = (n: number): Code =>
  n < 0x80 ? [n] : [(n & 0x7f) | 0x80, ...unsigned(Math.floor(n / 0x80))];

const signed = (n: number): Code => {
  const low = n & 0x7f;
  const rest = n >> 7;
  const last = (rest === 0 && !(low & 0x40)) || (rest === -1 && (low & 0x40) !== 0);
  return last ? [low] : [low | 0x80, ...signed(rest)];
};

const list = (items: readonly Code[]): Code => [...unsigned(items.length), ...items.flat()];
const sized = (bytes: Code): Code => [...unsigned(bytes.length), ...bytes];
const op =
  (...code: number[]) =>
  (...operands: Code[]): Code => [...operands.flat(), ...code];
const simd = (n: number) => op(0xfd, ...unsigned(n));
/** Reads or writes memory at an address plus an offset that is baked in. Alignment is a hint, and none is given. */
const memory =
  (code: Code, align = 0) =>
  (offset: number, ...operands: Code[]): Code => [
    ...operands.flat(),
    ...code,
    ...unsigned(align),
    ...unsigned(offset),
  ];

export const i32 = (n: number): Code => [0x41, ...signed(n)];
export const get = (local: number): Code => [0x20, ...unsigned(local)];
export const set = (local: number, value: Code): Code => [...value, 0x21, ...unsigned(local)];
export const call = (index: number, ...operands: Code[]): Code => [
  ...operands.flat(),
  0x10,
  ...unsigned(index),
];

export const add = op(0x6a);
export const sub = op(0x6b);
export const mul = op(0x6c);
export const shiftLeft = op(0x74);
export const lessThan = op(0x49); //        unsigned, as all numbers here are
export const atLeast = op(0x4f); //         unsigned
export const bitsToFloat = op(0xbe);
export const choose = op(0x1b); //          (a, b, condition) → condition ? a : b

export const loadI32 = memory([0x28]);
export const loadU16 = memory([0x2f]);
export const loadF32 = memory([0x2a]);
export const storeF32 = memory([0x38]);
// Atomic accesses must state their true alignment.
export const atomicLoad = memory([0xfe, 0x10], 2);
export const atomicAdd = memory([0xfe, 0x1e], 2);

export const loadV128 = memory([0xfd, 0x00]);
export const loadSplat = memory([0xfd, 0x09]); //    one float32 in all four lanes
export const loadLow = memory([0xfd, 0x5d]); //      64 bits, the upper half zero
export const storeV128 = memory([0xfd, 0x0b]);
export const splat = simd(0x13);
export const addF32x4 = simd(0xe4);
export const mulF32x4 = simd(0xe6);
export const widenU16 = simd(0xa9); //               four 16-bit words → four 32-bit words
export const shiftLeftEach = simd(0xab);
export const zeroV128: Code = [0xfd, 0x0c, ...new Array<number>(16).fill(0)];
/** Lanes of 32 bits, 0 to 3 of `a` and 4 to 7 of `b`. */
export const shuffle = (a: Code, b: Code, lanes: readonly number[]): Code => [
  ...a,
  ...b,
  0xfd,
  0x0d,
  ...lanes.flatMap((l) => [4 * l, 4 * l + 1, 4 * l + 2, 4 * l + 3]),
];

export const when = (condition: Code, then: Code, otherwise: Code = []): Code => [
  ...condition,
  0x04,
  0x40,
  ...then,
  ...(otherwise.length ? [0x05, ...otherwise] : []),
  0x0b,
];
/** Runs `body` as long as `condition` holds, which is asked before each round. */
export const during = (condition: Code, body: Code): Code => [
  ...[0x02, 0x40, 0x03, 0x40], // block, loop
  ...condition,
  ...[0x45, 0x0d, 0x01], //        leave the block unless it holds
  ...body,
  ...[0x0c, 0x00, 0x0b, 0x0b], //  again
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
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0], // "\0asm", version 1
    ...section(1, list(types)),
    ...section(2, list([[...text('env'), ...text('memory'), 0x02, ...limits]])),
    ...section(3, list(functions.map((_, i) => unsigned(i)))),
    ...section(7, list(functions.map(({ name }, i) => [...text(name), 0x00, ...unsigned(i)]))),
    ...section(10, list(bodies)),
  ]);
}
