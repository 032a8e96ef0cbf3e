import { groupBy, planBatches } from '../batches.ts';
import { InputError } from '../errors.ts';
import type { EmbedderCore } from '../jina-embeddings.ts';
import type { MixedInput } from '../options.ts';
import { kindOf, type Prepared, prepareImage, prepareText, type Request } from '../prepare.ts';
import { adapterFor } from '../wishes.ts';

/** An input, the task that it runs with (null is the backbone alone), and where it stands, for errors. */
export type CalibrationInput = {
  readonly input: MixedInput;
  readonly task: string | null;
  readonly where: string;
};

/**
 * Inputs made ready: texts by adapter and length, then images, whose pixels are read when their turn comes.
 * @throws InputError naming where an input stands: at once for a task that is not there, later for an image that is none
 */
export function calibrationBatches(
  core: EmbedderCore,
  inputs: readonly CalibrationInput[],
  signal?: AbortSignal,
): AsyncGenerator<readonly Prepared[]> {
  const { model, config, name } = core;
  const names = [...model.adapters.keys()];
  const requests = inputs.map(({ input, task, where }, index): Request => {
    try {
      const { label, adapters } = model.resolve(adapterFor(task, config.settings, names, name));
      return { ...kindOf(input, index), index, task, adapter: label, choice: adapters };
    } catch (error) {
      throw at(where, error);
    }
  });
  return prepare(core, requests, (index, error) => at(inputs[index].where, error), signal);
}

const at = (where: string, cause: unknown): InputError =>
  new InputError(`${where}: ${(cause as Error).message}`, { cause });

async function* prepare(
  { tokenizer, images, config: { settings }, device }: EmbedderCore,
  requests: readonly Request[],
  failed: (index: number, error: unknown) => InputError,
  signal?: AbortSignal,
): AsyncGenerator<readonly Prepared[]> {
  const limits = {
    batchSize: settings.batchSize ?? device.batchSize,
    tokenBudget: settings.tokenBudget,
  };
  for (const group of groupBy(requests, (r) => r.adapter)) {
    const texts = group.filter((r) => r.type === 'text').map((r) => prepareText(r, tokenizer, settings, {}));
    const lengths = texts.map(({ ids }) => ids.length);
    for (const batch of planBatches(lengths, limits)) yield batch.map((i) => texts[i]);
    let batch: Prepared[] = [];
    let tokens = 0;
    for (const request of group) {
      if (request.type !== 'image') continue;
      const next = await prepareImage(request, tokenizer, images, settings, signal).catch((error) => {
        signal?.throwIfAborted();
        throw failed(request.index, error);
      });
      tokens += next.ids.length;
      if (batch.length > 0 && (batch.length >= limits.batchSize || tokens > limits.tokenBudget)) {
        yield batch;
        batch = [];
        tokens = next.ids.length;
      }
      batch.push(next);
    }
    if (batch.length > 0) yield batch;
  }
}
