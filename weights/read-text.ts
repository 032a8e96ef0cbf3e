import { CheckpointError } from '../src/errors.ts';
import type { ByteSource, FileTree } from './byte-source.ts';

/** The largest text file that is read whole, in bytes. tokenizer.json, the largest that a checkpoint has, is 11 MB. */
const textLimit = 256 * 2 ** 20;

export type ReadTextOptions = { readonly signal?: AbortSignal };

/** The text (UTF-8, a leading byte order mark dropped) of a tree's file, or `null` when there is none. */
export async function readTextIfThere(
  tree: FileTree,
  path: string,
  options: ReadTextOptions = {},
): Promise<string | null> {
  const source = await tree.open(path, options.signal);
  if (source === null) return null;
  try {
    if (source.size > textLimit) {
      throw new CheckpointError(
        `${source.name}: a text file of ${source.size} bytes is refused (at most ${textLimit}); this is not the file it claims to be`,
      );
    }
    return decodeUtf8(await source.read(0, source.size, options.signal), source.name);
  } finally {
    await source.close();
  }
}

/** The text of a tree's file. A missing file is a `CheckpointError` that names it. */
export async function readText(tree: FileTree, path: string, options: ReadTextOptions = {}): Promise<string> {
  const text = await readTextIfThere(tree, path, options);
  if (text !== null) return text;
  throw new CheckpointError(
    `${tree.name}: ${path} is missing; download the checkpoint again, with all its files`,
  );
}

/** The parsed JSON of a tree's file, or `undefined` when there is no file (a file may hold `null`). Text that is not JSON is a `CheckpointError`. */
export async function readJsonIfThere(
  tree: FileTree,
  path: string,
  options: ReadTextOptions = {},
): Promise<unknown> {
  const text = await readTextIfThere(tree, path, options);
  return text === null ? undefined : parseJson(text, `${tree.name}/${path}`);
}

/** The parsed JSON of a tree's file. A missing file, or text that is not JSON, is a `CheckpointError` that names it. */
export async function readJson(
  tree: FileTree,
  path: string,
  options: ReadTextOptions = {},
): Promise<unknown> {
  return parseJson(await readText(tree, path, options), `${tree.name}/${path}`);
}

/** JSON text of the file called `name` in errors. */
export function parseJson(text: string, name: ByteSource['name']): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    // A small file that is not what its name says is mostly a page or a Git LFS pointer: both show in the first words.
    const start = JSON.stringify(text.slice(0, 60));
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CheckpointError(
      `${name}: not JSON (${why}); it starts with ${start}; download the file again`,
      { cause },
    );
  }
}

/** Text of UTF-8 bytes; bytes that are not UTF-8 are a `CheckpointError`. */
export function decodeUtf8(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new CheckpointError(`${name}: expected UTF-8 text; the file is damaged or of another kind`, {
      cause,
    });
  }
}
