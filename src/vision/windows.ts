import { type CuSeqlens, cumulate } from '../../kernels/index.ts';
import type { VisionConfig } from '../model-config.ts';

/** Patches of one image: [temporal, height, width], in patches. `image_grid_thw` of the reference. */
export type Grid = readonly [number, number, number];

// Attention asks who is in the window, not in which order. So patches are sorted by window once, before the first block,
// and put back once, after the merger. (transformers: modeling_qwen2_5_vl.py, get_window_index)
export type WindowOrder = {
  /** Merge block that stands at each place of the window order.   [P/4] */
  readonly index: Int32Array;
  /** Place of each merge block in the window order: the inverse permutation. */
  readonly inverse: Int32Array;
  /** Segments of windowed attention, in patches. */
  readonly cuWindowSeqlens: CuSeqlens;
  /** Segments of full attention: one an image and frame, in patches. */
  readonly cuSeqlens: CuSeqlens;
};

/** Sorts the merge blocks of all images by window. Windows at the right and lower edge may be smaller. */
export function windowOrder(grids: readonly Grid[], config: VisionConfig): WindowOrder {
  const merge = config.spatialMergeSize;
  const window = config.windowSize / merge / config.patchSize; // merge blocks a side
  const index: number[] = [];
  const windowLengths: number[] = [];
  const frameLengths: number[] = [];
  let first = 0; // global number of the frame's first merge block
  for (const [frames, patchRows, patchColumns] of grids) {
    const rows = patchRows / merge;
    const columns = patchColumns / merge;
    for (let frame = 0; frame < frames; frame++, first += rows * columns) {
      frameLengths.push(patchRows * patchColumns);
      for (let top = 0; top < rows; top += window) {
        for (let left = 0; left < columns; left += window) {
          const bottom = Math.min(top + window, rows);
          const right = Math.min(left + window, columns);
          for (let y = top; y < bottom; y++) {
            for (let x = left; x < right; x++) index.push(first + y * columns + x);
          }
          windowLengths.push((bottom - top) * (right - left) * merge * merge);
        }
      }
    }
  }
  const inverse = new Int32Array(index.length);
  index.forEach((block, place) => {
    inverse[block] = place;
  });
  return {
    index: Int32Array.from(index),
    inverse,
    cuWindowSeqlens: cumulate(windowLengths),
    cuSeqlens: cumulate(frameLengths),
  };
}
