import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { FileTree } from '../../weights/byte-source.ts';
import { InputError } from '../errors.ts';
import type { JinaEmbeddings } from '../platform/node.ts';
import type { Calibration } from '../quantize/quantize-checkpoint.ts';
import { UsageError } from './exit.ts';
import { type Input, linesOf, parseInputLine } from './input-lines.ts';
import { notReadable } from './inputs.ts';
import type { Session } from './session.ts';

type Line = Input & { readonly where: string };

/** A calibration, and what frees its model. */
export type OpenCalibration = Calibration & { dispose(): void };

/**
 * The inputs of a file, and the model of `tree` that they will run through. All lines are read and all images are opened
 * first: what is wrong with them is told before anything is written. A line without a task runs as one that says what its
 * turn is: the backbone alone, then each adapter.
 * @throws InputError naming file and line
 */
export async function openCalibration(
  file: string,
  tree: FileTree,
  { terminal, signal }: Session,
): Promise<OpenCalibration> {
  const { lines, sha256 } = await readLines(file, signal);
  const tf = await import('@tensorflow/tfjs-core');
  tf.enableProdMode();
  const { JinaEmbeddings } = await import('../platform/node.ts');
  const { calibrate } = await import('../quantize/calibrate.ts');
  const { calibrationBatches } = await import('../quantize/calibration-batches.ts');
  const model = await JinaEmbeddings.load(tree, { signal, onNotice: terminal.warn });
  const inputs = lines.map(({ where, task, ...input }, i) => ({
    where,
    task: task === undefined ? turnOf(model, i) : task,
    input: 'text' in input ? { text: input.text } : { image: input.image },
  }));
  try {
    const batches = calibrationBatches(model, inputs, signal);
    return {
      inputs: { inputs: lines.length, sha256 },
      async *round(maps) {
        const progress = await terminal.progress('calibrating', (done, total) => `block ${done} of ${total}`);
        try {
          yield* calibrate(model.model, batches, { maps, signal, onProgress: progress.update });
        } finally {
          progress.stop();
        }
      },
      dispose: () => model.dispose(),
    };
  } catch (error) {
    model.dispose();
    throw error;
  }
}

function turnOf({ model }: JinaEmbeddings, i: number): string | null {
  const tasks = [null, ...model.adapters.keys()];
  return tasks[i % tasks.length];
}

/** The lines, and a SHA-256 of them and of the images that they name. */
async function readLines(
  file: string,
  signal: AbortSignal,
): Promise<{ readonly lines: readonly Line[]; readonly sha256: string }> {
  const { nodeDoor } = await import('../platform/node.ts');
  const hash = createHash('sha256');
  const lines: Line[] = [];
  const stream = createReadStream(file, { signal });
  let number = 0;
  try {
    for await (const text of linesOf(stream, file)) {
      const where = `${file}:${++number}`;
      if (text.trim() === '') continue;
      const line = { ...parseInputLine(text, where), where };
      hash.update(`${text}\n`);
      if ('image' in line) hash.update(await told(where, nodeDoor.readBytes(line.image, signal)));
      lines.push(line);
    }
  } catch (error) {
    signal.throwIfAborted();
    throw (error as NodeJS.ErrnoException).syscall ? notReadable(file, error) : error;
  } finally {
    stream.destroy();
  }
  if (lines.length === 0) throw new UsageError(`nothing to calibrate with: ${file} has no lines`);
  return { lines, sha256: hash.digest('hex') };
}

/** What is wrong with a line's input, with the line. */
const told = <T>(where: string, promise: Promise<T>): Promise<T> =>
  promise.catch((cause: Error) => {
    throw new InputError(`${where}: ${cause.message}`, { cause });
  });
