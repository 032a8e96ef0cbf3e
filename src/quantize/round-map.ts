import * as tf from '@tensorflow/tfjs-core';
import { zeroCodes } from '../../weights/int4-codec.ts';
import { GROUP } from '../../weights/int4-scales.ts';
import type { PackedRows } from '../../weights/quantization.ts';
import { feedbackPanels } from './feedback.ts';
import { roundColumns } from './gptq.ts';

/**
 * A linear map in int4, rounded so that its outputs on the inputs of a Gram matrix change least.
 * weight: [in, out], gram: XᵀX [in, in]. Disposes neither.
 */
export async function roundMap(
  weight: tf.Tensor2D,
  gram: tf.Tensor2D,
  signal?: AbortSignal,
): Promise<PackedRows> {
  const [inSize, outSize] = weight.shape;
  const groups = Math.ceil(inSize / GROUP);
  const target = { codes: zeroCodes(outSize, inSize), scales: new Uint16Array(outSize * groups) };
  const weights = (await weight.data()) as Float32Array;
  const errors = new Float32Array(weights.length); // [in, out]
  const panels = await feedbackPanels(gram, signal);
  try {
    for (const { first, width, far, near } of panels) {
      signal?.throwIfAborted();
      const range = [first * outSize, (first + width) * outSize] as const;
      const feedback = await feedbackOf(far, errors.subarray(0, range[0]), outSize, width);
      const columns = { weights: weights.subarray(...range), feedback, near, first };
      errors.set(roundColumns(columns, outSize, groups, target), range[0]);
    }
  } finally {
    for (const { far } of panels) far?.dispose();
  }
  return { codes: target.codes, scales: new Uint8Array(target.scales.buffer) };
}

/** farᵀ · errors.   far: [first, width], errors: [first, out] → [width, out] */
async function feedbackOf(
  far: tf.Tensor2D | null,
  errors: Float32Array,
  outSize: number,
  width: number,
): Promise<Float32Array> {
  if (far === null) return new Float32Array(width * outSize);
  const product = tf.tidy(() => tf.matMul(far, tf.tensor2d(errors, [far.shape[0], outSize]), true));
  try {
    return (await product.data()) as Float32Array;
  } finally {
    product.dispose();
  }
}
