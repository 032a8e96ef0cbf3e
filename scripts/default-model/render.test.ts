import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { indexDrawings, readDrawings, writeDrawings } from './drawings.ts';
import { type Emoji, STYLES } from './emoji.ts';
import type { IconFile, IconFiles } from './read-corpus.ts';
import { DATA_URL, renderDrawings } from './render.ts';

const set = (body: string): IconFile => ({
  width: 16,
  height: 16,
  icons: { half: { body } },
  aliases: { other: { parent: 'half' } },
});
const sets = {
  ...(Object.fromEntries(STYLES.map((style) => [style, set('')])) as IconFiles),
  twemoji: set('<path fill="#f00" d="M0 0h8v16H0z"/>'),
  'fluent-emoji-flat': set('<path fill="#fff" fill-opacity=".5" d="M0 0h16v16H0z"/>'),
};
const emoji: Emoji = {
  code: '1',
  characters: '1',
  name: 'half',
  group: '',
  subgroup: '',
  drawings: { twemoji: 'half', 'fluent-emoji-flat': 'other' },
  twin: 0,
};

test('drawings are premultiplied RGBA, and come back from the file as they went in', async () => {
  const seen: number[] = [];
  const file = await renderDrawings([emoji], sets, 8, (done, total) => seen.push(done / total));
  expect(file.entries).toEqual([
    ['twemoji', 0],
    ['fluent-emoji-flat', 0],
  ]);
  expect(seen).toEqual([0.5, 1]);
  const folder = await mkdtemp(join(tmpdir(), 'drawings-'));
  try {
    await writeDrawings(join(folder, 'd.gz'), file);
    const drawings = indexDrawings(await readDrawings(join(folder, 'd.gz')));
    const red = drawings.of('twemoji', 0)!;
    expect([...red.data.slice(0, 4)]).toEqual([255, 0, 0, 255]);
    expect([...red.data.slice(28, 32)]).toEqual([0, 0, 0, 0]);
    const pale = drawings.of('fluent-emoji-flat', 0)!.data.slice(0, 4);
    for (const level of pale) expect(Math.abs(level - 128)).toBeLessThan(2);
    expect(drawings.of('noto', 0)).toBeNull();
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('a set of pictures is drawn from their files', async () => {
  const background = { r: 0, g: 0, b: 255, alpha: 1 };
  const webp = sharp({ create: { width: 4, height: 4, channels: 4, background } }).webp({ lossless: true });
  const picture = set(`${DATA_URL}${(await webp.toBuffer()).toString('base64')}`);
  const drawn = { ...emoji, drawings: { 'fluent-emoji-3d': 'half' } };
  const { pixels } = await renderDrawings([drawn], { ...sets, 'fluent-emoji-3d': picture }, 8);
  expect([...pixels.slice(0, 4)]).toEqual([0, 0, 255, 255]);
});
