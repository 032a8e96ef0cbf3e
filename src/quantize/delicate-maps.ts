import type { LinearSpec } from '../layers/spec.ts';
import type { ModelSpec } from '../params.ts';

/**
 * Maps that stay in int8 where every map may get 4 bits: 7 % of the published model's parameters, which count for more. Keys
 * and values, which all heads of a group read; what attention gives back to the residual stream; the merger, through which every
 * image goes; the last down projection, with no block after it to average its errors out.
 */
export function delicateMaps({ visual, model }: ModelSpec): ReadonlySet<LinearSpec> {
  const { layers } = model;
  return new Set([
    visual.merger.mlp0,
    visual.merger.mlp2,
    ...layers.flatMap(({ selfAttn }) => [selfAttn.kProj, selfAttn.vProj, selfAttn.oProj]),
    layers[layers.length - 1].mlp.downProj,
  ]);
}
