import {
  add,
  and,
  atLeast,
  type Code,
  during,
  Frame,
  type FunctionCode,
  get,
  HALVES,
  I32,
  i32,
  increase,
  interleave,
  least,
  lessThan,
  loadF32,
  loadLane,
  loadV128,
  mul,
  set,
  shiftLeft,
  storeF32,
  storeV128,
  sub,
  unrolled,
  V128,
  zeroV128,
} from './assembler.ts';
import { type ColumnLayout, NUMBERS, widen, widenScales } from './widen-code.ts';

/** Columns of a panel: two vectors of four. */
export const PANEL = 8;

/**
 * pack(from, stride, n, k, to): a strip of B [k, n], row by row, into panels. Missing columns are left as they are. A row is
 * read from end to end: panel by panel, every piece of 32 bytes would be on another page.
 */
export function packRows(): FunctionCode {
  const frame = new Frame(I32, I32, I32, I32, I32);
  const [from, stride, n, k, to] = [0, 1, 2, 3, 4];
  const [column, row, source, target, panelBytes] = frame.locals(5, I32);
  const body: Code = [
    ...set(panelBytes, mul(get(k), i32(4 * PANEL))),
    ...during(lessThan(get(row), get(k)), [
      ...set(column, i32(0)),
      ...set(source, get(from)),
      ...set(target, get(to)),
      ...during(atLeast(get(n), add(get(column), i32(PANEL))), [
        ...storeV128(0, get(target), loadV128(0, get(source))),
        ...storeV128(16, get(target), loadV128(16, get(source))),
        ...increase(source, i32(4 * PANEL)),
        ...increase(target, get(panelBytes)),
        ...increase(column, i32(PANEL)),
      ]),
      ...during(lessThan(get(column), get(n)), [
        ...storeF32(0, get(target), loadF32(0, get(source))),
        ...increase(source, i32(4)),
        ...increase(target, i32(4)),
        ...increase(column, i32(1)),
      ]),
      ...increase(from, get(stride)),
      ...increase(to, i32(4 * PANEL)),
      ...increase(row, i32(1)),
    ]),
  ];
  return { name: 'packRows', frame, body };
}

/**
 * pack(from, stride, n, k, to, scales, scaleStride): the same of a B that lies column by column. Of four columns 16 bytes
 * each are turned as they lie, and widened after that: the narrower a type, the fewer instructions turn it. Where the last
 * columns are fewer than four, the very last one stands in for those that are missing, and what comes of them is not kept.
 */
export function packColumns(layout: ColumnLayout): FunctionCode {
  const frame = new Frame(I32, I32, I32, I32, I32, I32, I32);
  const [from, stride, n, k, to, scales, scaleStride] = [0, 1, 2, 3, 4, 5, 6];
  const [column, row, target, chosen] = frame.locals(4, I32);
  const sources = frame.locals(4, I32);
  const scaleSources = frame.locals(4, I32);
  const taken = frame.locals(4, V128);
  const pairs = frame.locals(4, V128);
  const [numbers, scale, wide] = frame.locals(3, V128);
  const { bits, scale: shared } = NUMBERS[layout];
  const bytes = Math.max(1, bits / 8) as 1 | 2 | 4; // of what is turned: nibbles stay in pairs
  const rowsOfVector = 4 / bytes;
  const rowsOfBlock = 128 / bits;

  const fromEach = (size: 1 | 2 | 4, addresses: readonly number[]): Code =>
    addresses.reduce((vector, a, lane) => loadLane(size, lane, get(a), vector), zeroV128);
  const takeScales: Code = shared
    ? [
        ...set(scale, widenScales(shared.bytes, fromEach(shared.bytes, scaleSources), wide)),
        ...scaleSources.flatMap((s) => increase(s, i32(shared.bytes))),
      ]
    : [];
  const perBlock = shared?.rows === rowsOfBlock;
  const storeRow = (at: number, values: Code): Code => storeV128(4 * PANEL * at, get(target), values);
  const turned = [0, 1].flatMap((i) =>
    HALVES.map((half) => interleave(2 * bytes, half, get(pairs[i]), get(pairs[2 + i]))),
  );

  const block: Code = [
    ...(perBlock ? takeScales : []),
    ...taken.flatMap((v, i) => set(v, loadV128(0, get(sources[i])))),
    ...[0, 2].flatMap((i) =>
      HALVES.flatMap((half, j) =>
        set(pairs[i + j], interleave(bytes, half, get(taken[i]), get(taken[i + 1]))),
      ),
    ),
    ...turned.flatMap((vector, quarter) => [
      ...set(numbers, vector),
      ...widen(layout, get(numbers), { scale, wide }).flatMap((values, i) => {
        const nibbles = Math.floor(i / rowsOfVector); // the upper ones are half a block further on
        const at = quarter * rowsOfVector + (nibbles * rowsOfBlock) / 2 + (i % rowsOfVector);
        return storeRow(at, values);
      }),
    ]),
    ...sources.flatMap((s) => increase(s, i32(16))),
    ...increase(target, i32(4 * PANEL * rowsOfBlock)),
  ];
  const single: Code = [
    ...set(numbers, fromEach(bytes, sources)),
    ...storeRow(0, widen(layout, get(numbers), { scale, wide })[0]),
    ...sources.flatMap((s) => increase(s, i32(bytes))),
    ...increase(target, i32(4 * PANEL)),
  ];
  const panel = and(get(column), i32(-PANEL));
  const place = add(mul(panel, get(k)), and(get(column), i32(4))); // in panels of k rows
  const body = during(lessThan(get(column), get(n)), [
    ...set(target, add(get(to), shiftLeft(place, i32(2)))),
    ...set(row, i32(0)),
    ...[0, 1, 2, 3].flatMap((i) => [
      ...set(chosen, least(add(get(column), i32(i)), sub(get(n), i32(1)))),
      ...set(sources[i], add(get(from), mul(get(chosen), get(stride)))),
      ...(shared ? set(scaleSources[i], add(get(scales), mul(get(chosen), get(scaleStride)))) : []),
    ]),
    ...(perBlock ? [] : takeScales),
    // A last group of nibbles is whole, and so is what it becomes: at most a panel's greatest depth, a multiple of groups.
    ...(bits === 4
      ? during(lessThan(get(row), get(k)), [...block, ...increase(row, i32(rowsOfBlock))])
      : unrolled(row, get(k), rowsOfBlock, block, single)),
    ...increase(column, i32(4)),
  ]);
  return { name: layout, frame, body };
}
