import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { SourceError } from '../src/errors.ts';
import { listAdapterFiles } from './adapter-files.ts';
import { openCheckpoint } from './checkpoint.ts';
import { httpTree, openHttpSource } from './http-source.ts';
import { readFloat32 } from './safetensors.ts';

const bytes = Uint8Array.from({ length: 1000 }, (_, i) => i % 251);

type Request = { path: string; method: string; range: string | undefined; authorization: string | undefined };
type Answer = (request: IncomingMessage, response: ServerResponse) => void;

let server: Server;
let origin: string;
const log: Request[] = [];
const answers = new Map<string, Answer>();

beforeAll(async () => {
  server = createServer((request, response) => {
    const { range, authorization } = request.headers;
    const path = (request.url ?? '').replace(/\?.*/, '');
    log.push({ path, method: request.method ?? '', range, authorization });
    const answer = answers.get(path);
    if (answer) return answer(request, response);
    if (!path.startsWith('/golden/'))
      return void response.writeHead(404, { 'content-type': 'text/html' }).end('<html>');
    try {
      ranged(readFileSync(`test${decodeURIComponent(path)}`))(request, response);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(() => {
  log.length = 0;
  answers.clear();
});

/** A server as it should be. */
const ranged =
  (body: Uint8Array): Answer =>
  (request, response) => {
    const match = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
    if (request.method === 'HEAD' || !match) {
      return void response
        .writeHead(200, { 'content-length': body.length })
        .end(request.method === 'HEAD' ? '' : body);
    }
    const [begin, end] = [Number(match[1]), Math.min(Number(match[2]), body.length - 1)];
    if (begin >= body.length) {
      return void response.writeHead(416, { 'content-range': `bytes */${body.length}` }).end();
    }
    response.writeHead(206, { 'content-range': `bytes ${begin}-${end}/${body.length}` });
    response.end(body.subarray(begin, end + 1));
  };

/** Opens well, then answers reads (all but the first byte) like this. */
const thenReads =
  (answer: Answer): Answer =>
  (request, response) =>
    (request.headers.range === 'bytes=0-0' ? ranged(bytes) : answer)(request, response);

/** What an answer at /file leads to, when it is opened and 100 bytes are read at 10. */
async function outcome(answer: Answer, options = {}): Promise<Error | Uint8Array> {
  answers.set('/file', answer);
  try {
    return await (await openHttpSource(`${origin}/file?token=secret`, options)).read(10, 100);
  } catch (error) {
    return error as Error;
  }
}

async function expectRefused(answer: Answer, message: RegExp, options = {}): Promise<void> {
  const error = (await outcome(answer, options)) as Error;
  expect(error).toBeInstanceOf(SourceError);
  expect(error.message).toMatch(message);
  expect(error.message).toContain(`${origin}/file: `);
  expect(error.message).not.toContain('secret');
}

describe('a good server', () => {
  test('the first byte for the size, then exactly the ranges', async () => {
    answers.set('/file', ranged(bytes));
    const source = await openHttpSource(`${origin}/file`, { headers: { Authorization: 'Bearer x' } });
    expect(source.size).toBe(1000);
    expect(await source.read(10, 100)).toEqual(bytes.slice(10, 110));
    expect(await source.read(999, 1)).toEqual(bytes.slice(999));
    expect(await source.read(1000, 0)).toEqual(new Uint8Array(0));
    expect(log.map((r) => `${r.method} ${r.range}`)).toEqual([
      'GET bytes=0-0',
      'GET bytes=10-109',
      'GET bytes=999-999',
    ]);
    expect(log.every((r) => r.authorization === 'Bearer x')).toBe(true);
    await expect(source.read(999, 2)).rejects.toThrow(/the file has 1000 bytes/);
    await source.close();
    await expect(source.read(0, 1)).rejects.toThrow(/read after close/);
  });

  test('an empty file', async () => {
    answers.set('/file', ranged(new Uint8Array(0)));
    expect((await openHttpSource(`${origin}/file`)).size).toBe(0);
  });

  test('no total in Content-Range: the size comes from HEAD', async () => {
    const answer: Answer = (request, response) => {
      if (request.method === 'HEAD') return ranged(bytes)(request, response);
      const [, begin, end] = /(\d+)-(\d+)/.exec(request.headers.range ?? '') ?? [];
      response.writeHead(206, { 'content-range': `bytes ${begin}-${end}/*` });
      response.end(bytes.subarray(Number(begin), Number(end) + 1));
    };
    expect(await outcome(answer)).toEqual(bytes.slice(10, 110));
  });

  test('the golden checkpoint and its adapters over HTTP, unlisted', async () => {
    const tree = httpTree(`${origin}/golden`);
    expect(tree.name).toBe(`${origin}/golden`);
    expect(await tree.list()).toBeNull();
    const checkpoint = await openCheckpoint(tree);
    expect(checkpoint.entries.size).toBe(94);
    const norm = await readFloat32(checkpoint.entries.get('model.norm.weight')!, {
      chunkBytes: 50,
      checkFinite: true,
    });
    expect(norm.length).toBe(64);
    expect((await listAdapterFiles(tree)).map((a) => a.task)).toEqual(['code', 'retrieval', 'text-matching']);
    await checkpoint.close();
  });
});

describe('a server without ranges', () => {
  const whole: Answer = (_, response) => void response.end(bytes);

  test('a small file is taken whole, once', async () => {
    expect(await outcome(whole)).toEqual(bytes.slice(10, 110));
    expect(log.length).toBe(1);
  });

  test('a large one is refused before it is downloaded', async () => {
    const announced: Answer = (_, response) =>
      void response.writeHead(200, { 'content-length': 2 ** 33 }).write(bytes);
    await expectRefused(
      announced,
      /does not take range requests, and a file of 8589934592 bytes or more .*\(at most 67108864\)/,
    );
  });

  test('a large one of unknown length is left at the limit', async () => {
    const endless: Answer = (_, response) => {
      const more = () => {
        while (!response.destroyed && response.write(bytes));
        response.once('drain', more);
      };
      more();
    };
    await expectRefused(endless, /does not take range requests.*\(at most 5000\)/, { wholeFileLimit: 5000 });
  });

  test('one that is cut off', async () => {
    const cut: Answer = (_, response) => {
      response
        .writeHead(200, { 'content-length': 1000 })
        .write(bytes.subarray(0, 400), () => response.destroy());
    };
    await expectRefused(cut, /reading the whole file broke off after \d+.* try again/);
  });
});

describe('a bad answer is a SourceError that says which', () => {
  const page: Answer = (_, response) => {
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end('<!doctype html>');
  };
  const status =
    (code: number): Answer =>
    (_, response) =>
      void response.writeHead(code).end();
  const partial =
    (contentRange: string | undefined, body: Uint8Array): Answer =>
    (_, response) =>
      void response
        .writeHead(206, contentRange === undefined ? {} : { 'content-range': contentRange })
        .end(body);

  const cases: [string, Answer, RegExp][] = [
    ['404', status(404), /answered 404, there is no such file/],
    ['401', status(401), /asked for the file, the server answered 401: it wants credentials/],
    ['403', status(403), /answered 403: .*gated model/],
    ['500', status(500), /answered 500: try again later/],
    [
      'a web page',
      page,
      /answered with a web page \(text\/html; charset=utf-8\), not with a file: .*resolve\/main/,
    ],
    ['a later 404', thenReads(status(404)), /asked for 100 bytes at offset 10, the server answered 404/],
    [
      'a later whole file',
      thenReads((_, response) => void response.end(bytes)),
      /answered 200: it gives the whole file/,
    ],
    [
      'another range',
      thenReads(partial('bytes 0-99/1000', bytes.subarray(0, 100))),
      /asked for 100 bytes at offset 10 of 1000, the server answered Content-Range bytes 0-99\/1000/,
    ],
    [
      'another size: the file has changed',
      thenReads(partial('bytes 10-109/900', bytes.subarray(0, 100))),
      /has changed since it was opened/,
    ],
    [
      'no Content-Range',
      thenReads(partial(undefined, bytes.subarray(0, 100))),
      /answered Content-Range none/,
    ],
    ['nonsense', thenReads(partial('pages 1-2', bytes.subarray(0, 100))), /answered Content-Range pages 1-2/],
    [
      'a short body',
      thenReads(partial('bytes 10-109/1000', bytes.subarray(0, 60))),
      /reading 100 bytes at offset 10 broke off after 60 of 100 bytes \(the answer ended early\); try again/,
    ],
    [
      'a long body',
      thenReads(partial('bytes 10-109/1000', bytes)),
      /asked for 100 bytes at offset 10, the server sent \d+ bytes or more/,
    ],
    [
      'a body that breaks off',
      thenReads((_, response) => {
        response.writeHead(206, { 'content-range': 'bytes 10-109/1000', 'content-length': 100 });
        response.write(bytes.subarray(0, 50), () => response.destroy());
      }),
      /reading 100 bytes at offset 10 broke off after \d+/,
    ],
    [
      'a connection that closes',
      thenReads((request) => void request.socket.destroy()),
      /could not be reached \(fetch failed/,
    ],
    [
      'no size anywhere',
      (request, response) =>
        (request.method === 'HEAD' ? status(405) : partial('bytes 0-0/*', bytes.subarray(0, 1)))(
          request,
          response,
        ),
      /does not tell the size/,
    ],
  ];
  test.each(cases)('%s', (_, answer, message) => expectRefused(answer, message));

  test('nobody listens', async () => {
    await expect(openHttpSource('http://127.0.0.1:1/x')).rejects.toThrow(
      /127\.0\.0\.1:1\/x: could not be reached/,
    );
  });

  test('not a web address', async () => {
    await expect(openHttpSource('file:///etc/passwd')).rejects.toThrow(
      /expected an absolute http: or https: URL/,
    );
    expect(() => httpTree('models/tiny')).toThrow(/models\/tiny: expected an absolute http/);
  });

  test('in a tree, 404 is null and paths cannot leave', async () => {
    const tree = httpTree(`${origin}/golden/?token=secret`);
    expect(await tree.open('nothing.json')).toBeNull();
    await expect(tree.open('../x')).rejects.toThrow(/must stay inside this folder/);
    answers.set('/golden/a%20b.json', page);
    await expect(tree.open('a b.json')).rejects.toThrow(
      /golden\/a%20b\.json: the server answered with a web page/,
    );
  });
});

describe('abort', () => {
  const never: Answer = () => {};
  const stalls: Answer = (_, response) => {
    response.writeHead(206, { 'content-range': 'bytes 10-109/1000' }).write(bytes.subarray(0, 50));
  };
  const soon = () => AbortSignal.timeout(50);

  test('before, while waiting for an answer, while waiting for a body', async () => {
    const reason = new Error('enough');
    expect(await outcome(ranged(bytes), { signal: AbortSignal.abort(reason) })).toBe(reason);
    expect(log.length).toBe(0);
    expect(await outcome(never, { signal: soon() })).toMatchObject({ name: 'TimeoutError' });
    expect(await outcome(thenReads(stalls), { signal: soon() })).toMatchObject({ name: 'TimeoutError' });
  });

  test('by the signal of one read, the source stays usable', async () => {
    answers.set('/file', thenReads(stalls));
    const source = await openHttpSource(`${origin}/file`, { signal: new AbortController().signal });
    await expect(source.read(10, 100, soon())).rejects.toMatchObject({ name: 'TimeoutError' });
    expect(await source.read(0, 1)).toEqual(bytes.slice(0, 1));
  });

  test('by the signal of opening in a tree', async () => {
    answers.set('/golden/x.json', never);
    await expect(httpTree(`${origin}/golden`).open('x.json', soon())).rejects.toMatchObject({
      name: 'TimeoutError',
    });
  });
});

test('across origins Content-Range may be hidden: HEAD tells the size, the body is still checked', async () => {
  const hidden =
    (body: Uint8Array): typeof fetch =>
    async (_, init) => {
      const range = new Headers(init?.headers).get('range');
      const answer =
        init?.method === 'HEAD'
          ? new Response(null, { headers: { 'content-length': '1000' } })
          : new Response(range === 'bytes=0-0' ? bytes.slice(0, 1) : body.slice(), { status: 206 });
      Object.defineProperty(answer, 'type', { value: 'cors' });
      return answer;
    };
  const good = await openHttpSource('https://example.org/x', { fetch: hidden(bytes.subarray(10, 110)) });
  expect(await good.read(10, 100)).toEqual(bytes.slice(10, 110));
  const short = await openHttpSource('https://example.org/x', { fetch: hidden(bytes.subarray(10, 90)) });
  await expect(short.read(10, 100)).rejects.toThrow(/broke off after 80 of 100/);
});
