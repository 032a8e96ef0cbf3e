import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { CheckpointError, InputError } from '../errors.ts';
import { decodeWithSharp } from '../platform/node-image.ts';
import { ImageProcessor } from './image-processor.ts';
import { parsePreprocessorConfig } from './preprocessor-config.ts';
import type { ImageInput } from './rgb-image.ts';

const golden = new URL('../../test/golden/', import.meta.url);
const config = parsePreprocessorConfig(
  JSON.parse(await readFile(new URL('preprocessor_config.json', golden), 'utf8')),
);
const tensors = await readTensors(new URL('golden.safetensors', golden));
const page = new TextEncoder().encode('<!doctype html><html><title>Sign in</title></html>');

async function readBytes(source: string | URL): Promise<Uint8Array> {
  const location = String(source);
  if (location.startsWith('https://site.example')) return page;
  if (/^(data|file):/.test(location)) return new Uint8Array(await (await readUrl(location)).arrayBuffer());
  return readFile(location);
}

const readUrl = async (location: string): Promise<Response> =>
  location.startsWith('file:') ? new Response(await readFile(fileURLToPath(location))) : fetch(location);

const processor = new ImageProcessor(config, { decodeImage: decodeWithSharp, readBytes });
const pathOf = (name: string): string => fileURLToPath(new URL(`images/${name}.png`, golden));

test.each(['square', 'landscape', 'tall', 'small', 'odd', 'large'])(
  'golden image %s: grid and pixel_values are the reference’s, bit for bit',
  async (name) => {
    const { grid, pixelValues, tokens } = await processor.process(pathOf(name));
    expect(grid).toEqual([...(tensors.get(`image.${name}/image_grid_thw`) as Int32Array)]);
    expect(tokens).toBe((grid[1] * grid[2]) / 4);
    expect(pixelValues).toHaveLength(grid[1] * grid[2] * 1176);
    const whole = tensors.get(`image.${name}/pixel_values`);
    const head = whole ?? tensors.get(`image.${name}/pixel_values_head`)!;
    const tail = whole ?? tensors.get(`image.${name}/pixel_values_tail`)!;
    expectSameBits(pixelValues.subarray(0, head.length), head as Float32Array);
    expectSameBits(pixelValues.subarray(pixelValues.length - tail.length), tail as Float32Array);
  },
);

test('every kind of input gives the same patches', async () => {
  const path = pathOf('odd');
  const bytes = new Uint8Array(await readFile(path));
  const { data, info } = await sharp(bytes).raw().toBuffer({ resolveWithObject: true });
  const rgba = await sharp(bytes).ensureAlpha(0.3).raw().toBuffer();
  const { width, height } = info;
  const inputs: ImageInput[] = [
    new URL(`file://${path}`),
    `file://${path}`,
    `data:image/png;base64,${Buffer.from(bytes).toString('base64')}`,
    bytes,
    Buffer.from(bytes),
    bytes.buffer,
    new Blob([bytes]),
    { width, height, channels: 3, data },
    { width, height, channels: 4, data: new Uint8ClampedArray(rgba) },
  ];
  const expected = await processor.process(path);
  expect({ ...expected, pixelValues: null }).toEqual({
    width: 317,
    height: 205,
    resized: { width: 308, height: 196 },
    grid: [1, 14, 22],
    tokens: 77,
    pixelValues: null,
  });
  for (const input of inputs) {
    const image = await processor.process(input);
    expect({ ...image, pixelValues: null }).toEqual({ ...expected, pixelValues: null });
    expectSameBits(image.pixelValues, expected.pixelValues);
  }
});

test('maxPixels and minPixels replace the checkpoint’s bounds for a call', async () => {
  expect((await processor.process(pathOf('square'), { maxPixels: 784, minPixels: 784 })).tokens).toBe(1);
  expect((await processor.process(pathOf('small'), { minPixels: 28 * 28 * 100 })).tokens).toBe(100);
});

