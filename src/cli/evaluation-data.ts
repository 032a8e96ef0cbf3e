import { dirname, join, resolve } from 'node:path';
import { InputError } from '../errors.ts';
import type { Labelled } from '../evaluate/classification.ts';
import {
  collectJudgments,
  type ImagePath,
  type Line,
  parseIdentified,
  parseJudged,
  parseLabelled,
  parsePair,
  parsePairsCsv,
} from '../evaluate/records.ts';
import type { Identified, RetrievalData } from '../evaluate/retrieval.ts';
import type { ScoredPair } from '../evaluate/similarity.ts';
import { readText, readTextLines } from './text-lines.ts';

/**
 * A folder as BEIR's: corpus.jsonl, queries.jsonl, qrels/<split>.tsv. Everything is read and checked once before a model is
 * loaded; of the corpus only the ids stay, its texts are read again when they are embedded.
 */
export async function readCollection(
  folder: string,
  { split, allowMissing, signal }: { split: string; allowMissing: boolean; signal: AbortSignal },
): Promise<RetrievalData> {
  const corpus = join(folder, 'corpus.jsonl');
  const documents = () => readRecords(corpus, parseIdentified, signal);
  const ids = new Set<string>();
  for await (const { id } of documents()) unique(ids, id, corpus);
  if (ids.size === 0) throw nothingIn(corpus, 'documents');
  const queries: Identified[] = [];
  const queryIds = new Set<string>();
  const queryFile = join(folder, 'queries.jsonl');
  for await (const query of readRecords(queryFile, parseIdentified, signal)) {
    unique(queryIds, query.id, queryFile);
    queries.push(query);
  }
  const judged = [];
  for await (const line of readTextLines(join(folder, 'qrels', `${split}.tsv`), signal)) {
    const judgment = parseJudged(line);
    if (judgment) judged.push({ ...judgment, where: line.where });
  }
  if (queries.length === 0) throw nothingIn(queryFile, 'queries');
  const known = { queries: queryIds, documents: ids };
  const judgments = collectJudgments(judged, known, { missingDocuments: allowMissing });
  return { queries, judgments, documents, documentCount: ids.size };
}

/** JSON Lines, or a table whose name ends in .csv. */
export async function readPairs(path: string, signal: AbortSignal): Promise<readonly ScoredPair[]> {
  const table = /\.csv$/i.test(path);
  const pairs = table
    ? parsePairsCsv(await readText(path, signal), path)
    : await collect(readRecords(path, parsePair, signal));
  if (pairs.length === 0) throw nothingIn(path, 'pairs', table ? 'one a line below the names' : undefined);
  return pairs;
}

export async function readLabelled(path: string, signal: AbortSignal): Promise<readonly Labelled[]> {
  const items = await collect(readRecords(path, parseLabelled, signal));
  if (items.length === 0) throw nothingIn(path, 'items');
  return items;
}

/** Paths of images are seen from the file that names them. */
async function* readRecords<T>(
  path: string,
  parse: (line: Line, image: ImagePath) => T,
  signal: AbortSignal,
): AsyncGenerator<T> {
  const image: ImagePath = (named) =>
    /^([a-z][a-z\d+.-]+:\/\/|data:)/i.test(named) ? named : resolve(dirname(path), named);
  for await (const line of readTextLines(path, signal)) yield parse(line, image);
}

async function collect<T>(items: AsyncIterable<T>): Promise<readonly T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

function unique(ids: Set<string>, id: string, file: string): void {
  if (ids.has(id)) throw new InputError(`${file}: id ${JSON.stringify(id)} occurs twice; ids must differ`);
  ids.add(id);
}

const nothingIn = (file: string, what: string, expected = 'one JSON object a line'): InputError =>
  new InputError(`${file}: no ${what}; expected ${expected}`);
