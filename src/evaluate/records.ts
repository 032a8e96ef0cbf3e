import { InputError } from '../errors.ts';
import type { Labelled } from './classification.ts';
import { parseCsv } from './csv.ts';
import type { Item } from './encoder.ts';
import type { Judgments } from './ranking-metrics.ts';
import type { Identified } from './retrieval.ts';
import type { ScoredPair } from './similarity.ts';

// A line of a data set → a value. `where` names file and line for errors; `image` turns a path as the file has it into what
// can be opened.

/** A line of text, and the file and line it is, as `corpus.jsonl:17`. */
export type Line = { readonly line: string; readonly where: string };
export type ImagePath = (path: string) => string;

/** `{"_id": …, "title"?: …, "text": …}` or `{"_id": …, "image": path}`: a line of BEIR's corpus.jsonl or queries.jsonl. */
export function parseIdentified({ line, where }: Line, image: ImagePath): Identified {
  const record = parseRecord(line, where);
  const id = record._id ?? record.id;
  if ((typeof id !== 'string' && typeof id !== 'number') || id === '')
    throw wrong(where, line, 'no "_id"; every line needs one, a string or a number');
  return { id: String(id), item: itemOf(record, line, where, image), where };
}

/** `{"text" or "image": …, "label": …}`. Labels that are numbers or booleans are their words. */
export function parseLabelled({ line, where }: Line, image: ImagePath): Labelled {
  const record = parseRecord(line, where);
  const { label } = record;
  if (label === undefined || label === null || label === '' || typeof label === 'object')
    throw wrong(where, line, 'no "label"; every line needs one, a string or a number');
  return { item: itemOf(record, line, where, image), label: String(label), where };
}

/** `{"a": …, "b": …, "score": …}`; a and b are texts, or `{"text": …}` or `{"image": path}`. */
export function parsePair({ line, where }: Line, image: ImagePath): ScoredPair {
  const record = parseRecord(line, where);
  const side = (name: 'a' | 'b'): Item => {
    const value = record[name];
    if (typeof value === 'string') return { text: value };
    if (isRecord(value)) return itemOf(value, line, where, image);
    throw wrong(where, line, `no "${name}"; a pair has a and b, each a text, {"text": …} or {"image": …}`);
  };
  return { a: side('a'), b: side('b'), score: scoreOf(record.score, line, where), where };
}

/** Pairs of texts from a CSV file whose first line names its columns, among them a, b and score. */
export function parsePairsCsv(text: string, name: string): readonly ScoredPair[] {
  const [head, ...records] = parseCsv(text, name);
  const at = (column: string): number => {
    const index = head?.fields.findIndex((f) => f.trim().toLowerCase() === column) ?? -1;
    if (index >= 0) return index;
    throw new InputError(
      `${name}:1: no column "${column}"; the first line names the columns, which must be a, b and score (found: ${head?.fields.join(', ') ?? 'nothing'})`,
    );
  };
  const [a, b, score] = [at('a'), at('b'), at('score')];
  return records.map(({ fields, line }) => {
    const where = `${name}:${line}`;
    if (fields.length !== head.fields.length)
      throw wrong(
        where,
        fields.join(','),
        `${fields.length} fields, the first line has ${head.fields.length}`,
      );
    const word = fields[score].trim();
    const value = word === '' ? undefined : Number(word);
    return { a: { text: fields[a] }, b: { text: fields[b] }, score: scoreOf(value, word, where), where };
  });
}

export type Judged = { readonly query: string; readonly document: string; readonly gain: number };

/** `query-id ⇥ corpus-id ⇥ score`, a line of BEIR's qrels, or TREC's with its unused second column. Null for the head line. */
export function parseJudged({ line, where }: Line): Judged | null {
  const fields = line.trim().split(line.includes('\t') ? '\t' : /\s+/);
  const [query, document, score] = fields.length === 4 ? [fields[0], fields[2], fields[3]] : fields;
  const gain = Number(score);
  if (score?.trim() && Number.isFinite(gain) && fields.length <= 4 && query !== '' && document !== '')
    return { query, document, gain };
  if (/:1$/.test(where) && fields.length >= 3) return null;
  throw wrong(where, line, 'expected query-id, corpus-id and score, separated by tabs');
}

/**
 * Judgments by query. A document that is judged twice for a query with two scores is an error, and so is an id that
 * `queries` or `documents` does not have, unless `missingDocuments` is allowed: then it is relevant and never found, as BEIR
 * counts it.
 */
export function collectJudgments(
  judged: Iterable<Judged & { readonly where: string }>,
  known: { readonly queries: ReadonlySet<string>; readonly documents: ReadonlySet<string> },
  { missingDocuments = false }: { readonly missingDocuments?: boolean } = {},
): ReadonlyMap<string, Judgments> {
  const result = new Map<string, Map<string, number>>();
  const strangeQueries: string[] = [];
  const strangeDocuments: string[] = [];
  for (const { query, document, gain, where } of judged) {
    if (!known.queries.has(query)) strangeQueries.push(`${query} (${where})`);
    if (!known.documents.has(document) && !missingDocuments) strangeDocuments.push(`${document} (${where})`);
    const ofQuery = result.get(query) ?? new Map<string, number>();
    const before = ofQuery.get(document);
    if (before !== undefined && before !== gain)
      throw new InputError(
        `${where}: document ${document} of query ${query} is judged ${gain}, but was ${before} before; keep one line`,
      );
    result.set(query, ofQuery.set(document, gain));
  }
  const named = (ids: readonly string[]) => ids.slice(0, 3).join(', ') + (ids.length > 3 ? ', …' : '');
  if (strangeQueries.length > 0)
    throw new InputError(
      `${strangeQueries.length} judgments name a query that the queries do not have: ${named(strangeQueries)}; mend the qrels`,
    );
  if (strangeDocuments.length > 0)
    throw new InputError(
      `${strangeDocuments.length} judgments name a document that the corpus does not have: ${named(strangeDocuments)}; ` +
        'mend the qrels, or allow them (--allow-missing): they then count as never found',
    );
  return result;
}

export function parseRecord(line: string, where: string): Readonly<Record<string, unknown>> {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    throw wrong(where, line, 'not JSON; expected an object on one line');
  }
  if (!isRecord(json)) throw wrong(where, line, 'expected a JSON object');
  return json;
}

/** Text, after its title where it has one (as BEIR joins them), or an image. */
export function itemOf(
  record: Readonly<Record<string, unknown>>,
  line: string,
  where: string,
  image: ImagePath,
): Item {
  const { title, text, image: path } = record;
  if ((text === undefined) === (path === undefined))
    throw wrong(where, line, text === undefined ? 'neither "text" nor "image"' : 'both "text" and "image"');
  if (path !== undefined) {
    if (typeof path !== 'string' || path === '') throw wrong(where, line, '"image" must be a path or a URL');
    return { image: image(path) };
  }
  if (typeof text !== 'string') throw wrong(where, line, '"text" must be a string');
  return { text: typeof title === 'string' && title !== '' ? `${title} ${text}`.trim() : text };
}

export function scoreOf(score: unknown, line: string, where: string): number {
  if (typeof score === 'number' && Number.isFinite(score)) return score;
  throw wrong(where, line, '"score" must be a number');
}

export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export const wrong = (where: string, line: string, what: string): InputError =>
  new InputError(`${where}: ${what}: ${line.length > 80 ? `${line.slice(0, 79)}…` : line.trim()}`);
