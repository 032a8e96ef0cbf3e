import { InputError } from '../errors.ts';
import type { Example, LossChoice } from './examples.ts';
import type { TrainBatch } from './gradients.ts';
import { distillScores, distillVectors } from './losses/distillation.ts';
import type { TrainInput } from './train-input.ts';

/** A query, documents, and how well a teacher finds that each answers it: one score a document, in any scale. */
export type ScoredDocuments = {
  readonly query: TrainInput;
  readonly documents: readonly TrainInput[];
  readonly scores: readonly number[];
};

/** An input and its vector by a teacher, of any length; as many values as the model's vectors have, or fewer. */
export type TaughtVector = { readonly input: TrainInput; readonly vector: Float32Array };

/** Examples with a teacher's scores or vectors → a batch. @throws InputError where they are of several kinds, or of none */
export function taughtBatch(examples: readonly Example[], choice: LossChoice): TrainBatch {
  const lists = examples.filter((e) => 'scores' in e);
  const vectors = examples.filter((e) => 'vector' in e);
  const taught = lists.length + vectors.length;
  const { loss: asked = 'distillation' } = choice;
  if (taught > 0 && asked !== 'distillation') {
    throw new InputError(
      `${taught} of ${examples.length} examples have a teacher's scores or vector, from which only the loss distillation ` +
        `learns, and ${asked} was asked for; leave out the loss, or give pairs`,
    );
  }
  if (lists.length === examples.length) return listsBatch(lists, choice);
  if (vectors.length === examples.length) {
    const loss = distillVectors(
      vectors.map((e) => e.vector),
      choice,
    );
    return { sides: [vectors.map((e) => e.input)], loss };
  }
  throw new InputError(
    "distillation needs a teacher's scores in every example (query, documents, scores), or a vector in every one (input, " +
      `vector); of ${examples.length} examples ${lists.length} have scores, ${vectors.length} a vector, ` +
      `${examples.length - taught} neither`,
  );
}

/** Each query with its own documents: what the teacher says of those of others is not known. */
function listsBatch(lists: readonly ScoredDocuments[], choice: LossChoice): TrainBatch {
  for (const { documents, scores } of lists) {
    if (documents.length >= 2 && documents.length === scores.length) continue;
    throw new InputError(
      `a query needs two documents at least, and a teacher's score for each; got ${documents.length} documents and ` +
        `${scores.length} scores`,
    );
  }
  const teacher = lists.map((_, i) =>
    lists.flatMap((list, j): readonly (number | null)[] =>
      i === j ? list.scores : list.scores.map(() => null),
    ),
  );
  return {
    sides: [lists.map((e) => e.query), lists.flatMap((e) => e.documents)],
    loss: distillScores(teacher, choice),
  };
}
