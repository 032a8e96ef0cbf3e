import { existsSync } from 'node:fs';
import { InputError } from '../errors.ts';
import { inlinePictures, pictureText } from './inline-picture.ts';
import { callOptions, openModel, settingsOf } from './open-model.ts';
import type { ModelOptions } from './options.ts';
import { hasPictureIndex, openPictureIndex } from './picture-index.ts';
import type { Session } from './session.ts';
import { padEnd } from './table.ts';

/** The emoji pictures that are nearest to each query: its words, or the picture at its path. */
export async function searchEmoji(
  queries: readonly string[],
  options: ModelOptions,
  session: Session,
  shown = 8,
): Promise<void> {
  if (options.model !== undefined) {
    throw new InputError(
      'the vectors of the emoji pictures are those of the model in this package, and another one cannot search them; ' +
        'leave --model out, or compare inputs of your own with "similarity"',
    );
  }
  if (!hasPictureIndex()) {
    throw new InputError(
      'the model in this package is not trained yet (its weights are random), so there are no pictures to search; ' +
        'leave the query out for a tour of what runs, or compare inputs with a trained checkpoint: "similarity --model"',
    );
  }
  if (options.multivector || options.dim !== undefined)
    throw new InputError('the demo searches whole single vectors; leave --multivector and --dim out');
  const { terminal } = session;
  using model = await openModel(options, await settingsOf(options), session);
  const index = await openPictureIndex();
  const inputs = queries.map((q) => (isPicture(q) ? { image: q } : { text: q }));
  const vectors = (await model.encode(inputs, {
    ...callOptions(options, session),
    task: 'retrieval',
    promptName: 'query',
    precision: 'float32',
  })) as readonly Float32Array[];
  const found = vectors.map((v) => index.search(v, shown));
  if (options.json) {
    const results = queries.map((query, i) => ({
      query,
      found: found[i].map(({ picture, score }) => ({
        emoji: index.characters[picture],
        name: index.names[picture],
        score,
      })),
    }));
    await terminal.print(`${JSON.stringify({ backend: model.device.backend, results })}\n`);
    return;
  }
  const { style } = terminal;
  const how = inlinePictures(terminal.columns !== null, process.env);
  for (const [i, query] of queries.entries()) {
    let text = `${style.bold(query)}\n`;
    for (const { picture, score } of found[i]) {
      const drawn = how ? `${pictureText(await index.png(picture), how)} ` : '';
      text += `  ${score.toFixed(3)}  ${drawn}${padEnd(index.characters[picture], 3)} ${index.names[picture]}\n`;
    }
    await terminal.print(`${text}\n`);
  }
}

const isPicture = (query: string): boolean =>
  /\.(?:png|jpe?g|webp|gif|avif|tiff?|svg)$/i.test(query) && existsSync(query);
