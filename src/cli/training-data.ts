import { dirname, resolve } from 'node:path';
import { InputError } from '../errors.ts';
import { checkSameKind, type ExampleRecord, parseExample } from '../train/records.ts';
import { readTextLines } from './text-lines.ts';

/** Examples of a file of JSON lines, checked. Paths of images are seen from the file that names them. */
export async function readExamples(path: string, signal: AbortSignal): Promise<readonly ExampleRecord[]> {
  const image = (named: string): string =>
    /^([a-z][a-z\d+.-]+:\/\/|data:)/i.test(named) ? named : resolve(dirname(path), named);
  const examples: ExampleRecord[] = [];
  for await (const line of readTextLines(path, signal)) examples.push(parseExample(line, image));
  if (examples.length < 2) {
    throw new InputError(
      `${path}: ${examples.length} examples; training needs 2 at least, one JSON object a line, as ` +
        '{"anchor": "a text", "positive": {"image": "picture.png"}}',
    );
  }
  checkSameKind(examples);
  return examples;
}
