import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import type { Embedding } from '../output/similarity.ts';
import { duration, inputsOf } from './amounts.ts';
import { callOptions, openModel, settingsOf } from './open-model.ts';
import { addModelOptions, type ModelOptions, withExamples } from './options.ts';
import { packageFolder } from './package-folder.ts';
import { hasPictureIndex } from './picture-index.ts';
import { saysRandom } from './random-weights.ts';
import { searchEmoji } from './search-emoji.ts';
import { action, type Session } from './session.ts';
import { displayWidth, matrixTable, padEnd, shorten } from './table.ts';

/** weights/demo/demo.json: pictures, and texts with the picture that each is about. */
type Material = {
  readonly pictures: readonly string[];
  readonly texts: readonly { readonly text: string; readonly picture: string }[];
};

export function demoCommand(signal: AbortSignal): Command {
  const command = new Command('demo')
    .description('search emoji pictures by sentences in any language, or by a picture')
    .argument('[query...]', 'a sentence, or the path of a picture; without one, a tour');
  addModelOptions(command).action(
    action<ModelOptions>(signal, (options, session, queries) =>
      queries.length ? searchEmoji(queries, options, session) : tour(options, session),
    ),
  );
  return withExamples(
    command,
    'jina-embeddings demo "une voiture rouge"',
    'jina-embeddings demo ./photo.png "wütend"',
    'jina-embeddings demo --model ./jina-embeddings-v4',
  );
}

const TOUR = [
  'a red apple',
  'une voiture rouge',
  'trauriges Gesicht',
  '猫',
  'бегущий человек',
  'العلم الياباني',
];

/** Some searches, where the model is the one that the pictures were embedded with; and one small matrix. */
async function tour(options: ModelOptions, session: Session): Promise<void> {
  if (
    hasPictureIndex() &&
    options.model === undefined &&
    !options.json &&
    !options.multivector &&
    options.dim === undefined
  )
    await searchEmoji(TOUR, options, session, 5);
  await matrix(options, session);
}

async function matrix(options: ModelOptions, session: Session): Promise<void> {
  const { terminal } = session;
  const settings = await settingsOf(options);
  const folder = join(packageFolder(), 'weights', 'demo');
  const { pictures, texts } = JSON.parse(await readFile(join(folder, 'demo.json'), 'utf8')) as Material;
  const begin = performance.now();
  using model = await openModel(options, settings, session);
  const loaded = performance.now();
  const progress = await terminal.progress('embedding', inputsOf);
  const inputs = [
    ...texts.map(({ text }) => ({ text })),
    ...pictures.map((p) => ({ image: join(folder, `${p}.png`) })),
  ];
  const call = {
    ...callOptions(options, session),
    precision: 'float32',
    onProgress: progress.update,
  } as const;
  const embeddings: readonly Embedding[] = await model.encode(inputs, call).finally(progress.stop);
  const seconds = { loading: (loaded - begin) / 1000, embedding: (performance.now() - loaded) / 1000 };
  const similarities = model.similarity(embeddings.slice(0, texts.length), embeddings.slice(texts.length));
  const best = similarities.map((row) => pictures[row.indexOf(Math.max(...row))]);
  const randomWeights = await saysRandom(options.model);
  if (options.json) {
    const results = texts.map(({ text, picture }, i) => ({
      text,
      picture,
      best: best[i],
      similarities: similarities[i],
    }));
    const { backend, reason } = model.device;
    await terminal.print(
      `${JSON.stringify({ model: model.name, randomWeights, backend, reason, seconds, pictures, results })}\n`,
    );
    return;
  }
  const { style, columns } = terminal;
  const rows = texts.map(({ text }) => text);
  const table = matrixTable(
    { rows, columns: pictures, values: similarities },
    { width: columns, best: style.green, heading: style.bold },
  );
  const width = Math.max(...rows.map(displayWidth));
  const matches = rows
    .map((text, i) => `  ${padEnd(shorten(text, 60), Math.min(width, 60))}  →  ${best[i]}\n`)
    .join('');
  const right = texts.filter(({ picture }, i) => best[i] === picture).length;
  const verdict = randomWeights
    ? 'The weights of this checkpoint are random: its similarities mean nothing yet.\n'
    : `${right} of ${texts.length} texts found the picture they are about.\n`;
  await terminal.print(
    `${style.bold('How similar each text (rows) is to each picture (columns)')}\n\n${table}\n` +
      `${style.bold('The best picture for each text')}\n\n${matches}\n${verdict}` +
      `Ran on ${model.device.reason}.\n` +
      `Loading took ${duration(seconds.loading)}, embedding ${texts.length} texts and ${pictures.length} pictures ${duration(seconds.embedding)}.\n`,
  );
}
