import { displayWidth, padEnd, padStart, shorten } from './table.ts';

export type CellTable = {
  readonly columns: readonly string[];
  /** Numbers are set to the right, with four significant digits; a null is an empty cell. */
  readonly rows: readonly (readonly (string | number | null)[])[];
};

export type CellStyle = {
  /** Width of the screen: the first column gives way. Default: as wide as it gets. */
  readonly width?: number | null;
  readonly heading?: (text: string) => string;
};

const LEAST_FIRST = 12;

/** Rows of texts and numbers, two spaces apart. Ends with a line break. */
export function cellTable(
  { columns, rows }: CellTable,
  { width, heading = (t) => t }: CellStyle = {},
): string {
  const cells = rows.map((row) => row.map(textOf));
  const right = columns.map((_, i) => rows.every((row) => typeof row[i] !== 'string'));
  const widths = columns.map((name, i) =>
    [name, ...cells.map((row) => row[i])].reduce((most, text) => Math.max(most, displayWidth(text)), 0),
  );
  const rest = widths.slice(1).reduce((sum, w) => sum + w + 2, 0);
  widths[0] = Math.min(widths[0], Math.max(LEAST_FIRST, (width ?? Number.POSITIVE_INFINITY) - rest));
  const line = (texts: readonly string[], style: (text: string) => string) =>
    `${texts
      .map((text, i) =>
        style((right[i] ? padStart : padEnd)(i === 0 ? shorten(text, widths[0]) : text, widths[i])),
      )
      .join('  ')
      .trimEnd()}\n`;
  return line(columns, heading) + cells.map((row) => line(row, (t) => t)).join('');
}

const textOf = (cell: string | number | null): string => {
  if (cell === null) return '';
  return typeof cell === 'string' || Number.isInteger(cell) ? String(cell) : cell.toPrecision(4);
};
