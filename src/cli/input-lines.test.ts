import { expect, test } from 'vitest';
import { parseInputLine, parseInputLines } from './input-lines.ts';

async function* pieces(text: string, size: number): AsyncGenerator<Uint8Array> {
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

const collect = async <T>(items: AsyncIterable<T>): Promise<T[]> => {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
};

test.each([
  ['"a text"', { text: 'a text' }],
  ['{"text": ""}', { text: '' }],
  ['{"image": "a.png", "id": 7}', { image: 'a.png', id: 7 }],
  ['{"text": "a", "id": {"n": [1]}, "task": null}', { text: 'a', id: { n: [1] }, task: null }],
  ['{"text": "a", "task": "code"}\r', { text: 'a', task: 'code' }],
])('%s', (line, input) => {
  expect(parseInputLine(line, 'here')).toEqual(input);
});

test.each([
  ['nonsense', 'in.jsonl:3: not JSON; expected {"text": …}, {"image": …} or "a text": nonsense'],
  ['[1]', 'in.jsonl:3: expected {"text": …}, {"image": …} or "a text": [1]'],
  ['{}', 'in.jsonl:3: neither "text" nor "image": {}'],
  [
    '{"text":"a","image":"b"}',
    'in.jsonl:3: both "text" and "image"; write two lines: {"text":"a","image":"b"}',
  ],
  ['{"text":1}', 'in.jsonl:3: "text" must be a string: {"text":1}'],
  ['{"image":""}', 'in.jsonl:3: "image" must be a path or a URL: {"image":""}'],
  [
    '{"text":"a","task":""}',
    'in.jsonl:3: "task" must be a name, or null for the backbone alone: {"text":"a","task":""}',
  ],
  [
    '{"txt":"a"}',
    'in.jsonl:3: unknown key "txt"; a line has text or image, and may have id and task: {"txt":"a"}',
  ],
])('%s is refused', (line, message) => {
  expect(() => parseInputLine(line, 'in.jsonl:3')).toThrow(
    expect.objectContaining({ name: 'InputError', message }),
  );
});

test.each([1, 3, 1000])('lines in pieces of %i bytes', async (size) => {
  const text = '\ufeff"ä"\r\n\n{"text":"日本"}\n"no break at the end"';
  const inputs = await collect(parseInputLines(pieces(text, size), 'x'));
  expect(inputs).toEqual([{ text: 'ä' }, { text: '日本' }, { text: 'no break at the end' }]);
});

test('the error names file and line, empty lines counted', async () => {
  await expect(collect(parseInputLines(pieces('"a"\n\n7\n', 100), 'x.jsonl'))).rejects.toThrow(
    'x.jsonl:3: expected',
  );
});

test('bytes that are not UTF-8', async () => {
  async function* bad() {
    yield new Uint8Array([0x22, 0xff, 0x22]);
  }
  await expect(collect(parseInputLines(bad(), 'x'))).rejects.toThrow('x: not UTF-8');
});
