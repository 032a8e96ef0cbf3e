import type { ImageFormat } from './sniff-format.ts';

/**
 * The same file with its EXIF block made unreadable, so that a decoder which insists on turning the picture upright
 * leaves it as it is stored. Returns the input where there is nothing to hide; never writes into it.
 */
export function withoutExif(bytes: Uint8Array, format: ImageFormat): Uint8Array {
  const tag = format === 'jpeg' ? jpegExif(bytes) : format === 'webp' ? webpExif(bytes) : -1;
  if (tag < 0) return bytes;
  const copy = bytes.slice();
  copy.fill(0x78, tag, tag + 4); // 'xxxx': an application segment or chunk that nobody knows, and everybody skips
  return copy;
}

/** Where `Exif` stands in an APP1 segment before the scan, or −1. */
function jpegExif(bytes: Uint8Array): number {
  for (let at = 2; at + 8 < bytes.length && bytes[at] === 0xff && bytes[at + 1] !== 0xda; ) {
    if (bytes[at + 1] === 0xe1 && letters(bytes, at + 4) === 'Exif') return at + 4;
    at += bytes[at + 1] === 0xff ? 1 : 2 + ((bytes[at + 2] << 8) | bytes[at + 3]);
  }
  return -1;
}

/** Where the `EXIF` chunk of an extended WebP file starts, or −1. */
function webpExif(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 12; at + 8 <= bytes.length; ) {
    if (letters(bytes, at) === 'EXIF') return at;
    const size = view.getUint32(at + 4, true);
    at += 8 + size + (size % 2); // chunks are padded to even length
  }
  return -1;
}

const letters = (bytes: Uint8Array, at: number): string => String.fromCharCode(...bytes.subarray(at, at + 4));
