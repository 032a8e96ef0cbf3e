import { treeSegments } from '../../weights/tree-path.ts';
import { SourceError } from '../errors.ts';
import type { HubRepo } from './hub-repo.ts';
import { passing, request, retrying } from './hub-request.ts';
import type { HubSettings } from './hub-settings.ts';

/** A file of a repository. `etag` names its content: SHA-256 when it is in LFS, else the id that git gives it. */
export type HubFile = { readonly path: string; readonly size: number; readonly etag: string };

/** What a revision is at the moment. */
export type HubRevision = { readonly commit: string; readonly licence: string };

/** What `JinaEmbeddings.load` reads, of a model or of an adapter alone; not code, pictures or weights in other formats. */
const WANTED =
  /^(?:(?:config|preprocessor_config|tokenizer|tokenizer_config|adapter_config)\.json|model[^/]*\.safetensors(?:\.index\.json)?|adapter_model\.safetensors|adapters\/.+\.(?:json|safetensors))$/;

/** The commit that a branch or tag stands for, and the licence that the model card states. */
export async function findRevision(
  settings: HubSettings,
  repo: HubRepo,
  signal?: AbortSignal,
): Promise<HubRevision> {
  const { sha, cardData } = await asking(settings, async () => {
    const { modelInfo } = await import('@huggingface/hub');
    return modelInfo({
      name: repo.name,
      revision: repo.revision,
      additionalFields: ['sha', 'cardData'],
      hubUrl: settings.endpoint,
      fetch: apiFetch(settings, repo, signal),
    });
  });
  if (typeof sha === 'string' && /^[0-9a-f]{40}$/.test(sha)) {
    return { commit: sha, licence: licenceOf(settings, repo, { ...cardData }) };
  }
  throw notAHub(settings, `it gives ${JSON.stringify(sha)} as the commit`);
}

/** The files of a commit that are needed. */
export async function listWanted(
  settings: HubSettings,
  repo: HubRepo,
  commit: string,
  signal?: AbortSignal,
): Promise<readonly HubFile[]> {
  const files = await asking(settings, async () => {
    const { listFiles } = await import('@huggingface/hub');
    const found: HubFile[] = [];
    for await (const entry of listFiles({
      repo: repo.name,
      revision: commit,
      recursive: true,
      hubUrl: settings.endpoint,
      fetch: apiFetch(settings, repo, signal),
    })) {
      if (entry.type !== 'file' || !WANTED.test(entry.path)) continue;
      const { oid, size } = entry.lfs ?? entry;
      found.push({ path: entry.path, size, etag: oid ?? '' });
    }
    return found;
  });
  for (const { path, size, etag } of files) {
    treeSegments(repo.name, path);
    if (!/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(etag) || !Number.isSafeInteger(size) || size < 0) {
      throw notAHub(settings, `it lists ${path} with the id "${etag}" and the size ${size}`);
    }
  }
  if (files.length > 0) return files;
  throw new SourceError(
    `${repo.name}@${repo.revision}: no file there is one of a checkpoint (config.json, tokenizer.json, model*.safetensors, ` +
      'adapters/); is it the right repository?',
  );
}

/** fetch for the library: with our token, patience and errors. Answers are small, so a cut one is asked for again whole. */
const apiFetch =
  (settings: HubSettings, repo: HubRepo, signal?: AbortSignal): typeof fetch =>
  (input, init) =>
    retrying(settings, { what: `${repo.name}@${repo.revision}`, signal }, async () => {
      const url = String(input instanceof Request ? input.url : input);
      const limit = AbortSignal.timeout(settings.silenceMs);
      const answer = await request(settings, repo, url, {
        headers: Object.fromEntries(new Headers(init?.headers)),
        signal: signal ? AbortSignal.any([signal, limit]) : limit,
      });
      const text = await answer.text().catch((error) => {
        throw passing(error, 'the answer broke off');
      });
      return new Response(text, { status: answer.status, headers: answer.headers });
    });

async function asking<T>(settings: HubSettings, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    // The library reads JSON and trusts it; a page of a proxy, say, ends as one of these.
    if (error instanceof SyntaxError || error instanceof TypeError)
      throw notAHub(settings, error.message, error);
    throw error;
  }
}

const notAHub = ({ endpoint }: HubSettings, why: string, cause?: Error): SourceError =>
  new SourceError(`${endpoint} does not answer as a model hub (${why}); check HF_ENDPOINT`, { cause });

/** One line, from the front matter of the repository's README. */
function licenceOf(
  { endpoint }: HubSettings,
  { name }: HubRepo,
  card: Readonly<Record<string, unknown>>,
): string {
  const page = `${endpoint}/${name}`;
  const given = card.license === 'other' ? (card.license_name ?? card.license) : card.license;
  const link = typeof card.license_link === 'string' ? card.license_link : '';
  const terms = URL.canParse(link) ? link : link ? `${page}/blob/main/${encodeURI(link)}` : page;
  if (given === undefined || given === null)
    return `${name} states no licence; read ${page} before you use it`;
  const licence = [given].flat().join(', ');
  return `${name} is under its makers' licence "${licence}", not under this package's; read it before you use the model: ${terms}`;
}
