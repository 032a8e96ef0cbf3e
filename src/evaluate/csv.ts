import { InputError } from '../errors.ts';

/** A record of a CSV file, and the line it begins on. */
export type CsvRecord = { readonly fields: readonly string[]; readonly line: number };

/**
 * The records of a CSV text. Fields in double quotes may hold commas, line breaks and doubled quotes; empty lines are
 * skipped, a byte order mark is dropped. (RFC 4180)   @throws InputError naming the line
 */
export function parseCsv(text: string, name: string): readonly CsvRecord[] {
  const field = /"([^"]*(?:""[^"]*)*)"|(?!")[^,\r\n]*/y;
  const after = /,|\r?\n|$/y; // what may follow a field
  const records: CsvRecord[] = [];
  let fields: string[] = [];
  let [line, begin] = [1, 1];
  for (let at = text.startsWith('\ufeff') ? 1 : 0; ; ) {
    field.lastIndex = at;
    const found = field.exec(text);
    if (!found)
      throw new InputError(`${name}:${line}: a quoted field never ends; close it with a double quote`);
    fields.push(found[1]?.replaceAll('""', '"') ?? found[0]);
    line += found[0].split('\n').length - 1;
    after.lastIndex = field.lastIndex;
    const mark = after.exec(text)?.[0];
    if (mark === undefined)
      throw new InputError(
        `${name}:${line}: text follows a closing quote; write a quote within a field twice, as ""`,
      );
    at = after.lastIndex;
    if (mark === ',') continue;
    if (fields.length > 1 || fields[0] !== '') records.push({ fields, line: begin });
    if (mark === '') return records;
    [fields, begin] = [[], ++line];
  }
}
