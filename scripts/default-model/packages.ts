import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { InputError } from '../../src/errors.ts';

/** The npm packages that the training material comes from. Versions are package.json's. */
export const PACKAGES = [
  '@iconify-json/twemoji',
  '@iconify-json/fluent-emoji-flat',
  '@iconify-json/emojione',
  '@iconify-json/noto',
  'emojibase-data',
  'cldr-annotations-full',
  'cldr-annotations-derived-full',
] as const;

/** Reads the material out of a `node_modules` folder. */
export type PackageReader = {
  json<T>(path: string): Promise<T>;
  folders(path: string): Promise<readonly string[]>;
};

export function openPackages(nodeModules: string): PackageReader {
  const missing = (error: unknown): never => {
    throw new InputError(
      `${(error as Error).message}; install ${PACKAGES.join(', ')} and name their node_modules folder with --packages`,
      { cause: error },
    );
  };
  return {
    json: async <T>(path: string) =>
      JSON.parse(await readFile(join(nodeModules, path), 'utf8').catch(missing)) as T,
    folders: async (path) => (await readdir(join(nodeModules, path)).catch(missing)).sort(),
  };
}
