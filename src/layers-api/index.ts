export type { Initializer, SavedInitializer } from './initializer.ts';
export { type LayerKind, type Packed, registerLayerKind, type Shape } from './layer-kind.ts';
export { type KindName, modelLayer, type OptionsOf, type ParamsOf } from './layers.ts';
export { LoraDense, type LoraDenseArgs } from './lora-dense.ts';
export { ModelLayer, type ModelLayerArgs } from './model-layer.ts';
