// One server and one cache for all cases, so one file: what works, then each way in which a server or a disk misbehaves.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { lstat, mkdir, mkdtemp, readdir, readlink, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { summarize } from '../src/cli/checkpoint-summary.ts';
import { InputError, SourceError } from '../src/errors.ts';
import { hubCache, showInSnapshot } from '../src/platform/hub-cache.ts';
import { diskError } from '../src/platform/hub-disk.ts';
import { type HubOptions, hubFolder } from '../src/platform/hub-download.ts';
import { withLock } from '../src/platform/hub-lock.ts';
import type { HubProgress } from '../src/platform/hub-progress.ts';
import { parseHubRepo } from '../src/platform/hub-repo.ts';
import { hubSettings } from '../src/platform/hub-settings.ts';
import { JinaEmbeddings, openToLook } from '../src/platform/node.ts';
import { GOLDEN } from './support/golden.ts';
import { gitId, type HubServer, REPO, sha256, startHub } from './support/hub-server.ts';

const CHILD = fileURLToPath(new URL('./support/hub-child.ts', import.meta.url));
const SHARD = 'model-00001-of-00002.safetensors';
const NEEDED = [
  'adapters/adapter_config.json',
  'adapters/adapter_model.safetensors',
  'config.json',
  'model-00001-of-00002.safetensors',
  'model-00002-of-00002.safetensors',
  'model.safetensors.index.json',
  'preprocessor_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
];

let hub: HubServer;
let cacheDir: string;
beforeEach(async () => {
  hub = await startHub(GOLDEN);
  cacheDir = await mkdtemp(join(tmpdir(), 'hub-'));
  for (const name of ['HF_HOME', 'HF_TOKEN', 'HF_HUB_OFFLINE', 'HF_TOKEN_PATH']) vi.stubEnv(name, '');
  vi.stubEnv('HF_ENDPOINT', hub.url);
  vi.stubEnv('HF_HUB_CACHE', cacheDir);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  hub.close();
  await rm(cacheDir, { recursive: true });
});

const notices: string[] = [];
const quiet: HubOptions = { onNotice: (text) => notices.push(text) };
beforeEach(() => {
  notices.length = 0;
});

/** With short pauses. */
async function fetchRepo(options: HubOptions = quiet, source = REPO, settings = {}): Promise<string> {
  const patient = { ...(await hubSettings(process.env)), pauseMs: 5, longestPauseMs: 50, ...settings };
  return hubFolder(patient, parseHubRepo(source)!, { ...quiet, ...options });
}

const bodiesAsked = () => [...hub.seen.resolve, ...hub.seen.store];
const storeRanges = (file = SHARD) =>
  hub.seen.store.filter(({ path }) => path === `/${file}`).map(({ range }) => range);
const shard = () => hub.files.get(SHARD)!;
const cache = () => hubCache(cacheDir, REPO);
const shardBlob = () => cache().blob(sha256(shard()));

/** Every file is there, byte for byte, and nothing unfinished is left. */
async function expectWhole(folder: string): Promise<void> {
  for (const path of NEEDED) {
    expect(readFileSync(join(folder, path)).equals(hub.files.get(path)!), path).toBe(true);
  }
  await expectTidy();
  expect((await readdir(join(cache().folder, 'blobs'))).filter((n) => n.includes('.'))).toEqual([]);
}

/** No locks and passing files; what is under a final name is whole. */
async function expectTidy(): Promise<void> {
  const names = await readdir(cacheDir, { recursive: true });
  expect(names.filter((name) => /\.(lock|tmp)\b/.test(name))).toEqual([]);
  const blobs = await readdir(join(cache().folder, 'blobs')).catch(() => []);
  for (const name of blobs.filter((n) => !n.includes('.'))) {
    const bytes = readFileSync(cache().blob(name));
    expect(name.length === 64 ? sha256(bytes) : gitId(bytes)).toBe(name);
  }
}

