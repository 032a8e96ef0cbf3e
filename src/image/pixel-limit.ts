import { InputError } from '../errors.ts';
import type { ImageSize } from './smart-resize.ts';

/** 20 megapixels: 60 MB of RGB. */
export const MAX_INPUT_PIXELS = 20_000_000;

/** @throws InputError with the numbers when an image has no pixels or more than `maxInputPixels` */
export function checkPixelCount({ width, height }: ImageSize, maxInputPixels: number, name: string): void {
  const count = (n: number) => n.toLocaleString('en-US');
  if (!(width > 0 && height > 0)) {
    throw new InputError(
      `${name}: an image of ${width} × ${height} pixels is empty; both sides must be at least 1`,
    );
  }
  if (width * height > maxInputPixels) {
    throw new InputError(
      `${name}: ${width} × ${height} = ${count(width * height)} pixels, above the limit of ` +
        `${count(maxInputPixels)} (${maxInputPixels / 1e6} megapixels); scale the image down first`,
    );
  }
}
