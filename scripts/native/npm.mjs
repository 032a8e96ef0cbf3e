import { existsSync, realpathSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { run } from './processes.mjs';

/** The npm that started this run, else the one on the PATH, else the one beside node: its JavaScript file, which needs
 * no shell on any platform. */
export function npmCli() {
  const node = dirname(process.execPath);
  const onPath = (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, 'npm'));
  const candidates = [
    process.env.npm_execpath,
    ...onPath,
    join(node, '../lib/node_modules/npm/bin/npm-cli.js'),
    join(node, 'node_modules/npm/bin/npm-cli.js'),
  ];
  for (const candidate of candidates) {
    if (!candidate || !existsSync(candidate)) continue;
    const file = realpathSync(candidate);
    if (file.endsWith('npm-cli.js')) return file;
  }
  throw new Error('npm is not found: run this as "npm run native"');
}

/** @param {readonly string[]} args @param {import('./processes.mjs').RunOptions} options */
export const npm = (args, options) => run(process.execPath, [npmCli(), ...args], options);

/** node-gyp as npm carries it, else fetched by npm. Gives command and first arguments. @returns {[string, string[]]} */
export function nodeGyp() {
  const bundled = join(dirname(npmCli()), '../node_modules/node-gyp/bin/node-gyp.js');
  if (existsSync(bundled)) return [process.execPath, [bundled]];
  return [process.execPath, [npmCli(), 'exec', '--yes', '--', 'node-gyp']];
}

/** Where the running Node's headers lie, when they came with it: then node-gyp downloads nothing. */
export function nodeHeaders() {
  const prefix = dirname(dirname(realpathSync(process.execPath)));
  return existsSync(join(prefix, 'include/node/node_api.h')) ? prefix : undefined;
}