describe('load', () => {
  let local: JinaEmbeddings;
  beforeAll(async () => {
    local = await JinaEmbeddings.load(GOLDEN, { device: 'cpu' });
  });
  afterAll(() => local.dispose());

  const embed = async (model: JinaEmbeddings) => [...(await model.encodeText(['a red bicycle']))[0]];

  test('fetches what is needed, embeds as the folder does, and asks for no file a second time', async () => {
    const progress: [number, number][] = [];
    const loaded = await JinaEmbeddings.load(REPO, {
      ...quiet,
      device: 'cpu',
      onDownload: ({ done, total }) => progress.push([done, total]),
    });
    expect(await embed(loaded)).toEqual(await embed(local));
    loaded.dispose();
    const total = NEEDED.reduce((sum, path) => sum + hub.files.get(path)!.length, 0);
    expect(progress.at(-1)).toEqual([total, total]);
    expect(bodiesAsked().some(({ path }) => /README|golden/.test(path))).toBe(false);
    expect(hub.seen.resolve).toHaveLength(NEEDED.length);

    hub.seen.resolve.length = 0;
    hub.seen.api.length = 0;
    const again = await JinaEmbeddings.load(`hf:${REPO}`, { ...quiet, device: 'cpu' });
    expect(await embed(again)).toEqual(await embed(local));
    again.dispose();
    expect(bodiesAsked().length - hub.seen.store.length).toBe(0);
    expect(hub.seen.api).toHaveLength(1); // what is main now?
    hub.seen.api.length = 0;
    const pinned = await JinaEmbeddings.load(REPO, { revision: hub.commit, device: 'cpu' });
    pinned.dispose();
    expect(hub.seen.api).toHaveLength(0); // a commit never changes
  });

  test('killed in the middle: the next start goes on where it was, and the result is right', async () => {
    hub.mischief = ({ place, path }) =>
      place === 'store' && path === `/${SHARD}` ? { slow: 100 } : undefined;
    const child = startChild();
    const partial = `${shardBlob()}.incomplete`;
    await until(async () => existsSync(partial) && (await lstat(partial)).size > 65536);
    const locks = dirname(cache().lock(sha256(shard())));
    await until(async () => (await readdir(locks)).length === 1); // the small files are there
    child.kill('SIGKILL');
    await once(child, 'exit');
    hub.mischief = () => undefined;
    const { size } = await lstat(partial);
    expect(existsSync(shardBlob())).toBe(false);
    expect(existsSync(cache().lock(sha256(shard())))).toBe(true); // nobody could tidy up

    const loaded = await JinaEmbeddings.load(REPO, { ...quiet, device: 'cpu' });
    expect(await embed(loaded)).toEqual(await embed(local));
    loaded.dispose();
    expect(storeRanges()).toEqual([undefined, `bytes=${size}-`]);
    await expectWhole(cache().snapshot(hub.commit));
  });
});

