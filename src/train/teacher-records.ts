import type { Item } from '../evaluate/encoder.ts';
import { type ImagePath, itemOf, type Line, wrong } from '../evaluate/records.ts';

/** A query and documents with a teacher's score for each, as a file has them. */
export type ScoredDocumentsRecord = {
  readonly query: Item;
  readonly documents: readonly Item[];
  readonly scores: readonly number[];
  readonly where: string;
};

/** A text or an image and a teacher's vector of it, as a file has them. */
export type TaughtVectorRecord = {
  readonly item: Item;
  readonly vector: Float32Array;
  readonly where: string;
};

export type TeacherRecord = ScoredDocumentsRecord | TaughtVectorRecord;

type Fields = Readonly<Record<string, unknown>>;

/**
 * `{"query": …, "documents": […], "scores": […]}`, also with `anchor` or `a` for the query, or
 * `{"text" or "image": …, "vector": […]}`. → null where the line has none of documents, scores and vector
 * @param item a text, `{"text": …}` or `{"image": path}` → what it is
 */
export function parseTeacherRecord(
  record: Fields,
  { line, where }: Line,
  image: ImagePath,
  item: (value: unknown, name: string) => Item,
): TeacherRecord | null {
  if (record.vector !== undefined) {
    const vector = Float32Array.from(numbersOf(record.vector, 'vector', line, where));
    if (vector.length === 0 || vector.every((v) => v === 0))
      throw wrong(where, line, '"vector" must have a direction, and it has no value other than 0');
    return { item: itemOf(record, line, where, image), vector, where };
  }
  if (record.documents === undefined && record.scores === undefined) return null;
  const name = ['query', 'anchor', 'a'].find((n) => record[n] !== undefined);
  if (name === undefined) throw wrong(where, line, 'no "query"; "documents" and "scores" need one');
  const { documents } = record;
  if (!Array.isArray(documents) || documents.length < 2)
    throw wrong(where, line, '"documents" must be a list of two or more, with a teacher\'s score for each');
  const scores = numbersOf(record.scores, 'scores', line, where);
  if (scores.length !== documents.length)
    throw wrong(
      where,
      line,
      `${scores.length} "scores" for ${documents.length} "documents"; give one for each`,
    );
  return {
    query: item(record[name], name),
    documents: documents.map((value) => item(value, 'documents')),
    scores,
    where,
  };
}

/** A list of numbers that are finite in float32, too. */
function numbersOf(value: unknown, name: string, line: string, where: string): readonly number[] {
  if (!Array.isArray(value)) throw wrong(where, line, `"${name}" must be a list of numbers`);
  const strange = value.findIndex((v) => typeof v !== 'number' || !Number.isFinite(Math.fround(v)));
  if (strange < 0) return value as number[];
  throw wrong(
    where,
    line,
    `"${name}" must have finite numbers only, and its value ${strange + 1} is ${String(value[strange])}`,
  );
}

/** @throws InputError that names the first line whose teacher says something else than that of the first line does */
export function checkSameTeacher(records: readonly (TeacherRecord | { readonly where: string })[]): void {
  const first = records[0];
  if (!first) return;
  const stray = records.find((record) => kindOf(record) !== kindOf(first));
  if (!stray) return;
  const { where, vector: _, ...rest } = stray as Partial<TaughtVectorRecord> & { readonly where: string };
  throw wrong(where, JSON.stringify(rest), `${kindOf(stray)}, and the first line has ${kindOf(first)}`);
}

function kindOf(record: TeacherRecord | { readonly where: string }): string {
  if ('vector' in record) return `a "vector" of ${record.vector.length} values`;
  return 'scores' in record ? 'a query with "documents" and "scores"' : 'no teacher\'s "scores" or "vector"';
}

/**
 * The Matryoshka sizes to train: those that were asked for, else all that the model knows. A teacher's vectors teach no size
 * beyond their own length, and that one always.
 * @param width of the model's vectors
 * @throws InputError that names file and line where a teacher's vectors are longer than `width`, or shorter than a size asked
 */
export function sizesToLearn(
  records: readonly (TeacherRecord | { readonly where: string })[],
  { width, known, asked }: Sizes,
): readonly number[] {
  const first = records.find((r): r is TaughtVectorRecord => 'vector' in r);
  if (!first) return asked ?? known;
  const { length } = first.vector;
  const shown = JSON.stringify(first.item);
  if (length > width)
    throw wrong(first.where, shown, `a "vector" of ${length} values, and the model's vectors have ${width}`);
  const tooLong = asked?.find((size) => size > length);
  if (tooLong !== undefined)
    throw wrong(first.where, shown, `a "vector" of ${length} values, too few for the size ${tooLong} asked`);
  return asked ?? [...known.filter((size) => size < length), length];
}

type Sizes = {
  readonly width: number;
  readonly known: readonly number[];
  readonly asked?: readonly number[];
};
