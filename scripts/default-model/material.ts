import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import { tokenizerConfig } from '../../bench/make-checkpoint/tokenizer-files.ts';
import { InputError } from '../../src/errors.ts';
import { createTokenizer, type TextTokenizer } from '../../src/text/tokenizer.ts';
import { type Drawings, indexDrawings, readDrawings } from './drawings.ts';
import type { Corpus } from './emoji.ts';

/** Files that `prepare.ts` makes. They stay outside of git: the packages give them again. */
const FILES = { corpus: 'corpus.json.gz', drawings: 'drawings.bin.gz', tokenizer: 'tokenizer.json' } as const;
export const MATERIAL_FOLDER = '.cache/default-model';

export const materialPath = (folder: string, file: keyof typeof FILES): string => join(folder, FILES[file]);

export type Material = {
  readonly corpus: Corpus;
  readonly drawings: Drawings;
  readonly tokenizer: TextTokenizer;
};

/** Everything that training and evaluation read. `InputError` when it has not been prepared. */
export async function readMaterial(folder = MATERIAL_FOLDER): Promise<Material> {
  try {
    const tokenizer = JSON.parse(await readFile(materialPath(folder, 'tokenizer'), 'utf8'));
    return {
      corpus: await readCorpusFile(materialPath(folder, 'corpus')),
      drawings: indexDrawings(await readDrawings(materialPath(folder, 'drawings'))),
      tokenizer: createTokenizer(tokenizer, tokenizerConfig()),
    };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new InputError(`${(error as Error).message}; make it with: npm run material:default`, {
      cause: error,
    });
  }
}

export async function writeCorpusFile(path: string, corpus: Corpus): Promise<void> {
  await writeFile(path, await promisify(gzip)(JSON.stringify(corpus), { level: 6 }));
}

const readCorpusFile = async (path: string): Promise<Corpus> =>
  JSON.parse((await promisify(gunzip)(await readFile(path))).toString('utf8')) as Corpus;