describe('the cache', () => {
  test('is laid out as the Python library does it', async () => {
    const folder = await fetchRepo();
    expect(folder).toBe(join(cacheDir, 'models--jinaai--jina-embeddings-v4', 'snapshots', hub.commit));
    expect(readFileSync(cache().ref('main'), 'utf8')).toBe(hub.commit);
    expect(await readlink(join(folder, SHARD))).toBe(join('..', '..', 'blobs', sha256(shard())));
    const adapter = hub.files.get('adapters/adapter_config.json')!;
    expect(await readlink(join(folder, 'adapters/adapter_config.json'))).toBe(
      join('..', '..', '..', 'blobs', gitId(adapter)),
    );
    await expectWhole(folder);
  });

  test('a checkpoint that Python fetched is taken as it is, also offline', async () => {
    await layOutAsPython();
    await expectWhole(await fetchRepo());
    expect(bodiesAsked()).toEqual([]);
    await rm(join(cache().folder, '.jina-embeddings'), { recursive: true });
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    hub.seen.api.length = 0;
    await expectWhole(await fetchRepo());
    expect(hub.seen.api).toEqual([]);
  });

  test('offline and incomplete: says which file is missing', async () => {
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    await expect(fetchRepo()).rejects.toThrow(
      /HF_HUB_OFFLINE is set, and the cache .* does not have this rev/,
    );
    await layOutAsPython(['model-00002-of-00002.safetensors', 'adapters/adapter_model.safetensors']);
    const missing = /lacks adapters\/adapter_model\.safetensors, .*model-00002-of-00002\.safetensors; unset/;
    await expect(fetchRepo()).rejects.toThrow(missing);
    await expect(fetchRepo()).rejects.toThrow(SourceError);
  });

  test('hub out of reach: a complete revision is used, with a word about it', async () => {
    await fetchRepo();
    notices.length = 0;
    hub.close();
    await expectWhole(await fetchRepo());
    expect(notices[0]).toMatch(/no answer from http.*ECONNREFUSED.*taking jinaai.* as it is in the cache/);
  });

  test('a file that was cut under its final name is fetched again', async () => {
    const folder = await fetchRepo();
    await writeFile(shardBlob(), shard().subarray(0, 1000));
    await expectWhole(await fetchRepo());
    await expectWhole(folder);
  });

  test('no symbolic links: another name on the same bytes', async () => {
    await fetchRepo();
    const file = { path: SHARD, size: shard().length, etag: sha256(shard()) };
    const refused = async () => Promise.reject(Object.assign(new Error('no'), { code: 'EPERM' }));
    await showInSnapshot(cache(), 'c0ffee', file, refused);
    const shown = await lstat(join(cache().snapshot('c0ffee'), SHARD));
    expect([shown.isFile(), shown.size]).toEqual([true, shard().length]);
  });

  async function layOutAsPython(without: readonly string[] = []): Promise<void> {
    for (const path of NEEDED.filter((name) => !without.includes(name))) {
      const bytes = hub.files.get(path)!;
      const blob = cache().blob(/safetensors$|^tokenizer\.json$/.test(path) ? sha256(bytes) : gitId(bytes));
      const shown = join(cache().snapshot(hub.commit), path);
      for (const made of [blob, shown, cache().ref('main')]) await mkdir(dirname(made), { recursive: true });
      await writeFile(blob, bytes);
      await symlink(blob, shown);
    }
    await writeFile(cache().ref('main'), hub.commit);
  }
});

