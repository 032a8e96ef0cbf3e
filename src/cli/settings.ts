import { readFile } from 'node:fs/promises';
import { Config, type Settings } from '../config.ts';
import { InputError } from '../errors.ts';
import { UsageError } from './exit.ts';

/** Defaults < `--config` file < environment < options. What is wrong with any of them is a usage error. */
export async function readSettings(file: string | undefined, options: Partial<Settings>): Promise<Settings> {
  const fromFile = file === undefined ? {} : await readSettingsFile(file);
  return usage(() => new Config({ file: fromFile, env: process.env, options }).settings);
}

async function readSettingsFile(path: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw new UsageError(
      `--config ${path}: cannot be read (${(error as NodeJS.ErrnoException).code}); check the path`,
    );
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new UsageError(`--config ${path}: not JSON (${(error as Error).message})`);
  }
  usage(() => new Config({ file: json }), `--config ${path}: `);
  return json;
}

function usage<T>(read: () => T, where = ''): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof InputError) throw new UsageError(where + error.message);
    throw error;
  }
}
