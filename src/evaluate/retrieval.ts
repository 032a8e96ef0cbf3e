import { InputError } from '../errors.ts';
import { type Embedding, similarityOf } from '../output/similarity.ts';
import { BestDocuments } from './best-documents.ts';
import type { EvaluationRun, PlacedItem, Report, Score, Started } from './encoder.ts';
import { startRun } from './encoder.ts';
import { cosinesAt, type Measured, measured } from './matryoshka.ts';
import { filesFirst } from './places.ts';
import { type Judgments, rankingMetrics, relevantCount } from './ranking-metrics.ts';

export type Identified = PlacedItem & { readonly id: string };

/** A collection in the sense of BEIR: what is searched with, what is searched, and what should be found. */
export type RetrievalData = {
  readonly queries: readonly Identified[];
  /** By query id. Queries without an entry are not run. */
  readonly judgments: ReadonlyMap<string, Judgments>;
  /** Reads the documents from the first on; called once an adapter, so that they need not be in memory. */
  readonly documents: () => AsyncIterable<Identified> | Iterable<Identified>;
  readonly documentCount: number;
};

export type RetrievalOptions = {
  /** Late interaction: one vector a token, compared by MaxSim, at their one size. Default false. */
  readonly multivector?: boolean;
  /** Documents ranked for a query; MRR and MAP look no further. Default 1000, as BEIR. */
  readonly depth?: number;
};

/** Documents that are embedded and compared together, and then forgotten. */
const GROUP = 256;

/**
 * Ranks all documents for every query and scores the rankings. Queries go with the query prompt, documents with the passage
 * prompt. A document with the id of the query is left out of its ranking, as in BEIR. Memory: the queries' embeddings, one
 * group of documents, `depth` ids a query and size.
 *
 * Means are over the queries that have a relevant document; the others are counted in the report.
 */
export async function evaluateRetrieval(
  data: RetrievalData,
  options: EvaluationRun,
  { multivector = false, depth = 1000 }: RetrievalOptions = {},
): Promise<Report> {
  const judged = data.queries.filter(({ id }) => data.judgments.has(id));
  const queries = judged.filter(({ id }) => relevantCount(data.judgments.get(id) as Judgments) > 0);
  if (queries.length === 0)
    throw new InputError(
      `${filesFirst(data.queries)}no query to evaluate: of ${data.queries.length} queries ${judged.length} have judgments, and none of those a relevant document (a score above 0)`,
    );
  if (data.documentCount === 0) throw new InputError('no documents to search: the corpus is empty');
  const run = startRun(options, queries.length + data.documentCount);
  const scores: Score[] = [];
  for (const task of run.adapters) {
    const embedded = await run.embed(queries, { task, promptName: 'query', multivector });
    const found = multivector
      ? await rankByMaxSim(data, queries, embedded, { run, task, depth })
      : await rankByCosine(data, queries, embedded, { run, task, depth });
    for (const { size, ranked } of found) {
      const each = ranked.map((ids, q) =>
        rankingMetrics(ids, data.judgments.get(queries[q].id) as Judgments),
      );
      scores.push({ adapter: task, size, metrics: meanOf(each) });
    }
  }
  return {
    task: 'retrieval',
    multivector,
    counts: {
      queries: queries.length,
      documents: data.documentCount,
      queriesWithoutRelevant: judged.length - queries.length,
      queriesWithoutJudgments: data.queries.length - judged.length,
    },
    scores,
  };
}

type Pass = { readonly run: Started; readonly task: string | null; readonly depth: number };
type Ranked = { readonly size: number; readonly ranked: readonly (readonly string[])[] };

async function rankByCosine(
  data: RetrievalData,
  queries: readonly Identified[],
  embedded: readonly Embedding[],
  pass: Pass,
): Promise<readonly Ranked[]> {
  const { sizes } = pass.run;
  const measure = (e: Embedding): Measured => measured(e as Float32Array, sizes);
  const wanted = embedded.map(measure);
  const best = sizes.map(() => queries.map(() => new BestDocuments(pass.depth)));
  for await (const { id, embedding } of embedDocuments(data, false, pass)) {
    const document = measure(embedding);
    queries.forEach((query, q) => {
      if (query.id === id) return;
      cosinesAt(wanted[q], document, sizes).forEach((score, s) => {
        best[s][q].offer(id, score);
      });
    });
  }
  return sizes.map((size, s) => ({ size, ranked: best[s].map((b) => b.ranked()) }));
}

async function rankByMaxSim(
  data: RetrievalData,
  queries: readonly Identified[],
  embedded: readonly Embedding[],
  pass: Pass,
): Promise<readonly Ranked[]> {
  const best = queries.map(() => new BestDocuments(pass.depth));
  for await (const { id, embedding } of embedDocuments(data, true, pass)) {
    for (const [q, query] of queries.entries()) {
      if (query.id !== id) best[q].offer(id, similarityOf(embedded[q], embedding, 'maxsim'));
      await pass.run.turn();
    }
  }
  const rows = embedded[0] as readonly Float32Array[];
  return [{ size: rows[0].length, ranked: best.map((b) => b.ranked()) }];
}

/** Documents with their embeddings, a group in memory at a time. */
async function* embedDocuments(
  data: RetrievalData,
  multivector: boolean,
  { run, task }: Pass,
): AsyncGenerator<{ readonly id: string; readonly embedding: Embedding }> {
  let group: Identified[] = [];
  const embedded = async () => {
    const embeddings = await run.embed(group, { task, promptName: 'passage', multivector });
    return group.map(({ id }, i) => ({ id, embedding: embeddings[i] }));
  };
  const oneByOne = async function* () {
    for (const document of await embedded()) {
      yield document;
      await run.turn();
    }
  };
  for await (const document of data.documents()) {
    group.push(document);
    if (group.length < GROUP) continue;
    yield* oneByOne();
    group = [];
  }
  if (group.length > 0) yield* oneByOne();
}

function meanOf(each: readonly Readonly<Record<string, number>>[]): Readonly<Record<string, number>> {
  const names = Object.keys(each[0]);
  return Object.fromEntries(
    names.map((name) => [name, each.reduce((sum, metrics) => sum + metrics[name], 0) / each.length]),
  );
}
