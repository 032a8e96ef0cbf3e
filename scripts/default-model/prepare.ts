import { mkdir, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { openTerminal, printError } from '../../src/cli/terminal.ts';
import { writeDrawings } from './drawings.ts';
import { MATERIAL_FOLDER, materialPath, writeCorpusFile } from './material.ts';
import { openPackages, PACKAGES_FOLDER } from './packages.ts';
import { readCorpus, readIcons } from './read-corpus.ts';
import { renderDrawings } from './render.ts';
import { summariseSplits, trainingTexts } from './splits.ts';
import { trainTokenizer } from './tokenizer.ts';

const USAGE = `node --import tsx scripts/default-model/prepare.ts [options]

Makes what the default model is trained on: the table of emoji, their drawings as pixels, the tokenizer, and splits.json.

  --packages DIR     node_modules folder with the sources (default: ${PACKAGES_FOLDER})
  --out DIR          where the material goes (default: ${MATERIAL_FOLDER})
  --side N           pixels of a drawing's side (default: 64)
  --vocabulary N     tokens, bytes and control tokens included (default: 24576)
`;

async function prepare(): Promise<void> {
  const { values } = parseArgs({
    options: {
      packages: { type: 'string', default: PACKAGES_FOLDER },
      out: { type: 'string', default: MATERIAL_FOLDER },
      side: { type: 'string', default: '64' },
      vocabulary: { type: 'string', default: '24576' },
      help: { type: 'boolean', default: false },
    },
  });
  const terminal = openTerminal();
  if (values.help) return terminal.print(USAGE);
  await mkdir(values.out, { recursive: true });
  const packages = openPackages(values.packages);
  const count = (done: number, total: number) => `${done}/${total}`;

  const sets = await readIcons(packages);
  const corpus = await readCorpus(packages, sets);
  await writeCorpusFile(materialPath(values.out, 'corpus'), corpus);
  await terminal.print(`${corpus.emoji.length} emoji, ${corpus.locales.length} locales\n`);

  const summary = summariseSplits(corpus);
  const splits = new URL('splits.json', import.meta.url);
  await writeFile(splits, `${compactRows(JSON.stringify(summary, null, 2))}\n`);
  await terminal.print(`splits ${summary.sha256}\n`);

  const rendering = await terminal.progress('rendering', count);
  const drawings = await renderDrawings(corpus.emoji, sets, Number(values.side), rendering.update);
  rendering.stop();
  await writeDrawings(materialPath(values.out, 'drawings'), drawings);
  await terminal.print(`${drawings.entries.length} drawings\n`);

  const merging = await terminal.progress('tokenizer', count);
  const locales = corpus.locales.map((l) => trainingTexts(corpus, l));
  const tokenizer = trainTokenizer(locales, { size: Number(values.vocabulary), onProgress: merging.update });
  merging.stop();
  await writeFile(materialPath(values.out, 'tokenizer'), JSON.stringify(tokenizer));
}

/** A list of numbers on one line. */
const compactRows = (json: string): string =>
  json.replace(/\[[\d\s,]+\]/g, (row) => row.replace(/\s+/g, ' ').replace('[ ', '[').replace(' ]', ']'));

prepare().catch((error: Error) => {
  printError(error.message);
  process.exitCode = 1;
});
