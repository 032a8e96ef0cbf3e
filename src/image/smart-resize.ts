import { InputError } from '../errors.ts';

export type ImageSize = { readonly width: number; readonly height: number };

export type ResizeBounds = {
  /** Both sides become multiples of this: patch size × merge size (28 for the published model). */
  readonly factor: number;
  readonly minPixels: number;
  readonly maxPixels: number;
};

/** Beyond this a picture is a line; the reference refuses it too. */
const MAX_ASPECT = 200;

/**
 * The size at which the vision tower sees an image: sides in pixels that are multiples of `factor`, an area between
 * `minPixels` and `maxPixels`, and an aspect ratio close to the original one.
 *
 * Extreme strips can leave the bounds, as they do in the reference: a side is never less than one `factor`.
 * All arithmetic is float64 and rounds half to even, as Python does: 70 / 28 = 2.5 becomes 2, not 3.
 * (transformers: image_processing_qwen2_vl.py, smart_resize)
 *
 * @throws InputError when the longer side is more than 200 times the shorter one, or a side is not a positive integer
 */
export function smartResize(
  { width, height }: ImageSize,
  { factor, minPixels, maxPixels }: ResizeBounds,
): ImageSize {
  if (!(Number.isInteger(width) && Number.isInteger(height) && width > 0 && height > 0)) {
    throw new InputError(
      `an image of ${width} × ${height} pixels cannot be resized; both sides must be at least 1`,
    );
  }
  const aspect = Math.max(width, height) / Math.min(width, height);
  if (aspect > MAX_ASPECT) {
    throw new InputError(
      `an image of ${width} × ${height} pixels has an aspect ratio of ${aspect.toFixed(1)}, more than ${MAX_ASPECT}; ` +
        'crop it or cut it into pieces first',
    );
  }
  const rounded = {
    width: roundHalfToEven(width / factor) * factor,
    height: roundHalfToEven(height / factor) * factor,
  };
  if (rounded.width * rounded.height > maxPixels) {
    const shrink = Math.sqrt((height * width) / maxPixels);
    const down = (side: number) => Math.max(factor, Math.floor(side / shrink / factor) * factor);
    return { width: down(width), height: down(height) };
  }
  if (rounded.width * rounded.height < minPixels) {
    const grow = Math.sqrt(minPixels / (height * width));
    const up = (side: number) => Math.ceil((side * grow) / factor) * factor;
    return { width: up(width), height: up(height) };
  }
  return rounded;
}

/** How many tokens the decoder sees for an image of this (already resized) size: M = width · height / factor². */
export const tokenCount = ({ width, height }: ImageSize, factor: number): number =>
  (width / factor) * (height / factor);

function roundHalfToEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}
