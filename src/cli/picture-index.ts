import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { memorySource } from '../../weights/memory-source.ts';
import { readHeader, readTensor } from '../../weights/safetensors.ts';
import { CheckpointError } from '../errors.ts';
import { packageFolder } from './package-folder.ts';

/** The emoji pictures of the demo, in a drawing style that training never saw, with vectors made in advance. */
export type PictureIndex = {
  readonly characters: readonly string[];
  readonly names: readonly string[];
  /** The best pictures for a vector, best first, with cosines. */
  search(
    vector: Float32Array,
    count: number,
  ): readonly { readonly picture: number; readonly score: number }[];
  /** PNG of one picture. Needs sharp. */
  png(picture: number): Promise<Uint8Array>;
};

/** Whether the model that ships has been trained: an index is made with it. */
export const hasPictureIndex = (folder = demoFolder()): boolean =>
  existsSync(join(folder, 'emoji.safetensors'));

const demoFolder = (): string => join(packageFolder(), 'weights', 'demo');

/** weights/demo/emoji.*, as scripts/default-model/index-pictures.ts writes them for the model in weights/default. */
export async function openPictureIndex(folder = demoFolder()): Promise<PictureIndex> {
  const pairs = JSON.parse(await readFile(join(folder, 'emoji.json'), 'utf8')) as [string, string][];
  const path = join(folder, 'emoji.safetensors');
  const { tensors, metadata } = await readHeader(memorySource(path, await readFile(path)));
  const bytes = async (name: string) => {
    const entry = tensors.get(name);
    if (entry) return (await readTensor(entry)).slice().buffer;
    throw new CheckpointError(`${path}: has no tensor "${name}"; install the package again`);
  };
  const vectors = new Int8Array(await bytes('vectors'));
  const scale = new Float32Array(await bytes('scale'));
  const width = vectors.length / scale.length;
  return {
    characters: pairs.map(([characters]) => characters),
    names: pairs.map(([, name]) => name),
    search(vector, count) {
      const scored = Array.from(scale, (s, picture) => {
        let sum = 0;
        for (let d = 0; d < width; d++) sum += vector[d] * vectors[picture * width + d];
        return { picture, score: sum * s };
      });
      return scored.sort((a, b) => b.score - a.score).slice(0, count);
    },
    async png(picture) {
      const { default: sharp } = await import('sharp');
      const [side, columns] = [Number(metadata.side), Number(metadata.columns)];
      const left = (picture % columns) * side;
      const top = Math.floor(picture / columns) * side;
      return sharp(join(folder, 'emoji.webp'))
        .extract({ left, top, width: side, height: side })
        .png()
        .toBuffer();
    },
  };
}
