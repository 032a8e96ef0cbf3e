import { mkdir, readdir, readFile, rename, rm, statfs, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { InputError } from '../../src/errors.ts';
import { elementCount } from '../../weights/dtypes.ts';
import { type CheckpointChoices, type PlannedCheckpoint, planCheckpoint } from './plan-checkpoint.ts';
import { totalBytes } from './tensor-plan.ts';
import { writeTensors } from './write-tensors.ts';

export type MakeCheckpointOptions = CheckpointChoices & {
  /** The folder to write. Its parent is made when it is not there. */
  readonly out: string;
  /** Replaces a folder that already holds a checkpoint of random weights. Nothing else is ever replaced. */
  readonly force?: boolean;
  readonly signal?: AbortSignal;
  /** Bytes of tensors written so far, and in all. */
  readonly onProgress?: (done: number, total: number) => void;
};

export type MadeCheckpoint = {
  readonly folder: string;
  readonly files: readonly string[];
  readonly tensors: number;
  readonly parameters: number;
  readonly bytes: number;
  readonly seconds: number;
};

/**
 * Writes a seeded random checkpoint in the published layout, and never holds more than a few megabytes of it. The folder
 * appears whole or not at all: what fails or is aborted half-way is removed.
 * @throws InputError for a choice that cannot be, a folder that is in the way, or a disk that is too small
 */
export async function makeCheckpoint(options: MakeCheckpointOptions): Promise<MadeCheckpoint> {
  const began = performance.now();
  const { seed = 1, force = false, signal, onProgress } = options;
  const out = resolve(options.out);
  const plan = await planCheckpoint(options);
  const total = totalBytes(plan.tensorFiles);
  await checkFree(out, force);
  await mkdir(dirname(out), { recursive: true });
  await checkRoom(dirname(out), total);
  // Beside the target, so that the last step is a rename on the same disk.
  const draft = join(dirname(out), `.${basename(out)}.${process.pid}.partial`);
  let done = 0;
  const onBytes = (bytes: number) => {
    done += bytes;
    onProgress?.(done, total);
  };
  try {
    for (const { path, text } of plan.textFiles) {
      await mkdir(dirname(join(draft, path)), { recursive: true });
      await writeFile(join(draft, path), text, { flag: 'wx', signal });
    }
    for (const file of plan.tensorFiles)
      await writeTensors(join(draft, file.path), file, { seed, signal, onBytes });
    if (force) await rm(out, { recursive: true, force: true });
    await rename(draft, out);
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    throw error;
  }
  return { folder: out, ...contentsOf(plan), bytes: total, seconds: (performance.now() - began) / 1000 };
}

function contentsOf({ tensorFiles, textFiles }: PlannedCheckpoint) {
  const tensors = tensorFiles.flatMap((file) => file.tensors);
  return {
    files: [...textFiles, ...tensorFiles].map((file) => file.path).sort(),
    tensors: tensors.length,
    parameters: tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0),
  };
}

/** A folder that is not there, or empty, or (with force) one that this program wrote. */
async function checkFree(out: string, force: boolean): Promise<void> {
  const entries = await readdir(out).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw new InputError(`${out}: cannot be a folder to write to (${error.code})`, { cause: error });
  });
  if (entries.length === 0) return;
  if (!force) {
    throw new InputError(
      `${out}: the folder is not empty; choose another, or --force to replace a checkpoint of random weights`,
    );
  }
  const config = await readFile(join(out, 'config.json'), 'utf8').catch(() => '');
  if (!/"random_weights":\s*true/.test(config)) {
    throw new InputError(
      `${out}: holds no checkpoint of random weights (config.json with "random_weights": true), and only such a folder is ` +
        'replaced; remove it yourself, or choose another',
    );
  }
}

async function checkRoom(folder: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize > bytes) return;
  const gb = (n: number) => `${(n / 1e9).toFixed(2)} GB`;
  throw new InputError(
    `${folder}: the checkpoint takes ${gb(bytes)}, the disk has ${gb(bavail * bsize)} free; ` +
      'make room, choose another disk, or fewer --layers',
  );
}
