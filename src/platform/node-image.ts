import type { Metadata, Sharp } from 'sharp';
import { DeviceError, InputError } from '../errors.ts';
import { checkFormat } from '../image/image-input.ts';
import { checkPixelCount } from '../image/pixel-limit.ts';
import type { DecodeImage } from '../image/rgb-image.ts';

/**
 * Decodes PNG, JPEG, WebP, AVIF, GIF (first frame) and TIFF (first page) through sharp (libvips) into what
 * PIL's `open(...).convert('RGB')` gives:
 * - stored values are taken as they are: no colour management (ICC, gamma), no EXIF rotation;
 * - alpha is dropped, not composited; palettes and gray become RGB;
 * - 16 bits become 8 by taking the high byte. (PIL does so for RGB, but clips 16-bit gray to 255, which turns such
 *   pictures white; here gray is treated as RGB is.)
 * - CMYK is multiplied out, r = (255 − c)(255 − k) / 255. (Pillow: src/libImaging/Convert.c, cmyk2rgb)
 * PNG, TIFF, opaque GIF, JPEG and WebP come out bit-identical to Pillow 12.3; AVIF with subsampled colour does not (its
 * decoders smooth colour differently), nor does a transparent GIF, whose transparent pixels are black here.
 *
 * @throws InputError for an image that is broken, cut off, of another format, or has more than `maxInputPixels`
 * @throws DeviceError when sharp is not installed
 */
export const decodeWithSharp: DecodeImage = async (bytes, { maxInputPixels, name }) => {
  checkFormat(bytes, name); // sharp knows more formats than a page does, SVG among them
  const sharp = await importSharp();
  try {
    // sharp's own pixel limit is off (it names no numbers); the metadata is read first and decodes nothing.
    const image = sharp(bytes, { failOn: 'error', ignoreIcc: true, limitInputPixels: false });
    const metadata = await image.metadata();
    checkPixelCount(metadata, maxInputPixels, name);
    return await decodePixels(image, metadata);
  } catch (error) {
    if (error instanceof InputError) throw error;
    const reason = (error instanceof Error ? error.message : String(error)).trim().split('\n').at(-1);
    throw new InputError(
      `${name}: the image is broken or cut off (${reason}); fetch or export it again, or convert it to PNG`,
    );
  }
};

async function decodePixels(image: Sharp, { space }: Metadata) {
  const cmyk = space === 'cmyk';
  // Left to itself, libvips converts CMYK through a colour profile.
  const colour = cmyk
    ? image.pipelineColourspace('cmyk').toColourspace('cmyk')
    : image.removeAlpha().toColourspace('srgb');
  const { data, info } = await colour.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
  const { width, height, channels } = info;
  return { width, height, data: toRgb(data, width * height, channels, cmyk) };
}

/** Interleaved gray (1 or 2 channels), RGB (3 or 4) or CMYK to RGB.   [pixels · channels] → [pixels · 3] */
function toRgb(data: Uint8Array, pixels: number, channels: number, cmyk: boolean): Uint8Array {
  if (channels === 3) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const rgb = new Uint8Array(pixels * 3);
  for (let from = 0, to = 0; to < rgb.length; from += channels, to += 3) {
    for (let c = 0; c < 3; c++) {
      const value = data[channels < 3 ? from : from + c];
      rgb[to + c] = cmyk ? 255 - data[from + 3] - divideBy255(value * (255 - data[from + 3])) : value;
    }
  }
  return rgb;
}

/** Rounded x / 255 for x ≤ 255². (Pillow: src/libImaging/ImagingUtils.h, MULDIV255) */
function divideBy255(x: number): number {
  const t = x + 128;
  return ((t >> 8) + t) >> 8;
}

async function importSharp() {
  try {
    return (await import('sharp')).default;
  } catch (error) {
    throw new DeviceError(
      'encoded images are decoded by sharp, which is not installed or does not run here: run `npm install sharp`, ' +
        'or hand over raw pixels { width, height, channels, data }',
      { cause: error },
    );
  }
}
