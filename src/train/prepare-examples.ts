import type { Item } from '../evaluate/encoder.ts';
import { errorAt } from '../evaluate/places.ts';
import type { EmbedderCore } from '../jina-embeddings.ts';
import { prepareImage, prepareText } from '../prepare.ts';
import type { PromptName } from '../text/prompts.ts';
import type { Example, ExampleSource, PairExample } from './examples.ts';
import type { ExampleRecord, PairRecord } from './records.ts';
import type { TeacherRecord } from './teacher-records.ts';
import type { TrainInput } from './train-input.ts';

export type PrepareOptions = {
  /** Prefix of anchors, queries and inputs of a teacher's vectors that are texts. Default: query. */
  readonly anchorPrompt?: PromptName;
  /** Prefix of positives, negatives and documents. Default: passage, and query for scored pairs, whose sides are of one kind. */
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
  const pairOf = async ({ anchor, positive, negatives, score }: PairRecord): Promise<PairExample> => {
    const other = positivePrompt ?? (score === null ? 'passage' : 'query');
    return {
      anchor: await prepare(anchor, anchorPrompt),
      positive: await prepare(positive, other),
      negatives: await Promise.all(negatives.map((n) => prepare(n, other))),
      ...(score === null ? {} : { score }),
    };
  };
  const taughtOf = async (record: TeacherRecord): Promise<Example> => {
    if ('vector' in record) {
      return { input: await prepare(record.item, anchorPrompt), vector: record.vector };
    }
    const { query, documents, scores } = record;
    return {
      query: await prepare(query, anchorPrompt),
      documents: await Promise.all(documents.map((d) => prepare(d, positivePrompt ?? 'passage'))),
      scores,
    };
  };
  const exampleOf = async (record: ExampleRecord): Promise<Example> => {
    const { where } = record;
    try {
      return { ...(await ('positive' in record ? pairOf(record) : taughtOf(record))), where };
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
