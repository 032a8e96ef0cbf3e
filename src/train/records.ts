import type { Item } from '../evaluate/encoder.ts';
import {
  type ImagePath,
  isRecord,
  itemOf,
  type Line,
  parseRecord,
  scoreOf,
  wrong,
} from '../evaluate/records.ts';
import { checkSameTeacher, parseTeacherRecord, type TeacherRecord } from './teacher-records.ts';

/** An example as a file has it, and the file and line where it stands. */
export type ExampleRecord = PairRecord | TeacherRecord;

export type PairRecord = {
  readonly anchor: Item;
  readonly positive: Item;
  readonly negatives: readonly Item[];
  readonly score: number | null;
  readonly where: string;
};

/**
 * `{"anchor": …, "positive": …, "negative"?: …, "negatives"?: […], "score"?: number}`; each side is a text, `{"text": …}` or
 * `{"image": path}`. Also `query`/`document` and `a`/`b` for anchor and positive. Or what a teacher says (see `parseTeacherRecord`).
 */
export function parseExample({ line, where }: Line, image: ImagePath): ExampleRecord {
  const record = parseRecord(line, where);
  const item = (value: unknown, name: string): Item => {
    if (typeof value === 'string') return { text: value };
    if (isRecord(value)) return itemOf(value, line, where, image);
    throw wrong(where, line, `"${name}" must be a text, {"text": …} or {"image": path}`);
  };
  const taught = parseTeacherRecord(record, { line, where }, image, item);
  if (taught) return taught;
  const side = (...names: readonly string[]): Item => {
    const name = names.find((n) => record[n] !== undefined);
    if (name !== undefined) return item(record[name], name);
    throw wrong(where, line, `no "${names[0]}"; every line needs "anchor" and "positive"`);
  };
  const several = record.negatives ?? [];
  if (!Array.isArray(several)) throw wrong(where, line, '"negatives" must be a list');
  return {
    anchor: side('anchor', 'query', 'a'),
    positive: side('positive', 'document', 'b'),
    negatives: [...(record.negative === undefined ? [] : [record.negative]), ...several].map((value) =>
      item(value, 'negatives'),
    ),
    score: record.score === undefined ? null : scoreOf(record.score, line, where),
    where,
  };
}

/**
 * All examples have a score, or none has; all have a teacher's scores, or vectors of one length, or none has.
 * @throws InputError that names the first line that is different
 */
export function checkSameKind(examples: readonly ExampleRecord[]): void {
  checkSameTeacher(examples);
  const pairs = examples.filter((e) => 'positive' in e);
  if (pairs.length === 0) return;
  const scored = pairs[0].score !== null;
  const stray = pairs.find((e) => (e.score !== null) !== scored);
  if (!stray) return;
  throw wrong(
    stray.where,
    JSON.stringify({ anchor: stray.anchor, positive: stray.positive }),
    scored ? 'no "score", which the lines before have' : 'a "score", which the lines before do not have',
  );
}
