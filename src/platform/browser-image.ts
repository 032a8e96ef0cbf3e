import { InputError } from '../errors.ts';
import { headerSize } from '../image/header-size.ts';
import { checkFormat, withoutAlpha } from '../image/image-input.ts';
import { checkPixelCount } from '../image/pixel-limit.ts';
import type { DecodeImage, RgbImage } from '../image/rgb-image.ts';
import type { ImageFormat } from '../image/sniff-format.ts';
import { withoutExif } from '../image/without-exif.ts';

/**
 * Decodes with the browser's own decoders, in a page or a worker: stored values as they are (no colour management, no
 * EXIF rotation), alpha dropped, not composited.
 *
 * A canvas stores premultiplied pixels, which rounds colour away where alpha is low and loses it where alpha is 0. So
 * formats that may carry alpha go through WebCodecs' `ImageDecoder`, which hands out the decoded frame untouched. Where
 * that frame is still YUV (lossy WebP and AVIF without alpha), or there is no `ImageDecoder`, the canvas takes over; it
 * is exact for opaque images. JPEG has no alpha and takes the canvas at once.
 *
 * @throws InputError for an image that is broken, cut off, too large, or in a format this browser cannot decode
 */
export const decodeInBrowser: DecodeImage = async (bytes, { maxInputPixels, name }) => {
  const format = checkFormat(bytes, name);
  const size = headerSize(bytes, format);
  if (size) checkPixelCount(size, maxInputPixels, name);
  try {
    const stored = withoutExif(bytes, format);
    const image = (await decodeFrame(stored, format)) ?? (await decodeOnCanvas(stored, format));
    checkPixelCount(image, maxInputPixels, name);
    return image;
  } catch (error) {
    if (error instanceof InputError) throw error;
    if (!(await mayDecode(format))) {
      throw new InputError(
        `${name}: this browser has no decoder for ${format.toUpperCase()}; convert the image to PNG`,
      );
    }
    const reason = error instanceof Error ? error.message : String(error);
    throw new InputError(
      `${name}: the image is broken or cut off (${reason}); fetch or export it again, or convert it to PNG`,
    );
  }
};

const mimeType = (format: ImageFormat): string => `image/${format}`;

const mayDecode = async (format: ImageFormat): Promise<boolean> =>
  'ImageDecoder' in globalThis ? ImageDecoder.isTypeSupported(mimeType(format)) : format !== 'tiff';

/** The first frame as the decoder leaves it, or `null` where the canvas must do it. */
async function decodeFrame(bytes: Uint8Array, format: ImageFormat): Promise<RgbImage | null> {
  if (format === 'jpeg' || !('ImageDecoder' in globalThis)) return null;
  if (!(await ImageDecoder.isTypeSupported(mimeType(format)))) return null;
  const decoder = new ImageDecoder({
    data: bytes as Uint8Array<ArrayBuffer>,
    type: mimeType(format),
    colorSpaceConversion: 'none',
    preferAnimation: false,
  });
  try {
    const { image: frame } = await decoder.decode({ frameIndex: 0, completeFramesOnly: true });
    try {
      // An AVIF file that is stored turned says so in its item properties, which are part of the picture (sharp turns
      // it too), not in EXIF. The canvas turns it.
      if (format === 'avif' && isTurned(frame)) return null;
      return await readFrame(frame);
    } finally {
      frame.close();
    }
  } finally {
    decoder.close();
  }
}

const isTurned = (frame: VideoFrame & { rotation?: number; flip?: boolean }): boolean =>
  Boolean(frame.rotation || frame.flip);

/** RGB of a frame in its own pixel format: asking `copyTo` to convert would premultiply. `null` for YUV. */
async function readFrame(frame: VideoFrame): Promise<RgbImage | null> {
  const { format, visibleRect } = frame;
  if (!visibleRect || !format || !/^(RGB|BGR)[AX]$/.test(format)) return null;
  const { width, height } = visibleRect;
  const data = new Uint8Array(width * height * 4);
  await frame.copyTo(data, { layout: [{ offset: 0, stride: width * 4 }] });
  const rgb = withoutAlpha(data);
  if (format.startsWith('BGR')) swapRedAndBlue(rgb);
  return { width, height, data: rgb };
}

function swapRedAndBlue(rgb: Uint8Array): void {
  for (let i = 0; i < rgb.length; i += 3) {
    const first = rgb[i];
    rgb[i] = rgb[i + 2];
    rgb[i + 2] = first;
  }
}

async function decodeOnCanvas(bytes: Uint8Array, format: ImageFormat): Promise<RgbImage> {
  const blob = new Blob([bytes as Uint8Array<ArrayBuffer>], { type: mimeType(format) });
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: 'none', premultiplyAlpha: 'none' });
  const { width, height } = bitmap;
  try {
    const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
    if (!context) throw new Error(`no canvas of ${width} × ${height}`);
    context.drawImage(bitmap, 0, 0);
    return { width, height, data: withoutAlpha(context.getImageData(0, 0, width, height).data) };
  } finally {
    bitmap.close();
  }
}
