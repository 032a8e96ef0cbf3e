import { SourceError } from '../src/errors.ts';
import { checkRange, rangeText } from './byte-range.ts';
import type { ByteSource, FileTree } from './byte-source.ts';
import { contentRangeOf, discard, type RemoteFile, readBody, refuseHtml, request } from './http-answer.ts';
import { memorySource } from './memory-source.ts';
import { treeSegments } from './tree-path.ts';

export type HttpOptions = {
  /** Stands in for `globalThis.fetch`: proxies, caches, tests. */
  readonly fetch?: typeof globalThis.fetch;
  /** Sent with every request, e.g. `{ Authorization: 'Bearer …' }`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Ends every request of the source, also later reads; `read` takes one of its own besides. */
  readonly signal?: AbortSignal;
  /** The largest file, in bytes, that is taken whole from a server without range requests. Default: 64 MiB. */
  readonly wholeFileLimit?: number;
};

/** Small enough to hold twice, large enough for tokenizer.json and an adapter or two on the simplest of servers. */
const defaultWholeFileLimit = 64 * 2 ** 20;

/**
 * A file behind a URL, read by HTTP ranges. A server that ignores ranges is asked once, for the whole of a small file
 * (`wholeFileLimit`). `SourceError`: not found, refused, a web page instead of a file, no ranges for a large file, a body that
 * is cut off, a file that changed between two reads. There is no retry and no time limit: use `signal` (`AbortSignal.timeout`).
 */
export async function openHttpSource(url: string | URL, options: HttpOptions = {}): Promise<ByteSource> {
  const file = remoteFile(url, options);
  const source = await open(file, options);
  if (source !== null) return source;
  throw new SourceError(`${file.name}: the server answered 404, there is no such file; check the URL`);
}

/** A folder behind a URL, which cannot be listed. A file that the server answers 404 or 410 for is `null`. */
export function httpTree(baseUrl: string | URL, options: HttpOptions = {}): FileTree {
  const base = new URL(remoteFile(baseUrl, options).url);
  base.pathname = base.pathname.replace(/\/*$/, '/');
  const name = nameOf(base).replace(/\/$/, '');
  return {
    name,
    async open(path, signal) {
      const url = new URL(base); // a query (a signed token) stays on every file
      url.pathname += treeSegments(name, path).map(encodeURIComponent).join('/');
      return open(remoteFile(url, options), options, signal);
    },
    async list() {
      return null;
    },
    async close() {},
  };
}

function remoteFile(url: string | URL, options: HttpOptions): RemoteFile {
  if (!URL.canParse(url.toString()) || !/^https?:$/.test(new URL(url).protocol)) {
    throw new SourceError(`${url}: expected an absolute http: or https: URL`);
  }
  const { fetch = globalThis.fetch, headers = {}, signal } = options;
  return { url: new URL(url).href, name: nameOf(new URL(url)), fetch, headers, signal };
}

// Without query and credentials: messages are logged, tokens should not be.
const nameOf = (url: URL): string => `${url.origin}${url.pathname}`;

/** Asks for the first byte: that tells whether the file is there, whether ranges work, and the size, in one request. */
async function open(
  file: RemoteFile,
  options: HttpOptions,
  signal?: AbortSignal,
): Promise<ByteSource | null> {
  const answer = await request(file, { Range: 'bytes=0-0' }, signal);
  const { status } = answer;
  if (status === 404 || status === 410) {
    discard(answer);
    return null;
  }
  if (status === 416) {
    discard(answer);
    if (contentRangeOf(answer)?.size === 0) return memorySource(file.name, new Uint8Array(0));
  }
  if (status === 200) {
    refuseHtml(file, answer);
    const limit = options.wholeFileLimit ?? defaultWholeFileLimit;
    return memorySource(file.name, await readBody(file, answer, { atMost: limit }, signal));
  }
  if (status !== 206) throw statusError(file, status);
  refuseHtml(file, answer);
  await readBody(file, answer, { exactly: 1, what: rangeText(0, 1) }, signal);
  return rangeSource(file, contentRangeOf(answer)?.size ?? (await sizeFromHead(file, signal)));
}

function rangeSource(file: RemoteFile, size: number): ByteSource {
  let closed = false;
  return {
    name: file.name,
    size,
    async read(offset, length, signal) {
      signal?.throwIfAborted();
      if (closed) throw new SourceError(`${file.name}: read after close`);
      checkRange({ name: file.name, size }, offset, length);
      if (length === 0) return new Uint8Array(0);
      const what = rangeText(offset, length);
      const answer = await request(file, { Range: `bytes=${offset}-${offset + length - 1}` }, signal);
      if (answer.status !== 206) {
        discard(answer);
        throw statusError(file, answer.status, what);
      }
      checkContentRange(file, answer, offset, length, size);
      return readBody(file, answer, { exactly: length, what }, signal);
    },
    async close() {
      closed = true;
    },
  };
}

function checkContentRange(
  file: RemoteFile,
  answer: Response,
  offset: number,
  length: number,
  size: number,
): void {
  const range = contentRangeOf(answer);
  // A page may not see the header of another origin's answer; the length of the body is checked all the same.
  if (range === null && answer.type === 'cors') return;
  const right = range !== null && range.begin === offset && range.end === offset + length - 1;
  if (right && (range.size === null || range.size === size)) return;
  discard(answer);
  const found = answer.headers.get('content-range') ?? 'none';
  throw new SourceError(
    `${file.name}: asked for ${rangeText(offset, length)} of ${size}, the server answered Content-Range ${found}; ` +
      'the file has changed since it was opened, or the server or a proxy is at fault: open it again',
  );
}

/** For a server that says `bytes 0-0/*`, or a page that may not see Content-Range. */
async function sizeFromHead(file: RemoteFile, signal?: AbortSignal): Promise<number> {
  const answer = await request(file, {}, signal, 'HEAD');
  const length = answer.headers.get('content-length');
  if (answer.ok && length !== null && /^\d+$/.test(length)) return Number(length);
  throw new SourceError(
    `${file.name}: the server does not tell the size of the file (no total in Content-Range, no Content-Length); ` +
      'across origins it must expose the header Content-Range. Download the file and open it from disk instead',
  );
}

function statusError(file: RemoteFile, status: number, what = 'the file'): SourceError {
  const hints: Readonly<Record<number, string>> = {
    200: 'it gives the whole file, though it took range requests before; try again, or download the file',
    401: 'it wants credentials: pass them in `headers` (Authorization)',
    403: 'it refuses access: pass credentials in `headers`, or accept the terms of a gated model',
    429: 'it is asked too often: wait and try again',
  };
  const hint = hints[status] ?? (status >= 500 ? 'try again later' : 'check the URL');
  return new SourceError(`${file.name}: asked for ${what}, the server answered ${status}: ${hint}`);
}
