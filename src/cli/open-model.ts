import type { OutputPrecision, Settings } from '../config.ts';
import type { EncodeOptions } from '../options.ts';
import type { HubProgress, JinaEmbeddings } from '../platform/node.ts';
import { bytes, bytesOfAll, duration } from './amounts.ts';
import { UsageError } from './exit.ts';
import { type ModelOptions, NO_TASK } from './options.ts';
import type { Session } from './session.ts';
import { readSettings } from './settings.ts';

/** The settings, with those from command-line options on top; what was not given there stays as it is. */
export async function settingsOf(
  options: ModelOptions & { readonly precision?: OutputPrecision },
): Promise<Settings> {
  if (options.multivector && options.dim !== undefined) {
    throw new UsageError(
      '--dim shortens single vectors; multi-vectors have one size: leave out --dim or --multivector',
    );
  }
  return readSettings(options.config, {
    task: options.task === NO_TASK ? undefined : options.task,
    promptName: options.prompt,
    truncateDim: options.dim,
    device: options.device,
    residence: options.residence,
    batchSize: options.batchSize,
    maxPixels: options.maxPixels,
    maxLength: options.maxLength,
    precision: options.precision,
  });
}

/** What every call of a command has in common; everything else is in the settings. */
export const callOptions = (options: ModelOptions, { signal }: Session) =>
  ({
    ...(options.task === NO_TASK ? { task: null } : {}),
    returnMultivector: options.multivector ?? false,
    signal,
  }) satisfies EncodeOptions;

/** Loads the model of `--model`, with a bar while it reads. TF.js and everything on it is imported here, not before. */
export async function openModel(
  options: Pick<ModelOptions, 'model'>,
  settings: Settings,
  { terminal, signal }: Session,
): Promise<JinaEmbeddings> {
  let download: HubProgress | null = null;
  const fetching = await terminal.progress(
    'downloading',
    (done, total) => bytesOfAll(done, total) + paceOf(download),
  );
  const progress = await terminal.progress('loading', bytesOfAll);
  try {
    const tf = await import('@tensorflow/tfjs-core');
    // At its first tensor the cpu backend prints an advertisement to stderr ("Hi, looks like you are running TensorFlow.js in
    // Node.js"). Production mode, which an application should be in anyway, is the switch that TF.js has for it.
    tf.enableProdMode();
    const { JinaEmbeddings } = await import('../platform/node.ts');
    return await JinaEmbeddings.load(options.model ?? null, {
      ...settings,
      signal,
      onDownload: (now) => {
        download = now;
        fetching.update(now.done, now.total);
      },
      onNotice: terminal.warn,
      onProgress: (done, total) => {
        fetching.stop();
        progress.update(done, total);
      },
    });
  } finally {
    fetching.stop();
    progress.stop();
  }
}

/** `, 12 MB/s, 34.0 s left` */
const paceOf = (now: HubProgress | null): string =>
  now && now.secondsLeft !== null
    ? `, ${bytes(now.bytesPerSecond)}/s, ${duration(now.secondsLeft)} left`
    : '';
