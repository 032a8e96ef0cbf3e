import { spawn } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { crc32, deflateRawSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

// scripts/ is plain JavaScript outside of the compiled project, so its parts are loaded by address and typed here.
type Entry = { name: string; size: number };
type Plan = { version: string; libraries: Entry[]; headers: Entry[] };
type Pkg = { name: string; version: string };
const load = <T>(file: string) =>
  import(new URL(`../scripts/native/${file}`, import.meta.url).href) as Promise<T>;
const zip = await load<{
  listZip(file: string): Promise<Entry[]>;
  extractEntry(file: string, entry: Entry, target: string): Promise<void>;
}>('zip.mjs');
const wheels = await load<{
  planWheel(file: string, entries: readonly Entry[]): Plan;
  tagMisfit(file: string, platform: string, arch: string): string | null;
}>('wheel.mjs');
const packages = await load<{
  packagesToNest(fetched: Map<string, string>, project: Map<string, string>, name: string): string[];
  runtimeClosure(modules: string, name: string): Set<string>;
}>('packages.mjs');
const place = await load<{
  assemble(build: string, pkg: Pkg, root: string, target: string): Promise<void>;
  putInPlace(ready: string, target: string, scratch: string): void;
  findKept(cache: string, pkg: Pkg, tensorflow?: string): Promise<string | undefined>;
  cacheKey(pkg: Pkg, tensorflow: string): string;
}>('place.mjs');
const { reachable } = await load<{ reachable(address: string, limitMs?: number): Promise<void> }>(
  'library.mjs',
);
const { pipArguments } = await load<{
  pipArguments(name: string, folder: string, version?: string): string[];
}>('python.mjs');
const { lastWords } = await load<{ lastWords(output: string): string }>('processes.mjs');

const SCRIPT = fileURLToPath(new URL('../scripts/install-native.mjs', import.meta.url));
const WHEEL = 'tensorflow_cpu-2.21.0-cp311-cp311-manylinux_2_27_x86_64.whl';
const CPU: Pkg = { name: '@tensorflow/tfjs-node', version: '4.22.0' };

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'native-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('zip', () => {
  const files = { 'a/small.txt': 'hello', 'empty.txt': '', 'big.bin': 'abcdefgh'.repeat(300_000) };

  test('gives back what was packed, deflated or stored', async () => {
    for (const deflate of [true, false]) {
      const file = await write('x.zip', zipOf(files, deflate));
      for (const entry of await zip.listZip(file)) {
        await zip.extractEntry(file, entry, join(folder, 'out', entry.name));
        expect(await readFile(join(folder, 'out', entry.name), 'utf8')).toBe(
          files[entry.name as 'empty.txt'],
        );
      }
    }
  });

  test('names a file that is cut off, and an entry that is damaged', async () => {
    const bytes = zipOf(files, true);
    const cut = await write('cut.zip', bytes.subarray(0, bytes.length - 30));
    await expect(zip.listZip(cut)).rejects.toThrow(/cut\.zip is not a whole zip file \(\d+ bytes/);
    const hurt = Buffer.from(bytes);
    hurt.fill(0xff, 30 + 'a/small.txt'.length, 30 + 'a/small.txt'.length + 5);
    const file = await write('hurt.zip', hurt);
    const [small] = await zip.listZip(file);
    await expect(zip.extractEntry(file, small, join(folder, 'y'))).rejects.toThrow(
      /hurt\.zip is damaged: a\/small\.txt/,
    );
  });
});

