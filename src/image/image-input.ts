import { InputError } from '../errors.ts';
import type { ImageInput, RawImage, RgbImage } from './rgb-image.ts';
import { IMAGE_FORMATS, type ImageFormat, isImageFormat, sniffFormat } from './sniff-format.ts';

export const isRawImage = (input: ImageInput): input is RawImage =>
  typeof input === 'object' && input !== null && 'data' in input && 'width' in input;

/**
 * What error messages call an input: its path or URL, or `image 3 (Buffer of 120 bytes)`.
 * @param index position in the caller's list, counted from 0
 */
export function describeInput(input: ImageInput, index?: number): string {
  if (typeof input === 'string' || input instanceof URL) {
    const text = String(input);
    return text.length <= 200 ? text : `${text.slice(0, 60)}… (${text.length} characters)`;
  }
  return `${index === undefined ? 'image' : `image ${index}`} (${describeData(input)})`;
}

function describeData(input: Exclude<ImageInput, string | URL>): string {
  if (input instanceof Blob) {
    const file = 'name' in input ? `File ${JSON.stringify(input.name)}` : 'Blob';
    return `${file} of ${input.size} bytes`;
  }
  if (input instanceof Uint8Array || input instanceof ArrayBuffer) {
    return `${input.constructor.name} of ${input.byteLength} bytes`;
  }
  if (isRawImage(input)) return `raw pixels, ${input.width} × ${input.height} × ${input.channels}`;
  return input === null ? 'null' : typeof input;
}

/** @throws InputError for what can be told wrong about an input without reading or decoding it */
export function validateInput(input: ImageInput, name: string): void {
  if (typeof input === 'string') validateLocation(input);
  else if (input instanceof URL) validateLocation(input.href);
  else if (input instanceof Uint8Array) checkFormat(input, name);
  else if (input instanceof ArrayBuffer) checkFormat(new Uint8Array(input), name);
  else if (input instanceof Blob) checkNotEmpty(input.size, name);
  else if (isRawImage(input)) validateRaw(input, name);
  else {
    throw new InputError(
      `${name} is not an image; give a path, a URL, encoded bytes (Buffer, Uint8Array, ArrayBuffer), a Blob, ` +
        'or raw pixels { width, height, channels: 3 | 4, data }',
    );
  }
}

function validateLocation(location: string): void {
  if (location.trim() === '') throw new InputError('an empty string is not an image; give a path or a URL');
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(location)?.[1].toLowerCase(); // two letters or more: C:\ is a path
  if (scheme && location.includes('://') && !['http', 'https', 'file', 'data', 'blob'].includes(scheme)) {
    throw new InputError(
      `${location}: images are not read from ${scheme}: URLs; use http, https, file or data`,
    );
  }
}

function validateRaw({ width, height, channels, data }: RawImage, name: string): void {
  if (!(Number.isInteger(width) && Number.isInteger(height) && width > 0 && height > 0)) {
    throw new InputError(`${name}: width and height of raw pixels must be whole numbers of at least 1`);
  }
  if (channels !== 3 && channels !== 4) {
    throw new InputError(`${name}: raw pixels have 3 channels (RGB) or 4 (RGBA), got ${channels}`);
  }
  if (!(data instanceof Uint8Array || data instanceof Uint8ClampedArray)) {
    throw new InputError(`${name}: raw pixels are a Uint8Array or Uint8ClampedArray with values 0 … 255`);
  }
  const expected = width * height * channels;
  if (data.length !== expected) {
    throw new InputError(
      `${name}: expected ${width} · ${height} · ${channels} = ${expected} bytes of raw pixels, got ${data.length}; ` +
        'check the number of channels and that rows are not padded',
    );
  }
}

/**
 * The format of encoded bytes.
 * @throws InputError when they are empty, or not in a format that can be decoded
 */
export function checkFormat(bytes: Uint8Array, name: string): ImageFormat {
  checkNotEmpty(bytes.byteLength, name);
  const format = sniffFormat(bytes);
  if (isImageFormat(format)) return format;
  if (format === 'html') {
    const who = /^https?:/i.test(name)
      ? 'the URL answered with a web page, not with an image'
      : 'this is a web page (HTML), not an image';
    throw new InputError(`${name}: ${who}; use the address of the image file itself`);
  }
  const supported = IMAGE_FORMATS.map((f) => f.toUpperCase()).join(', ');
  const found = format
    ? `${format.toUpperCase()} is not supported`
    : `unknown image format, the first bytes are ${firstBytes(bytes)}`;
  throw new InputError(`${name}: ${found}; convert it to one of ${supported}`);
}

function checkNotEmpty(byteLength: number, name: string): void {
  if (byteLength === 0)
    throw new InputError(`${name} is empty (0 bytes); check that it was written or read completely`);
}

function firstBytes(bytes: Uint8Array): string {
  const start = [...bytes.subarray(0, 8)];
  const hex = start.map((b) => b.toString(16).padStart(2, '0')).join(' ');
  const text = start.map((b) => (b >= 0x20 && b < 0x7f ? String.fromCharCode(b) : '.')).join('');
  return `${hex} (${JSON.stringify(text)})`;
}

/** Raw pixels as RGB. RGB is not copied; alpha is dropped, not composited. */
export function rgbOfRaw({ width, height, channels, data }: RawImage): RgbImage {
  if (channels === 3)
    return { width, height, data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
  return { width, height, data: withoutAlpha(data) };
}

/** RGBA to RGB.   [n · 4] → [n · 3] */
export function withoutAlpha(rgba: Uint8Array | Uint8ClampedArray): Uint8Array {
  const rgb = new Uint8Array((rgba.length / 4) * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) {
    rgb[to] = rgba[from];
    rgb[to + 1] = rgba[from + 1];
    rgb[to + 2] = rgba[from + 2];
  }
  return rgb;
}
