import { type FileHandle, mkdir, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { SourceError } from '../errors.ts';
import type { TrainReport } from '../train/train-adapter.ts';
import { openTemporaryFile } from './temporary-file.ts';

/** What a run writes beside its adapter: its state, to go on from, and a line for every update. */
export type TrainingFolder = {
  readonly statePath: string;
  /** The state that was kept, to go on from. @throws SourceError where there is none */
  readState(): Promise<Uint8Array>;
  /** Appears when it is whole: a kill leaves the state before. */
  writeState(state: Uint8Array): Promise<void>;
  /** The run is at its end: nobody goes on from it. */
  dropState(): Promise<void>;
  log(report: LoggedStep): Promise<void>;
  /** The lines of the log so far. */
  readonly steps: readonly LoggedStep[];
  close(): Promise<void>;
};

export type LoggedStep = Pick<TrainReport, 'update' | 'epoch' | 'loss' | 'norm' | 'rate'> & {
  readonly seconds: number;
};

/** Makes the folder. `from`: the update at which the log goes on; lines that a kill left behind it are dropped. */
export async function openTrainingFolder(folder: string): Promise<TrainingFolder> {
  await mkdir(folder, { recursive: true }).catch((cause: NodeJS.ErrnoException) => {
    throw new SourceError(`${folder}: cannot be made (${cause.code}); choose another folder`, { cause });
  });
  const statePath = join(folder, 'training-state.safetensors');
  const logPath = join(folder, 'training.jsonl');
  let steps: LoggedStep[] = [];
  let file: FileHandle | null = null;

  /** The log up to an update, in place. */
  const begin = async (update: number): Promise<FileHandle> => {
    const text = update > 0 ? await readFile(logPath, 'utf8').catch(() => '') : '';
    steps = text
      .split('\n')
      .flatMap((line) => parsed(line) ?? [])
      .filter((step) => step.update < update);
    const log = await openTemporaryFile(logPath);
    for (const step of steps) await log.append(`${JSON.stringify(step)}\n`);
    await log.commit();
    return open(logPath, 'a');
  };

  return {
    statePath,
    get steps() {
      return steps;
    },
    readState: () =>
      readFile(statePath).catch((cause: NodeJS.ErrnoException) => {
        throw new SourceError(`${statePath}: no state to go on from (${cause.code}); leave out --resume`, {
          cause,
        });
      }),
    writeState: async (state) => {
      const temporary = await openTemporaryFile(statePath);
      try {
        await temporary.append(state);
        await temporary.commit();
      } finally {
        await temporary.discard();
      }
    },
    dropState: () => rm(statePath, { force: true }),
    log: async (step) => {
      file ??= await begin(step.update);
      steps.push(step);
      await file.write(`${JSON.stringify(step)}\n`);
    },
    close: async () => file?.close(),
  };
}

/** A line of the log; the last one of a killed run may be cut off. */
function parsed(line: string): LoggedStep | null {
  try {
    return JSON.parse(line) as LoggedStep;
  } catch {
    return null;
  }
}
