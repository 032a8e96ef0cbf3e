/** Rows of cells below a heading; numbers are set to the right. */
export type ReportTable = {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly (string | number)[])[];
};

export type ReportSection = {
  readonly heading: string;
  readonly text?: string;
  /** SVGs, as the plots of this folder give them. */
  readonly figures?: readonly { readonly svg: string; readonly caption: string }[];
  readonly table?: ReportTable;
};

const STYLE = `
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.5rem }
figure { margin: 1rem 0 } figure svg { max-width: 100%; height: auto } figcaption { color: #555; font-size: .9rem }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .7rem; text-align: left; border-bottom: 1px solid #ddd; white-space: nowrap }
.n { text-align: right }
`;

/**
 * A page that holds all it shows: opened from a disk it asks the network for nothing, and its own policy would forbid it.
 * Texts are escaped; the SVGs must be ours.
 */
export function htmlReport(title: string, sections: readonly ReportSection[]): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${escaped(title)}</h1>
${sections.map((section, i) => sectionOf(section, i)).join('\n')}
</body>
</html>
`;
}

function sectionOf({ heading, text, figures = [], table }: ReportSection, at: number): string {
  const shown = figures.map(
    ({ svg, caption }, i) =>
      `<figure role="img" aria-label="${escaped(caption)}">${inlined(svg, `s${at}f${i}`)}` +
      `<figcaption>${escaped(caption)}</figcaption></figure>`,
  );
  return `<section>
<h2>${escaped(heading)}</h2>
${[...(text === undefined ? [] : [`<p>${escaped(text)}</p>`]), ...shown, ...(table ? [tableOf(table)] : [])].join('\n')}
</section>`;
}

/** In a page an SVG needs no namespaces, and ids and classes must not meet those of another. */
const inlined = (svg: string, prefix: string): string =>
  svg.replace(/ xmlns(?::\w+)?="[^"]*"/g, '').replace(/\bplot-/g, `${prefix}-`);

function tableOf({ columns, rows }: ReportTable): string {
  const numeric = columns.map((_, i) => rows.length > 0 && rows.every((row) => typeof row[i] === 'number'));
  const kind = (i: number) => (numeric[i] ? ' class="n"' : '');
  const head = columns.map((name, i) => `<th${kind(i)}>${escaped(name)}</th>`).join('');
  const body = rows.map(
    (row) => `<tr>${row.map((cell, i) => `<td${kind(i)}>${escaped(textOf(cell))}</td>`).join('')}</tr>`,
  );
  return `<div class="scroll"><table><thead><tr>${head}</tr></thead>\n<tbody>${body.join('\n')}</tbody></table></div>`;
}

const textOf = (cell: string | number): string =>
  typeof cell === 'number' && !Number.isInteger(cell) ? cell.toPrecision(4) : String(cell);

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

const escaped = (text: string): string => text.replace(/[&<>"']/g, (c) => ENTITIES[c]);
