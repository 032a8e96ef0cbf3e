import { setTimeout as pause } from 'node:timers/promises';
import { SourceError } from '../errors.ts';
import type { HubRepo } from './hub-repo.ts';
import type { HubSettings } from './hub-settings.ts';

/** Something that may go by itself: try again, not before `afterMs`. Stays inside this room, as the cause of a SourceError. */
export class PassingFault extends Error {
  readonly afterMs: number;

  constructor(message: string, afterMs = 0) {
    super(message);
    this.afterMs = afterMs;
  }
}

export type RequestOptions = {
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  readonly also?: number;
};

/** Whether an error only says that the hub cannot be reached now. */
export const isUnreachable = (error: unknown): boolean =>
  error instanceof SourceError && error.cause instanceof PassingFault;

/**
 * Runs `attempt` again after a `PassingFault`, with growing pauses. `gained` tells how far the work has come: as long as it
 * grows, a bad line may break as often as it likes.
 */
export async function retrying<T>(
  { attempts, pauseMs, longestPauseMs }: HubSettings,
  { what, signal, gained = () => 0 }: { what: string; signal?: AbortSignal; gained?: () => number },
  attempt: () => Promise<T>,
): Promise<T> {
  let best = gained();
  for (let failed = 1; ; failed++) {
    try {
      return await attempt();
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof PassingFault)) throw error;
      if (gained() > best) failed = 1;
      best = Math.max(best, gained());
      if (failed >= attempts) {
        const tried = attempts === 1 ? '' : ` (${attempts} attempts)`;
        throw new SourceError(`${what}: ${error.message}${tried}; try again later, the next start resumes`, {
          cause: error,
        });
      }
      // A little chance in it, so that those who were cut off together do not come back together.
      const grown = pauseMs * 2 ** (failed - 1) * (0.75 + Math.random() / 2);
      await pause(Math.min(Math.max(grown, error.afterMs), longestPauseMs), undefined, { signal }).catch(
        () => {
          signal?.throwIfAborted();
        },
      );
    }
  }
}

/** Where a file of a commit is read. */
export const fileUrl = ({ endpoint }: HubSettings, { name }: HubRepo, commit: string, path: string): string =>
  `${endpoint}/${name}/resolve/${commit}/${path.split('/').map(encodeURIComponent).join('/')}`;

/**
 * One request. The answer is good (or has the status `also`, which the caller understands), or it throws: `PassingFault` when
 * it may be tried again, else `SourceError`.
 */
export async function request(
  settings: HubSettings,
  repo: HubRepo,
  url: string,
  { headers = {}, signal, also }: RequestOptions = {},
): Promise<Response> {
  // fetch itself drops the header when a redirect leaves this origin; a link to another one never gets it.
  const own = originOf(url) === originOf(settings.endpoint);
  const auth: Record<string, string> =
    own && settings.token ? { authorization: `Bearer ${settings.token}` } : {};
  let answer: Response;
  try {
    answer = await fetch(url, { headers: { ...auth, ...headers }, signal });
  } catch (error) {
    throw passing(error, `no answer from ${originOf(url)}`);
  }
  if (answer.ok || answer.status === also) return answer;
  await answer.body?.cancel().catch(() => {});
  const { status } = answer;
  // A refusal from the store behind a redirect means that its signed link is too old: ask the hub for a new one.
  const stale = status === 403 && originOf(answer.url) !== originOf(settings.endpoint);
  if (status === 408 || status === 429 || status >= 500 || stale) {
    throw new PassingFault(
      `${originOf(answer.url)} answered ${status} ${answer.statusText}`,
      waitAsked(answer),
    );
  }
  throw refusal(settings, repo, answer, url);
}

/** An error of fetch, or of a body that it was reading, as a `PassingFault` that says why. */
export function passing(error: unknown, what: string): PassingFault {
  if (error instanceof PassingFault) return error;
  const { message, cause } = error as Error;
  const why = cause as (Error & { code?: string }) | undefined;
  return new PassingFault(`${what} (${why?.message || why?.code || message})`);
}

const originOf = (url: string): string => new URL(url).origin;

/** Retry-After: seconds or a date. */
function waitAsked(answer: Response): number {
  const value = answer.headers.get('retry-after') ?? '';
  const ms = /^\d+$/.test(value) ? 1000 * Number(value) : Date.parse(value) - Date.now();
  return Number.isNaN(ms) ? 0 : Math.max(ms, 0);
}

function refusal(settings: HubSettings, repo: HubRepo, answer: Response, url: string): SourceError {
  const { status, headers } = answer;
  const page = `${settings.endpoint}/${repo.name}`;
  const code = headers.get('x-error-code');
  const asked = `${repo.name}@${repo.revision}`;
  if (status === 404) {
    const what =
      code === 'RevisionNotFound'
        ? `the repository has no revision "${repo.revision}"`
        : code === 'EntryNotFound'
          ? `the file ${url} is not there`
          : 'there is no such repository or revision';
    return new SourceError(
      `${asked}: ${what} (${settings.endpoint} answered 404); check the name on ${page}, or the path if a folder was meant`,
    );
  }
  if (status === 401 || status === 403) {
    const why = settings.token
      ? 'the access token is not good for it: it is wrong or too old, it may not read this repository, or its owner has not ' +
        'accepted the licence'
      : 'there is no such repository, or it is private or gated';
    return new SourceError(
      `${asked}: ${settings.endpoint} answered ${status}: ${why}. Check the name (or the path, if a folder was meant); if it is right, accept the licence on ` +
        `${page} and set HF_TOKEN to an access token of that account (${settings.endpoint}/settings/tokens)`,
    );
  }
  const hint = headers.get('x-error-message') ?? `check HF_ENDPOINT and ${page}`;
  return new SourceError(`${asked}: ${url} answered ${status} ${answer.statusText}; ${hint}`);
}
