import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { cp, link, mkdir, readdir, readlink, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NAPI } from './binding.mjs';
import { packagesToNest, packageVersions, readJson } from './packages.mjs';
import { run } from './processes.mjs';

/**
 * A finished build is kept in .cache/native, because `npm ci` and `npm install` remove from node_modules whatever the
 * lock file does not name. From there it is hard-linked into node_modules: one copy on disk, a second of time.
 *
 * @typedef {{ name: string, version: string }} Package
 * @typedef {{ tensorflow: string, cuda: boolean, gflops: number }} Checked
 */

const CHECK = fileURLToPath(new URL('./matmul-check.mjs', import.meta.url));

/** Does the package in this folder work? Loads it in a process of its own.
 * @param {string} folder @param {string} root @returns {Promise<Checked>} */
export async function check(folder, root) {
  const env = { ...process.env, TF_CPP_MIN_LOG_LEVEL: '2' };
  const answer = await run(process.execPath, [CHECK, folder, root], { env, limitMs: 3 * 60_000 });
  return JSON.parse(answer.trim().split('\n').at(-1) ?? '');
}

/** The package with its dependencies nested in it, as hard links to a build, in `target`.
 * @param {string} build a folder with node_modules @param {Package} pkg @param {string} root @param {string} target */
export async function assemble(build, { name }, root, target) {
  const modules = join(build, 'node_modules');
  const fetched = await packageVersions(modules);
  const nested = packagesToNest(fetched, await packageVersions(join(root, 'node_modules')), name);
  await linkTree(join(modules, name), target);
  for (const inner of nested) await linkTree(join(modules, inner), join(target, 'node_modules', inner));
}

/** Puts the assembled package where Node looks for it; an older one comes back when that fails. Synchronous, so that
 * Ctrl-C finds the one or the other there, never neither.
 * @param {string} ready @param {string} target @param {string} scratch */
export function putInPlace(ready, target, scratch) {
  const aside = join(scratch, 'replaced');
  const replaces = existsSync(target);
  mkdirSync(join(target, '..'), { recursive: true });
  if (replaces) renameSync(target, aside);
  try {
    renameSync(ready, target);
  } catch (error) {
    if (replaces) renameSync(aside, target);
    throw error;
  }
}

/** @param {Package} pkg @param {string} tensorflow */
export const cacheKey = ({ name, version }, tensorflow) =>
  `${name.split('/').at(-1)}-${version}-napi${NAPI}-${process.platform}-${process.arch}-tf${tensorflow}`;

/** The newest kept build of this package for this machine, of one TensorFlow version if that is asked for.
 * @param {string} cache @param {Package} pkg @param {string} [tensorflow] */
export async function findKept(cache, pkg, tensorflow) {
  if (!existsSync(cache)) return undefined;
  const prefix = cacheKey(pkg, tensorflow ?? '');
  const names = (await readdir(cache)).filter((n) => (tensorflow ? n === prefix : n.startsWith(prefix)));
  const ages = await Promise.all(names.map(async (n) => ({ n, time: (await stat(join(cache, n))).mtimeMs })));
  const newest = ages.sort((a, b) => b.time - a.time)[0];
  return newest && join(cache, newest.n);
}

/** Keeps a build for the next time. A cache that cannot be written costs time later, nothing now.
 * @param {string} build @param {string} cache @param {string} key @param {object} facts */
export async function keep(build, cache, key, facts) {
  const target = join(cache, key);
  try {
    await mkdir(cache, { recursive: true });
    await writeFile(join(build, 'native.json'), `${JSON.stringify(facts, null, 2)}\n`);
    await rm(target, { recursive: true, force: true });
    await rename(build, target);
    return target;
  } catch {
    return undefined;
  }
}

/** Where the library of a kept build came from. @param {string} kept @returns {string} */
export const keptFrom = (kept) => readJson(join(kept, 'native.json')).from;

/** @param {string} from @param {string} to */
async function linkTree(from, to) {
  await mkdir(to, { recursive: true });
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) await linkTree(source, target);
    else if (entry.isSymbolicLink()) await symlink(await readlink(source), target);
    else await link(source, target).catch(() => cp(source, target)); // another file system
  }
}
