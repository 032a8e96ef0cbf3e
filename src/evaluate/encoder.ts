import type { Settings } from '../config.ts';
import { InputError, SourceError } from '../errors.ts';
import type { ImageInput } from '../image/rgb-image.ts';
import type { EmbedderCore } from '../jina-embeddings.ts';
import type { OnProgress } from '../options.ts';
import type { Embedding } from '../output/similarity.ts';
import { errorAt, type Placed } from './places.ts';
import { takeTurns } from './turns.ts';

/** Something to embed. */
export type Item = { readonly text: string } | { readonly image: ImageInput };

/** Something to embed of a data set. */
export type PlacedItem = Placed & { readonly item: Item };

export type EncodeWish = {
  /** Adapter by task; null is the backbone alone. */
  readonly task: string | null;
  readonly promptName: Settings['promptName'];
  readonly multivector?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
};

/** All that an evaluation asks of a model: full-size float32 embeddings, in the order of the items. */
export type Encode = (items: readonly Item[], wish: EncodeWish) => Promise<readonly Embedding[]>;

/** What every evaluation is told. */
export type EvaluationRun = {
  readonly encode: Encode;
  /** Each is evaluated; null is the backbone alone. */
  readonly adapters: readonly (string | null)[];
  /** Matryoshka sizes, of which each is evaluated. */
  readonly sizes: readonly number[];
  readonly signal?: AbortSignal;
  /** Items embedded so far, and in all, over all adapters. */
  readonly onProgress?: OnProgress;
};

export type Score = {
  readonly adapter: string | null;
  /** Values of a vector. */
  readonly size: number;
  /** By name; NaN where a metric has no meaning (constant scores have no correlation). */
  readonly metrics: Readonly<Record<string, number>>;
};

/** What an evaluation found: numbers of the data, and the metrics of every adapter at every size. */
export type Report = {
  readonly task: 'retrieval' | 'similarity' | 'classification' | 'clustering';
  readonly counts: Readonly<Record<string, number>>;
  readonly multivector: boolean;
  readonly scores: readonly Score[];
};

/** The embedder of the high-level API as evaluations use it. Its settings for sizes and precision do not matter here. */
export const encodeWith =
  (embedder: Pick<EmbedderCore, 'encode'>): Encode =>
  (items, { multivector = false, ...wish }) =>
    embedder.encode(items, {
      ...wish,
      precision: 'float32',
      truncateDim: null,
      returnMultivector: multivector,
    });

/** An evaluation under way: sizes in order, one count of progress over all adapters, turns for timers and aborts. */
export type Started = EvaluationRun & {
  readonly sizes: readonly number[];
  readonly turn: () => Promise<void> | undefined;
  /** Embeds and counts. What is wrong with an item is told with its place. */
  embed(
    placed: readonly PlacedItem[],
    wish: Omit<EncodeWish, 'signal' | 'onProgress'>,
  ): Promise<readonly Embedding[]>;
};

/** @throws InputError when there is no adapter or no size to evaluate */
export function startRun(run: EvaluationRun, itemsOfAnAdapter: number): Started {
  const sizes = [...new Set(run.sizes)].sort((a, b) => a - b);
  if (sizes.length === 0 || run.adapters.length === 0)
    throw new InputError(
      `nothing to evaluate: ${run.adapters.length} adapters at ${sizes.length} sizes; name one of each or more (null is the backbone alone)`,
    );
  const total = itemsOfAnAdapter * run.adapters.length;
  let done = 0;
  return {
    ...run,
    sizes,
    turn: takeTurns(run.signal),
    async embed(placed, wish) {
      const items = placed.map(({ item }) => item);
      const onProgress = (part: number) => run.onProgress?.(done + part, total);
      try {
        const embeddings = await run.encode(items, { ...wish, signal: run.signal, onProgress });
        done += items.length;
        return embeddings;
      } catch (error) {
        const about = error instanceof InputError || error instanceof SourceError ? error.input : undefined;
        const where = about === undefined ? undefined : placed[about]?.where;
        throw where === undefined ? error : errorAt(where, error);
      }
    },
  };
}

/** Full-size single vectors of all items. */
export const embedVectors = async (
  run: Started,
  placed: readonly PlacedItem[],
  wish: Omit<EncodeWish, 'signal' | 'onProgress' | 'multivector'>,
): Promise<readonly Float32Array[]> => (await run.embed(placed, wish)) as readonly Float32Array[];
