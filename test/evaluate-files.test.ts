import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { InputError } from '../src/errors.ts';
import { parseCsv } from '../src/evaluate/csv.ts';
import type { Item } from '../src/evaluate/encoder.ts';
import {
  collectJudgments,
  parseIdentified,
  parseJudged,
  parseLabelled,
  parsePair,
  parsePairsCsv,
} from '../src/evaluate/records.ts';

const text = (text: string): Item => ({ text });

describe('data files', () => {
  const at = (line: string, number = 3) => ({ line, where: `f.jsonl:${number}` });
  const same = (path: string) => path;

  test('lines of BEIR', () => {
    expect(
      parseIdentified(at('{"_id":"1","title":"A title","text":"and text","metadata":{}}'), same),
    ).toEqual({
      id: '1',
      item: { text: 'A title and text' },
      where: 'f.jsonl:3',
    });
    expect(parseIdentified(at('{"_id":7,"title":"","text":" as it is "}'), same)).toEqual({
      id: '7',
      item: { text: ' as it is ' },
      where: 'f.jsonl:3',
    });
    expect(parseIdentified(at('{"_id":"i","image":"a.png"}'), (p) => `/folder/${p}`).item).toEqual({
      image: '/folder/a.png',
    });
    expect(parseJudged(at('q1\td 1\t2'))).toEqual({ query: 'q1', document: 'd 1', gain: 2 });
    expect(parseJudged(at('q1 0 d1 1'))).toEqual({ query: 'q1', document: 'd1', gain: 1 });
    expect(parseJudged(at('query-id\tcorpus-id\tscore', 1))).toBeNull();
  });

  test('labels and pairs', () => {
    expect(parseLabelled(at('{"text":"t","label":3}'), same)).toEqual({
      item: text('t'),
      label: '3',
      where: 'f.jsonl:3',
    });
    expect(parsePair(at('{"a":"x","b":{"image":"p"},"score":0.5}'), same)).toEqual({
      a: text('x'),
      b: { image: 'p' },
      score: 0.5,
      where: 'f.jsonl:3',
    });
    expect(parsePairsCsv('id,Score,b,a\n1,2.5,"say ""hi"", you","two\nlines"\n', 'f.csv')).toEqual([
      { a: text('two\nlines'), b: text('say "hi", you'), score: 2.5, where: 'f.csv:2' },
    ]);
  });

  test.each<[string, () => unknown, string]>([
    ['broken JSON', () => parseLabelled(at('{"text":'), same), 'f.jsonl:3: not JSON'],
    ['no object', () => parseLabelled(at('[1]'), same), 'f.jsonl:3: expected a JSON object: [1]'],
    ['no label', () => parseLabelled(at('{"text":"a"}'), same), 'f.jsonl:3: no "label"'],
    ['no id', () => parseIdentified(at('{"text":"a"}'), same), 'f.jsonl:3: no "_id"'],
    ['no content', () => parseIdentified(at('{"_id":"a"}'), same), 'neither "text" nor "image"'],
    [
      'both contents',
      () => parseIdentified(at('{"_id":"a","text":"","image":"b"}'), same),
      'both "text" and "image"',
    ],
    ['an odd text', () => parseIdentified(at('{"_id":"a","text":5}'), same), '"text" must be a string'],
    ['an odd image', () => parseIdentified(at('{"_id":"a","image":""}'), same), '"image" must be a path'],
    ['half a pair', () => parsePair(at('{"a":"x","score":1}'), same), 'no "b"'],
    ['an odd score', () => parsePair(at('{"a":"x","b":"y","score":"1"}'), same), '"score" must be a number'],
    [
      'a head line later',
      () => parseJudged(at('query-id\tcorpus-id\tscore', 2)),
      'f.jsonl:2: expected query-id',
    ],
    ['an odd judgment', () => parseJudged(at('q1\td1')), 'f.jsonl:3: expected query-id, corpus-id and score'],
    ['no column', () => parsePairsCsv('a,b\n', 'f.csv'), 'f.csv:1: no column "score"'],
    ['an empty table', () => parsePairsCsv('', 'f.csv'), 'found: nothing'],
    ['an odd number', () => parsePairsCsv('a,b,score\nx,y,\n', 'f.csv'), 'f.csv:2: "score" must be a number'],
    [
      'too many fields',
      () => parsePairsCsv('a,b,score\nx,y,z,1\n', 'f.csv'),
      'f.csv:2: 4 fields, the first line has 3',
    ],
    ['an open quote', () => parseCsv('a\n"b\nc', 'f.csv'), 'f.csv:2: a quoted field never ends'],
    ['text after a quote', () => parseCsv('a\n"b\nc"d', 'f.csv'), 'f.csv:3: text follows a closing quote'],
  ])('%s is told with file and line', (_, read, message) => {
    expect(read).toThrow(InputError);
    expect(read).toThrow(message);
  });

  test('judgments: unknown ids are told with their lines, or allowed; contradictions never', () => {
    const known = { queries: new Set(['q']), documents: new Set(['d']) };
    const judged = (query: string, document: string, gain: number, line: number) => ({
      query,
      document,
      gain,
      where: `t.tsv:${line}`,
    });
    expect(() => collectJudgments([judged('q', 'd', 1, 1), judged('p', 'd', 1, 2)], known)).toThrow(
      '1 judgments name a query that the queries do not have: p (t.tsv:2)',
    );
    const missing = [judged('q', 'd', 1, 1), judged('q', 'e', 1, 2), judged('q', 'e', 1, 3)];
    expect(() => collectJudgments(missing, known)).toThrow(
      '2 judgments name a document that the corpus does not have: e (t.tsv:2), e (t.tsv:3)',
    );
    expect(collectJudgments(missing, known, { missingDocuments: true })).toEqual(
      new Map([
        [
          'q',
          new Map([
            ['d', 1],
            ['e', 1],
          ]),
        ],
      ]),
    );
    expect(() => collectJudgments([judged('q', 'd', 1, 1), judged('q', 'd', 2, 2)], known)).toThrow(
      't.tsv:2: document d of query q is judged 2, but was 1 before',
    );
  });

  test('CSV: what was written is what is read', () => {
    const field = fc.string({ unit: fc.constantFrom('a', 'é', ' ', ',', '"', '\n', '\r', '') });
    const quoted = (f: string) => (/[",\r\n]/.test(f) ? `"${f.replaceAll('"', '""')}"` : f);
    fc.assert(
      fc.property(
        fc.array(fc.array(field, { minLength: 2, maxLength: 4 }), { minLength: 1 }),
        fc.constantFrom('\n', '\r\n'),
        fc.boolean(),
        (rows, newline, last) => {
          const written = rows.map((r) => r.map(quoted).join(',')).join(newline) + (last ? newline : '');
          const read = parseCsv(written, 'f.csv');
          expect(read.map((r) => r.fields)).toEqual(rows);
          const lines = written.split('\n');
          for (const { fields, line } of read.filter((r) => r.fields[0] === 'a'))
            expect(lines[line - 1].startsWith(fields[0])).toBe(true);
        },
      ),
    );
  });
});
