import { readFile, rename, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import { InputError } from '../../src/errors.ts';
import type { Style } from './emoji.ts';

/** A square drawing, row by row, 4 bytes a pixel: red, green and blue multiplied by alpha, then alpha. */
export type Drawing = { readonly side: number; readonly data: Uint8Array };

/** All rendered drawings. `of` is null where the style has no drawing of that emoji. */
export type Drawings = {
  readonly side: number;
  of(style: Style, emoji: number): Drawing | null;
};

/** Which drawing lies where: `entries[k] = [style, emoji]`, side² · 4 bytes each, in this order. */
export type DrawingFile = {
  readonly side: number;
  readonly entries: readonly (readonly [Style, number])[];
  readonly pixels: Uint8Array;
};

export function indexDrawings({ side, entries, pixels }: DrawingFile): Drawings {
  const size = side * side * 4;
  const places = new Map(entries.map(([style, emoji], k) => [`${style}/${emoji}`, k * size]));
  return {
    side,
    of(style, emoji) {
      const begin = places.get(`${style}/${emoji}`);
      return begin === undefined ? null : { side, data: pixels.subarray(begin, begin + size) };
    },
  };
}

/** gzip of: length of the header (uint32, little endian), the header as JSON, pixels. */
export async function writeDrawings(path: string, { side, entries, pixels }: DrawingFile): Promise<void> {
  const header = Buffer.from(JSON.stringify({ side, entries }));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(header.length);
  const packed = await promisify(gzip)(Buffer.concat([length, header, pixels]), { level: 6 });
  await writeFile(`${path}.part`, packed);
  await rename(`${path}.part`, path); // a stopped run leaves no half file under the name
}

export async function readDrawings(path: string): Promise<DrawingFile> {
  const bytes = await promisify(gunzip)(await readFile(path));
  const begin = 4 + bytes.readUInt32LE(0);
  const header = JSON.parse(bytes.toString('utf8', 4, begin)) as Omit<DrawingFile, 'pixels'>;
  const pixels = new Uint8Array(bytes.buffer, bytes.byteOffset + begin, bytes.length - begin);
  const expected = header.entries.length * header.side ** 2 * 4;
  if (pixels.length !== expected)
    throw new InputError(
      `${path}: expected ${expected} bytes of pixels, found ${pixels.length}; render again`,
    );
  return { ...header, pixels };
}
