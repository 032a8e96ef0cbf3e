import { createHash } from 'node:crypto';
import type { RawImage } from '../src/image/rgb-image.ts';

const WORDS =
  'the a red bicycle stands in front of an old house while rain falls on quiet streets and someone reads about maps'.split(
    ' ',
  );

/** A text of `words` words, another one for each number. */
export const prose = (words: number, number: number): string =>
  Array.from({ length: words }, (_, i) => WORDS[(i * 7 + number * 5 + ((i * i) % 11)) % WORDS.length]).join(
    ' ',
  );

/** A picture of smooth colours and noise, the same on every machine. */
export function picture(width: number, height: number): RawImage {
  const noise = createHash('sha512').update(`${width}x${height}`).digest();
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) {
    const [x, y] = [i % width, Math.floor(i / width)];
    data[3 * i] = (255 * x) / width;
    data[3 * i + 1] = (255 * y) / height;
    data[3 * i + 2] = noise[(x * 31 + y * 17) % noise.length];
  }
  return { data, width, height, channels: 3 };
}
