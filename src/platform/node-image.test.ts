import { readFileSync } from 'node:fs';
import sharp from 'sharp';
import { afterEach, expect, test, vi } from 'vitest';
import { DeviceError, InputError } from '../errors.ts';
import { decodeWithSharp } from './node-image.ts';

// Small files in many kinds, and the RGB that Pillow reads from them.
const fixtures = JSON.parse(readFileSync(new URL('node-image.fixtures.json', import.meta.url), 'utf8')) as {
  width: number;
  height: number;
  files: Record<string, { file: string; rgb: string }>;
};
const limits = { maxInputPixels: 20_000_000, name: 'picture' };
const fixtureBytes = (base64: string) => new Uint8Array(Buffer.from(base64, 'base64'));

afterEach(() => {
  vi.doUnmock('sharp');
  vi.resetModules();
});

test.each(Object.entries(fixtures.files))('%s decodes to what PIL reads', async (name, { file, rgb }) => {
  const { width, height, data } = await decodeWithSharp(fixtureBytes(file), { ...limits, name });
  expect([width, height]).toEqual([fixtures.width, fixtures.height]);
  expect(data).toEqual(fixtureBytes(rgb));
});

test('16-bit gray takes the high byte', async () => {
  const levels = new Uint16Array([0, 255, 256, 0x7fff, 0x8000, 0xffff]);
  const bytes = await sharp(levels, { raw: { width: 3, height: 2, channels: 1 } })
    .toColourspace('grey16')
    .png()
    .toBuffer();
  const { data } = await decodeWithSharp(bytes, limits);
  expect(data.filter((_, i) => i % 3 === 0)).toEqual(new Uint8Array([0, 0, 1, 0x7f, 0x80, 0xff]));
});

test('AVIF decodes, and of an animation the first frame', async () => {
  const red = { create: { width: 8, height: 6, channels: 3 as const, background: '#d02010' } };
  const blue = { create: { ...red.create, background: '#1020d0' } };
  const avif = await decodeWithSharp(await sharp(red).avif({ lossless: true }).toBuffer(), limits);
  expect([avif.width, avif.height, ...avif.data.subarray(0, 3)]).toEqual([8, 6, 0xd0, 0x20, 0x10]);
  const frames = await Promise.all([red, blue].map((frame) => sharp(frame).png().toBuffer()));
  for (const format of ['gif', 'webp'] as const) {
    const animation = await sharp(frames, { join: { animated: true } })
      .toFormat(format, { lossless: true })
      .toBuffer();
    const first = await decodeWithSharp(animation, limits);
    expect([first.width, first.height, ...first.data.subarray(0, 3)]).toEqual([8, 6, 0xd0, 0x20, 0x10]);
  }
});

test('a colour profile changes nothing', async () => {
  const pixels = new Uint8Array(8 * 6 * 3).map((_, i) => (i * 53) % 256);
  const image = sharp(pixels, { raw: { width: 8, height: 6, channels: 3 } });
  const tagged = await image.clone().withIccProfile('p3').png().toBuffer();
  const plain = await sharp(tagged, { ignoreIcc: true }).removeAlpha().raw().toBuffer();
  expect((await decodeWithSharp(tagged, limits)).data).toEqual(new Uint8Array(plain));
});

test.each(['png', 'jpeg', 'webp', 'avif', 'gif', 'tiff'] as const)(
  '%s: cut off or garbled is an InputError',
  async (format) => {
    const noise = new Uint8Array(64 * 48 * 3).map((_, i) => Math.imul(i, 2654435761) >>> 24);
    const whole = await sharp(noise, { raw: { width: 64, height: 48, channels: 3 } })
      .toFormat(format)
      .toBuffer();
    for (const part of [0.1, 0.5, 0.9]) {
      const error = await decodeWithSharp(whole.subarray(0, Math.ceil(whole.length * part)), limits).catch(
        (e: unknown) => e,
      );
      expect(error).toBeInstanceOf(InputError);
      expect((error as Error).message).toMatch(
        /^picture: the image is broken or cut off \([^\n]+\); fetch or export it again, or convert it to PNG$/,
      );
    }
  },
);

test('an SVG is refused, though sharp could draw it', async () => {
  const svg = new TextEncoder().encode('<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"/>');
  await expect(decodeWithSharp(svg, limits)).rejects.toThrow(
    /^picture: SVG is not supported; convert it to one of PNG/,
  );
});

test('too many pixels are refused from the metadata', async () => {
  const bytes = await sharp({ create: { width: 40, height: 30, channels: 3, background: 'red' } })
    .tiff()
    .toBuffer();
  await expect(decodeWithSharp(bytes, { maxInputPixels: 1199, name: 'big.tif' })).rejects.toThrow(
    new InputError(
      'big.tif: 40 × 30 = 1,200 pixels, above the limit of 1,199 (0.001199 megapixels); scale the image down first',
    ),
  );
});

test('without sharp the error says how to get it', async () => {
  vi.doMock('sharp', () => {
    throw new Error('Cannot find package sharp');
  });
  const error = await decodeWithSharp(new TextEncoder().encode('GIF89a'), limits).catch((e: unknown) => e);
  expect(error).toBeInstanceOf(DeviceError);
  expect((error as Error).message).toContain('run `npm install sharp`');
});