test('the Pillow variant differs, but only by a step or two', async () => {
  const torchvision = (await processor.process(pathOf('odd'))).pixelValues;
  const pillow = (await processor.process(pathOf('odd'), { resample: 'pillow' })).pixelValues;
  const apart = pillow.map((x, i) => Math.abs(x - torchvision[i]));
  expect(apart.some((d) => d > 0)).toBe(true);
  expect(apart.every((d) => d < 2.5 / 255 / 0.26)).toBe(true);
});

const flat = (width: number, height: number) => ({
  width,
  height,
  channels: 3 as const,
  data: new Uint8Array(width * height * 3),
});

test.each<[string, ImageInput, string | RegExp]>([
  [
    'no bytes',
    new Uint8Array(0),
    'image 3 (Uint8Array of 0 bytes) is empty (0 bytes); check that it was written or read completely',
  ],
  [
    'no blob',
    new Blob([]),
    'image 3 (Blob of 0 bytes) is empty (0 bytes); check that it was written or read completely',
  ],
  ['no path', ' ', 'an empty string is not an image; give a path or a URL'],
  [
    'a strange scheme',
    'ftp://host/cat.png',
    'ftp://host/cat.png: images are not read from ftp: URLs; use http, https, file or data',
  ],
  [
    'a web page',
    'https://site.example/cat',
    'https://site.example/cat: the URL answered with a web page, not with an image; use the address of the image file itself',
  ],
  [
    'bytes of a web page',
    Buffer.from(page),
    'image 3 (Buffer of 50 bytes): this is a web page (HTML), not an image; use the address of the image file itself',
  ],
  [
    'text',
    Buffer.from('hello world'),
    'image 3 (Buffer of 11 bytes): unknown image format, the first bytes are 68 65 6c 6c 6f 20 77 6f ("hello wo"); convert it to one of PNG, JPEG, WEBP, AVIF, GIF, TIFF',
  ],
  [
    'a BMP',
    Buffer.from('BM012345'),
    'image 3 (Buffer of 8 bytes): BMP is not supported; convert it to one of PNG, JPEG, WEBP, AVIF, GIF, TIFF',
  ],
  [
    'raw pixels of the wrong length',
    { ...flat(4, 5), data: new Uint8Array(59) },
    'image 3 (raw pixels, 4 × 5 × 3): expected 4 · 5 · 3 = 60 bytes of raw pixels, got 59; check the number of channels and that rows are not padded',
  ],
  [
    'raw pixels without a side',
    flat(0, 5),
    'image 3 (raw pixels, 0 × 5 × 3): width and height of raw pixels must be whole numbers of at least 1',
  ],
  [
    'gray pixels',
    { ...flat(4, 5), channels: 1 } as unknown as ImageInput,
    'image 3 (raw pixels, 4 × 5 × 1): raw pixels have 3 channels (RGB) or 4 (RGBA), got 1',
  ],
  [
    'floats',
    { ...flat(1, 1), data: new Float32Array(3) } as unknown as ImageInput,
    /raw pixels are a Uint8Array or Uint8ClampedArray/,
  ],
  [
    'too many raw pixels',
    flat(5001, 4000),
    'image 3 (raw pixels, 5001 × 4000 × 3): 5001 × 4000 = 20,004,000 pixels, above the limit of 20,000,000 (20 megapixels); scale the image down first',
  ],
  [
    'a line',
    flat(402, 2),
    'image 3 (raw pixels, 402 × 2 × 3): an image of 402 × 2 pixels has an aspect ratio of 201.0, more than 200; crop it or cut it into pieces first',
  ],
  ['a number', 7 as unknown as ImageInput, /^image 3 \(number\) is not an image; give a path, a URL/],
  ['null', null as unknown as ImageInput, /^image 3 \(null\) is not an image/],
])('%s is refused by name', async (_, input, message) => {
  const error = await processor.process(input, { index: 3 }).catch((e: unknown) => e);
  expect(error).toBeInstanceOf(InputError);
  if (typeof message === 'string') expect((error as Error).message).toBe(message);
  else expect((error as Error).message).toMatch(message);
});

