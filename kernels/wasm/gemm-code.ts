import {
  add,
  addF32x4,
  atLeast,
  atomicAdd,
  type Code,
  call,
  choose,
  during,
  equal,
  F32,
  Frame,
  type FunctionCode,
  get,
  I32,
  i32,
  increase,
  least,
  lessThan,
  loadF32,
  loadI32,
  loadSplat,
  loadV128,
  mul,
  mulF32x4,
  set,
  shiftLeft,
  shiftRight,
  splat,
  storeF32,
  storeV128,
  sub,
  tee,
  unrolled,
  V128,
  when,
  zeroV128,
} from './assembler.ts';
import { PANEL, packColumns, packRows } from './pack-code.ts';
import { LAYOUT, type Layout, NUMBERS } from './widen-code.ts';

/**
 * C ← α A B (+ bias) (+ C) in WebAssembly SIMD, in the manner of Goto and van de Geijn (2008): a strip of B is packed
 * into panels of 8 columns that stay in the cache, and tiles of 4 × 8 results are held in registers while they run down
 * a panel. B is widened and turned while it is packed, so a checkpoint's own [out, in], in 16 bits or quantised, costs no
 * pass of its own. Every result is summed in the same order, whatever the number of rows, columns or threads.
 */

/** Terms that are summed before they are added to C: a panel of this depth is 8 kB, and lies in the nearest cache. */
export const DEPTH = 256;
/** Most columns of a strip, the piece that a thread takes at a time. */
export const STRIP = 64;
/** Rows of A that run down the same panels before the next rows come. */
const ROWS_AT_ONCE = 64;
const TILE_ROWS = 4;

const LAYOUTS = Object.keys(LAYOUT) as Layout[];

/** Bytes a thread needs of its own: a packed strip, and a row of a tile that hangs over the edge of C. */
export const SCRATCH_BYTES = DEPTH * STRIP * 4 + PANEL * 4;

/** Fields of a job in memory, each of 4 bytes. Addresses and strides are in bytes. */
export const JOB = {
  next: 0, //     the strip to take next; at least CLOSED while no job is open
  active: 4, //   threads that are looking at the job
  strips: 8,
  strip: 12, //   columns of a strip, a multiple of PANEL
  m: 16,
  n: 20,
  k: 24,
  a: 28,
  aStride: 32,
  b: 36,
  bStride: 40,
  layout: 44,
  scales: 48,
  scaleStride: 52,
  c: 56,
  cStride: 60,
  bias: 64, //    address, or 0
  accumulate: 68,
  alpha: 72, //   a float32
} as const;
export const JOB_BYTES = 76;
export const CLOSED = 1 << 30;

/**
 * tiles(a, aStride, m, panels, n, k, c, cStride, bias, accumulate, alpha, edge): m rows of A down the panels of a strip.
 * A tile that hangs over the last column is put down in `edge` and copied from there.
 */
function tiles(): FunctionCode {
  const frame = new Frame(I32, I32, I32, I32, I32, I32, I32, I32, I32, I32, F32, I32);
  const [a, aStride, m, panels, n, k, c, cStride, bias, accumulate, alpha, edge] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
  ];
  const [column, row, at, panel, panelStart, target, j, columnBytes] = frame.locals(8, I32);
  const pointers = frame.locals(TILE_ROWS, I32);
  const sums = frame.locals(2 * TILE_ROWS, V128);
  const [left, right, factor, spread] = frame.locals(4, V128);

  const step = (rows: number): Code => [
    ...set(left, loadV128(0, get(panel))),
    ...set(right, loadV128(16, get(panel))),
    ...pointers
      .slice(0, rows)
      .flatMap((p, r) => [
        ...set(factor, loadSplat(0, get(p))),
        ...set(sums[2 * r], addF32x4(get(sums[2 * r]), mulF32x4(get(factor), get(left)))),
        ...set(sums[2 * r + 1], addF32x4(get(sums[2 * r + 1]), mulF32x4(get(factor), get(right)))),
      ]),
  ];
  // One step a round: unrolled by four, the engines' register allocators spill, and it runs a quarter slower.
  const run = (rows: number): Code =>
    during(lessThan(get(at), get(k)), [
      ...step(rows),
      ...pointers.slice(0, rows).flatMap((p) => increase(p, i32(4))),
      ...increase(panel, i32(4 * PANEL)),
      ...increase(at, i32(1)),
    ]);
  const edgeColumns = shiftLeft(sub(get(n), get(column)), i32(2));
  const finish = (rows: number): Code =>
    Array.from({ length: rows }, (_, r) => {
      const [l, h] = [sums[2 * r], sums[2 * r + 1]];
      const both = (f: (local: number, offset: number) => Code): Code => [...f(l, 0), ...f(h, 16)];
      return [
        ...set(target, add(add(get(c), get(columnBytes)), mul(add(get(row), i32(r)), get(cStride)))),
        ...both((s) => set(s, mulF32x4(get(s), get(spread)))),
        ...when(
          atLeast(sub(get(n), get(column)), i32(PANEL)),
          [
            ...when(
              get(bias),
              both((s, o) => set(s, addF32x4(get(s), loadV128(o, add(get(bias), get(columnBytes)))))),
            ),
            ...when(
              get(accumulate),
              both((s, o) => set(s, addF32x4(get(s), loadV128(o, get(target))))),
            ),
            ...both((s, o) => storeV128(o, get(target), get(s))),
          ],
          [
            ...both((s, o) => storeV128(o, get(edge), get(s))),
            ...set(j, i32(0)),
            ...during(lessThan(get(j), edgeColumns), [
              ...storeF32(0, add(get(target), get(j)), [
                ...loadF32(0, add(get(edge), get(j))),
                ...[...get(bias), 0x04, F32], // if → f32
                ...loadF32(0, add(add(get(bias), get(columnBytes)), get(j))),
                ...[0x05, 0x43, 0, 0, 0, 0, 0x0b, 0x92],
                ...[...get(accumulate), 0x04, F32],
                ...loadF32(0, add(get(target), get(j))),
                ...[0x05, 0x43, 0, 0, 0, 0, 0x0b, 0x92],
              ]),
              ...increase(j, i32(4)),
            ]),
          ],
        ),
      ];
    }).flat();
  const tile = (rows: number): Code => [
    ...pointers
      .slice(0, rows)
      .flatMap((p, r) => set(p, add(get(a), mul(add(get(row), i32(r)), get(aStride))))),
    ...sums.slice(0, 2 * rows).flatMap((s) => set(s, zeroV128)),
    ...set(panel, get(panelStart)),
    ...set(at, i32(0)),
    ...run(rows),
    ...finish(rows),
  ];
  const body: Code = [
    ...set(panelStart, get(panels)),
    ...set(spread, splat(get(alpha))),
    ...during(lessThan(get(column), get(n)), [
      ...set(columnBytes, shiftLeft(get(column), i32(2))),
      ...set(row, i32(0)),
      ...unrolled(row, get(m), TILE_ROWS, tile(TILE_ROWS), tile(1)),
      ...increase(column, i32(PANEL)),
      ...increase(panelStart, mul(get(k), i32(4 * PANEL))),
    ]),
  ];
  return { name: 'tiles', frame, body };
}

