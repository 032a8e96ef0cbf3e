import { InputError, SourceError } from '../errors.ts';

/** What came from a file may say where it stands, as `pairs.jsonl:17`, or be named in another way, as `pair 17`. */
export type Placed = { readonly where?: string };

const SHOWN = 8;

/** `pairs.jsonl:17, 20, 31 and 5 more`; a file is named where it is not that of the place before. Empty where none is known. */
export function placesOf(records: readonly Placed[]): string {
  const places = records.flatMap(({ where }) => where ?? []);
  let before = '';
  const shown = places.slice(0, SHOWN).map((where) => {
    const file = fileOf(where);
    const word = file !== '' && file === before ? where.slice(file.length + 1) : where;
    before = file;
    return word;
  });
  const more = places.length - shown.length;
  return `${shown.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

/** The beginning of a message about these records: their places, or nothing where none is known. */
export function placesFirst(records: readonly Placed[]): string {
  const places = placesOf(records);
  return places && `${places}: `;
}

/** The beginning of a message about all of these records: their files, or nothing where none is known. */
export function filesFirst(records: readonly Placed[]): string {
  const files = [...new Set(records.map(({ where = '' }) => fileOf(where)))].filter((file) => file !== '');
  return files.length > 0 ? `${files.join(', ')}: ` : '';
}

/** → the error with its place in front, if it is about an input; any other as it is */
export function errorAt(where: string, error: unknown): unknown {
  for (const Kind of [InputError, SourceError])
    if (error instanceof Kind) return new Kind(`${where}: ${error.message}`, { cause: error });
  return error;
}

/** Empty where a place has no line. */
const fileOf = (where: string): string => /^(.+):\d+$/.exec(where)?.[1] ?? '';
