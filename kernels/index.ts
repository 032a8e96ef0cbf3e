export { attention, joinedAttention } from './attention/attention.ts';
export { blockRows, SCORES_AT_ONCE } from './attention/score-blocks.ts';
export { type CuSeqlens, cumulate, runsOf } from './attention/segments.ts';
export { dims } from './dims.ts';
export { type EmbeddingTable, embed, hostTable, tensorTable } from './embedding/embedding.ts';
export { loraTable } from './embedding/lora-table.ts';
export {
  type AffineMap,
  fansOut,
  type GatedInputs,
  gated,
  type HeadsInputs,
  heads,
  type NormLowInputs,
  normLow,
  widthOf,
} from './fan/fan.ts';
export { gelu } from './gelu/gelu.ts';
export { registerGradients } from './gradients/register.ts';
export { withGradient } from './gradients/with-gradient.ts';
export {
  type Dora,
  isPlain,
  type LinearInputs,
  type LoraActivation,
  type LoraTerm,
  linear,
} from './linear/linear.ts';
export { float32Matrix, type Matrix } from './linear/matrix.ts';
export { type MatrixStore, matrixStore, type RawMatrix } from './linear/matrix-store.ts';
export { l2Normalize, meanPool, type Span } from './pool/pool.ts';
export { bodiesOn, composed, type OpCall, observeOps, unfused } from './registry.ts';
export { rmsNorm } from './rms-norm/rms-norm.ts';
export { rope } from './rope/rope.ts';
export { onSizeChange, sizesChange } from './size-change.ts';
export { swiglu } from './swiglu/swiglu.ts';
