import type { Item } from '../evaluate/encoder.ts';
import { errorAt } from '../evaluate/places.ts';
import type { EmbedderCore } from '../jina-embeddings.ts';
import { prepareImage, prepareText } from '../prepare.ts';
import type { PromptName } from '../text/prompts.ts';
import type { Example, ExampleSource } from './examples.ts';
import type { ExampleRecord } from './records.ts';
import type { TrainInput } from './train-input.ts';

export type PrepareOptions = {
  /** Prefix of anchors that are texts. Default: query. */
  readonly anchorPrompt?: PromptName;
  /** Prefix of positives and negatives. Default: passage, and query for scored pairs, whose sides are of one kind. */
  readonly positivePrompt?: PromptName;
  readonly signal?: AbortSignal;
};

/**
 * Records → examples, tokenised and cut into patches when they are asked for, as the embedder would for an embedding.
 * What is wrong with an image is told with file and line.
 */
export function exampleSource(
  embedder: Pick<EmbedderCore, 'tokenizer' | 'images' | 'config'>,
  records: readonly ExampleRecord[],
  { anchorPrompt = 'query', positivePrompt, signal }: PrepareOptions = {},
): ExampleSource {
  const { tokenizer, images, config } = embedder;
  const prepare = async (item: Item, promptName: PromptName): Promise<TrainInput> => {
    const settings = { ...config.settings, promptName };
    const request = { index: 0, task: null, adapter: null, choice: [] };
    if ('text' in item) {
      return prepareText({ ...request, type: 'text', text: item.text }, tokenizer, settings, {});
    }
    return prepareImage(
      { ...request, type: 'image', image: item.image },
      tokenizer,
      images,
      settings,
      signal,
    );
  };
  const exampleOf = async ({
    anchor,
    positive,
    negatives,
    score,
    where,
  }: ExampleRecord): Promise<Example> => {
    const other = positivePrompt ?? (score === null ? 'passage' : 'query');
    try {
      return {
        anchor: await prepare(anchor, anchorPrompt),
        positive: await prepare(positive, other),
        negatives: await Promise.all(negatives.map((n) => prepare(n, other))),
        ...(score === null ? {} : { score }),
        where,
      };
    } catch (cause) {
      throw errorAt(where, cause);
    }
  };
  return {
    length: records.length,
    records,
    at: (index) => (records[index] ? exampleOf(records[index]) : undefined),
  };
}
