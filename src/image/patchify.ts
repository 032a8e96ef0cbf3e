import type { RgbImage } from './rgb-image.ts';

export type PatchOptions = {
  readonly patchSize: number;
  readonly temporalPatchSize: number;
  readonly mergeSize: number;
  readonly imageMean: readonly number[]; // [3], of pixels scaled to 0 … 1
  readonly imageStd: readonly number[]; //  [3]
  readonly rescaleFactor: number; //        1/255
};

export type Patches = {
  /** [P, 3 · temporalPatchSize · patchSize²], row by row; 1176 columns in the published model. */
  readonly pixelValues: Float32Array;
  /** Frames, patch rows, patch columns; P is their product. */
  readonly grid: readonly [1, number, number];
};

/**
 * Normalised pixels, cut into patches. Sides are multiples of patchSize · mergeSize.
 *
 * Patches that the vision tower will merge into one token lie next to each other:
 * row = ((blockRow · W/(m·p) + blockColumn) · m + rowInBlock) · m + columnInBlock
 * column = ((channel · temporalPatchSize + frame) · p + y) · p + x, the still image standing for every frame.
 * (transformers: image_processing_qwen2_vl_fast.py, Qwen2VLImageProcessorFast._preprocess)
 */
export function patchify({ width, height, data }: RgbImage, options: PatchOptions): Patches {
  const { patchSize: p, temporalPatchSize: frames, mergeSize: m } = options;
  const levels = normalisedLevels(options);
  const gridHeight = height / p;
  const gridWidth = width / p;
  const area = p * p;
  const channelStep = frames * area;
  const columns = 3 * channelStep;
  const out = new Float32Array(gridHeight * gridWidth * columns);
  let o = 0;
  for (let blockY = 0; blockY < gridHeight; blockY += m) {
    for (let blockX = 0; blockX < gridWidth; blockX += m) {
      for (let patch = 0; patch < m * m; patch++) {
        const top = (blockY + Math.floor(patch / m)) * p;
        const left = (blockX + (patch % m)) * p;
        writePatch(data, (top * width + left) * 3, width * 3, p, levels, out, o, channelStep);
        for (let start = o; start < o + columns; start += channelStep) {
          for (let frame = 1; frame < frames; frame++)
            out.copyWithin(start + frame * area, start, start + area);
        }
        o += columns;
      }
    }
  }
  return { pixelValues: out, grid: [1, gridHeight, gridWidth] };
}

/** First frame of one patch: interleaved bytes at `from` into three planes at `to`. */
function writePatch(
  data: Uint8Array,
  from: number,
  lineStep: number,
  p: number,
  levels: Float32Array,
  out: Float32Array,
  to: number,
  channelStep: number,
): void {
  for (let y = 0; y < p; y++) {
    let i = from + y * lineStep;
    for (let x = 0; x < p; x++) {
      out[to] = levels[data[i]];
      out[to + channelStep] = levels[256 + data[i + 1]];
      out[to + 2 * channelStep] = levels[512 + data[i + 2]];
      i += 3;
      to++;
    }
  }
}

/**
 * What each of the 256 byte values becomes in each channel: (x − mean/rescale) / (std/rescale).   [3 · 256]
 * Every step is rounded to float32, because the reference folds the rescaling into float32 mean and std first.
 * (transformers: image_processing_utils_fast.py, BaseImageProcessorFast._fuse_mean_std_and_rescale_factor)
 */
export function normalisedLevels({ imageMean, imageStd, rescaleFactor }: PatchOptions): Float32Array {
  const f32 = Math.fround;
  const unscale = f32(1 / rescaleFactor);
  const levels = new Float32Array(3 * 256);
  for (let c = 0; c < 3; c++) {
    const mean = f32(f32(imageMean[c]) * unscale);
    const std = f32(f32(imageStd[c]) * unscale);
    for (let x = 0; x < 256; x++) levels[c * 256 + x] = f32(f32(x - mean) / std);
  }
  return levels;
}
