import { InvalidArgumentError } from 'commander';
import { openTemporaryFile } from './temporary-file.ts';

/** The value of `--html`, judged before anything is computed. */
export function htmlName(path: string): string {
  if (/\.html?$/i.test(path)) return path;
  throw new InvalidArgumentError('The report is a web page: expected a name that ends in .html.');
}

/** Writes a page where `--html` asks for one; `page` is made only then. The file appears when it is whole. */
export async function writeHtml(path: string | undefined, page: () => Promise<string>): Promise<void> {
  if (path === undefined) return;
  const file = await openTemporaryFile(path);
  try {
    await file.append(await page());
    await file.commit();
  } finally {
    await file.discard();
  }
}
