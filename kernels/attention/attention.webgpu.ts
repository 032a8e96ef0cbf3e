import type * as tf from '@tensorflow/tfjs-core';
import { kernelSettings } from '../product-settings.ts';
import { webgpuBackend } from '../webgpu/backend.ts';
import { offersOf } from '../webgpu/offers.ts';
import { constant, run } from '../webgpu/run.ts';
import { count, type Element, fieldsKey, type Shader, shaderFamily } from '../webgpu/shader.ts';
import {
  type AttentionAttrs,
  type AttentionInputs,
  composedAttention,
  composedJoinedAttention,
  type JoinedInputs,
} from './attention.ts';
import type { CuSeqlens } from './segments.ts';
import { type SoftmaxCode, subgroupSoftmax, walkedSoftmax } from './softmax-code.ts';

const ROWS = 32; // queries of a tile
const KEYS = 32; // keys that are looked at together
const SIDE = 8; // 8 × 8 lanes
const LANES = SIDE * SIDE;
const SLICE = 8; // fours of a head, or keys, that are in workgroup memory at once
const LARGEST_HEAD = 128;

/**
 * Flash attention (Dao et al. 2022): a workgroup takes a tile of queries of one head past the keys of their segment, keeps the
 * running maximum and sum of every row, and never writes a score to memory. Heads whose size is no multiple of 4, or above
 * 128, are left to the composed op.
 */
export function webgpuAttention(inputs: AttentionInputs, attrs: AttentionAttrs): tf.Tensor2D {
  const { heads, kvHeads, cuSeqlens, causal } = attrs;
  const { q, k, v } = inputs;
  const H = q.shape[1] / heads;
  if (H % 4 !== 0 || H > LARGEST_HEAD) return composedAttention(inputs, attrs);
  const tiles = tilesOf(cuSeqlens);
  return run({
    shader: attentionShader({ fours: H / 4, causal, joined: false, subgroups: withSubgroups() }),
    inputs: { q, k, v, tiles: constant(tiles) },
    uniforms: { heads, kvHeads, scale: 1 / Math.sqrt(H) },
    workgroups: [tiles.length / 4, heads],
    output: q.shape,
  });
}

/** The same, with queries, keys and values read from one tensor. */
export function webgpuJoinedAttention(inputs: JoinedInputs, attrs: AttentionAttrs): tf.Tensor2D {
  const { heads, kvHeads, cuSeqlens, causal } = attrs;
  const [T, width] = inputs.qkv.shape;
  const H = width / (heads + 2 * kvHeads);
  if (H % 4 !== 0 || H > LARGEST_HEAD) return composedJoinedAttention(inputs, attrs);
  const tiles = tilesOf(cuSeqlens);
  return run({
    shader: attentionShader({ fours: H / 4, causal, joined: true, subgroups: withSubgroups() }),
    inputs: { qkv: inputs.qkv, tiles: constant(tiles) },
    uniforms: { heads, kvHeads, scale: 1 / Math.sqrt(H) },
    workgroups: [tiles.length / 4, heads],
    output: [T, heads * H],
  });
}

/** First row, rows, begin and end of the segment: of every tile of queries. A tile lies in one segment. */
function tilesOf(cuSeqlens: CuSeqlens): Int32Array {
  const tiles: number[] = [];
  for (let s = 1; s < cuSeqlens.length; s++) {
    const [begin, end] = [cuSeqlens[s - 1], cuSeqlens[s]];
    for (let row = begin; row < end; row += ROWS) tiles.push(row, Math.min(ROWS, end - row), begin, end);
  }
  return Int32Array.from(tiles);
}

/** Lanes that have a row together must be in one subgroup. */
function withSubgroups(): boolean {
  const { subgroups } = offersOf(webgpuBackend().device);
  return subgroups !== null && subgroups.least >= SIDE && kernelSettings().prefer !== 'plain';
}

type Variant = {
  readonly fours: number;
  readonly causal: boolean;
  readonly joined: boolean;
  readonly subgroups: boolean;
};

const attentionShader = shaderFamily<Variant, Shader<string, 'heads' | 'kvHeads' | 'scale'>>(
  fieldsKey,
  (variant) => ({
    name: variant.subgroups ? 'Attention (subgroups)' : 'Attention',
    directives: softmaxOf(variant).directives,
    inputs: inputsOf(variant),
    output: 'vec4<f32>',
    uniforms: { heads: 'u32', kvHeads: 'u32', scale: 'f32' },
    code: sourceCode(variant) + codeOf(variant),
  }),
);

function softmaxOf({ fours, causal, subgroups }: Variant): SoftmaxCode {
  const tile = { rows: ROWS, keys: KEYS, side: SIDE, columns: Math.ceil(fours / SIDE), causal };
  return subgroups ? subgroupSoftmax(tile) : walkedSoftmax(tile);
}

const inputsOf = ({ joined }: Variant): Readonly<Record<string, Element>> =>
  joined
    ? { qkv: 'vec4<f32>', tiles: 'vec4<i32>' }
    : { q: 'vec4<f32>', k: 'vec4<f32>', v: 'vec4<f32>', tiles: 'vec4<i32>' };

