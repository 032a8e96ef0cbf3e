import { count } from '../webgpu/shader.ts';

/** A tile of scores: lane (tx, ty) of side × side has those of rows ty + side·i and keys tx + side·j, named s{i}_{j}. */
export type ScoreTile = {
  readonly rows: number;
  readonly keys: number;
  readonly side: number;
  /** vec4s of the result that a lane has of each row, named o{i}_{c}. */
  readonly columns: number;
  readonly causal: boolean;
};

/** WGSL of the softmax over keys that come tile by tile: what was added up before shrinks when a larger score comes. */
export type SoftmaxCode = {
  readonly directives: readonly string[];
  /** Before the first tile. */
  readonly begin: string;
  /** Scores → weights, in `scores`, seen by all lanes; o{i}_{c} shrunk. */
  readonly step: string;
  /** One over the sum of each row's weights in `factors`, seen by all lanes. */
  readonly end: string;
};

// A score that no key sees: below every score that float32 arithmetic can produce here, and finite.
const HIDDEN = '-1e30';

const lastSeen = (causal: boolean, row: string): string =>
  causal ? `min(end, tile.x + ${row} + 1u)` : 'end';

/** A lane walks along each row of the tile, in workgroup memory. */
export function walkedSoftmax({ rows, keys, side, columns, causal }: ScoreTile): SoftmaxCode {
  const [down, across] = [count(rows / side), count(keys / side)];
  return {
    directives: [],
    begin: `var largest = ${HIDDEN}; // of row \`lane\`, for the first ${rows} lanes
  var sum = 0.0;`,
    step: `let found = array<f32, ${down.length * across.length}>(${down.flatMap((i) => across.map((j) => `s${i}_${j}`)).join(', ')});
    for (var i = 0u; i < ${down.length * across.length}u; i++) {
      let row = ty + ${side}u * (i / ${across.length}u);
      let key = tx + ${side}u * (i % ${across.length}u);
      let seen = first + key < ${lastSeen(causal, 'row')};
      scores[row * ${keys + 1}u + key] = select(${HIDDEN}, found[i], seen);
    }
    workgroupBarrier();
    if (lane < ${rows}u) {
      let at = lane * ${keys + 1}u;
      let before = largest;
      for (var j = 0u; j < ${keys}u; j++) { largest = max(largest, scores[at + j]); }
      let factor = exp(before - largest);
      sum *= factor;
      for (var j = 0u; j < ${keys}u; j++) {
        let weight = exp(scores[at + j] - largest);
        scores[at + j] = weight;
        sum += weight;
      }
      factors[lane] = factor;
    }
    workgroupBarrier();
    ${down.map((i) => `{ let f = factors[ty + ${i * side}u]; ${shrink(i, columns, 'f')} }`).join('\n    ')}`,
    end: `if (lane < ${rows}u) { factors[lane] = 1.0 / sum; }
  workgroupBarrier();`,
  };
}

/** Neighbouring lanes, which are in one subgroup, have a row together: its largest score needs no memory. Exact float32. */
export function subgroupSoftmax({ rows, keys, side, columns, causal }: ScoreTile): SoftmaxCode {
  const [down, across] = [count(rows / side), count(keys / side)];
  const steps = count(Math.log2(side)).map((bit) => 2 ** bit);
  const together = (name: string, join: (a: string, b: string) => string): string =>
    steps.map((step) => `${name} = ${join(name, `subgroupShuffleXor(${name}, ${step}u)`)};`).join(' ');
  const row = (i: number): string => `{
      let seen = ${lastSeen(causal, `ty + ${i * side}u`)} - min(first + tx, ${lastSeen(causal, `ty + ${i * side}u`)});
      ${across.map((j) => `let a${j} = select(${HIDDEN}, s${i}_${j}, ${j * side}u < seen);`).join(' ')}
      var now = ${across.reduce((most, j) => `max(${most}, a${j})`, `largest${i}`)};
      ${together('now', (a, b) => `max(${a}, ${b})`)}
      let f = exp(largest${i} - now);
      largest${i} = now;
      let at = (ty + ${i * side}u) * ${keys + 1}u + tx;
      ${across.map((j) => `let p${j} = exp(a${j} - now); scores[at + ${j * side}u] = p${j};`).join(' ')}
      sum${i} = sum${i} * f + ${across.map((j) => `p${j}`).join(' + ')};
      ${shrink(i, columns, 'f')}
    }`;
  return {
    directives: ['enable subgroups;'],
    begin: `${down.map((i) => `var largest${i} = ${HIDDEN}; var sum${i} = 0.0;`).join(' ')} // sums of a lane's own keys`,
    step: `${down.map(row).join('\n    ')}
    workgroupBarrier();`,
    end: `${down
      .map(
        (i) =>
          `${together(`sum${i}`, (a, b) => `${a} + ${b}`)} if (tx == 0u) { factors[ty + ${i * side}u] = 1.0 / sum${i}; }`,
      )
      .join('\n  ')}
  workgroupBarrier();`,
  };
}

const shrink = (i: number, columns: number, by: string): string =>
  count(columns)
    .map((c) => `o${i}_${c} *= ${by};`)
    .join(' ');
