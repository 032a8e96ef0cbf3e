import * as tf from '@tensorflow/tfjs-core';
import * as ops from '../../kernels/index.ts';
import { type Linear, linear, linearSpec } from './linear.ts';
import type { SpecOf } from './spec.ts';

export type Mlp = { readonly gateProj: Linear; readonly upProj: Linear; readonly downProj: Linear };

export const mlpSpec = (key: string, D: number, F: number, bias: boolean): SpecOf<Mlp> => ({
  gateProj: linearSpec(`${key}.gate_proj`, D, F, { bias }),
  upProj: linearSpec(`${key}.up_proj`, D, F, { bias }),
  downProj: linearSpec(`${key}.down_proj`, F, D, { bias }),
});

/** SwiGLU feed-forward: down(silu(gate x) ⊙ up x).   x: [T, D] → [T, D] */
export function mlp(p: Mlp, x: tf.Tensor2D): tf.Tensor2D {
  return tf.tidy('mlp', () => linear(p.downProj, ops.swiglu(linear(p.gateProj, x), linear(p.upProj, x))));
}
