import { MATRYOSHKA } from './geometry.ts';
import { MAJOR_LOCALES } from './locales.ts';
import type { Cosines, Recall } from './recall.ts';

export type Scored = {
  readonly locale: string;
  readonly family: string;
  readonly queries: number;
  /** At every Matryoshka size, smallest first. */
  readonly recall: readonly Recall[];
  readonly cosines: Cosines;
};

type Metrics = Readonly<Record<string, number>>;

export type Measured = {
  readonly part: string;
  readonly engine: string;
  readonly seconds: number;
  readonly retrieval: Readonly<
    Record<'textToImageSeen' | 'textToImageUnseen' | 'imageToText' | 'textToText', readonly Scored[]>
  >;
  readonly byAdapter: readonly {
    readonly adapter: string | null;
    readonly retrieval: readonly Scored[];
    readonly classification: { readonly group: Metrics; readonly subgroup: Metrics };
    readonly clustering: { readonly group: Metrics; readonly subgroup: Metrics };
  }[];
};

const LAST = MATRYOSHKA.length - 1;

/** Recall over languages, each counting once. */
const meanRecall = (sets: readonly Scored[], size = LAST): Recall => {
  const mean = (k: keyof Recall) => sets.reduce((sum, s) => sum + s.recall[size][k], 0) / sets.length;
  return { r1: mean('r1'), r5: mean('r5'), r10: mean('r10') };
};

const meanCosine = (sets: readonly Scored[], k: keyof Cosines): number =>
  sets.reduce((sum, s) => sum + s.cosines[k], 0) / sets.length;

const isMajor = (s: Scored) => MAJOR_LOCALES.includes(s.locale);

/** The measured values, and the means that are reported of them. */
export function findings(measured: Measured) {
  const { textToImageSeen: seen } = measured.retrieval;
  const full = meanRecall(seen.filter(isMajor)).r10;
  const families = [...new Set(seen.map((s) => s.family))].sort();
  return {
    ...measured,
    summary: Object.entries(measured.retrieval).map(([what, sets]) => ({
      what,
      languages: sets.length,
      major: meanRecall(sets.filter(isMajor)),
      all: meanRecall(sets),
      cosines: {
        matching: meanCosine(sets.filter(isMajor), 'matching'),
        other: meanCosine(sets.filter(isMajor), 'other'),
      },
    })),
    families: families.map((family) => {
      const own = seen.filter((s) => s.family === family);
      const sizes = MATRYOSHKA.map((_, i) => meanRecall(own, i).r10);
      return { family, languages: own.length, recall: meanRecall(own), sizes };
    }),
    sizes: MATRYOSHKA.map((size, i) => {
      const recall = meanRecall(seen.filter(isMajor), i);
      return { size, recall, kept: recall.r10 / full };
    }).reverse(),
  };
}

const TITLES: Readonly<Record<string, string>> = {
  textToImageSeen: 'text → picture, name seen in training',
  textToImageUnseen: 'text → picture, name held out',
  imageToText: 'picture → text',
  textToText: 'held-out name → English name',
};

/** As Markdown. */
export function tables(found: ReturnType<typeof findings>): string {
  const percent = (x: number) => `${(100 * x).toFixed(1)}`;
  const recall = ({ r1, r5, r10 }: Recall) => [r1, r5, r10].map(percent).join(' / ');
  const table = (head: readonly string[], rows: readonly (readonly string[])[]) =>
    `${[head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')}\n`;
  return [
    `Part \`${found.part}\`, pictures in the unseen style. Recall at 1 / 5 / 10 in percent, languages counting alike.\n`,
    table(
      ['', 'languages', '30 major', 'all', 'mean cosine of matching pairs / of others (30 major)'],
      found.summary.map((s) => [
        TITLES[s.what],
        `${s.languages}`,
        recall(s.major),
        recall(s.all),
        `${s.cosines.matching.toFixed(3)} / ${s.cosines.other.toFixed(3)}`,
      ]),
    ),
    table(
      ['family', 'locales', 'text → picture, names seen', ...MATRYOSHKA.map((size) => `at 10, size ${size}`)],
      found.families.map((f) => [f.family, `${f.languages}`, recall(f.recall), ...f.sizes.map(percent)]),
    ),
    table(
      ['size', 'text → picture, 30 major languages', 'of full recall at 10'],
      found.sizes.map((s) => [`${s.size}`, recall(s.recall), `${percent(s.kept)} %`]),
    ),
    table(
      [
        'adapter',
        'text → picture, 30 major languages',
        'sub-group / group accuracy of a logistic regression',
        'V-measure, sub-group / group',
      ],
      found.byAdapter.map((a) => [
        a.adapter ?? 'none',
        recall(meanRecall(a.retrieval)),
        `${percent(a.classification.subgroup.accuracy)} / ${percent(a.classification.group.accuracy)}`,
        `${percent(a.clustering.subgroup.vMeasure)} / ${percent(a.clustering.group.vMeasure)}`,
      ]),
    ),
    `${found.engine}; ${found.seconds.toFixed(0)} s\n`,
  ].join('\n');
}
