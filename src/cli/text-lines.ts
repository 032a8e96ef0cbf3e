import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Line } from '../evaluate/records.ts';
import { linesOf } from './input-lines.ts';
import { notReadable } from './inputs.ts';

/** The lines of a file that are not empty, one at a time. @throws SourceError, or InputError when it is not UTF-8 */
export async function* readTextLines(path: string, signal: AbortSignal): AsyncGenerator<Line> {
  const stream = createReadStream(path, { signal });
  let number = 0;
  try {
    for await (const line of linesOf(stream, path)) {
      number++;
      const text = number === 1 ? line.replace(/^\ufeff/, '') : line;
      if (text.trim() !== '') yield { line: text, where: `${path}:${number}` };
    }
  } catch (error) {
    signal.throwIfAborted();
    throw (error as NodeJS.ErrnoException).syscall ? notReadable(path, error) : error;
  } finally {
    stream.destroy();
  }
}

/** A whole small file. @throws SourceError */
export async function readText(path: string, signal: AbortSignal): Promise<string> {
  try {
    return await readFile(path, { encoding: 'utf8', signal });
  } catch (error) {
    signal.throwIfAborted();
    throw notReadable(path, error);
  }
}