describe('a server that misbehaves', () => {
  test('cut connections: each attempt goes on, as often as it takes', async () => {
    hub.mischief = ({ place }) => (place === 'store' ? { cutAt: 40_000 } : undefined);
    await expectWhole(await fetchRepo());
    expect(storeRanges().length).toBeGreaterThan(5); // more than attempts without gain
    expect(storeRanges().slice(0, 3)).toEqual([undefined, 'bytes=40000-', 'bytes=80000-']);
  });

  test('no ranges: starts over, and gives up when that never gets further', async () => {
    let cuts = 2;
    hub.mischief = ({ path }) =>
      path === `/${SHARD}` ? { noRanges: true, ...(cuts-- > 0 ? { cutAt: 100_000 } : {}) } : undefined;
    await expectWhole(await fetchRepo());
    expect(storeRanges()).toEqual([undefined, 'bytes=100000-', 'bytes=100000-']);

    await rm(cache().folder, { recursive: true });
    cuts = 1000;
    await expect(fetchRepo()).rejects.toThrow(
      /jina-embeddings-v4: model-00001-of-00002\.safetensors: the connection to .* was cut .*\(5 attempts\).*resumes/,
    );
    await expectTidy();
  });

  test('429 and 503 are waited out as Retry-After asks, up to a limit', async () => {
    const answers = [
      { status: 429, headers: { 'retry-after': '1' } },
      { status: 503, headers: { 'retry-after': '9999' } },
    ];
    hub.mischief = ({ place, path }) =>
      place === 'store' && path === `/${SHARD}` ? answers.shift() : undefined;
    const start = performance.now();
    await expectWhole(await fetchRepo(quiet, REPO, { longestPauseMs: 1200 }));
    expect(performance.now() - start).toBeGreaterThan(2100);
    expect(performance.now() - start).toBeLessThan(10_000);
    hub.mischief = ({ place }) => (place === 'api' ? { status: 503 } : undefined);
    await expect(fetchRepo(quiet, `${REPO}@v1`)).rejects.toThrow(
      /@v1: http.* answered 503 Service Unavailable \(5 attempts\)/,
    );
  });

  test('silence counts as a cut connection', async () => {
    let silences = 1;
    hub.mischief = ({ path }) => (path === `/${SHARD}` && silences-- > 0 ? { silentAt: 32_768 } : undefined);
    await expectWhole(await fetchRepo(quiet, REPO, { silenceMs: 300 }));
    expect(storeRanges()).toEqual([undefined, 'bytes=32768-']);
  });

  test('wrong length: names file, expected and found', async () => {
    const size = shard().length;
    for (const found of [size - 7, size + 7]) {
      hub.mischief = ({ path }) => (path === `/${SHARD}` ? { body: new Uint8Array(found) } : undefined);
      await expect(fetchRepo()).rejects.toThrow(
        `${REPO}: ${SHARD}: wrong length: expected ${size} bytes, found ${found}`,
      );
    }
    hub.mischief = ({ path }) =>
      path === `/${SHARD}` ? { body: new Uint8Array(size + 7), endAt: size + 7 } : undefined;
    await expect(fetchRepo()).rejects.toThrow(`expected ${size} bytes, found more than ${size}`);
    hub.mischief = ({ path }) => (path === `/${SHARD}` ? { noRanges: true, endAt: 1000 } : undefined);
    await expect(fetchRepo()).rejects.toThrow(`expected ${size} bytes, found 1000 when the answer ended`);
    await expectTidy();
    expect(existsSync(shardBlob())).toBe(false);
  });

  test('changed bytes: one more attempt from the start, then an error with both hashes', async () => {
    const wrong = Uint8Array.from(shard());
    wrong[5000] ^= 1;
    let times = 1;
    hub.mischief = ({ path }) => (path === `/${SHARD}` && times-- > 0 ? { body: wrong } : undefined);
    await expectWhole(await fetchRepo());
    expect(storeRanges()).toEqual([undefined, undefined]);

    await rm(cache().folder, { recursive: true });
    times = 1000;
    await expect(fetchRepo()).rejects.toThrow(
      new RegExp(`${SHARD}: the bytes are not .*SHA-256 ${sha256(shard())}, found ${sha256(wrong)}`),
    );
    await expectTidy();
    hub.mischief = () => undefined;
    await expectWhole(await fetchRepo()); // nothing of it is left to stumble over
  });

  test('what an earlier run left is damaged or too long: starts over by itself', async () => {
    const partial = `${shardBlob()}.incomplete`;
    await mkdir(dirname(partial), { recursive: true });
    for (const left of [
      new Uint8Array(5000),
      new Uint8Array(shard().length + 1),
      new Uint8Array(shard().length),
    ]) {
      await writeFile(partial, left);
      await expectWhole(await fetchRepo());
      await rm(join(cache().folder, 'snapshots'), { recursive: true });
      await rm(shardBlob());
    }
  });

  test('the token goes to the hub, and not where it redirects to', async () => {
    vi.stubEnv('HF_TOKEN', 'my-secret');
    await fetchRepo();
    const auth = (seen: readonly { authorization?: string }[]) => [
      ...new Set(seen.map((s) => s.authorization)),
    ];
    expect(auth([...hub.seen.api, ...hub.seen.resolve])).toEqual(['Bearer my-secret']);
    expect(auth(hub.seen.store)).toEqual([undefined]);
    expect(hub.seen.store.length).toBeGreaterThan(0);
  });

  test('401, 403, 404: what to do about it, at once', async () => {
    hub.mischief = () => ({ status: 401 });
    await expect(fetchRepo()).rejects.toThrow(
      /401: there is no such repository, or it is private or gated.*HF_TOKEN/,
    );
    vi.stubEnv('HF_TOKEN', 'my-secret');
    hub.mischief = ({ place }) => (place === 'resolve' ? { status: 403 } : undefined);
    const refused = await fetchRepo().catch((error) => error);
    expect(refused).toBeInstanceOf(SourceError);
    expect(refused.message).toMatch(/403: the access token is not good.*accept the licence on http.*jinaai/);
    expect(refused.message).not.toContain('my-secret');
    hub.mischief = () => undefined;
    hub.seen.api.length = 0;
    await expect(fetchRepo(quiet, 'jinaai/nothing')).rejects.toThrow(/no such repository or revision .*404/);
    await expect(fetchRepo(quiet, `${REPO}@v9`)).rejects.toThrow(/has no revision "v9"/);
    expect(hub.seen.api).toHaveLength(2);
    expect(existsSync(join(cacheDir, 'models--jinaai--nothing'))).toBe(false);
  });

  test('a server that is no hub', async () => {
    const page = Buffer.from('<html>Sign in to the network</html>');
    hub.mischief = () => ({ body: page });
    await expect(fetchRepo()).rejects.toThrow(/does not answer as a model hub .*check HF_ENDPOINT/);
    hub.mischief = () => undefined;
    hub.files.set('adapters/../../evil.json', page);
    await expect(fetchRepo()).rejects.toThrow(/refusing to open "adapters\/\.\.\/\.\.\/evil\.json"/);
  });
});

