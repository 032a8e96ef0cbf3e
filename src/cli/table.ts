/** Columns that a text takes in a terminal: two for East Asian characters and emoji, none for combining marks. */
export function displayWidth(text: string): number {
  let width = 0;
  for (const c of text.replace(COLOUR, '')) width += NONE.test(c) ? 0 : WIDE.test(c) ? 2 : 1;
  return width;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: colours are written with one
const COLOUR = /\x1b\[[0-9;]*m/g;
const NONE = /^[\p{M}\p{Cf}]$/u;
const WIDE =
  /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Emoji_Presentation}\u3000-\u303f\uff01-\uff60]$/u;

/** Cut to a width, with `…` where something was left out. Line breaks and other control characters become spaces. */
export function shorten(text: string, width: number): string {
  const flat = text.replace(/[\s\p{Cc}]+/gu, ' ').trim();
  if (displayWidth(flat) <= width) return flat;
  let kept = '';
  for (const c of flat) {
    if (displayWidth(kept + c) > width - 1) break;
    kept += c;
  }
  return `${kept.trimEnd()}…`;
}

export const padEnd = (text: string, width: number): string =>
  text + ' '.repeat(Math.max(0, width - displayWidth(text)));
export const padStart = (text: string, width: number): string =>
  ' '.repeat(Math.max(0, width - displayWidth(text))) + text;

export type MatrixTable = {
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  readonly values: readonly (readonly number[])[];
};

export type MatrixStyle = {
  /** Width of the screen. Default 100. */
  readonly width?: number | null;
  /** How the largest value of a row looks. */
  readonly best?: (text: string) => string;
  readonly heading?: (text: string) => string;
};

const LEAST_COLUMN = 7;

/** A matrix of similarities, labels shortened so that it fits the screen as long as it can. Ends with a line break. */
export function matrixTable({ rows, columns, values }: MatrixTable, style: MatrixStyle = {}): string {
  const { best = (t) => t, heading = (t) => t } = style;
  const screen = style.width ?? 100;
  const widest = (labels: readonly string[]) =>
    Math.max(...labels.map((l) => displayWidth(shorten(l, 1000))));
  const left = Math.min(widest(rows), Math.max(16, Math.floor(screen * 0.4)));
  const room = Math.floor((screen - left) / columns.length) - 2;
  const each = Math.max(LEAST_COLUMN, Math.min(widest(columns), room, 20));
  const line = (label: string, cells: readonly string[]) =>
    `${[padEnd(label, left), ...cells].join('  ').trimEnd()}\n`;
  const head = line(
    '',
    columns.map((c) => heading(padStart(shorten(c, each), each))),
  );
  const body = rows.map((label, i) => {
    const largest = Math.max(...values[i]);
    const cells = values[i].map((v) => {
      const text = padStart(v.toFixed(3), each);
      return v === largest && columns.length > 1 ? best(text) : text;
    });
    return line(shorten(label, left), cells);
  });
  return head + body.join('');
}

export type PairsStyle = { readonly indent?: number; readonly width?: number | null };

/** Two columns: names, and what is said of them, wrapped below itself on a screen. */
export function pairs(
  entries: readonly (readonly [string, string])[],
  { indent = 2, width }: PairsStyle = {},
): string {
  const names = Math.max(...entries.map(([name]) => displayWidth(name)));
  const left = indent + names + 2;
  const room = Math.max(40, (width ?? Infinity) - left - 1);
  return entries
    .map(([name, value]) => {
      const lines = wrap(value, room).join(`\n${' '.repeat(left)}`);
      return `${' '.repeat(indent)}${padEnd(name, names)}  ${lines}\n`;
    })
    .join('');
}

/** Lines of at most `width` columns, broken at spaces; what has none stays long. */
export function wrap(text: string, width: number): readonly string[] {
  if (displayWidth(text) <= width) return [text];
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    const longer = line === '' ? word : `${line} ${word}`;
    if (line !== '' && displayWidth(longer) > width) {
      lines.push(line);
      line = word;
    } else line = longer;
  }
  return [...lines, line];
}
