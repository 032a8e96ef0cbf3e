/** Formats that decode, and formats that are recognised only to say that they do not. */
export type ImageFormat = 'png' | 'jpeg' | 'webp' | 'avif' | 'gif' | 'tiff';
export type OtherFormat = 'bmp' | 'heic' | 'svg' | 'html' | 'pdf';

export const IMAGE_FORMATS: readonly ImageFormat[] = ['png', 'jpeg', 'webp', 'avif', 'gif', 'tiff'];

/** What these bytes are by their first ones, or `null` when nothing is recognised. File names are not asked. */
export function sniffFormat(bytes: Uint8Array): ImageFormat | OtherFormat | null {
  const start = latin1(bytes.subarray(0, 32));
  if (start.startsWith('\x89PNG\r\n\x1a\n')) return 'png';
  if (start.startsWith('\xff\xd8\xff')) return 'jpeg';
  if (start.startsWith('RIFF') && start.slice(8, 12) === 'WEBP') return 'webp';
  if (/^GIF8[79]a/.test(start)) return 'gif';
  // Classic TIFF and BigTIFF, little and big endian.
  if (/^(II[*+]\0|MM\0[*+])/.test(start)) return 'tiff';
  if (start.slice(4, 8) === 'ftyp') return sniffIsoMedia(bytes);
  if (start.startsWith('BM')) return 'bmp';
  if (start.startsWith('%PDF-')) return 'pdf';
  return sniffMarkup(bytes);
}

/** True for a format that this project decodes. */
export const isImageFormat = (format: string | null): format is ImageFormat =>
  (IMAGE_FORMATS as readonly (string | null)[]).includes(format);

/** AVIF and HEIC share a container; the brand, or one of the compatible brands after it, tells which. */
function sniffIsoMedia(bytes: Uint8Array): 'avif' | 'heic' | null {
  const size = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(0);
  const brands = latin1(bytes.subarray(8, Math.min(size, 64))).match(/.{4}/gs) ?? [];
  if (brands.some((brand) => brand === 'avif' || brand === 'avis')) return 'avif';
  return brands.some((brand) => /^(he(ic|ix|im|is|vc|vx)|mif1|msf1)$/.test(brand)) ? 'heic' : null;
}

function sniffMarkup(bytes: Uint8Array): 'svg' | 'html' | null {
  const text = latin1(bytes.subarray(0, 1024))
    .replace(/^\xef\xbb\xbf/, '')
    .trimStart()
    .toLowerCase();
  if (!text.startsWith('<')) return null;
  if (text.includes('<svg')) return /<!doctype html|<html/.test(text) ? 'html' : 'svg';
  return /^<(!doctype html|html|head|body|script|title|meta|!--)/.test(text) ? 'html' : null;
}

const latin1 = (bytes: Uint8Array): string => String.fromCharCode(...bytes);
