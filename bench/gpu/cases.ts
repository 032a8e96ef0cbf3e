import { smartResize, tokenCount } from '../../src/image/smart-resize.ts';
import type { JinaEmbeddings } from '../../src/platform/node.ts';
import { imageIds } from '../../src/text/prompts.ts';
import { checkClose, median } from '../measure.ts';
import { picture, prose } from '../sample-inputs.ts';
import type { Figure } from './table.ts';
import type { YardstickCase } from './yardstick.ts';

/** Something to embed and to time; the yardstick runs the same with inputs of these sizes. */
export type Case = {
  readonly asked: YardstickCase;
  readonly target?: number;
  run(): Promise<readonly Float32Array[]>;
  /** The first input in a batch of one: must give the batch's first vector. */
  alone?(): Promise<Float32Array>;
};

export const DOCUMENT = 64; // tokens
export const QUERY = 20;
const LEAST_RUNS = 3; // as in bench/reference/yardstick.py
const MOST_RUNS = 50;

/** The design's headline figures. It names no size of the 100 images; one image that waits is of 224 pixels. */
const TARGETS = { textsPerSecond: 1000, queryMs: 10, imagesPerSecond: 100, imageMs: 50 };
const WAITING_SIDE = 224;

export function textCases(jina: JinaEmbeddings, batch: number): readonly Case[] {
  // Every text is longer than it may be, so that all have the same length.
  const texts = Array.from({ length: batch }, (_, i) => prose(DOCUMENT * 8, i));
  const passage = { promptName: 'passage', maxLength: DOCUMENT, tokenBudget: batch * DOCUMENT } as const;
  const many = `texts of ${DOCUMENT} tokens, batch ${batch}`;
  const one = `a query of ${QUERY} tokens`;
  return [
    {
      asked: { case: many, unit: 'a second', texts: batch, tokens: DOCUMENT },
      target: TARGETS.textsPerSecond,
      run: () => jina.encodeText(texts, passage),
      alone: () => jina.encodeText(texts[0], passage),
    },
    {
      asked: { case: one, unit: 'ms', texts: 1, tokens: QUERY },
      target: TARGETS.queryMs,
      run: async () => [await jina.encodeText(texts[0], { maxLength: QUERY })],
    },
  ];
}

/** As many pictures of a side at once as have the tokens of a batch of texts, at least one; and one alone. */
export function imageCases(jina: JinaEmbeddings, side: number, tokenBudget: number): readonly Case[] {
  const { patchSize, spatialMergeSize } = jina.model.config.vision;
  const factor = patchSize * spatialMergeSize;
  const maxPixels = side * side;
  const seen = smartResize({ width: side, height: side }, { factor, minPixels: 0, maxPixels });
  // With the text around it, which has more tokens where a checkpoint of random weights reads bytes.
  const tokens = imageIds(jina.tokenizer, tokenCount(seen, factor)).length;
  const images = Math.max(1, Math.floor(tokenBudget / tokens));
  const size = { tokens, rows: seen.height / patchSize, columns: seen.width / patchSize };
  const image = picture(side, side);
  const batch = Array.from({ length: images }, () => image);
  const see = async () => jina.encodeImage(image, { maxPixels });
  const many = `images of ${side} × ${side}, batch ${images}`;
  const one = `an image of ${side} × ${side}`;
  return [
    {
      asked: { case: many, unit: 'a second', images, ...size },
      target: TARGETS.imagesPerSecond,
      run: () => jina.encodeImage(batch, { maxPixels, tokenBudget, batchSize: images }),
      alone: see,
    },
    {
      asked: { case: one, unit: 'ms', images: 1, ...size },
      target: side === WAITING_SIDE ? TARGETS.imageMs : undefined,
      run: async () => [await see()],
    },
  ];
}

/** Runs once to compile and to verify, then for about the seconds asked for. */
export async function timeCase({ asked, target, run, alone }: Case, seconds: number): Promise<Figure> {
  const vectors = await run();
  for (const vector of vectors) checkClose(`${asked.case}, length`, [Math.hypot(...vector)], [1], 1e-4);
  const error = alone && checkClose(`${asked.case}, one alone`, await alone(), vectors[0], 1e-4);
  const times: number[] = [];
  let spent = 0;
  while (times.length < LEAST_RUNS || (spent < 1000 * seconds && times.length < MOST_RUNS)) {
    const began = performance.now();
    await run();
    times.push(performance.now() - began);
    spent += times[times.length - 1];
  }
  const inUnit = (ms: number) => (asked.unit === 'ms' ? ms : (1000 * vectors.length) / ms);
  const best = inUnit(Math.min(...times));
  const { case: name, unit } = asked;
  return { case: name, unit, value: inUnit(median(times)), best, runs: times.length, target, error };
}
