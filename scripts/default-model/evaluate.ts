import { parseArgs } from 'node:util';
import { openTerminal, printError } from '../../src/cli/terminal.ts';
import type { DeviceName } from '../../src/config.ts';
import { evaluateClassification, evaluateClustering } from '../../src/evaluate/index.ts';
import { JinaEmbeddings } from '../../src/platform/node.ts';
import {
  classification,
  clustering,
  type HeldOut,
  imageToText,
  keywordToImage,
  type LabelledProbe,
  labelledItem,
  type RetrievalSet,
  textToImage,
  textToText,
} from './evaluation-sets.ts';
import {
  adapterTable,
  findings,
  type LabelScores,
  type Measured,
  type Scored,
  tables,
} from './evaluation-tables.ts';
import { IMAGE_SIZE, MATRYOSHKA, TASKS } from './geometry.ts';
import { bestCovered, MAJOR_LOCALES } from './locales.ts';
import { MATERIAL_FOLDER, readMaterial } from './material.ts';
import { pairedGain, type QueryScore } from './paired-gain.ts';
import { recallAt, vectorSource } from './recall.ts';
import { LABELS } from './taught-labels.ts';

const USAGE = `node --import tsx scripts/default-model/evaluate.ts [options]

What the default model can do on what it never saw: tables in Markdown, or --json.

  --model DIR       (default: the one in this package)
  --part NAME       test, or validation, by which runs are chosen (default: test)
  --major N         queries of each of the 30 major languages, at most (default: 400)
  --minor N         queries of each other language, at most (default: 40)
  --adapters-only   only the table of adapters on each other's tasks
  --device NAME     (default: auto)
  --material DIR    (default: ${MATERIAL_FOLDER})
`;

const COVERED = 150; // queries of each best-covered language that is not among the major ones, at most

async function evaluate(): Promise<void> {
  const { values } = parseArgs({
    options: {
      model: { type: 'string', default: 'weights/default' },
      part: { type: 'string', default: 'test' },
      major: { type: 'string', default: '400' },
      minor: { type: 'string', default: '40' },
      device: { type: 'string', default: 'auto' },
      material: { type: 'string', default: MATERIAL_FOLDER },
      'adapters-only': { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const terminal = openTerminal();
  if (values.help) return terminal.print(USAGE);
  const began = performance.now();
  const part = values.part as HeldOut;
  const { corpus, drawings } = await readMaterial(values.material);
  using jina = await JinaEmbeddings.load(values.model, { device: values.device as DeviceName });
  const bar = await terminal.progress('embedding', (done) => `${done}`);
  const vectorsOf = vectorSource(jina, drawings, (done) => bar.update(done, done));
  const adapters = [null, ...TASKS.filter((task) => jina.tasks.includes(task))];

  /** Evenly spaced, so that every group of emoji is among them. */
  const some = (set: RetrievalSet, most: number): RetrievalSet => {
    const step = Math.max(1, set.queries.length / most);
    const kept = Array.from({ length: Math.min(most, set.queries.length) }, (_, i) => Math.floor(i * step));
    return { ...set, queries: kept.map((i) => set.queries[i]), relevant: kept.map((i) => set.relevant[i]) };
  };
  const covered = bestCovered(corpus.locales);
  const mostOf = ({ locale }: RetrievalSet): number => {
    if (MAJOR_LOCALES.includes(locale)) return Number(values.major);
    return covered.includes(locale) ? COVERED : Number(values.minor);
  };
  const limited = (sets: readonly RetrievalSet[], scale = 1) =>
    sets.map((set) => some(set, Math.ceil(mostOf(set) * scale)));
  const score = async (sets: readonly RetrievalSet[], task: string | null) => {
    const scored: Scored[] = [];
    const byQuery: QueryScore[] = [];
    for (const set of sets) {
      const documents = await vectorsOf(set.documents, task, 'passage');
      const queries = await vectorsOf(set.queries, task, 'query');
      const { recall, cosines, means } = recallAt(queries, documents, set.relevant, MATRYOSHKA);
      const { locale, family } = set;
      scored.push({ locale, family, queries: queries.length, recall, cosines });
      byQuery.push(...means.map((score, q) => ({ cluster: set.queries[q].emoji, score })));
    }
    return { scored, byQuery };
  };

  const first = adapters.includes('retrieval') ? 'retrieval' : null;
  const majors = (sets: readonly RetrievalSet[]) => sets.filter((s) => MAJOR_LOCALES.includes(s.locale));
  const seen = textToImage(corpus, part, 'seen');
  const byAdapter: Measured['byAdapter'][number][] = [];
  let withNone: readonly QueryScore[] | null = null;
  for (const task of adapters) {
    const run = { encode: encodeItems, adapters: [task], sizes: [MATRYOSHKA.at(-1)!] };
    const items = (list: readonly LabelledProbe[]) => list.map((p) => labelledItem(p, drawings, IMAGE_SIZE));
    const labels: LabelScores[] = [];
    for (const from of ['pictures', 'names'] as const) {
      for (const label of LABELS) {
        const { train, test } = classification(corpus, part, from, label);
        const told = await evaluateClassification({ train: items(train), test: items(test) }, run);
        const clusters = await evaluateClustering(items(clustering(corpus, part, from, label)), run);
        const { accuracy, knnAccuracy } = told.scores[0].metrics;
        const { vMeasure } = clusters.scores[0].metrics;
        labels.push({ from, label, items: test.length, accuracy, knnAccuracy, vMeasure });
      }
    }
    const { scored, byQuery } = await score(limited(majors(seen), 0.25), task);
    withNone ??= byQuery; // none comes first
    byAdapter.push({ adapter: task, retrieval: scored, gain: pairedGain(withNone, byQuery), labels });
  }
  if (values['adapters-only']) {
    bar.stop();
    return terminal.print(values.json ? `${JSON.stringify(byAdapter)}\n` : adapterTable(byAdapter));
  }
  const retrieval = {
    textToImageSeen: (await score(limited(seen), first)).scored,
    textToImageUnseen: (await score(limited(textToImage(corpus, part, 'unseen')), first)).scored,
    keywordToImage: (await score(limited(majors(keywordToImage(corpus, part)), 0.25), first)).scored,
    imageToText: (await score(limited(majors(imageToText(corpus, part)), 0.25), first)).scored,
    textToText: (await score(limited(majors(textToText(corpus, part))), first)).scored,
  };
  bar.stop();
  const found = findings({
    part,
    covered,
    engine: jina.device.reason,
    seconds: (performance.now() - began) / 1000,
    retrieval,
    byAdapter,
  });
  await terminal.print(values.json ? `${JSON.stringify(found)}\n` : tables(found));

  function encodeItems(
    items: Parameters<Parameters<typeof evaluateClustering>[1]['encode']>[0],
    { task }: { readonly task: string | null },
  ) {
    return jina.encode(
      items.map((item) => ('text' in item ? item.text : item)),
      { task, promptName: 'query', batchSize: 256, truncateDim: null },
    );
  }
}

evaluate().catch((error: Error) => {
  printError(error.message);
  process.exitCode = 1;
});
