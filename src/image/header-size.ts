import type { ImageSize } from './smart-resize.ts';
import type { ImageFormat } from './sniff-format.ts';

/**
 * Width and height in pixels as the file's header states them, so that an image that is too large is refused before it
 * is decoded. `null` when the header is cut off or says it in a way that is not read here (BigTIFF); the decoder then
 * has the word.
 */
export function headerSize(bytes: Uint8Array, format: ImageFormat): ImageSize | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    return READERS[format](view);
  } catch (error) {
    if (error instanceof RangeError) return null; // a DataView read beyond the end
    throw error;
  }
}

const READERS: Record<ImageFormat, (view: DataView) => ImageSize | null> = {
  png: (view) => ({ width: view.getUint32(16), height: view.getUint32(20) }),
  gif: (view) => ({ width: view.getUint16(6, true), height: view.getUint16(8, true) }),
  jpeg: jpegSize,
  webp: webpSize,
  tiff: tiffSize,
  avif: (view) => largestExtent(view, 0, view.byteLength),
};

/** The start-of-frame segment (markers C0 … CF but for C4, C8 and CC). ITU T.81, B.2.2 */
function jpegSize(view: DataView): ImageSize | null {
  for (let at = 2; ; ) {
    if (view.getUint8(at) !== 0xff) return null;
    const marker = view.getUint8(at + 1);
    if (marker === 0xff) {
      at++; // fill byte
      continue;
    }
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      return { width: view.getUint16(at + 7), height: view.getUint16(at + 5) };
    }
    at += 2 + view.getUint16(at + 2);
  }
}

/** RFC 9649, sections 2.5 to 2.7: lossy, lossless and extended files. */
function webpSize(view: DataView): ImageSize | null {
  const u24 = (at: number) => view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
  switch (fourLetters(view, 12)) {
    case 'VP8 ':
      return { width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff };
    case 'VP8L': {
      const bits = view.getUint32(21, true);
      return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 };
    }
    case 'VP8X':
      return { width: u24(24) + 1, height: u24(27) + 1 };
    default:
      return null;
  }
}

/** Tags 256 (ImageWidth) and 257 (ImageLength) of the first directory. TIFF 6.0, section 2 */
function tiffSize(view: DataView): ImageSize | null {
  const little = view.getUint8(0) === 0x49;
  if (view.getUint16(2, little) !== 42) return null; // BigTIFF
  const directory = view.getUint32(4, little);
  const entries = view.getUint16(directory, little);
  const tag = (wanted: number): number => {
    for (let i = 0; i < entries; i++) {
      const at = directory + 2 + i * 12;
      if (view.getUint16(at, little) !== wanted) continue;
      const short = view.getUint16(at + 2, little) === 3;
      return short ? view.getUint16(at + 8, little) : view.getUint32(at + 8, little);
    }
    return 0;
  };
  const size = { width: tag(256), height: tag(257) };
  return size.width > 0 && size.height > 0 ? size : null;
}

/** The largest `ispe` box of an AVIF file: tiles and alpha planes have their own. ISO/IEC 14496-12 and 23008-12, 6.5.3 */
function largestExtent(view: DataView, from: number, end: number): ImageSize | null {
  let largest: ImageSize | null = null;
  for (let at = from; at + 8 <= end; ) {
    const length = view.getUint32(at);
    const type = fourLetters(view, at + 4);
    const stop = length >= 8 ? Math.min(at + length, end) : end; // 0: to the end of the file
    let found: ImageSize | null = null;
    if (type === 'ispe') found = { width: view.getUint32(at + 12), height: view.getUint32(at + 16) };
    else if (type === 'meta') found = largestExtent(view, at + 12, stop);
    else if (type === 'iprp' || type === 'ipco') found = largestExtent(view, at + 8, stop);
    if (found && (!largest || found.width * found.height > largest.width * largest.height)) largest = found;
    at = stop;
  }
  return largest;
}

const fourLetters = (view: DataView, at: number): string =>
  String.fromCharCode(view.getUint8(at), view.getUint8(at + 1), view.getUint8(at + 2), view.getUint8(at + 3));