describe('side by side', () => {
  test('two processes and two calls: every byte is fetched once, and all see the whole', async () => {
    hub.mischief = ({ place }) => (place === 'store' ? { slow: 10 } : undefined);
    const children = [startChild(), startChild()];
    const folders = Promise.all([fetchRepo(), fetchRepo()]);
    const codes = await Promise.all(children.map(async (child) => (await once(child, 'exit'))[0]));
    expect(codes).toEqual([0, 0]);
    for (const folder of await folders) await expectWhole(folder);
    expect(hub.seen.resolve).toHaveLength(NEEDED.length);
  });

  test('a lock of a process that has died is taken over, one of a living one is waited for', async () => {
    const path = join(cacheDir, 'a.node.lock');
    const dead = JSON.stringify({ host: hostname(), pid: 2 ** 22 + 1 });
    const living = JSON.stringify({ host: hostname(), pid: process.pid });
    await writeFile(path, dead);
    await writeFile(`${path}.1234abcd`, dead); // killed while it put a lock aside
    await writeFile(join(cacheDir, 'b.node.lock'), living);
    await writeFile(join(cacheDir, 'a.lock'), ''); // Python's flock, held or not
    await utimes(join(cacheDir, 'a.lock'), 1, 1);
    let ran = 0;
    const work = async () => {
      ran++;
    };
    await withLock(path, { isDone: async () => false }, work);
    const locks = (await readdir(cacheDir)).filter((name) => name.includes('.lock'));
    expect(locks.sort()).toEqual(['a.lock', 'b.node.lock']);
    await writeFile(path, living);
    const waiting = withLock(path, { isDone: async () => false }, work);
    await pause(50);
    expect(ran).toBe(1);
    await writeFile(path, dead); // it dies while another waits
    await waiting;
    expect(ran).toBe(2);
    await writeFile(path, JSON.stringify({ host: 'elsewhere', pid: 1 }));
    await withLock(path, { isDone: async () => true }, work);
    expect(ran).toBe(2);
    const signal = AbortSignal.timeout(100);
    await expect(withLock(path, { signal, isDone: async () => false }, work)).rejects.toThrow(/timeout/);
    expect(ran).toBe(2);
  });
});

