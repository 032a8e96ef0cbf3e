import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { addAbortSignal } from 'node:stream';
import { type Command, InvalidArgumentError } from 'commander';
import { SourceError } from '../errors.ts';
import { UsageError } from './exit.ts';
import { type Input, parseInputLines } from './input-lines.ts';

/** What was typed, in the order in which it was typed: an input, or a file of them (`-` is stdin). */
export type Given = Input | { readonly file: string };

/** `--text` and `--image`, repeatable, as one list: commander keeps options apart, and their order would be lost. */
export function addItemOptions(
  command: Command,
  add: (input: Input) => void,
  { prefix = '', what = '' } = {},
): Command {
  return command
    .option(`--${prefix}text <text>`, `a text${what}; repeatable`, (text) => add({ text }))
    .option(`--${prefix}image <path|url>`, `an image${what}; repeatable`, (image) => {
      if (image === '') throw new InvalidArgumentError('Expected a path or a URL.');
      add({ image });
    });
}

/** As above, and `--input`. The list fills when the command line is parsed. */
export function addInputOptions(command: Command): readonly Given[] {
  const list: Given[] = [];
  addItemOptions(command, (input) => list.push(input));
  command.option(
    '-i, --input <file.jsonl>',
    'inputs from a file, one JSON value a line; - is stdin',
    (file) => {
      if (file === '-' && list.some((g) => 'file' in g && g.file === '-'))
        throw new InvalidArgumentError('stdin can be read only once.');
      list.push({ file });
    },
  );
  return list;
}

/** The inputs in order. Files are read as they are needed. @throws InputError naming file and line */
export async function* readInputs(given: readonly Given[], signal: AbortSignal): AsyncGenerator<Input> {
  for (const item of given) {
    if (!('file' in item)) yield item;
    else if (item.file === '-') yield* parseInputLines(addAbortSignal(signal, process.stdin), 'stdin');
    else yield* readFile(item.file, signal);
  }
}

/**
 * How many inputs there are, so that a bad line in a file is told before a model is loaded and a bar knows its end.
 * Null when only reading tells: stdin, a pipe.
 */
export async function countInputs(given: readonly Given[], signal: AbortSignal): Promise<number | null> {
  let total = 0;
  let known = true;
  for (const item of given) {
    if (!('file' in item)) total++;
    else if (item.file === '-' || !(await isPlainFile(item.file))) known = false;
    else for await (const _ of readFile(item.file, signal)) total++;
  }
  if (given.length === 0) throw new UsageError('nothing to embed; give --text, --image or --input');
  if (known && total === 0) throw nothingIn(given);
  return known ? total : null;
}

export const nothingIn = (given: readonly Given[]): UsageError => {
  const names = given.flatMap((g) => ('file' in g ? [g.file === '-' ? 'stdin' : g.file] : []));
  return new UsageError(`nothing to embed: ${names.join(', ')} has no lines`);
};

/** Groups of `size`, the last one shorter. */
export async function* inGroups<T>(items: AsyncIterable<T>, size: number): AsyncGenerator<readonly T[]> {
  let group: T[] = [];
  for await (const item of items) {
    group.push(item);
    if (group.length < size) continue;
    yield group;
    group = [];
  }
  if (group.length > 0) yield group;
}

async function* readFile(path: string, signal: AbortSignal): AsyncGenerator<Input> {
  const stream = createReadStream(path, { signal });
  try {
    yield* parseInputLines(stream, path);
  } catch (error) {
    signal.throwIfAborted();
    throw (error as NodeJS.ErrnoException).syscall ? notReadable(path, error) : error;
  } finally {
    stream.destroy();
  }
}

async function isPlainFile(path: string): Promise<boolean> {
  const found = await stat(path).catch((error) => {
    throw notReadable(path, error);
  });
  return found.isFile();
}

export function notReadable(path: string, cause: unknown): SourceError {
  const { code } = cause as NodeJS.ErrnoException;
  const reasons: Record<string, string> = { ENOENT: 'there is no such file', EISDIR: 'this is a folder' };
  return new SourceError(`${path}: ${reasons[code ?? ''] ?? `cannot be read (${code})`}; check the path`, {
    cause,
  });
}
