import type * as tf from '@tensorflow/tfjs-core';
import type {
  AffineMap,
  CuSeqlens,
  GatedInputs,
  HeadsInputs,
  LinearInputs,
  NormLowInputs,
  OpCall,
} from '../../kernels/index.ts';

/** What a call of an op has to do, whatever body does it: floating-point operations, and bytes that it must read and write. */
export type OpCost = { readonly op: string; readonly flops: number; readonly bytes: number };

/** The cost of a call. Weights count as they are stored; each input once, however often a body reads it. */
export function opCost({ name, inputs, attrs }: OpCall, output: tf.Tensor): OpCost {
  if (name === 'Linear') return linearCost(inputs as LinearInputs, output);
  if (name === 'NormLow') return normLowCost(inputs as NormLowInputs, output);
  if (name === 'Heads') return headsCost(inputs as HeadsInputs, output);
  if (name === 'Gated') return gatedCost(inputs as GatedInputs, output);
  const bytes = 4 * (tensorsOf(inputs).reduce((sum, t) => sum + t.size, 0) + output.size);
  if (name === 'Attention' || name === 'JoinedAttention')
    return { op: 'Attention', flops: attentionFlops(output, attrs), bytes };
  return { op: name, flops: (FLOPS[name] ?? 1) * output.size, bytes };
}

// A value of the result, roughly: such ops wait for memory, not for arithmetic.
const FLOPS: Readonly<Record<string, number>> = {
  RmsNorm: 4,
  Rope: 3,
  Swiglu: 5,
  Gelu: 8,
  MeanPool: 1,
  L2Normalize: 3,
};

/** 2·T·in·out for the map, 2·T·R·(in + out) for each low-rank term. */
function linearCost({ x, weight, bias, lora, ...more }: LinearInputs, output: tf.Tensor): OpCost {
  const [T] = x.shape;
  const { inSize, outSize } = weight;
  const ranks = lora.reduce((sum, { a }) => sum + a.outSize, 0);
  const stored = lora.reduce((sum, { a, b }) => sum + a.bytes + b.bytes, weight.bytes);
  const taken = tensorsOf(more).reduce((sum, t) => sum + t.size, x.size + (bias?.size ?? 0));
  return {
    op: `Linear ${inSize} → ${outSize}`,
    flops: 2 * T * (inSize * outSize + ranks * (inSize + outSize)),
    bytes: stored + 4 * (taken + output.size),
  };
}

/** A norm, and 2·T·D·R for what each low-rank term makes of its rows. */
function normLowCost({ x, weight, maps }: NormLowInputs, output: tf.Tensor): OpCost {
  const terms = maps.flatMap(({ lora }) => lora);
  const ranks = terms.reduce((sum, { a }) => sum + a.outSize, 0);
  return {
    op: ranks > 0 ? 'RmsNorm and LoRA A' : 'RmsNorm',
    flops: FLOPS.RmsNorm * x.size + 2 * x.size * ranks,
    bytes: terms.reduce((sum, { a }) => sum + a.bytes, 0) + 4 * (x.size + weight.size + output.size),
  };
}

function headsCost({ rows, maps, cos, sin }: HeadsInputs, output: tf.Tensor): OpCost {
  const outSizes = maps.map(({ weight }) => weight.outSize);
  const op = `Heads ${maps[0].weight.inSize} → ${outSizes.join(' + ')}`;
  return mapsCost(op, rows, maps, cos.size + sin.size + output.size);
}

const gatedCost = ({ rows, gate, up }: GatedInputs, output: tf.Tensor): OpCost =>
  mapsCost(
    `Gated ${gate.weight.inSize} → ${gate.weight.outSize} ⊙ ${up.weight.outSize}`,
    rows,
    [gate, up],
    output.size,
  );

/** 2·T·in·out for each map, 2·T·R·out for its low-rank term, whose other half lies ready behind the rows. */
function mapsCost(op: string, rows: tf.Tensor2D, maps: readonly AffineMap[], values: number): OpCost {
  const [T] = rows.shape;
  const sum = (f: (map: AffineMap) => number) => maps.reduce((all, map) => all + f(map), 0);
  return {
    op,
    flops: sum(({ weight: { inSize, outSize }, lora }) =>
      lora.reduce((flops, { b }) => flops + 2 * T * b.inSize * outSize, 2 * T * inSize * outSize),
    ),
    bytes:
      sum(({ weight, lora }) => lora.reduce((bytes, { b }) => bytes + b.bytes, weight.bytes)) +
      4 * (sum(({ bias }) => bias?.size ?? 0) + rows.size + values),
  };
}

/** Scores and their product with the values: 4·L²·N·H a segment, half of it where later keys are not seen. */
function attentionFlops(output: tf.Tensor, attrs: unknown): number {
  const { cuSeqlens, causal } = attrs as { readonly cuSeqlens: CuSeqlens; readonly causal: boolean };
  const squares = cuSeqlens.slice(1).reduce((sum, end, i) => sum + (end - cuSeqlens[i]) ** 2, 0);
  return 4 * squares * (output.shape[1] as number) * (causal ? 0.5 : 1);
}

const tensorsOf = (inputs: unknown): readonly tf.Tensor[] =>
  Object.values(inputs as object).filter(
    (v): v is tf.Tensor => typeof v === 'object' && v !== null && 'dataId' in v,
  );