/** Four values of a head's row, from three tensors or from [q k v] side by side. */
function sourceCode({ fours, joined }: Variant): string {
  const from = (name: string, heads: string, before: string) => `
fn ${name}At(row : u32, head : u32, c : u32) -> vec4<f32> {
  return ${joined ? `qkv[(row * (u.heads + 2u * u.kvHeads) + ${before} + head) * ${fours}u + c]` : `${name}[(row * ${heads} + head) * ${fours}u + c]`};
}`;
  return [
    from('q', 'u.heads', '0u'),
    from('k', 'u.kvHeads', 'u.heads'),
    from('v', 'u.kvHeads', 'u.heads + u.kvHeads'),
  ].join('');
}

/** Lane (tx, ty) has the scores of rows ty + 8i and keys tx + 8j, and of the result the same rows and the fours tx + 8c. */
function codeOf(variant: Variant): string {
  const { fours, causal } = variant;
  const softmax = softmaxOf(variant);
  const rows = count(ROWS / SIDE);
  const keys = count(KEYS / SIDE);
  const columns = count(Math.ceil(fours / SIDE));
  const lines = (items: readonly string[]): string => items.join('\n      ');
  const pairs = (a: readonly number[], b: readonly number[], f: (i: number, j: number) => string): string =>
    lines(a.map((i) => b.map((j) => f(i, j)).join(' ')));
  return `
var<workgroup> left : array<vec4<f32>, ${ROWS * SLICE}>; // queries, four by four
var<workgroup> right : array<vec4<f32>, ${Math.max(KEYS * SLICE, SLICE * fours)}>; // keys likewise, then values, key by key
var<workgroup> scores : array<f32, ${ROWS * (KEYS + 1)}>; // one column more: lanes of a column meet in no bank
var<workgroup> factors : array<f32, ${ROWS}>;

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group : vec3<u32>, @builtin(local_invocation_index) lane : u32) {
  let tile = vec4<u32>(tiles[group.x]);
  let head = group.y;
  let kvHead = head / (u.heads / u.kvHeads);
  let tx = lane % ${SIDE}u;
  let ty = lane / ${SIDE}u;
  let end = ${causal ? 'min(tile.w, tile.x + tile.y)' : 'tile.w'};
  ${pairs(rows, columns, (i, c) => `var o${i}_${c} = vec4<f32>();`)}
  ${softmax.begin}

  for (var first = tile.z; first < end; first += ${KEYS}u) {
    // Scores: queries times keys, a slice of the head at a time.
    ${pairs(rows, keys, (i, j) => `var s${i}_${j} = 0.0;`)}
    for (var slice = 0u; slice < ${fours}u; slice += ${SLICE}u) {
      for (var i = lane; i < ${ROWS * SLICE}u; i += ${LANES}u) {
        let row = i / ${SLICE}u;
        let c = slice + i % ${SLICE}u;
        let at = (i % ${SLICE}u) * ${ROWS}u + row;
        left[at] = vec4<f32>();
        right[at] = vec4<f32>();
        if (c < ${fours}u && row < tile.y) {
          left[at] = u.scale * qAt(tile.x + row, head, c);
        }
        if (c < ${fours}u && first + row < end) {
          right[at] = kAt(first + row, kvHead, c);
        }
      }
      workgroupBarrier();
      for (var c = 0u; c < ${SLICE}u; c++) {
        ${keys.map((j) => `let k${j} = right[c * ${KEYS}u + tx + ${j * SIDE}u];`).join(' ')}
        ${lines(rows.map((i) => `{ let a = left[c * ${ROWS}u + ty + ${i * SIDE}u]; ${keys.map((j) => `s${i}_${j} += dot(a, k${j});`).join(' ')} }`))}
      }
      workgroupBarrier();
    }
    ${softmax.step}

    // Weights times values, a few keys at a time.
    for (var some = 0u; some < min(${KEYS}u, end - first); some += ${SLICE}u) {
      for (var i = lane; i < ${SLICE * fours}u; i += ${LANES}u) {
        let key = first + some + i / ${fours}u;
        right[i] = vec4<f32>();
        if (key < end) { right[i] = vAt(key, kvHead, i % ${fours}u); }
      }
      workgroupBarrier();
      for (var j = 0u; j < ${SLICE}u; j++) {
        ${columns.map((c) => `let v${c} = right[j * ${fours}u + min(tx + ${c * SIDE}u, ${fours - 1}u)];`).join(' ')}
        ${lines(rows.map((i) => `{ let p = scores[(ty + ${i * SIDE}u) * ${KEYS + 1}u + some + j]; ${columns.map((c) => `o${i}_${c} += p * v${c};`).join(' ')} }`))}
      }
      workgroupBarrier();
    }
  }

  ${softmax.end}
  let all = array<vec4<f32>, ${rows.length * columns.length}>(${rows.flatMap((i) => columns.map((c) => `o${i}_${c}`)).join(', ')});
  for (var i = 0u; i < ${rows.length * columns.length}u; i++) {
    let row = ty + ${SIDE}u * (i / ${columns.length}u);
    let c = tx + ${SIDE}u * (i % ${columns.length}u);
    if (row < tile.y && c < ${fours}u) {
      result[((tile.x + row) * u.heads + head) * ${fours}u + c] = all[i] * factors[row];
    }
  }
}`;
}
