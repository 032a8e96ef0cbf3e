import { inverseFrequencies, type RotaryValues, rotaryValues } from '../layers/rotary.ts';
import type { VisionConfig } from '../model-config.ts';
import type { Grid, WindowOrder } from './windows.ts';

const THETA = 10000; // fixed in the reference, not in the config (Qwen2_5_VisionRotaryEmbedding)

/**
 * 2-D rotary angles of every patch, in window order: a quarter of the head turns with the row, a quarter with the column.
 * (transformers: modeling_qwen2_5_vl.py, rot_pos_emb)   → cos, sin [P · H]
 */
export function visionRotary(grids: readonly Grid[], order: WindowOrder, config: VisionConfig): RotaryValues {
  const inverse = inverseFrequencies(config.headDim / 2, THETA); // [H/4]
  const quarter = inverse.length;
  const merge = config.spatialMergeSize;
  const patchesPerBlock = merge * merge;
  const blocks = blockOrigins(grids, merge);
  const angles = new Float32Array(order.index.length * patchesPerBlock * 2 * quarter);
  let at = 0;
  for (const block of order.index) {
    for (let p = 0; p < patchesPerBlock; p++) {
      const row = blocks[2 * block] + Math.floor(p / merge);
      const column = blocks[2 * block + 1] + (p % merge);
      for (let j = 0; j < quarter; j++) angles[at++] = row * inverse[j];
      for (let j = 0; j < quarter; j++) angles[at++] = column * inverse[j];
    }
  }
  return rotaryValues(angles, order.index.length * patchesPerBlock);
}

/** Patch row and column of the upper left patch of every merge block, in raster order. */
function blockOrigins(grids: readonly Grid[], merge: number): Int32Array {
  const origins: number[] = [];
  for (const [frames, rows, columns] of grids) {
    for (let frame = 0; frame < frames; frame++) {
      for (let y = 0; y < rows; y += merge) {
        for (let x = 0; x < columns; x += merge) origins.push(y, x);
      }
    }
  }
  return Int32Array.from(origins);
}
