import { type BatchLimits, groupBy, planBatches } from './batches.ts';
import type { Settings } from './config.ts';
import { InputError, SourceError } from './errors.ts';
import type { ImageProcessor } from './image/image-processor.ts';
import type { EncodeOptions } from './options.ts';
import { type Prepared, prepareImage, prepareText, type Request } from './prepare.ts';
import type { TextTokenizer } from './text/tokenizer.ts';

type Readers = { readonly tokenizer: TextTokenizer; readonly images: ImageProcessor };

/** Texts that may share a pass grouped by length, then images in their order (their pixels are read one batch at a time). */
export async function* preparedBatches(
  { tokenizer, images }: Readers,
  requests: readonly Request[],
  settings: Settings,
  options: EncodeOptions,
  { passOf, ...limits }: BatchLimits & { readonly passOf: (prepared: Prepared) => unknown },
): AsyncGenerator<readonly Prepared[]> {
  const texts = requests
    .filter((r) => r.type === 'text')
    .map((r) => prepareText(r, tokenizer, settings, options));
  for (const group of groupBy(texts, passOf)) {
    const lengths = group.map((t) => t.ids.length);
    for (const batch of planBatches(lengths, limits)) yield batch.map((i) => group[i]);
  }
  let batch: Prepared[] = [];
  let tokens = 0;
  for (const request of requests) {
    if (request.type !== 'image') continue;
    const next = await prepareImage(request, tokenizer, images, settings, options.signal).catch((error) => {
      if (error instanceof InputError || error instanceof SourceError) error.input = request.index;
      throw error;
    });
    const full = batch.length >= limits.batchSize || tokens + next.ids.length > limits.tokenBudget;
    if (batch.length > 0 && full) {
      yield batch;
      [batch, tokens] = [[], 0];
    }
    batch.push(next);
    tokens += next.ids.length;
  }
  if (batch.length > 0) yield batch;
}
