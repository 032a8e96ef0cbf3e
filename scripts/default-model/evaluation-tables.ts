import type { LabelSource } from './evaluation-sets.ts';
import { MATRYOSHKA } from './geometry.ts';
import { MAJOR_LOCALES } from './locales.ts';
import type { Gain } from './paired-gain.ts';
import type { Cosines, Recall } from './recall.ts';
import type { Label } from './taught-labels.ts';

export type Scored = {
  readonly locale: string;
  readonly family: string;
  readonly queries: number;
  /** At every Matryoshka size, smallest first. */
  readonly recall: readonly Recall[];
  readonly cosines: Cosines;
};

/** How well an adapter's vectors tell a label: a logistic regression, the nearest neighbours, and k-means without labels. */
export type LabelScores = {
  readonly from: LabelSource;
  readonly label: Label;
  /** That were asked about. */
  readonly items: number;
  readonly accuracy: number;
  readonly knnAccuracy: number;
  readonly vMeasure: number;
};

export type Measured = {
  readonly part: string;
  /** Locales of the best-covered languages. */
  readonly covered: readonly string[];
  readonly engine: string;
  readonly seconds: number;
  readonly retrieval: Readonly<
    Record<
      'textToImageSeen' | 'textToImageUnseen' | 'keywordToImage' | 'imageToText' | 'textToText',
      readonly Scored[]
    >
  >;
  readonly byAdapter: readonly {
    readonly adapter: string | null;
    readonly retrieval: readonly Scored[];
    /** Over no adapter, on the mean of its recalls. */
    readonly gain: Gain;
    readonly labels: readonly LabelScores[];
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
  const all = Object.entries(measured.retrieval);
  const majors = all.map(([what, sets]) => [what, sets.filter(isMajor)] as const);
  const full = meanRecall(seen.filter(isMajor)).r10;
  const coveredOf = (sets: readonly Scored[]) => sets.filter((s) => measured.covered.includes(s.locale));
  const families = [...new Set(seen.map((s) => s.family))].sort();
  return {
    ...measured,
    summary: all.map(([what, sets]) => ({
      what,
      languages: sets.length,
      // Null where they were not all asked.
      covered: coveredOf(sets).length === measured.covered.length ? meanRecall(coveredOf(sets)) : null,
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
      const kinds = all.map(([what, sets]) => {
        const asked = sets.filter((s) => s.family === family);
        return { what, recall: asked.length > 0 ? meanRecall(asked) : null };
      });
      return { family, languages: own.length, recall: meanRecall(own), sizes, kinds };
    }),
    sizes: MATRYOSHKA.map((size, i) => {
      const recall = meanRecall(seen.filter(isMajor), i);
      const kinds = majors.map(([what, sets]) => ({ what, recall: meanRecall(sets, i) }));
      return { size, recall, kept: recall.r10 / full, kinds };
    }).reverse(),
  };
}

const TITLES: Readonly<Record<string, string>> = {
  textToImageSeen: 'text → picture, name seen in training',
  textToImageUnseen: 'text → picture, name held out',
  keywordToImage: 'text → picture, keyword held out',
  imageToText: 'picture → text',
  textToText: 'held-out name → English name',
};

const percent = (x: number) => `${(100 * x).toFixed(1)}`;
const recall = ({ r1, r5, r10 }: Recall) => [r1, r5, r10].map(percent).join(' / ');
const table = (head: readonly string[], rows: readonly (readonly string[])[]) =>
  `${[head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')}\n`;

const OTHERS = Object.keys(TITLES).filter((what) => what !== 'textToImageSeen');
const tens = (kinds: readonly { readonly what: string; readonly recall: Recall | null }[]) =>
  OTHERS.map((what) => kinds.find((k) => k.what === what)?.recall).map((found) =>
    found ? percent(found.r10) : '',
  );

/** As Markdown. */
export function tables(found: ReturnType<typeof findings>): string {
  return [
    `Part \`${found.part}\`, pictures in the unseen style. Recall at 1 / 5 / 10 in percent, languages counting alike.\n`,
    table(
      [
        '',
        'languages',
        '30 best covered',
        '30 major',
        'all',
        'mean cosine of matching pairs / of others (30 major)',
      ],
      found.summary.map((s) => [
        TITLES[s.what],
        `${s.languages}`,
        s.covered ? recall(s.covered) : '',
        recall(s.major),
        recall(s.all),
        `${s.cosines.matching.toFixed(3)} / ${s.cosines.other.toFixed(3)}`,
      ]),
    ),
    table(
      ['family', 'locales', 'text → picture, names seen', ...MATRYOSHKA.map((size) => `at 10, size ${size}`)],
      found.families.map((f) => [f.family, `${f.languages}`, recall(f.recall), ...f.sizes.map(percent)]),
    ),
    'The other kinds by family, recall at 10, where one of its languages was asked:\n',
    table(
      ['family', ...OTHERS.map((what) => TITLES[what])],
      found.families.map((f) => [f.family, ...tens(f.kinds)]),
    ),
    '30 major languages by size, the other kinds at 10:\n',
    table(
      ['size', TITLES.textToImageSeen, 'of full recall at 10', ...OTHERS.map((what) => TITLES[what])],
      found.sizes.map((s) => [`${s.size}`, recall(s.recall), `${percent(s.kept)} %`, ...tens(s.kinds)]),
    ),
    adapterTable(found.byAdapter),
    `${found.engine}; ${found.seconds.toFixed(0)} s\n`,
  ].join('\n');
}

/** Every adapter, and none, on the task of each; the mean of what a task is measured by comes first. As Markdown. */
export function adapterTable(rows: Measured['byAdapter']): string {
  const labelRow = (metrics: readonly (keyof LabelScores)[]) => (a: (typeof rows)[number]) => {
    const numbers = a.labels.flatMap((l) => metrics.map((m) => Number(l[m])));
    const mean = numbers.reduce((sum, x) => sum + x, 0) / numbers.length;
    const cells = a.labels.map((l) => metrics.map((m) => percent(Number(l[m]))).join(' / '));
    return [a.adapter ?? 'none', `**${percent(mean)}**`, ...cells];
  };
  const columns = rows[0].labels.map(({ from, label, items }) => `${label} of ${items} ${from}`);
  return [
    'Adapters on text → picture, 30 major languages:\n',
    table(
      ['adapter', 'mean', 'recall at 1 / 5 / 10', 'gain over none, 95 % interval'],
      rows.map(({ adapter, retrieval, gain }) => {
        const { r1, r5, r10 } = meanRecall(retrieval);
        return [
          adapter ?? 'none',
          `**${percent((r1 + r5 + r10) / 3)}**`,
          recall({ r1, r5, r10 }),
          adapter === null ? '' : `${percent(gain.mean)} ± ${percent(gain.half)}`,
        ];
      }),
    ),
    'On classification, accuracy of a logistic regression / of 5 nearest neighbours:\n',
    table(['adapter', 'mean', ...columns], rows.map(labelRow(['accuracy', 'knnAccuracy']))),
    'On clustering, V-measure of k-means:\n',
    table(['adapter', 'mean', ...columns], rows.map(labelRow(['vMeasure']))),
  ].join('\n');
}