/**
 * work(job, scratch): takes strip after strip of the job until none is left. Threads run it side by side.
 * Functions are called by their place in the module: each layout's packer has the number of the layout.
 */
function work({ tiles }: { readonly tiles: number }): FunctionCode {
  const frame = new Frame(I32, I32);
  const [job, scratch] = [0, 1];
  const [strip, first, n, depth, k, row, rows, address] = frame.locals(8, I32);
  const field = (name: keyof typeof JOB): Code => loadI32(JOB[name], get(job));
  const left = (all: Code, done: number): Code => sub(all, get(done));
  const packed = (layout: Layout): Code => {
    const packInto = (from: Code, ...scales: Code[]): Code =>
      call(LAYOUT[layout], from, field('bStride'), get(n), get(k), get(scratch), ...scales);
    if (layout === 'rows')
      return packInto(add(add(field('b'), shiftLeft(get(first), i32(2))), mul(get(depth), field('bStride'))));
    const { bits, scale } = NUMBERS[layout];
    const groups = scale?.rows ? shiftRight(get(depth), i32(Math.log2(scale.rows))) : i32(0);
    return packInto(
      add(add(field('b'), mul(get(first), field('bStride'))), shiftRight(mul(get(depth), i32(bits)), i32(3))),
      add(add(field('scales'), mul(get(first), field('scaleStride'))), mul(groups, i32(scale?.bytes ?? 0))),
      field('scaleStride'),
    );
  };
  const take = tee(strip, atomicAdd(JOB.next, get(job), i32(1)));
  const body: Code = [
    ...atomicAdd(JOB.active, get(job), i32(1)),
    0x1a, // drop
    ...during(lessThan(take, field('strips')), [
      ...set(first, mul(get(strip), field('strip'))),
      ...set(n, least(field('strip'), left(field('n'), first))),
      ...set(depth, i32(0)),
      ...during(lessThan(get(depth), field('k')), [
        ...set(k, least(i32(DEPTH), left(field('k'), depth))),
        ...LAYOUTS.flatMap((l) => when(equal(field('layout'), i32(LAYOUT[l])), packed(l))),
        ...set(row, i32(0)),
        ...during(lessThan(get(row), field('m')), [
          ...set(rows, least(i32(ROWS_AT_ONCE), left(field('m'), row))),
          ...set(address, shiftLeft(get(first), i32(2))),
          ...call(
            tiles,
            add(add(field('a'), mul(get(row), field('aStride'))), shiftLeft(get(depth), i32(2))),
            field('aStride'),
            get(rows),
            get(scratch),
            get(n),
            get(k),
            add(add(field('c'), mul(get(row), field('cStride'))), get(address)),
            field('cStride'),
            // The bias joins the first terms, and later ones are added to what is there.
            choose(i32(0), choose(add(field('bias'), get(address)), i32(0), field('bias')), get(depth)),
            choose(i32(1), field('accumulate'), get(depth)),
            loadF32(JOB.alpha, get(job)),
            add(get(scratch), i32(DEPTH * STRIP * 4)),
          ),
          ...increase(row, i32(ROWS_AT_ONCE)),
        ]),
        ...increase(depth, i32(DEPTH)),
      ]),
    ]),
    ...atomicAdd(JOB.active, get(job), i32(-1)),
    0x1a,
  ];
  return { name: 'work', frame, body };
}

/** The functions of the module; `work` is the door. */
export function gemmFunctions(): readonly FunctionCode[] {
  const packers = LAYOUTS.map((layout) => (layout === 'rows' ? packRows() : packColumns(layout)));
  return [...packers, tiles(), work({ tiles: packers.length })];
}
