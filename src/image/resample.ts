import { bicubicTaps, type ResampleVariant, type Taps } from './bicubic-taps.ts';
import type { RgbImage } from './rgb-image.ts';
import type { ImageSize } from './smart-resize.ts';

/**
 * Separable antialiased bicubic on uint8, bit for bit as torchvision (uint8 tensors, antialias) or Pillow does it:
 * first along the rows, then along the columns, rounded to uint8 in between; a side that keeps its size is not touched.
 *
 * Every sum fits in an int32. A row's weights sum to 2^precision and precision is at most 22, so a partial sum of
 * pixels up to 255 would need positive weights of 2.007 · 2^22 to reach 2^31. The negative lobes, at most −2/27 high, are
 * far too small for that: over all pairs of lengths up to 400 the positive weights of a row sum to at most 1.1344
 * (208 → 193), which keeps all sums within −1.5e8 … 1.22e9 of ±2.15e9. So `Math.imul` is exact.
 *
 * Returns the image itself when nothing changes.
 */
export function resizeBicubic(
  image: RgbImage,
  size: ImageSize,
  variant: ResampleVariant = 'torchvision',
): RgbImage {
  // Pillow takes the columns first where a very tall strip shrinks. (src/PIL/Image.py, Image.resize)
  const strip = variant === 'pillow' && image.height > image.width * 100 && size.height < image.height;
  return strip
    ? resizeWidth(resizeHeight(image, size.height, variant), size.width, variant)
    : resizeHeight(resizeWidth(image, size.width, variant), size.height, variant);
}

function resizeWidth(image: RgbImage, width: number, variant: ResampleVariant): RgbImage {
  if (width === image.width) return image;
  const taps = bicubicTaps(image.width, width, variant);
  return { width, height: image.height, data: resampleRows(image.data, image.width, image.height, taps) };
}

function resizeHeight(image: RgbImage, height: number, variant: ResampleVariant): RgbImage {
  if (height === image.height) return image;
  const taps = bicubicTaps(image.height, height, variant);
  return { width: image.width, height, data: resampleColumns(image.data, image.width * 3, taps) };
}

/** Horizontal pass.   data: [height, width, 3] → [height, nOut, 3] */
function resampleRows(data: Uint8Array, width: number, height: number, taps: Taps): Uint8Array {
  const { first, count, weights, stride, precision } = taps;
  const nOut = first.length;
  const half = 1 << (precision - 1);
  const out = new Uint8ClampedArray(height * nOut * 3); // the store clamps to 0 … 255
  let o = 0;
  for (let y = 0; y < height; y++) {
    const row = y * width * 3;
    for (let i = 0; i < nOut; i++) {
      let p = row + first[i] * 3;
      let k = i * stride;
      const end = k + count[i];
      let r = half;
      let g = half;
      let b = half;
      for (; k < end; k++) {
        const w = weights[k];
        r = (r + Math.imul(data[p], w)) | 0;
        g = (g + Math.imul(data[p + 1], w)) | 0;
        b = (b + Math.imul(data[p + 2], w)) | 0;
        p += 3;
      }
      out[o] = r >> precision;
      out[o + 1] = g >> precision;
      out[o + 2] = b >> precision;
      o += 3;
    }
  }
  return new Uint8Array(out.buffer);
}

/** Vertical pass, a whole line at a time so that memory is read in order.   data: [nIn, line] → [nOut, line] */
function resampleColumns(data: Uint8Array, line: number, taps: Taps): Uint8Array {
  const { first, count, weights, stride, precision } = taps;
  const nOut = first.length;
  const half = 1 << (precision - 1);
  const out = new Uint8ClampedArray(nOut * line);
  const sums = new Int32Array(line);
  for (let i = 0; i < nOut; i++) {
    sums.fill(half);
    for (let j = 0; j < count[i]; j++) {
      const w = weights[i * stride + j];
      const row = (first[i] + j) * line;
      for (let x = 0; x < line; x++) sums[x] = (sums[x] + Math.imul(data[row + x], w)) | 0;
    }
    const o = i * line;
    for (let x = 0; x < line; x++) out[o + x] = sums[x] >> precision;
  }
  return new Uint8Array(out.buffer);
}
