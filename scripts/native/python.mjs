import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from './processes.mjs';
import { LIBRARIES } from './wheel.mjs';

/** Python is asked for two things only: where an installed TensorFlow lies, and to download a wheel. */
const NAMES = [process.env.PYTHON, 'python3', 'python'].filter((name) => name !== undefined);

/** The Pythons of this machine, each once under whichever names it goes. */
async function pythons() {
  const byPrefix = /** @type {Map<string, string>} */ (new Map());
  for (const name of NAMES)
    try {
      const answer = await run(name, ['-c', 'import sys; print(sys.prefix); print(sys.executable)'], {
        limitMs: 30_000,
      });
      const [prefix, executable] = answer.trim().split(/\r?\n/);
      if (!byPrefix.has(prefix)) byPrefix.set(prefix, executable);
    } catch {
      // not installed under this name
    }
  if (byPrefix.size === 0) throw new Error(`no Python here (${NAMES.join(', ')})`);
  return [...byPrefix.values()];
}

/** find_spec does not import the package, which would take seconds. */
const LOCATE = `
import importlib.util as util
spec = util.find_spec('tensorflow')
print(spec.submodule_search_locations[0] if spec and spec.submodule_search_locations else '')`;

/** The package folder of a TensorFlow that some Python has installed; throws where none has one with a C library. */
export async function installedTensorflow() {
  const failures = [];
  for (const python of await pythons()) {
    const folder = (await run(python, ['-c', LOCATE], { limitMs: 30_000 })).trim();
    const files = folder ? await readdir(folder) : [];
    if (LIBRARIES.every((library) => files.includes(library))) return folder;
    failures.push(`${python} has ${folder ? 'one without the C library' : 'none'}`);
  }
  throw new Error(failures.join(', '));
}

/** Python versions to ask for when the running one is too old or too new for TensorFlow: only the C library matters. */
const OTHER_VERSIONS = ['3.13', '3.12', '3.11'];

/** Downloads the first of `packages` that pip can get into `folder`; gives the wheel's path.
 * @param {readonly string[]} packages @param {string} folder */
export async function pipDownload(packages, folder) {
  const failures = [];
  const found = await pythons();
  for (const name of packages)
    for (const python of found)
      for (const version of [undefined, ...OTHER_VERSIONS])
        try {
          await run(python, pipArguments(name, folder, version), { limitMs: 15 * 60_000 });
          const wheel = (await readdir(folder)).find((file) => file.endsWith('.whl'));
          if (wheel) return join(folder, wheel);
          throw new Error('pip ended well but left no wheel');
        } catch (error) {
          const { message, output = '' } = /** @type {Error & { output?: string }} */ (error);
          failures.push(`${python} -m pip download ${name}: ${message}`);
          // Another version tag helps only where the index answered and had nothing for this Python.
          if (!/no matching distribution/i.test(output) || /retrying|connection|timed out/i.test(output))
            break;
        }
  throw new Error([...new Set(failures)].join('; '));
}

/** @param {string} name @param {string} folder @param {string} [version] */
export function pipArguments(name, folder, version) {
  const network = [
    '--timeout',
    '10',
    '--retries',
    '1',
    '--progress-bar',
    'off',
    '--disable-pip-version-check',
  ];
  const tag = version ? ['--python-version', version, '--implementation', 'cp'] : [];
  return [
    '-m',
    'pip',
    'download',
    '--no-deps',
    '--only-binary=:all:',
    ...network,
    ...tag,
    '-d',
    folder,
    name,
  ];
}
