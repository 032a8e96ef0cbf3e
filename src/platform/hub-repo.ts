import { InputError } from '../errors.ts';

/** A model repository on the hub, at a branch, tag or commit. */
export type HubRepo = { readonly name: string; readonly revision: string };

// As huggingface_hub checks names (utils/_validators.py, validate_repo_id). What starts with a dot or a slash is a path.
const NAME = /^(?!.*(?:--|\.\.))[A-Za-z0-9_][\w.-]{0,95}\/[A-Za-z0-9_][\w.-]{0,95}$/;

/**
 * `owner/name` or `owner/name@revision`, with `hf:` before it or not; `null` when the text is something else, such as a path.
 * @throws InputError when `hf:` says that it is a repository and it cannot be one, or when two revisions are asked for
 */
export function parseHubRepo(source: string, revision?: string): HubRepo | null {
  const [, prefix, name, named] = /^(hf:(?:\/\/)?)?([^@]*)(?:@(.*))?$/s.exec(source)!;
  if (!NAME.test(name)) {
    if (!prefix) return null;
    throw new InputError(
      `"${source}": expected hf:owner/name or hf:owner/name@revision; check the name on the model's page`,
    );
  }
  if (named !== undefined && revision !== undefined && named !== revision) {
    throw new InputError(
      `"${source}" asks for revision ${named}, the option "revision" for ${revision}; give only one`,
    );
  }
  const asked = named ?? revision ?? 'main';
  // It becomes a file name in the cache (refs/<revision>), so it must not lead out of there.
  if (/^[^\s\\:]+$/.test(asked) && asked.split('/').every((part) => !['', '.', '..'].includes(part))) {
    return { name, revision: asked };
  }
  throw new InputError(
    `"${source}": "${asked}" cannot be a revision; give a branch, a tag or a commit (main, v1.0, refs/pr/9, 4a58ca5…)`,
  );
}

/** A full commit hash: what it names never changes. */
export const isCommit = (revision: string): boolean => /^[0-9a-f]{40}$/.test(revision);
