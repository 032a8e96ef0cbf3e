import type { DrawingFile } from './drawings.ts';
import { type Emoji, STYLES, type Style, svgBody } from './emoji.ts';
import type { IconFile, IconFiles } from './read-corpus.ts';

/** Every drawing of every style as a square of `side` pixels on nothing. Drawings that are not square keep their shape. */
export async function renderDrawings(
  emoji: readonly Emoji[],
  sets: IconFiles,
  side: number,
  onProgress: (done: number, total: number) => void = () => {},
): Promise<DrawingFile> {
  const entries = STYLES.flatMap((style) =>
    emoji.flatMap((e, i) => (e.drawings[style] ? [[style, i] as [Style, number]] : [])),
  );
  const size = side * side * 4;
  const pixels = new Uint8Array(entries.length * size);
  let done = 0;
  const work = entries.entries(); // shared by the workers: each takes the next drawing
  const worker = async () => {
    for (const [k, [style, i]] of work) {
      pixels.set(await renderImage(imageFile(sets[style], emoji[i].drawings[style]!), side), k * size);
      onProgress(++done, entries.length);
    }
  };
  await Promise.all([worker(), worker(), worker(), worker()]);
  return { side, entries, pixels };
}

export const DATA_URL = 'data:image/webp;base64,';

/** What an image file of a drawing holds: SVG, or the picture that the set has. */
export function imageFile(set: IconFile, icon: string): Buffer {
  const body = svgBody(set, icon);
  return body.startsWith(DATA_URL)
    ? Buffer.from(body.slice(DATA_URL.length), 'base64')
    : Buffer.from(svgOf(set, icon));
}

function svgOf(set: IconFile, icon: string): string {
  const { width = set.width, height = set.height } = set.icons[set.aliases?.[icon]?.parent ?? icon];
  const body = svgBody(set, icon);
  return `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">${body}</svg>`;
}

/** SVG or picture → premultiplied RGBA.   [side · side · 4] */
export async function renderImage(file: Buffer, side: number): Promise<Uint8Array> {
  const { default: sharp } = await import('sharp');
  const { data } = await sharp(file, { density: 288 }) // SVG is drawn large, then made smaller: fine lines stay
    .resize(side, side, { fit: 'contain', background: { r: 0, g: 0, b: 0, alpha: 0 } })
    .ensureAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });
  for (let i = 0; i < data.length; i += 4) {
    const alpha = data[i + 3] / 255;
    for (let c = i; c < i + 3; c++) data[c] = Math.round(data[c] * alpha);
  }
  return data;
}
