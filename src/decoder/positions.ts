import { recent } from '../layers/recent.ts';
import {
  inverseFrequencies,
  type Rotary,
  type RotaryValues,
  rotaryTables,
  rotaryValues,
} from '../layers/rotary.ts';
import type { DecoderConfig } from '../model-config.ts';

/** Temporal, height and width position of every token.   3 × [T] */
export type Positions = readonly [Int32Array, Int32Array, Int32Array];

/**
 * M-RoPE positions of one sequence (transformers: Qwen2_5_VLModel.get_rope_index). Text counts on along all three axes;
 * the tokens of an image keep one temporal position and spread over height and width; what follows an image starts
 * after the largest position used.
 * ids: [T], grids: merged size [rows, columns] of each image in order.
 */
export function ropePositions(
  ids: Int32Array,
  imageToken: number,
  grids: readonly (readonly [number, number])[] = [],
): Positions {
  const T = ids.length;
  const positions: Positions = [new Int32Array(T), new Int32Array(T), new Int32Array(T)];
  let next = 0;
  let image = 0;
  for (let t = 0; t < T; ) {
    if (ids[t] !== imageToken || image >= grids.length) {
      for (const axis of positions) axis[t] = next;
      next++;
      t++;
      continue;
    }
    const [rows, columns] = grids[image++];
    for (let y = 0; y < rows; y++) {
      for (let x = 0; x < columns; x++, t++) {
        positions[0][t] = next;
        positions[1][t] = next + y;
        positions[2][t] = next + x;
      }
    }
    next += Math.max(rows, columns);
  }
  return positions;
}

const sequences = recent<RotaryValues>(32);

/**
 * Rotary tables of a packed stream: each frequency reads the axis of its section, contiguous and not interleaved
 * (transformers: apply_multimodal_rotary_pos_emb). Those of recent sequences are kept: a text's depend on its length alone.
 * → cos, sin [T, H]
 */
export const decoderRotary = (positions: readonly Positions[], config: DecoderConfig): Rotary =>
  rotaryTables(
    positions.map((p) => {
      const shape = [config.headDim, config.ropeTheta, ...config.mropeSection];
      const key = `${shape}:${isText(p) ? p[0].length : p.join(';')}`;
      return sequences(key, () => sequenceRotary(p, config));
    }),
  );

const isText = ([t, h, w]: Positions): boolean => t.every((p, i) => p === i && h[i] === i && w[i] === i);

function sequenceRotary(positions: Positions, config: DecoderConfig): RotaryValues {
  const inverse = inverseFrequencies(config.headDim, config.ropeTheta); // [H/2]
  const axisOf = config.mropeSection.flatMap((count, axis) => new Array<number>(count).fill(axis));
  const rows = positions[0].length;
  const angles = new Float32Array(rows * inverse.length);
  let at = 0;
  for (let t = 0; t < rows; t++) {
    for (let j = 0; j < inverse.length; j++) angles[at++] = positions[axisOf[j]][t] * inverse[j];
  }
  return rotaryValues(angles, rows);
}
