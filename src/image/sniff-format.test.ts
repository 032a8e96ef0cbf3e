import fc from 'fast-check';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { headerSize } from './header-size.ts';
import { IMAGE_FORMATS, type ImageFormat, isImageFormat, sniffFormat } from './sniff-format.ts';

const encode = async (format: ImageFormat, options = {}): Promise<Uint8Array> =>
  sharp({ create: { width: 37, height: 21, channels: 4, background: { r: 9, g: 99, b: 199, alpha: 0.5 } } })
    .toFormat(format, options)
    .toBuffer();

const text = (s: string): Uint8Array => new TextEncoder().encode(s);

test.each(IMAGE_FORMATS)('%s is recognised and its header tells 37 × 21', async (format) => {
  const bytes = await encode(format);
  expect(sniffFormat(bytes)).toBe(format);
  expect(headerSize(bytes, format)).toEqual({ width: 37, height: 21 });
});

test.each([
  ['webp', { lossless: true }],
  ['webp', { lossless: false, alphaQuality: 0 }],
  ['jpeg', { progressive: true }],
  ['tiff', { compression: 'lzw' }],
] as const)('%s %j: the header tells the size', async (format, options) => {
  expect(headerSize(await encode(format, options), format)).toEqual({ width: 37, height: 21 });
});

test('WebP without alpha has the simple header', async () => {
  const pixels = sharp({ create: { width: 37, height: 21, channels: 3, background: 'red' } });
  const bytes = await pixels.webp().toBuffer();
  expect(bytes.subarray(12, 16).toString()).toBe('VP8 ');
  expect(headerSize(bytes, 'webp')).toEqual({ width: 37, height: 21 });
});

test.each([
  ['bmp', text('BM123456')],
  ['pdf', text('%PDF-1.7')],
  ['svg', text('<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>')],
  ['html', text('\ufeff\n <!DOCTYPE html><html><body><svg></svg></body></html>')],
  ['html', text('<html>')],
  ['heic', text('\0\0\0\u0018ftypheic\0\0\0\0mif1heic')],
  [null, text('hello world')],
  [null, text('<rss version="2.0">')],
  [null, new Uint8Array(0)],
])('%s is told from its bytes', (format, bytes) => {
  expect(sniffFormat(bytes)).toBe(format);
});

test('no bytes make it throw, cut off or not', async () => {
  const files = await Promise.all(IMAGE_FORMATS.map((format) => encode(format)));
  const cut = fc
    .tuple(fc.constantFrom(...files), fc.nat(400))
    .map(([file, length]) => file.subarray(0, length));
  const damaged = fc.tuple(cut, fc.array(fc.tuple(fc.nat(399), fc.nat(255)))).map(([file, changes]) => {
    const copy = Uint8Array.from(file);
    for (const [at, value] of changes) if (at < copy.length) copy[at] = value;
    return copy;
  });
  fc.assert(
    fc.property(fc.oneof(cut, damaged, fc.uint8Array()), (bytes) => {
      const format = sniffFormat(bytes);
      if (isImageFormat(format)) headerSize(bytes, format);
    }),
    { numRuns: 2000 },
  );
});
