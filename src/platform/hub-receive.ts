import type { Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { SourceError } from '../errors.ts';
import { onDisk } from './hub-disk.ts';
import type { HubFile } from './hub-listing.ts';
import type { HubRepo } from './hub-repo.ts';
import { PassingFault, passing, request } from './hub-request.ts';
import type { HubSettings } from './hub-settings.ts';

/** One file to fetch, and the place in the cache that it shall have. */
export type BlobJob = {
  readonly settings: HubSettings;
  readonly repo: HubRepo;
  readonly file: HubFile;
  readonly url: string;
  readonly blob: string;
  readonly signal?: AbortSignal;
  /** The file is at byte `at`, `fresh` of which have just come over the line. */
  readonly onPlace: (at: number, fresh: number) => void;
};

/** A file that grows: what is in it, and the hash of exactly that. */
export type Growing = { handle: FileHandle; hash: Hash; at: number };

/** One attempt: asks for what is missing and appends it. `PassingFault` when the line breaks; what came before it is kept. */
export async function receive(job: BlobJob, partial: Growing, startOver: () => Promise<void>): Promise<void> {
  const { file, settings, signal } = job;
  if (partial.at === file.size) return;
  const silence = silenceTimer(settings.silenceMs);
  try {
    const answer = await request(settings, job.repo, job.url, {
      headers: {
        'accept-encoding': 'identity', // ranges and lengths are those of the file
        ...(partial.at > 0 ? { range: `bytes=${partial.at}-` } : {}),
      },
      signal: signal ? AbortSignal.any([signal, silence.signal]) : silence.signal,
      also: partial.at > 0 ? 416 : undefined, // what lies on disk cannot be gone on with
    });
    if (!(await fits(job, partial, answer, startOver))) {
      await answer.body?.cancel().catch(() => {});
      throw new PassingFault('the server answered with another part of the file');
    }
    for await (const bytes of bodyOf(answer, job)) {
      silence.touch();
      if (partial.at + bytes.length > file.size) {
        await startOver();
        throw lengthError(job, `more than ${file.size}`);
      }
      await append(job, partial, bytes);
    }
  } finally {
    silence.stop();
  }
  if (partial.at < file.size) {
    throw new PassingFault(
      `wrong length: expected ${file.size} bytes, found ${partial.at} when the answer ended`,
    );
  }
}

/** Whether the answer goes on where the file ends. A server that knows no ranges sends all of it: then the file starts over. */
async function fits(
  job: BlobJob,
  partial: Growing,
  answer: Response,
  startOver: () => Promise<void>,
): Promise<boolean> {
  const { size } = job.file;
  if (answer.status === 416) {
    await startOver();
    return false;
  }
  if (answer.status === 206) {
    const [, begin, total] =
      /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(answer.headers.get('content-range') ?? '') ?? [];
    if (total !== undefined && total !== '*' && Number(total) !== size) {
      await answer.body?.cancel().catch(() => {});
      throw lengthError(job, total);
    }
    if (Number(begin) === partial.at) return true;
    await startOver();
    return false;
  }
  const length = answer.headers.get('content-length');
  // Packed on the way, the length is that of the packed bytes.
  if (length !== null && !answer.headers.has('content-encoding') && Number(length) !== size) {
    await answer.body?.cancel().catch(() => {});
    throw lengthError(job, length);
  }
  if (partial.at > 0) await startOver();
  return true;
}

async function* bodyOf(answer: Response, job: BlobJob): AsyncGenerator<Uint8Array> {
  if (answer.body === null) return;
  try {
    yield* answer.body as ReadableStream<Uint8Array> & AsyncIterable<Uint8Array>;
  } catch (error) {
    throw passing(error, `the connection to ${new URL(job.url).origin} was cut`);
  }
}

async function append(job: BlobJob, partial: Growing, bytes: Uint8Array): Promise<void> {
  for (let from = 0; from < bytes.length; ) {
    const place = partial.at + from;
    const { bytesWritten } = await onDisk(job.blob, job.file.size - place, () =>
      partial.handle.write(bytes, from, bytes.length - from, place),
    );
    from += bytesWritten;
  }
  partial.hash.update(bytes);
  partial.at += bytes.length;
  job.onPlace(partial.at, bytes.length);
}

/** Aborts when nothing has come for a while; fetch itself would wait for five minutes. */
function silenceTimer(ms: number) {
  const controller = new AbortController();
  const timer = setTimeout(() => {
    controller.abort(new PassingFault(`silence for ${ms / 1000} s`));
  }, ms);
  return { signal: controller.signal, touch: () => timer.refresh(), stop: () => clearTimeout(timer) };
}

const lengthError = ({ repo, file }: BlobJob, found: string): SourceError =>
  new SourceError(
    `${repo.name}: ${file.path}: wrong length: expected ${file.size} bytes, found ${found}; ` +
      'the server or a proxy is at fault, or the repository has been changed this moment: try again',
  );