describe('abort, disk, licence', () => {
  test('abort leaves only what can be gone on with', async () => {
    hub.mischief = ({ place }) => (place === 'store' ? { slow: 20 } : undefined);
    const stop = new AbortController();
    const asked = fetchRepo({
      signal: stop.signal,
      onDownload: ({ done }) => done > 150_000 && stop.abort(new Error('Ctrl-C')),
    });
    await expect(asked).rejects.toThrow('Ctrl-C');
    await expectTidy();
    const left = await readdir(join(cache().folder, 'blobs'));
    expect(left).toContain(`${sha256(shard())}.incomplete`);
    hub.seen.store.length = 0;
    hub.mischief = () => undefined;
    await expectWhole(await fetchRepo());
    expect(storeRanges()[0]).toMatch(/^bytes=\d\d+-$/);
  });

  test('abort during a pause comes at once', async () => {
    hub.mischief = () => ({ status: 503, headers: { 'retry-after': '50' } });
    const start = performance.now();
    const asked = fetchRepo({ signal: AbortSignal.timeout(200) }, REPO, { longestPauseMs: 50_000 });
    await expect(asked).rejects.toThrow(/timeout/);
    expect(performance.now() - start).toBeLessThan(3000);
  });

  test('progress: in order, with rate and time left, resumed bytes counted as done', async () => {
    const told: HubProgress[] = [];
    hub.mischief = ({ place }) => (place === 'store' ? { slow: 20 } : undefined);
    await mkdir(dirname(shardBlob()), { recursive: true });
    await writeFile(`${shardBlob()}.incomplete`, shard().subarray(0, 200_000));
    await fetchRepo({ onDownload: (progress) => told.push(progress) });
    expect(told.length).toBeGreaterThan(2);
    expect(told.map(({ done }) => done)).toEqual(told.map(({ done }) => done).sort((a, b) => a - b));
    expect(told.at(-1)!.done).toBe(told.at(-1)!.total);
    const middle = told[Math.floor(told.length / 2)];
    expect(middle.bytesPerSecond).toBeGreaterThan(1000);
    expect(middle.bytesPerSecond).toBeLessThan(16384 * 4 * 60);
    expect(middle.secondsLeft).toBeGreaterThan(0);
    const silent = vi.fn();
    await fetchRepo({ onDownload: silent });
    expect(silent).not.toHaveBeenCalled();
  });

  test('a disk without room: told before the first byte, with the numbers', async () => {
    await expect(fetchRepo({ freeBytes: async () => 1000 })).rejects.toThrow(
      /not enough room on the disk: 598641 bytes more are needed, 1000 bytes are free; make room.*HF_HUB_CACHE/,
    );
    expect(bodiesAsked()).toEqual([]);
    const full = diskError(Object.assign(new Error('x'), { code: 'ENOSPC' }), '/cache/blobs/a', 7.5e9);
    expect(full.message).toMatch(
      /\/cache\/blobs\/a: there is not enough room on the disk: 7500 MB more are needed, none are free/,
    );
  });

  test('a cache that cannot be written', async () => {
    await writeFile(join(cacheDir, 'file'), '');
    vi.stubEnv('HF_HUB_CACHE', join(cacheDir, 'file', 'hub'));
    await expect(fetchRepo()).rejects.toThrow(/the cache cannot be written \((ENOTDIR|EEXIST)\)/);
  });

  test('the licence is shown once a repository, before the first byte', async () => {
    let asked = -1;
    await fetchRepo({
      onNotice: (text) => {
        notices.push(text);
        asked = bodiesAsked().length;
      },
    });
    expect(asked).toBe(0);
    expect(notices).toEqual([
      `${REPO} is under its makers' licence "qwen-research", not under this package's; read it before you use the model: ` +
        `${hub.url}/${REPO}/blob/main/LICENSE.md`,
    ]);
    await rm(join(cache().folder, 'blobs'), { recursive: true });
    await fetchRepo();
    expect(notices).toHaveLength(1);
  });
});