test('a 50-megapixel file is refused from its header, before it is decoded', async () => {
  const header = await readFile(pathOf('small'));
  header.writeUInt32BE(10_000, 16);
  header.writeUInt32BE(5_000, 20);
  const never = new ImageProcessor(config, { readBytes, decodeImage: () => expect.unreachable('decoded') });
  const message =
    /10000 × 5000 = 50,000,000 pixels, above the limit of 20,000,000 \(20 megapixels\); scale the image down first/;
  await expect(never.decode(header)).rejects.toThrow(message);
  expect(() => never.validate(header)).toThrow(message);
  await expect(decodeWithSharp(header, { maxInputPixels: 2e7, name: 'x.png' })).rejects.toThrow(message);
});

test('the limit can be lowered', async () => {
  const small = new ImageProcessor(config, { decodeImage: decodeWithSharp, readBytes, maxInputPixels: 399 });
  await expect(small.process(pathOf('small'))).rejects.toThrow(
    /20 × 20 = 400 pixels, above the limit of 399/,
  );
  expect(
    () => new ImageProcessor(config, { decodeImage: decodeWithSharp, readBytes, maxInputPixels: 0 }),
  ).toThrow(InputError);
});

test.each([
  [
    { maxPixels: 783 },
    /^maxPixels 783 is not possible; give a number of at least 784 \(28 × 28 pixels, one token\)/,
  ],
  [{ maxPixels: Number.NaN }, /^maxPixels NaN is not possible/],
  [{ maxPixels: Number.POSITIVE_INFINITY }, /^maxPixels Infinity is not possible/],
  [{ maxPixels: 1000 }, /^minPixels 3136 must lie between 0 and maxPixels 1000; .* lower minPixels too/],
  [{ minPixels: -1 }, /^minPixels -1 must lie between/],
  [{ minPixels: Number.NaN }, /^minPixels NaN must lie between/],
  [
    { resample: 'lanczos' as 'pillow' },
    /^resample must be 'torchvision' \(default\) or 'pillow', got "lanczos"/,
  ],
])('%j is refused before anything is read', async (options, message) => {
  await expect(processor.process('/nowhere.png', options)).rejects.toThrow(message);
  await expect(processor.process('/nowhere.png', options)).rejects.toBeInstanceOf(InputError);
});

test('an aborted call stops, and errors of the reader pass through', async () => {
  const signal = AbortSignal.abort(new Error('enough'));
  await expect(processor.process(pathOf('small'), { signal })).rejects.toThrow('enough');
  const broken = new ImageProcessor(config, {
    decodeImage: decodeWithSharp,
    readBytes: async () => Promise.reject(new CheckpointError('as thrown')),
  });
  await expect(broken.decode('x.png')).rejects.toThrow(new CheckpointError('as thrown'));
});

function expectSameBits(actual: Float32Array, expected: Float32Array): void {
  expect(actual).toHaveLength(expected.length);
  const a = new Uint32Array(actual.slice().buffer);
  const b = new Uint32Array(expected.slice().buffer);
  const wrong = a.findIndex((x, i) => x !== b[i]);
  expect(wrong, `value ${wrong} is ${actual[wrong]}, not ${expected[wrong]}`).toBe(-1);
}

/** The F32 and I32 tensors of a safetensors file. */
async function readTensors(url: URL): Promise<Map<string, Float32Array | Int32Array>> {
  const file = await readFile(url);
  const start = 8 + Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, start)) as Record<
    string,
    { dtype: string; data_offsets: [number, number] }
  >;
  const found = new Map<string, Float32Array | Int32Array>();
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const [from, to] = entry.data_offsets;
    const bytes = new Uint8Array(file.subarray(start + from, start + to)).buffer;
    found.set(name, entry.dtype === 'I32' ? new Int32Array(bytes) : new Float32Array(bytes));
  }
  return found;
}