describe('wheel', () => {
  const libraries = ['tensorflow/libtensorflow_cc.so.2', 'tensorflow/libtensorflow_framework.so.2'];
  const info = 'tensorflow_cpu-2.21.0.dist-info/METADATA';
  const headers = ['tensorflow/include/tensorflow/c/c_api.h', 'tensorflow/include/xla/tsl/c/tsl_status.h'];
  const entries = (...names: string[]) => names.map((name) => ({ name, size: 1 }));

  test('takes the two libraries and the headers of the C API, nothing else', () => {
    const other = [
      'tensorflow/__init__.py',
      'tensorflow/include/absl/base.h',
      'tensorflow/include/xla/hlo/ir.h',
    ];
    const plan = wheels.planWheel(WHEEL, entries(info, ...libraries, ...headers, ...other));
    expect(plan.version).toBe('2.21.0');
    expect(plan.libraries.map((e) => e.name)).toEqual(libraries);
    expect(plan.headers.map((e) => e.name)).toEqual(headers);
  });

  test('says what a wrong wheel lacks', () => {
    expect(() => wheels.planWheel('numpy.whl', entries('numpy-2.0.dist-info/METADATA'))).toThrow(
      'numpy.whl is not a wheel of TensorFlow',
    );
    expect(() => wheels.planWheel('x.whl', entries(info, libraries[1], ...headers))).toThrow(
      /holds no libtensorflow_cc\.so\.2: take a Linux wheel/,
    );
    expect(() => wheels.planWheel('x.whl', entries(info, ...libraries))).toThrow('no tensorflow/c/c_api.h');
  });

  test('any CPython tag of this platform will do', () => {
    expect(wheels.tagMisfit(WHEEL, 'linux', 'x64')).toBeNull();
    expect(
      wheels.tagMisfit('tensorflow-2.21.0-cp313-cp313-manylinux_2_27_aarch64.whl', 'linux', 'arm64'),
    ).toBeNull();
    expect(wheels.tagMisfit('mine.whl', 'linux', 'x64')).toBeNull();
    expect(wheels.tagMisfit(WHEEL, 'linux', 'arm64')).toMatch(
      /is for manylinux_2_27_x86_64, .* linux aarch64/,
    );
    expect(wheels.tagMisfit(WHEEL, 'darwin', 'x64')).toMatch(/this machine is darwin/);
  });
});

describe('packages', () => {
  test('TF.js stays single; what the project lacks or has otherwise travels along', () => {
    const fetched = new Map(
      Object.entries({
        '@tensorflow/tfjs-node': '4.22.0',
        '@tensorflow/tfjs-core': '4.22.0',
        '@tensorflow/tfjs': '4.22.0',
        ms: '2.1.3',
        semver: '6.3.1',
        long: '4.0.0',
      }),
    );
    const project = new Map(
      Object.entries({ '@tensorflow/tfjs-core': '4.22.1', ms: '2.1.3', semver: '7.7.0' }),
    );
    expect(packages.packagesToNest(fetched, project, CPU.name)).toEqual([
      '@tensorflow/tfjs',
      'semver',
      'long',
    ]);
  });

  test('what only the install script needs is left out, unless something else needs it too', async () => {
    await fakePackage('build', CPU.name, { tar: '6', loader: '1', 'adm-zip': '1' });
    await fakePackage('build', 'loader', { tar: '6', deep: '2' });
    await fakePackage('build', 'loader/node_modules/deep', { inner: '1' });
    for (const name of ['tar', 'adm-zip', 'deep', 'inner']) await fakePackage('build', name);
    const kept = packages.runtimeClosure(join(folder, 'build/node_modules'), CPU.name);
    expect([...kept].sort()).toEqual([CPU.name, 'inner', 'loader', 'tar'].sort());
  });

  test('a build is linked, not copied, and an older package makes room for it', async () => {
    const target = join(folder, 'root/node_modules', CPU.name);
    const ready = join(folder, 'scratch/ready');
    await fakePackage('build', CPU.name, { loader: '1' });
    await fakePackage('build', 'loader');
    await fakePackage('build', '@tensorflow/tfjs-core');
    await fakePackage('root', '@tensorflow/tfjs-core');
    await fakePackage('root', CPU.name);
    await write(`root/node_modules/${CPU.name}/old.txt`, 'old');
    await place.assemble(join(folder, 'build'), CPU, join(folder, 'root'), ready);
    place.putInPlace(ready, target, join(folder, 'scratch'));
    expect((await readdir(target)).sort()).toEqual(['node_modules', 'package.json']);
    expect(await readdir(join(target, 'node_modules'))).toEqual(['loader']);
    const inode = (path: string) => statSync(join(path, 'package.json')).ino;
    expect(inode(target)).toBe(inode(join(folder, 'build/node_modules', CPU.name)));
  });

  test('a kept build is found by package, platform and TensorFlow version', async () => {
    await mkdir(join(folder, place.cacheKey(CPU, '2.20.0')));
    expect(await place.findKept(folder, CPU)).toMatch(/tfjs-node-4\.22\.0-napi8-.*-tf2\.20\.0$/);
    expect(await place.findKept(folder, CPU, '2.20.0')).toBeDefined();
    expect(await place.findKept(folder, CPU, '2.2')).toBeUndefined();
    expect(await place.findKept(folder, { ...CPU, name: '@tensorflow/tfjs-node-gpu' })).toBeUndefined();
    expect(await place.findKept(join(folder, 'none'), CPU)).toBeUndefined();
  });
});

