import { SourceError } from '../src/errors.ts';

/** Where a file is, and how it is asked for. */
export type RemoteFile = {
  readonly url: string;
  /** The URL without query and credentials, for messages. */
  readonly name: string;
  readonly fetch: typeof globalThis.fetch;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
};

/** One request. A server that cannot be reached is a `SourceError`; an abort stays the abort's own reason. */
export async function request(
  file: RemoteFile,
  headers: Readonly<Record<string, string>>,
  signal?: AbortSignal,
  method = 'GET',
): Promise<Response> {
  const stop = eitherSignal(file.signal, signal);
  stop?.throwIfAborted();
  try {
    const { fetch } = file; // a browser's fetch may not be called as a method of another object
    return await fetch(file.url, { method, headers: { ...file.headers, ...headers }, signal: stop });
  } catch (cause) {
    stop?.throwIfAborted();
    throw new SourceError(
      `${file.name}: could not be reached (${reasonOf(cause)}); check the URL and the network`,
      {
        cause,
      },
    );
  }
}

/** Content-Range of an answer, `null` where it has none or another form. `size` is `null` for `/*`; bytes, ends included. */
export function contentRangeOf(answer: Response): { begin: number; end: number; size: number | null } | null {
  const match = /^bytes (?:(\d+)-(\d+)|\*)\/(\d+|\*)$/.exec(answer.headers.get('content-range') ?? '');
  if (match === null) return null;
  const [, begin = '0', end = '-1', size] = match;
  return { begin: Number(begin), end: Number(end), size: size === '*' ? null : Number(size) };
}

/** Many servers answer a wrong path, or a missing login, with a page and status 200: a checkpoint has no web pages. */
export function refuseHtml(file: RemoteFile, answer: Response): void {
  const type = answer.headers.get('content-type') ?? '';
  if (!/^\s*(?:text\/html|application\/xhtml)/i.test(type)) return;
  discard(answer);
  throw new SourceError(
    `${file.name}: the server answered with a web page (${type}), not with a file: the file is not there, or needs a login, or the ` +
      'URL shows a page about it (on huggingface.co use …/resolve/main/…, not …/blob/main/…)',
  );
}

/** Lets go of a body that nobody wants. That it broke off meanwhile is nobody's concern either. */
export const discard = (answer: Response): void => void answer.body?.cancel().catch(() => {});

/** How long a body must be, or may be, in bytes. */
export type BodyLength = { readonly exactly: number; readonly what: string } | { readonly atMost: number };

/**
 * The bytes of an answer's body. A body that breaks off, is longer than it should be, or (for a whole file) larger than may be
 * held is a `SourceError`; nothing more than the expected bytes is ever kept.
 */
export async function readBody(
  file: RemoteFile,
  answer: Response,
  length: BodyLength,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const most = 'exactly' in length ? length.exactly : length.atMost;
  const announced = announcedLength(answer);
  const chunks: Uint8Array[] = [];
  let received = 0;
  const reader = answer.body?.getReader();
  try {
    if (announced !== null && announced > most) throw tooLong(file, length, announced);
    for (let next = await reader?.read(); next && !next.done; next = await reader?.read()) {
      received += next.value.byteLength;
      if (received > most) throw tooLong(file, length, received);
      chunks.push(next.value);
    }
  } catch (cause) {
    void reader?.cancel().catch(() => {}); // its failure is the one already being told
    eitherSignal(file.signal, signal)?.throwIfAborted();
    if (cause instanceof SourceError) throw cause;
    throw brokenOff(file, length, received, announced, reasonOf(cause));
  }
  const expected = 'exactly' in length ? length.exactly : (announced ?? received);
  if (received !== expected) throw brokenOff(file, length, received, expected, 'the answer ended early');
  return joined(chunks, received);
}

/** Content-Length; `null` where there is none, or where it counts compressed bytes. */
function announcedLength(answer: Response): number | null {
  const length = answer.headers.get('content-length');
  const encoding = answer.headers.get('content-encoding') ?? 'identity';
  return length !== null && /^\d+$/.test(length) && encoding === 'identity' ? Number(length) : null;
}

function tooLong(file: RemoteFile, length: BodyLength, found: number): SourceError {
  if ('exactly' in length) {
    return new SourceError(
      `${file.name}: asked for ${length.what}, the server sent ${found} bytes or more; the server or a proxy is at fault`,
    );
  }
  return new SourceError(
    `${file.name}: the server does not take range requests, and a file of ${found} bytes or more is not read whole ` +
      `(at most ${length.atMost}); use a server that takes ranges, or download the file and open it from disk`,
  );
}

function brokenOff(
  file: RemoteFile,
  length: BodyLength,
  received: number,
  expected: number | null,
  why: string,
): SourceError {
  const what = 'exactly' in length ? length.what : 'the whole file';
  const of = expected === null ? '' : ` of ${expected}`;
  return new SourceError(
    `${file.name}: reading ${what} broke off after ${received}${of} bytes (${why}); try again`,
  );
}

function joined(chunks: readonly Uint8Array[], total: number): Uint8Array {
  const result = new Uint8Array(total);
  let at = 0;
  for (const chunk of chunks) {
    result.set(chunk, at);
    at += chunk.byteLength;
  }
  return result;
}

const eitherSignal = (a?: AbortSignal, b?: AbortSignal): AbortSignal | undefined =>
  a && b ? AbortSignal.any([a, b]) : (a ?? b);

/** fetch says "fetch failed" and keeps what happened in `cause`. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}
