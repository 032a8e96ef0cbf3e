import { InputError } from '../errors.ts';

/** Something to embed, as the command line or a line of a file names it. */
export type Input = ({ readonly text: string } | { readonly image: string }) & {
  /** Anything; comes back unchanged beside the embedding. */
  readonly id?: unknown;
  /** Instead of `--task`; null is the backbone alone. */
  readonly task?: string | null;
};

const KEYS = ['text', 'image', 'id', 'task'];

/**
 * A line of JSON as an input: `{"text": …}` or `{"image": path or URL}` with optional `id` and `task`, or a plain string, which
 * is a text. `where` names file and line for the error.
 */
export function parseInputLine(line: string, where: string): Input {
  const wrong = (what: string) => new InputError(`${where}: ${what}: ${excerpt(line)}`);
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    throw wrong('not JSON; expected {"text": …}, {"image": …} or "a text"');
  }
  if (typeof json === 'string') return { text: json };
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw wrong('expected {"text": …}, {"image": …} or "a text"');
  const { text, image, id, task } = json as Record<string, unknown>;
  const stray = Object.keys(json).find((key) => !KEYS.includes(key));
  if (stray !== undefined)
    throw wrong(`unknown key "${stray}"; a line has text or image, and may have id and task`);
  if ((text === undefined) === (image === undefined))
    throw wrong(
      text === undefined ? 'neither "text" nor "image"' : 'both "text" and "image"; write two lines',
    );
  if (text !== undefined && typeof text !== 'string') throw wrong('"text" must be a string');
  if (image !== undefined && (typeof image !== 'string' || image === ''))
    throw wrong('"image" must be a path or a URL');
  if (task !== undefined && task !== null && (typeof task !== 'string' || task === ''))
    throw wrong('"task" must be a name, or null for the backbone alone');
  return {
    ...(typeof text === 'string' ? { text } : { image: image as string }),
    ...(id === undefined ? {} : { id }),
    ...(task === undefined ? {} : { task: task as string | null }),
  };
}

/** The inputs of a JSON Lines stream, one at a time. Empty lines are skipped; a byte order mark is dropped. */
export async function* parseInputLines(
  chunks: AsyncIterable<Uint8Array>,
  name: string,
): AsyncGenerator<Input> {
  let number = 0;
  for await (const line of linesOf(chunks, name)) {
    number++;
    if (line.trim() !== '') yield parseInputLine(line, `${name}:${number}`);
  }
}

/** The lines of a UTF-8 stream. */
export async function* linesOf(chunks: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const decode = (chunk?: Uint8Array) => {
    try {
      return decoder.decode(chunk, { stream: chunk !== undefined });
    } catch {
      throw new InputError(`${name}: not UTF-8; expected text, one JSON value a line`);
    }
  };
  let rest = '';
  for await (const chunk of chunks) {
    const lines = (rest + decode(chunk)).split('\n');
    rest = lines.pop() as string;
    yield* lines;
  }
  rest += decode();
  if (rest !== '') yield rest;
}

const excerpt = (line: string): string => (line.length > 80 ? `${line.slice(0, 79)}…` : line.trim());
