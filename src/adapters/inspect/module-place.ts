/** Where a module stands: `model.layers.3.self_attn.q_proj` is a `q_proj` in layer 3; what is in no layer has null. */
export function modulePlace(module: string): { layer: number | null; kind: string } {
  const layer = /\.(\d+)\./.exec(module)?.[1];
  return { layer: layer === undefined ? null : Number(layer), kind: module.split('.').at(-1) as string };
}
