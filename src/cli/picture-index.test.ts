import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { encodeSafetensors } from '../../weights/safetensors-writer.ts';
import { inlinePictures, pictureText } from './inline-picture.ts';
import { hasPictureIndex, openPictureIndex } from './picture-index.ts';

const SIDE = 4;
const COLOURS = ['#ff0000', '#00ff00', '#0000ff'];
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pictures-'));
  expect(hasPictureIndex(folder)).toBe(false);
  const names = [
    ['🍎', 'red apple'],
    ['🌳', 'tree'],
    ['🐟', 'fish'],
  ];
  await writeFile(join(folder, 'emoji.json'), JSON.stringify(names));
  const data = Int8Array.from([127, 0, 0, 127, 64, 64]);
  const index = encodeSafetensors(
    [
      { name: 'vectors', dtype: 'I8', shape: [3, 2], data },
      { name: 'scale', dtype: 'F32', shape: [3], data: Float32Array.of(1 / 127, 1 / 127, 1 / 90.5) },
    ],
    { side: String(SIDE), columns: '2' },
  );
  await writeFile(join(folder, 'emoji.safetensors'), index);
  const tile = (background: string) =>
    sharp({ create: { width: SIDE, height: SIDE, channels: 3, background } })
      .png()
      .toBuffer();
  const tiles = await Promise.all(COLOURS.map(tile));
  await sharp({ create: { width: 2 * SIDE, height: 2 * SIDE, channels: 3, background: '#fff' } })
    .composite(tiles.map((input, i) => ({ input, left: (i % 2) * SIDE, top: Math.floor(i / 2) * SIDE })))
    .webp({ lossless: true })
    .toFile(join(folder, 'emoji.webp'));
});
afterAll(() => rm(folder, { recursive: true }));

test('the best pictures come first, with their cosines', async () => {
  expect(hasPictureIndex(folder)).toBe(true);
  const index = await openPictureIndex(folder);
  const found = index.search(Float32Array.of(0.6, 0.8), 3);
  expect(found.map(({ picture }) => index.names[picture])).toEqual(['fish', 'tree', 'red apple']);
  expect(found[0].score).toBeCloseTo((0.6 * 64 + 0.8 * 64) / 90.5, 5);
  expect(found[2].score).toBeCloseTo(0.6, 5);
});

test('each picture is cut from its place in the sheet', async () => {
  const index = await openPictureIndex(folder);
  for (const [picture, colour] of COLOURS.entries()) {
    const { data } = await sharp(await index.png(picture))
      .raw()
      .toBuffer({ resolveWithObject: true });
    expect(`#${Buffer.from(data.subarray(0, 3)).toString('hex')}`).toBe(colour);
  }
});

test('terminals that take pictures are known by what they say; pipes and multiplexers get none', () => {
  expect(inlinePictures(true, { TERM_PROGRAM: 'WezTerm' })).toBe('iterm');
  expect(inlinePictures(true, { TERM: 'xterm-kitty' })).toBe('kitty');
  expect(inlinePictures(true, { TERM: 'xterm-256color' })).toBe(null);
  expect(inlinePictures(true, { TERM_PROGRAM: 'iTerm.app', TMUX: 'socket,1,0' })).toBe(null);
  expect(inlinePictures(false, { TERM_PROGRAM: 'iTerm.app' })).toBe(null);
});

test('kitty gets a long picture in pieces, only the last of which ends it', () => {
  const text = pictureText(new Uint8Array(5000).fill(7), 'kitty');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the protocol is made of them
  const pieces = [...text.matchAll(/\x1b_G([^;]*);([^\x1b]*)\x1b\\/g)];
  expect(pieces.map(([, head]) => head)).toEqual(['a=T,f=100,c=2,r=1,m=1', 'm=0']);
  expect(Buffer.from(pieces.map(([, , data]) => data).join(''), 'base64')).toEqual(Buffer.alloc(5000, 7));
});
