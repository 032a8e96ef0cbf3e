import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { openTerminal, printError } from '../../src/cli/terminal.ts';
import type { DeviceName } from '../../src/config.ts';
import { quantize } from '../../src/output/quantize.ts';
import { JinaEmbeddings } from '../../src/platform/node.ts';
import { encodeSafetensors } from '../../weights/safetensors-writer.ts';
import { drawView, PLAIN_VIEW } from './augment.ts';
import { HELD_OUT_STYLE } from './emoji.ts';
import { IMAGE_SIZE } from './geometry.ts';
import { MATERIAL_FOLDER, readMaterial } from './material.ts';

const USAGE = `node --import tsx scripts/default-model/index-pictures.ts [options]

Writes what the demo searches: the emoji in the style that training never saw, as one picture, and their vectors.

  --model DIR       (default: weights/default)
  --out DIR         (default: weights/demo)
  --device NAME     (default: auto)
  --material DIR    (default: ${MATERIAL_FOLDER})
`;

const SIDE = 32;
const COLUMNS = 40;

async function indexPictures(): Promise<void> {
  const { values } = parseArgs({
    options: {
      model: { type: 'string', default: 'weights/default' },
      out: { type: 'string', default: 'weights/demo' },
      device: { type: 'string', default: 'auto' },
      material: { type: 'string', default: MATERIAL_FOLDER },
      help: { type: 'boolean', default: false },
    },
  });
  const terminal = openTerminal();
  if (values.help) return terminal.print(USAGE);
  const { corpus, drawings } = await readMaterial(values.material);
  const shown = corpus.emoji.flatMap((e, i) => (drawings.of(HELD_OUT_STYLE, i) ? [{ ...e, i }] : []));
  const pictureAt = (i: number, side: number) => drawView(drawings.of(HELD_OUT_STYLE, i)!, PLAIN_VIEW, side);

  using jina = await JinaEmbeddings.load(values.model, { device: values.device as DeviceName });
  const bar = await terminal.progress('embedding', (done, total) => `${done}/${total}`);
  const vectors = (await jina.encodeImage(
    shown.map(({ i }) => ({ ...pictureAt(i, IMAGE_SIZE), channels: 3 as const })),
    { task: 'retrieval', batchSize: 64, onProgress: bar.update },
  )) as readonly Float32Array[];
  bar.stop();

  const width = vectors[0].length;
  const data = new Int8Array(shown.length * width);
  const scale = new Float32Array(shown.length);
  vectors.forEach((v, i) => {
    const q = quantize(v, 'int8');
    data.set(q.values as Int8Array, i * width);
    scale[i] = q.scale as number;
  });
  const model = createHash('sha256')
    .update(await readFile(join(values.model, 'model.safetensors')))
    .digest('hex');
  const index = encodeSafetensors(
    [
      { name: 'vectors', dtype: 'I8', shape: [shown.length, width], data },
      { name: 'scale', dtype: 'F32', shape: [shown.length], data: scale },
    ],
    { model, style: HELD_OUT_STYLE, columns: String(COLUMNS), side: String(SIDE) },
  );
  await writeFile(join(values.out, 'emoji.safetensors'), index);
  const names = shown.map(({ characters, name }) => [characters, name]);
  await writeFile(join(values.out, 'emoji.json'), `${JSON.stringify(names).replaceAll('],[', '],\n[')}\n`);

  const sheet = {
    width: COLUMNS * SIDE,
    height: Math.ceil(shown.length / COLUMNS) * SIDE,
    channels: 3 as const,
    background: '#ffffff',
  };
  const tiles = shown.map(({ i }, k) => ({
    input: Buffer.from(pictureAt(i, SIDE).data),
    raw: { width: SIDE, height: SIDE, channels: 3 as const },
    left: (k % COLUMNS) * SIDE,
    top: Math.floor(k / COLUMNS) * SIDE,
  }));
  await sharp({ create: sheet })
    .composite(tiles)
    .webp({ quality: 80 })
    .toFile(join(values.out, 'emoji.webp'));
  await terminal.print(`${shown.length} pictures, ${index.length} bytes of vectors\n`);
}

indexPictures().catch((error: Error) => {
  printError(error.message);
  process.exitCode = 1;
});
