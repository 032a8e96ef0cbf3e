import { basename, join } from 'node:path';
import { extractEntry, listZip } from './zip.mjs';

/**
 * A TensorFlow wheel holds the C library and its headers. Only those are used, so that any CPython tag will do.
 *
 * @typedef {import('./zip.mjs').ZipEntry} ZipEntry
 * @typedef {{ version: string, libraries: ZipEntry[], headers: ZipEntry[] }} WheelPlan
 */

export const LIBRARIES = ['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2'];

/** The names that the binding's link line and older bindings look for, each a link to one of the two files above. */
export const LINKS = [
  ['libtensorflow.so', 'libtensorflow_cc.so.2'],
  ['libtensorflow.so.2', 'libtensorflow_cc.so.2'],
  ['libtensorflow_framework.so', 'libtensorflow_framework.so.2'],
];

/** The C API's headers and what they include; the other 4000 are the C++ API's. */
const HEADER = /^tensorflow\/include\/(tensorflow\/(c|core\/platform|tsl)|tsl|xla\/(c|tsl))\/.+\.h$/;

/** What to take out of a wheel; throws when it is not a wheel of TensorFlow for this platform.
 * @param {string} file @param {readonly ZipEntry[]} entries @returns {WheelPlan} */
export function planWheel(file, entries) {
  const name = basename(file);
  const info = entries.find((entry) => /^tensorflow[^/]*\.dist-info\/METADATA$/.test(entry.name));
  if (!info) throw new Error(`${name} is not a wheel of TensorFlow (no tensorflow*.dist-info in it)`);
  const libraries = LIBRARIES.map((library) =>
    entries.find((entry) => entry.name === `tensorflow/${library}`),
  );
  const missing = LIBRARIES.filter((_, i) => !libraries[i]);
  if (missing.length > 0)
    throw new Error(
      `${name} holds no ${missing.join(', no ')}: take a Linux wheel of TensorFlow 2.11 or later`,
    );
  const headers = entries.filter((entry) => HEADER.test(entry.name));
  if (!headers.some((entry) => entry.name.endsWith('/tensorflow/c/c_api.h')))
    throw new Error(`${name} holds no tensorflow/c/c_api.h`);
  const version = /^tensorflow[^/]*?-([0-9][^/]*)\.dist-info/.exec(info.name)?.[1] ?? 'unknown';
  return { version, libraries: /** @type {ZipEntry[]} */ (libraries), headers };
}

/** Does the wheel's platform tag fit this machine? Null when it does, else why not.
 * @param {string} file @param {string} platform @param {string} arch */
export function tagMisfit(file, platform, arch) {
  const machine = { x64: 'x86_64', arm64: 'aarch64' }[arch] ?? arch;
  const tag = basename(file, '.whl').split('-').at(-1) ?? '';
  if (!tag.includes('_')) return null; // renamed by its owner: the library itself will tell
  const fits = platform === 'linux' && tag.includes('linux') && tag.endsWith(machine);
  return fits ? null : `${basename(file)} is for ${tag}, this machine is ${platform} ${machine}`;
}

/** Reads a wheel's directory and plans; quick, so that a wrong file is told before anything is downloaded.
 * @param {string} file */
export async function openWheel(file) {
  const misfit = tagMisfit(file, process.platform, process.arch);
  if (misfit) throw new Error(misfit);
  return { file, plan: planWheel(file, await listZip(file)) };
}

/** Unpacks headers and libraries of a wheel to `deps`.
 * @param {{ file: string, plan: WheelPlan }} wheel @param {string} deps @param {(share: number) => void} onShare */
export async function unpackWheel({ file, plan }, deps, onShare) {
  const total = [...plan.libraries, ...plan.headers].reduce((sum, entry) => sum + entry.size, 0);
  let done = 0;
  /** @param {number} bytes */
  const count = (bytes) => {
    done += bytes;
    onShare(done / total);
  };
  for (const entry of plan.headers) {
    const below = entry.name.slice('tensorflow/include/'.length);
    await extractEntry(file, entry, join(deps, 'include', below), count);
  }
  for (const entry of plan.libraries)
    await extractEntry(file, entry, join(deps, 'lib', basename(entry.name)), count);
}
