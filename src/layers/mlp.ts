import * as tf from '@tensorflow/tfjs-core';
import * as ops from '../../kernels/index.ts';
import { type Linear, linear, linearSpec, onPart } from './linear.ts';
import type { Unnormed } from './normed-attention.ts';
import { rmsNorm } from './rms-norm.ts';
import type { SpecOf } from './spec.ts';

export type Mlp = { readonly gateProj: Linear; readonly upProj: Linear; readonly downProj: Linear };

export const mlpSpec = (key: string, D: number, F: number, bias: boolean): SpecOf<Mlp> => ({
  gateProj: linearSpec(`${key}.gate_proj`, D, F, { bias }),
  upProj: linearSpec(`${key}.up_proj`, D, F, { bias }),
  downProj: linearSpec(`${key}.down_proj`, F, D, { bias }),
});

// The widest tensors of a model are the MLP's, and its rows do not know each other: a long stream goes through in parts.
export const ROWS_AT_ONCE = 4096;

/** SwiGLU feed-forward on a residual stream: residual + down(silu(gate x) ⊙ up x).   x, residual: [T, D] → [T, D] */
export const mlp = (p: Mlp, x: tf.Tensor2D, residual: tf.Tensor2D): tf.Tensor2D =>
  inParts(p, [x, residual], (p, [rows, added]) => {
    const inner = linear(p.upProj, rows, { gate: linear(p.gateProj, rows) }); // [T, F]
    return linear(p.downProj, inner, { residual: added }); //                    [T, D]
  });

/** The same with the norm before it, on the stream that it reads: x + mlp(norm(x)).   x: [T, D] → [T, D] */
export function normedMlp(p: Mlp, { x, norm, eps }: Unnormed): tf.Tensor2D {
  const { gateProj: gate, upProj: up } = p;
  const rows = Math.min(x.shape[0], ROWS_AT_ONCE);
  if (!ops.fansOut({ maps: [gate, up], rows, outputs: up.weight.outSize }))
    return tf.tidy(() => mlp(p, rmsNorm(norm, x, eps), x));
  return inParts(p, [x], ({ downProj }, [part]) => {
    const rows = ops.normLow({ x: part, weight: norm, maps: [gate, up] }, { eps }); // [T, D + ΣR]
    return linear(downProj, ops.gated({ rows, gate, up }), { residual: part }); //      [T, D]
  });
}

/** `f` of streams [T, D], so many rows at a time that what it makes stays small.   → [T, D] */
function inParts(
  { gateProj, upProj, downProj }: Mlp,
  streams: readonly tf.Tensor2D[],
  f: (p: Mlp, parts: readonly tf.Tensor2D[]) => tf.Tensor2D,
): tf.Tensor2D {
  const [T, D] = streams[0].shape;
  if (T <= ROWS_AT_ONCE) return tf.tidy(() => f({ gateProj, upProj, downProj }, streams));
  return tf.tidy('mlp', () => {
    const parts: tf.Tensor2D[] = [];
    for (let begin = 0; begin < T; begin += ROWS_AT_ONCE) {
      const span = { begin, end: Math.min(begin + ROWS_AT_ONCE, T) };
      const [gate, up, down] = [gateProj, upProj, downProj].map((map) => onPart(map, span));
      const own = { gateProj: gate, upProj: up, downProj: down };
      const rows = streams.map((t): tf.Tensor2D => tf.slice(t, [begin, 0], [span.end - begin, D]));
      parts.push(tf.tidy(() => f(own, rows)));
    }
    return tf.concat(parts, 0);
  });
}