describe('looking', () => {
  const look = async () => {
    const tree = await openToLook(REPO);
    try {
      return await summarize(tree, new AbortController().signal);
    } finally {
      await tree.close();
    }
  };

  test('a description reads headers by ranges, and keeps nothing', async () => {
    const summary = await look();
    expect(summary.tensors).toBeGreaterThan(50);
    expect(summary.adapters.map((a) => a.name)).toContain('retrieval');
    const weights = hub.seen.store.filter(({ path }) => path.endsWith('.safetensors'));
    expect(weights.every(({ range }) => /^bytes=\d+-\d+$/.test(range ?? ''))).toBe(true);
    const bytes = weights.reduce((sum, { range }) => {
      const [begin, end] = range!.slice(6).split('-').map(Number);
      return sum + end - begin + 1;
    }, 0);
    expect(bytes).toBeLessThan(shard().length / 4);
    expect(await readdir(cacheDir)).toEqual([]);
  });

  test('a server without ranges, and one that cuts the line, give the same', async () => {
    const whole = await look();
    let cuts = 0;
    hub.mischief = ({ place }) => {
      if (place !== 'store') return undefined;
      return cuts++ % 2 === 0 ? { cutAt: 4 } : { noRanges: true };
    };
    const again = await look();
    expect(again).toEqual(whole);
    expect(cuts).toBeGreaterThan(1);
  });

  test('what is in the cache is looked at there', async () => {
    await fetchRepo();
    hub.seen.store.length = hub.seen.api.length = 0;
    expect((await look()).tensors).toBeGreaterThan(50);
    expect([...hub.seen.store, ...hub.seen.api]).toEqual([]);
  });

  test('offline and not in the cache', async () => {
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    await expect(look()).rejects.toThrow(/HF_HUB_OFFLINE is set.*does not have this revision whole/);
  });
});

describe('names', () => {
  test.each([
    ['jinaai/jina-embeddings-v4', 'jinaai/jina-embeddings-v4', 'main'],
    ['hf:jinaai/jina-embeddings-v4', 'jinaai/jina-embeddings-v4', 'main'],
    ['a/b@v1.0', 'a/b', 'v1.0'],
    ['hf:a/b@refs/pr/9', 'a/b', 'refs/pr/9'],
  ])('%s', (source, name, revision) => {
    expect(parseHubRepo(source)).toEqual({ name, revision });
  });

  test.each(['weights', './a/b', '../a/b', '/a/b', 'a/b/c', 'C:\\a', 'a--b/c', 'a/b..c', '', 'a/'])(
    '%s is a path',
    (source) => {
      expect(parseHubRepo(source)).toBe(null);
    },
  );

  test('what cannot be a repository or revision', async () => {
    expect(() => parseHubRepo('hf:weights')).toThrow(InputError);
    expect(() => parseHubRepo('a/b@../../etc')).toThrow(/"\.\.\/\.\.\/etc" cannot be a revision/);
    expect(() => parseHubRepo('a/b@')).toThrow(InputError);
    expect(() => parseHubRepo('a/b@v1', 'v2')).toThrow(/give only one/);
    await expect(JinaEmbeddings.load(GOLDEN, { revision: 'v1' })).rejects.toThrow(
      /only repositories on the hub/,
    );
    await expect(JinaEmbeddings.load('./no/folder')).rejects.toThrow(/there is no such folder/);
  });

  test('the environment is read as the Python library reads it', async () => {
    const token = join(cacheDir, 'token');
    await writeFile(token, 'from-file\n');
    const plain = await hubSettings({ HF_HOME: cacheDir, HF_ENDPOINT: 'https://mirror.example/' });
    expect(plain).toMatchObject({
      endpoint: 'https://mirror.example',
      cacheDir: join(cacheDir, 'hub'),
      token: 'from-file',
      offline: false,
    });
    expect((await hubSettings({ HF_HOME: cacheDir, HF_TOKEN: 'x' })).token).toBe('x');
    expect((await hubSettings({ HF_HUB_OFFLINE: 'yes', HF_HUB_CACHE: '/c' })).offline).toBe(true);
    expect((await hubSettings({ XDG_CACHE_HOME: '/x' })).cacheDir).toBe(join('/x', 'huggingface', 'hub'));
    await expect(hubSettings({ HF_ENDPOINT: 'mirror' })).rejects.toThrow(InputError);
    await expect(hubSettings({ HF_TOKEN: 'hf_ä' })).rejects.toThrow(/HF_TOKEN holds characters/);
  });
});

function startChild(): ChildProcess {
  return spawn(process.execPath, ['--import', 'tsx', CHILD, REPO], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (const end = performance.now() + 20_000; performance.now() < end; await pause(10)) {
    if (await holds()) return;
  }
  throw new Error('waited in vain');
}
