import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

/** What the server shall do to a request instead of, or on the way of, answering it well. */
export type Mischief = {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Cuts the connection after so many bytes of the body. */
  readonly cutAt?: number;
  /** Ends the answer in good order after so many bytes, without having announced a length. */
  readonly endAt?: number;
  /** Sends the head and so many bytes, then nothing any more. */
  readonly silentAt?: number;
  /** Milliseconds before each piece of 16 KiB. */
  readonly slow?: number;
  readonly noRanges?: boolean;
  /** Sends these bytes instead. */
  readonly body?: Uint8Array;
};

export type Seen = {
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
};

export type HubServer = {
  readonly url: string;
  readonly commit: string;
  /** Requests so far: questions to the API, for files at the hub, and for files at the store on another port. */
  readonly seen: { api: Seen[]; resolve: Seen[]; store: Seen[] };
  /** Asked before every answer. */
  mischief: (request: Seen & { place: 'api' | 'resolve' | 'store' }) => Mischief | undefined;
  readonly files: Map<string, Uint8Array>;
  card: Record<string, unknown>;
  close(): void;
};

export const REPO = 'jinaai/jina-embeddings-v4';

/**
 * The golden checkpoint behind the hub's API: model info, tree (in pages), and files, the large ones (LFS) by a redirect to
 * another port, as the real hub sends them to its store.
 */
export async function startHub(folder: string): Promise<HubServer> {
  const hub: HubServer = {
    url: '',
    commit: '4a58ca57710c49f51896e4bc820e202fbf64904b',
    seen: { api: [], resolve: [], store: [] },
    mischief: () => undefined,
    files: readFolder(folder),
    card: { license: 'other', license_name: 'qwen-research', license_link: 'LICENSE.md' },
    close: () => {},
  };
  const store = await listen((request, response) => {
    const path = decodeURIComponent(pathOf(request));
    return answer(hub, 'store', request, response, hub.files.get(path.slice(1)));
  });
  const front = await listen((request, response) => {
    const path = pathOf(request);
    if (path.startsWith('/api/')) return answerApi(hub, request, response);
    const file = decodeURIComponent(path.replace(`/${REPO}/resolve/${hub.commit}/`, ''));
    const bytes = hub.files.get(file);
    const headers = { 'x-repo-commit': hub.commit, 'x-error-code': bytes ? 'None' : 'EntryNotFound' };
    if (bytes === undefined || !isLarge(file))
      return answer(hub, 'resolve', request, response, bytes, { ...headers, etag: `"${gitId(bytes)}"` });
    return answer(hub, 'resolve', request, response, new Uint8Array(), {
      ...headers,
      'x-linked-etag': `"${sha256(bytes)}"`,
      'x-linked-size': String(bytes.length),
      location: `${urlOf(store)}/${file}`,
    });
  });
  return Object.assign(hub, {
    url: urlOf(front),
    close: () => {
      for (const server of [front, store]) {
        server.closeAllConnections();
        server.close();
      }
    },
  });
}

async function answerApi(hub: HubServer, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = decodeURIComponent(pathOf(request));
  const json = (value: unknown, headers = {}) =>
    answer(hub, 'api', request, response, Buffer.from(JSON.stringify(value)), {
      'content-type': 'application/json',
      ...headers,
    });
  const revision = path.replace(`/api/models/${REPO}/revision/`, '');
  if (['main', 'v1', 'refs/pr/9', hub.commit].includes(revision)) {
    return json({ _id: '1', id: REPO, sha: hub.commit, cardData: hub.card, gated: false, private: false });
  }
  if (path !== `/api/models/${REPO}/tree/${hub.commit}`) {
    const here = path.startsWith(`/api/models/${REPO}/`);
    return answer(hub, 'api', request, response, undefined, {
      'x-error-code': here ? 'RevisionNotFound' : 'RepoNotFound',
    });
  }
  const entries = [...hub.files].map(([name, bytes]) => ({
    type: 'file',
    oid: gitId(isLarge(name) ? Buffer.from(`pointer to ${name}`) : bytes),
    size: bytes.length,
    path: name,
    ...(isLarge(name) ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 134 } } : {}),
  }));
  const from = Number(/cursor=(\d+)/.exec(request.url ?? '')?.[1] ?? 0);
  const next = from + 5;
  const link = `<${hub.url}${pathOf(request)}?recursive=true&cursor=${next}>; rel="next"`;
  return json(
    [{ type: 'directory', path: 'adapters', size: 0, oid: gitId() }, ...entries.slice(from, next)],
    next < entries.length ? { link } : {},
  );
}

async function answer(
  hub: HubServer,
  place: 'api' | 'resolve' | 'store',
  request: IncomingMessage,
  response: ServerResponse,
  bytes: Uint8Array | undefined,
  headers: Readonly<Record<string, string>> = {},
): Promise<void> {
  const { range, authorization } = request.headers;
  const seen = { path: decodeURIComponent(pathOf(request)), range, authorization };
  hub.seen[place].push(seen);
  const todo = hub.mischief({ ...seen, place }) ?? {};
  if (todo.status || bytes === undefined) {
    return void response.writeHead(todo.status ?? 404, { ...headers, ...todo.headers }).end('no');
  }
  if (headers.location) return void response.writeHead(302, headers).end();
  const whole = todo.body ?? bytes;
  const begin = todo.noRanges ? 0 : Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0);
  if (begin >= whole.length && whole.length > 0) {
    return void response.writeHead(416, { 'content-range': `bytes */${whole.length}` }).end();
  }
  const part = whole.subarray(begin);
  response.writeHead(begin > 0 ? 206 : 200, {
    ...headers,
    ...(todo.endAt === undefined ? { 'content-length': part.length } : {}),
    ...(begin > 0 ? { 'content-range': `bytes ${begin}-${whole.length - 1}/${whole.length}` } : {}),
  });
  const stop = Math.min(todo.cutAt ?? todo.endAt ?? todo.silentAt ?? part.length, part.length);
  for (let at = 0; at < stop && !response.destroyed; at += 16384) {
    if (todo.slow) await pause(todo.slow);
    response.write(part.subarray(at, Math.min(at + 16384, stop)));
  }
  if (todo.silentAt !== undefined) return;
  if (todo.cutAt !== undefined && stop < part.length) {
    await pause(20); // so that what was sent has arrived
    return void response.destroy();
  }
  response.end();
}

const pathOf = (request: IncomingMessage): string => (request.url ?? '').replace(/\?.*/, '');

const isLarge = (path: string): boolean => path.endsWith('.safetensors') || path === 'tokenizer.json';

const known = new WeakMap<Uint8Array, string>();

export function sha256(bytes: Uint8Array): string {
  const hash = known.get(bytes) ?? createHash('sha256').update(bytes).digest('hex');
  known.set(bytes, hash);
  return hash;
}

export const gitId = (bytes: Uint8Array = new Uint8Array()): string =>
  createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');

function readFolder(folder: string): Map<string, Uint8Array> {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(join(folder, '/').length));
  return new Map(names.sort().map((name) => [name.replaceAll('\\', '/'), readFileSync(join(folder, name))]));
}

const urlOf = (server: Server): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

async function listen(
  answerOne: (request: IncomingMessage, response: ServerResponse) => Promise<void>,
): Promise<Server> {
  const server = createServer((request, response) => void answerOne(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}