describe('messages and requests', () => {
  test('the telling line of a long output', () => {
    expect(lastWords('a\nERROR: no space left on device\nbye\n')).toBe('ERROR: no space left on device');
    expect(lastWords('one\n\ntwo \n')).toBe('two');
    expect(lastWords('')).toBe('');
  });

  test('pip gets no dependency and no source package, and gives up soon', () => {
    const args = pipArguments('tensorflow-cpu', '/t', '3.12');
    expect(args).toEqual(
      expect.arrayContaining(['--no-deps', '--only-binary=:all:', '--python-version', '3.12']),
    );
    expect(args.slice(-3)).toEqual(['-d', '/t', 'tensorflow-cpu']);
  });

  test('a host that swallows the question is given up', async () => {
    const server = createServer(() => {}).listen(0, '127.0.0.1');
    await new Promise((done) => server.once('listening', done));
    const { port } = server.address() as { port: number };
    await withoutProxy(() =>
      expect(reachable(`http://127.0.0.1:${port}/`, 200)).rejects.toThrow(
        `127.0.0.1:${port} is not reachable (no answer within 0.2 s)`,
      ),
    );
    server.close();
  });
});

// The whole script, in projects where it cannot succeed and must not leave a trace.
describe('npm run native, when it fails', () => {
  test.each([
    ['is no zip file', 'x'.repeat(1000), /is not a whole zip file/],
    ['is empty', '', /is not a whole zip file/],
    ['holds something else', zipOf({ 'numpy/__init__.py': '' }, true), /is not a wheel of TensorFlow/],
  ])('a wheel that %s: exit 1, nothing left behind', async (_, bytes, message) => {
    const wheel = await write('mine.whl', bytes);
    const root = await fakeProject();
    const { code, output } = await native(root, ['--wheel', wheel]);
    expect(output).toMatch(message);
    expect(code).toBe(1);
    await expectUntouched(root);
  });

  test('a wheel whose library does not unpack: exit 1 after the download, nothing left behind', async () => {
    const files = {
      'tensorflow/libtensorflow_cc.so.2': 'cc'.repeat(1000),
      'tensorflow/libtensorflow_framework.so.2': 'framework',
      'tensorflow/include/tensorflow/c/c_api.h': '',
      'tensorflow_cpu-2.21.0.dist-info/METADATA': '',
    };
    const bytes = zipOf(files, true);
    bytes.fill(
      0xff,
      30 + 'tensorflow/libtensorflow_cc.so.2'.length,
      30 + 'tensorflow/libtensorflow_cc.so.2'.length + 8,
    );
    const root = await fakeProject();
    const { code, output } = await native(root, ['--wheel', await write('mine.whl', bytes)]);
    expect(output).toMatch(/libtensorflow_cc\.so\.2 does not unpack|written for Linux/);
    expect(code).toBe(1);
    await expectUntouched(root);
  });

  test('no way at all: every route is named with its reason', async () => {
    const root = await fakeProject();
    const { code, output } = await native(root, []);
    expect(output).toMatch(/stock download: 127\.0\.0\.1:1 is not reachable \(/);
    expect(output).toMatch(/TensorFlow of an installed Python: (no Python here|written for Linux)/);
    expect(output).toMatch(/TensorFlow wheel by pip: (no Python here|written for Linux)/);
    expect(output).toMatch(/Give a wheel with --wheel FILE/);
    expect(code).toBe(1);
    await expectUntouched(root);
  });

  test('before npm ci, and with an unknown option', async () => {
    await mkdir(join(folder, 'bare'));
    expect(await native(join(folder, 'bare'), [])).toMatchObject({
      code: 1,
      output: expect.stringMatching(/run "npm ci" first/),
    });
    expect(await native(await fakeProject(), ['--whel'])).toMatchObject({ code: 2 });
  });

  test.skipIf(process.platform === 'win32')('Ctrl-C: exit 130, programs stopped, folder gone', async () => {
    const beats = join(folder, 'beats');
    const root = await fakeProject(
      `setInterval(() => require('node:fs').appendFileSync(${JSON.stringify(beats)}, '.'), 20);`,
    );
    const run = start(root, []);
    await expect.poll(() => existsSync(beats), { timeout: 20_000 }).toBe(true);
    run.child.kill('SIGINT');
    const { code, output } = await run.ended;
    expect(code).toBe(130);
    expect(output).toMatch(/interrupted \(SIGINT\); nothing was changed/);
    await expectUntouched(root);
    const { size } = statSync(beats);
    await new Promise((done) => setTimeout(done, 200));
    expect(statSync(beats).size).toBe(size); // the program that ran is gone too
  });
});

/** A project with tfjs-core and with an npm that fetches an empty tfjs-node, or does what `npmSource` says. */
async function fakeProject(npmSource = FAKE_NPM): Promise<string> {
  await fakePackage('project', '@tensorflow/tfjs-core');
  await write('npm-cli.js', npmSource);
  return join(folder, 'project');
}

const FAKE_NPM = `const fs = require('node:fs');
fs.mkdirSync('node_modules/@tensorflow/tfjs-node', { recursive: true });
fs.writeFileSync('node_modules/@tensorflow/tfjs-node/package.json', '{"name":"@tensorflow/tfjs-node","version":"4.22.0"}');`;

async function expectUntouched(root: string): Promise<void> {
  expect(await readdir(join(root, 'node_modules'))).toEqual(['@tensorflow']);
  expect(await readdir(join(root, 'node_modules/@tensorflow'))).toEqual(['tfjs-core']);
  expect(await readdir(root)).toEqual(['node_modules']);
}

const native = (root: string, args: string[]) => start(root, args).ended;

/** No Python, no npm but the fake one, and a download host that refuses. */
function start(root: string, args: string[]) {
  const env = {
    PATH: join(folder, 'nothing'),
    npm_execpath: join(folder, 'npm-cli.js'),
    TFJS_NODE_CDN_STORAGE: 'http://127.0.0.1:1/',
  };
  const child = spawn(process.execPath, [SCRIPT, '--root', root, ...args], { env });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += data));
  const ended = new Promise<{ code: number | null; output: string }>((resolve) => {
    child.on('close', (code) => resolve({ code, output }));
  });
  return { child, ended };
}

