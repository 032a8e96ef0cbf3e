import { decoderBlockKind, selfAttentionKind } from './decoder-kinds.ts';
import { type LayerKind, registerLayerKind } from './layer-kind.ts';
import { ModelLayer, type ModelLayerArgs } from './model-layer.ts';
import {
  embeddingKind,
  linearKind,
  mlpKind,
  multiVectorKind,
  rmsNormKind,
  singleVectorKind,
} from './row-kinds.ts';
import {
  mergerKind,
  patchEmbedKind,
  rasterOrderKind,
  visionAttentionKind,
  visionBlockKind,
} from './vision-kinds.ts';

/** Every layer of the model. */
const KINDS = {
  embedding: embeddingKind,
  linear: linearKind,
  rmsNorm: rmsNormKind,
  mlp: mlpKind,
  selfAttention: selfAttentionKind,
  decoderBlock: decoderBlockKind,
  patchEmbed: patchEmbedKind,
  visionAttention: visionAttentionKind,
  visionBlock: visionBlockKind,
  merger: mergerKind,
  rasterOrder: rasterOrderKind,
  singleVector: singleVectorKind,
  multiVector: multiVectorKind,
};

for (const [name, kind] of Object.entries(KINDS))
  registerLayerKind(name, kind as LayerKind<unknown, unknown>);

export type KindName = keyof typeof KINDS;
export type OptionsOf<K extends KindName> = (typeof KINDS)[K] extends LayerKind<infer O, infer _> ? O : never;
export type ParamsOf<K extends KindName> = (typeof KINDS)[K] extends LayerKind<infer _, infer P> ? P : never;

/**
 * A layer of the model for a stock `tf.model` or `tf.sequential`: `modelLayer('mlp', { intermediateSize: 64 }, { inputShape: [8] })`.
 * @throws InputError when it is built on an input it does not take
 */
export const modelLayer = <K extends KindName>(
  kind: K,
  options: OptionsOf<K>,
  args: Omit<ModelLayerArgs, 'kind' | 'options' | 'params'> & { readonly params?: ParamsOf<K> } = {},
): ModelLayer => new ModelLayer({ ...args, kind, options });
