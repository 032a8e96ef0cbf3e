import { InvalidArgumentError, Option } from 'commander';
import type { PlannedBatch } from '../activation-plan.ts';
import { wholeNumber } from './option-values.ts';

/** What a prediction of memory shall count on; without them, short texts and a page. */
export type PlanOptions = {
  readonly tokens?: number;
  readonly image?: readonly [width: number, height: number];
};

export const tokensOption = (): Option =>
  new Option('--tokens <n>', 'predict the memory of one text of so many tokens').argParser(wholeNumber);

export const imageOption = (): Option =>
  new Option('--image <width>x<height>', 'predict the memory of one picture of this size').argParser(pixels);

// A merged patch of the published model: 2 × 2 patches of 14 pixels.
const SIDE = 28;

/** The batches asked for. A picture is counted at its full size: with `maxPixels` it may be smaller. */
export function plannedBatches({ tokens, image }: PlanOptions): readonly PlannedBatch[] | undefined {
  const batches: PlannedBatch[] = [];
  if (tokens !== undefined) batches.push({ texts: [tokens], images: [] });
  if (image !== undefined) {
    const [width, height] = image.map((pixels) => 2 * Math.max(1, Math.round(pixels / SIDE)));
    batches.push({ texts: [], images: [[1, height, width]] });
  }
  return batches.length ? batches : undefined;
}

export function pixels(word: string): readonly [number, number] {
  const [, width, height] = /^([1-9]\d*)x([1-9]\d*)$/.exec(word) ?? [];
  if (height === undefined) throw new InvalidArgumentError('Expected two numbers of pixels, as 896x644.');
  return [Number(width), Number(height)];
}
