import { createHash, type Hash } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { SourceError } from '../errors.ts';
import { isThere } from './hub-cache.ts';
import { onDisk } from './hub-disk.ts';
import type { HubFile } from './hub-listing.ts';
import { type BlobJob, type Growing, receive } from './hub-receive.ts';
import { retrying } from './hub-request.ts';

/** Reading back what an earlier run left, in pieces: often enough to notice an abort. */
const rereadBytes = 8 * 2 ** 20;

/**
 * Fetches into `<blob>.incomplete`, going on where an earlier run was cut off, and gives the file its name only when length and
 * hash are right. The caller holds the lock of this blob.
 */
export async function fetchBlob(job: BlobJob): Promise<void> {
  const { settings, file, blob, signal } = job;
  if (await isThere(blob, file.size)) return job.onPlace(file.size, 0);
  const path = `${blob}.incomplete`;
  const what = `${job.repo.name}: ${file.path}`;
  const partial = await openPartial(path, job);
  try {
    for (let round = 1; ; round++) {
      await retrying(settings, { what, signal, gained: () => partial.at }, () =>
        receive(job, partial, () => startOver(path, partial, job)),
      );
      const found = partial.hash.digest('hex');
      if (found === file.etag) break;
      await startOver(path, partial, job);
      // Once may be the fault of what an earlier run left on disk, or of the line.
      if (round === 2) {
        throw new SourceError(
          `${what}: the bytes are not the ones that were published: expected ${hashName(file)} ${file.etag}, found ${found}, ` +
            'also at a second attempt; something between here and there changes them (a proxy?), or its disk is damaged',
        );
      }
    }
    await onDisk(blob, 0, () => partial.handle.sync());
  } finally {
    await partial.handle.close();
  }
  await putInPlace(path, job);
}

async function openPartial(path: string, job: BlobJob): Promise<Growing> {
  const partial = await onDisk(job.blob, job.file.size, async () => {
    await mkdir(dirname(path), { recursive: true });
    return { handle: await open(path, constants.O_RDWR | constants.O_CREAT), hash: newHash(job.file), at: 0 };
  });
  try {
    await reread(path, partial, job);
    return partial;
  } catch (error) {
    await partial.handle.close();
    throw error;
  }
}

/** Takes what an earlier run left into account. */
async function reread(path: string, partial: Growing, job: BlobJob): Promise<void> {
  const { size } = await partial.handle.stat();
  if (size > job.file.size) return startOver(path, partial, job);
  const piece = new Uint8Array(Math.min(rereadBytes, size));
  while (partial.at < size) {
    job.signal?.throwIfAborted();
    const { bytesRead } = await partial.handle.read(piece, 0, piece.length, partial.at);
    if (bytesRead === 0) break;
    partial.hash.update(piece.subarray(0, bytesRead));
    partial.at += bytesRead;
    job.onPlace(partial.at, 0);
  }
}

/** A new file instead of a shorter one: should the old one be somebody's by a broken lock, it stays whole. */
async function startOver(path: string, partial: Growing, job: BlobJob): Promise<void> {
  await partial.handle.close();
  await onDisk(job.blob, job.file.size, async () => {
    await rm(path, { force: true });
    partial.handle = await open(path, constants.O_RDWR | constants.O_CREAT);
  });
  partial.hash = newHash(job.file);
  partial.at = 0;
  job.onPlace(0, 0);
}

async function putInPlace(path: string, job: BlobJob): Promise<void> {
  if (!(await isThere(path, job.file.size)) && !(await isThere(job.blob, job.file.size))) {
    throw new SourceError(`${path}: changed while it was written; is another program downloading, too?`);
  }
  await onDisk(job.blob, 0, () => rename(path, job.blob)).catch(async (error) => {
    // Taken over by another process, whose bytes are as good.
    if (!(await isThere(job.blob, job.file.size))) throw error;
  });
}

/** LFS names a file by its SHA-256, git by the SHA-1 of a header and the bytes. */
const newHash = ({ etag, size }: HubFile): Hash =>
  etag.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);

const hashName = ({ etag }: HubFile): string => (etag.length === 64 ? 'SHA-256' : 'git SHA-1');