async function fakePackage(project: string, name: string, dependencies: Record<string, string> = {}) {
  await write(
    `${project}/node_modules/${name}/package.json`,
    JSON.stringify({ name, version: '4.22.0', dependencies }),
  );
}

async function write(name: string, content: string | Uint8Array): Promise<string> {
  const file = join(folder, name);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, content);
  return file;
}

async function withoutProxy(f: () => Promise<void>): Promise<void> {
  const names = ['HTTPS_PROXY', 'https_proxy'];
  const before = names.map((name) => process.env[name]);
  for (const name of names) delete process.env[name];
  try {
    await f();
  } finally {
    for (const [i, name] of names.entries()) if (before[i] !== undefined) process.env[name] = before[i];
  }
}

/** A zip file of these texts, as a wheel is one. */
function zipOf(files: Record<string, string>, deflate: boolean): Buffer {
  const [bodies, directory]: [Buffer[], Buffer[]] = [[], []];
  let offset = 0;
  for (const [name, text] of Object.entries(files)) {
    const plain = Buffer.from(text);
    const packed = deflate ? deflateRawSync(plain) : plain;
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(name.length, 26);
    const entry = Buffer.alloc(46);
    entry.writeUInt32LE(0x02014b50, 0);
    entry.writeUInt16LE(deflate ? 8 : 0, 10);
    entry.writeUInt32LE(crc32(plain), 16);
    entry.writeUInt32LE(packed.length, 20);
    entry.writeUInt32LE(plain.length, 24);
    entry.writeUInt16LE(name.length, 28);
    entry.writeUInt32LE(offset, 42);
    bodies.push(local, Buffer.from(name), packed);
    directory.push(entry, Buffer.from(name));
    offset += local.length + name.length + packed.length;
  }
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(Object.keys(files).length, 10);
  end.writeUInt32LE(Buffer.concat(directory).length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...bodies, ...directory, end]);
}
