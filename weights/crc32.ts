// CRC-32 of zlib, gzip and PNG (polynomial 0xedb88320, reflected), eight bytes a step: Kounavis and Berry, "Novel Table
// Lookup-Based Algorithms for High-Performance CRC Generation" (2008). It finds damage, not forgery, and needs neither a
// secure page (as Web Crypto does) nor the whole tensor at once.

/** Table `k` at 256 k: what a byte adds that `k` bytes follow. */
const tables = makeTables();

function makeTables(): Int32Array {
  const all = new Int32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let c = byte;
    for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
    all[byte] = c;
  }
  for (let i = 256; i < all.length; i++) all[i] = all[all[i - 256] & 0xff] ^ (all[i - 256] >>> 8);
  return all;
}

/** CRC-32 of `bytes`, after others whose CRC is `before`: `crc32(b, crc32(a))` is that of a and b together. */
export function crc32(bytes: Uint8Array, before = 0): number {
  const t = tables;
  let crc = ~before;
  let at = 0;
  const { length } = bytes;
  for (; at < length && (bytes.byteOffset + at) % 4 !== 0; at++)
    crc = t[(crc ^ bytes[at]) & 0xff] ^ (crc >>> 8);
  const pairs = ((length - at) >>> 3) << 1;
  const words = pairs > 0 ? new Int32Array(bytes.buffer, bytes.byteOffset + at, pairs) : new Int32Array();
  for (let i = 0; i < pairs; i += 2) {
    const low = words[i] ^ crc;
    const high = words[i + 1];
    crc =
      t[1792 + (low & 0xff)] ^
      t[1536 + ((low >>> 8) & 0xff)] ^
      t[1280 + ((low >>> 16) & 0xff)] ^
      t[1024 + (low >>> 24)] ^
      t[768 + (high & 0xff)] ^
      t[512 + ((high >>> 8) & 0xff)] ^
      t[256 + ((high >>> 16) & 0xff)] ^
      t[high >>> 24];
  }
  for (at += 4 * pairs; at < length; at++) crc = t[(crc ^ bytes[at]) & 0xff] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** Eight hexadecimal digits, as checksums are written. */
export const crcText = (crc: number): string => crc.toString(16).padStart(8, '0');
