import { SourceError } from '../src/errors.ts';

/**
 * The segments of a relative path inside a tree. File names come out of downloaded index files, so a path that could
 * leave the tree (`..`, a leading `/`, a backslash) is a `SourceError`, on every kind of tree alike.
 */
export function treeSegments(tree: string, path: string): readonly string[] {
  const segments = path.split('/');
  const sound = segments.every((s) => s !== '' && s !== '.' && s !== '..' && !/[\\\0]/.test(s));
  if (sound) return segments;
  throw new SourceError(
    `${tree}: refusing to open ${JSON.stringify(path)}: a path must stay inside this folder (plain names joined by "/")`,
  );
}

/** Whether `path` lies in `folder` or deeper; everything lies in the folder ''. */
export const isBelow = (path: string, folder: string): boolean =>
  folder === '' || path.startsWith(`${folder}/`);
