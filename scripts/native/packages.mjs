import { existsSync, readFileSync } from 'node:fs';
import { copyFile, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { npm } from './npm.mjs';

/** Needed by the package's install script alone; they are old, and the finished binding never loads them. */
const INSTALL_ONLY = ['adm-zip', 'https-proxy-agent', 'rimraf', 'tar'];

/**
 * Fetches `name` and all it needs into `folder`/node_modules, running no script. It is a project of its own, so that the
 * package.json and lock file of ours stay as they are.
 * @param {string} folder @param {string} root @param {string} name @param {string} version
 */
export async function fetchPackages(folder, root, name, version) {
  await mkdir(folder, { recursive: true });
  await writeFile(
    join(folder, 'package.json'),
    JSON.stringify({ private: true, dependencies: { [name]: version } }),
  );
  if (existsSync(join(root, '.npmrc'))) await copyFile(join(root, '.npmrc'), join(folder, '.npmrc'));
  const quiet = ['--no-audit', '--no-fund', '--no-package-lock', '--no-update-notifier', '--loglevel=error'];
  await npm(['install', '--prefix', folder, '--ignore-scripts', '--omit=dev', ...quiet], {
    cwd: folder,
    limitMs: 5 * 60_000,
  });
}

/** Removes from `folder`/node_modules what the finished package does not load.
 * @param {string} folder @param {string} name */
export async function keepRuntimeOnly(folder, name) {
  const modules = join(folder, 'node_modules');
  const keep = runtimeClosure(modules, name);
  for (const found of await packageNames(modules))
    if (!keep.has(found)) await rm(join(modules, found), { recursive: true });
  await rm(join(modules, '.bin'), { recursive: true, force: true });
  for (const part of ['build', 'deps/include', 'src', 'python', 'binding'])
    await rm(join(modules, name, part), { recursive: true, force: true });
  // Source maps are three quarters of TF.js's size, and no program reads them here.
  for (const file of await readdir(modules, { recursive: true }))
    if (file.endsWith('.js.map')) await rm(join(modules, file));
}

/** The packages directly in `modules` that `name` reaches at run time, itself included.
 * @param {string} modules @param {string} name @returns {Set<string>} */
export function runtimeClosure(modules, name) {
  const start = join(modules, name);
  const seen = new Set([start]);
  for (const folder of seen) {
    const needs = Object.keys(readJson(join(folder, 'package.json')).dependencies ?? {});
    for (const need of needs) {
      if (folder === start && INSTALL_ONLY.includes(need)) continue;
      const found = findAbove(folder, need, dirname(modules));
      if (found) seen.add(found);
    }
  }
  const top = [...seen].map((folder) => folder.slice(modules.length + 1).replaceAll('\\', '/'));
  return new Set(top.filter((path) => !path.includes('/node_modules/')));
}

/** Node's own look-up, from `folder` upwards to `end`. @param {string} folder @param {string} name @param {string} end */
function findAbove(folder, name, end) {
  for (let at = folder; at.length >= end.length; at = dirname(at)) {
    const candidate = join(at, 'node_modules', name);
    if (existsSync(join(candidate, 'package.json'))) return candidate;
  }
  return undefined;
}

/**
 * Which of the fetched packages have to travel inside the native package, because the project does not hold them at its
 * top or holds another version. TF.js itself must be the project's single copy: kernels and tensors live in it.
 * @param {ReadonlyMap<string, string>} fetched name → version @param {ReadonlyMap<string, string>} project
 * @param {string} name the native package itself
 */
export function packagesToNest(fetched, project, name) {
  const travels = (/** @type {[string, string]} */ [key, version]) =>
    key !== name && (key.startsWith('@tensorflow/') ? !project.has(key) : project.get(key) !== version);
  return [...fetched].filter(travels).map(([key]) => key);
}

/** name → version of the packages directly in a node_modules folder.
 * @param {string} modules @returns {Promise<Map<string, string>>} */
export async function packageVersions(modules) {
  const versions = new Map();
  for (const name of await packageNames(modules)) {
    const file = join(modules, name, 'package.json');
    if (existsSync(file)) versions.set(name, readJson(file).version);
  }
  return versions;
}

/** @param {string} modules @returns {Promise<string[]>} */
async function packageNames(modules) {
  const names = [];
  for (const name of await readdir(modules)) {
    if (name.startsWith('.')) continue;
    if (!name.startsWith('@')) names.push(name);
    else for (const inner of await readdir(join(modules, name))) names.push(`${name}/${inner}`);
  }
  return names;
}

/** @param {string} file */
export const readJson = (file) => JSON.parse(readFileSync(file, 'utf8'));
