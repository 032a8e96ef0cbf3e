import { describe, expect, test } from 'vitest';
import { tinyText as text } from '../../test/support/tiny-inputs.ts';
import { InputError } from '../errors.ts';
import { drawBatch } from './draw-batch.ts';
import { EpochSampler } from './epoch-sampler.ts';
import { batchOf, type Example } from './examples.ts';
import { checkLessons } from './nothing-to-learn.ts';

const example = (line: number, more: Partial<Example> = {}): Example => ({
  anchor: text(2),
  positive: text(3),
  where: `pairs.jsonl:${line}`,
  ...more,
});
const scored = (...scores: readonly number[]) => scores.map((score, i) => example(i + 1, { score }));

describe('a batch that teaches nothing is refused with its lines', () => {
  test.each<[string, () => unknown, string]>([
    [
      'equal scores',
      () => batchOf(scored(1, 1, 1)),
      'pairs.jsonl:1, 2, 3: all 3 pairs have the score 1, and CoSENT',
    ],
    ['one scored pair', () => batchOf(scored(0.5)), 'pairs.jsonl:1: CoSENT compares pairs and there is one'],
    [
      'one pair without negatives',
      () => batchOf([example(4)]),
      'pairs.jsonl:4: InfoNCE tells a pair from others',
    ],
    ['equal scores throughout the data', () => checkLessons(scored(2, 2), 'coSent', 32), 'have the score 2'],
    [
      'scored pairs one by one',
      () => checkLessons(scored(0, 1), 'coSent', 1),
      'pairs.jsonl:1, 2: CoSENT compares pairs, and alone in a batch of 1 these 2 examples',
    ],
    [
      'pairs one by one, of which some have negatives',
      () => checkLessons([example(1, { negatives: [text(2)] }), example(2), example(3)], 'infoNce', 1),
      'pairs.jsonl:2, 3: InfoNCE tells a pair from others, and alone in a batch of 1 these 2 examples',
    ],
  ])('%s', (_, attempt, message) => {
    expect(attempt).toThrow(InputError);
    expect(attempt).toThrow(message);
  });

  test('what teaches something is not', () => {
    expect(batchOf(scored(1, 1, 0)).loss.name).toBe('coSent');
    expect(batchOf([example(1), example(2)]).loss.name).toBe('infoNce');
    expect(batchOf([example(1, { negatives: [text(2)] })]).sides).toHaveLength(3);
    expect(batchOf([example(1, { negatives: [text(2)] })], { loss: 'triplet' }).loss.name).toBe('triplet');
    checkLessons(scored(1, 1, 0), 'coSent', 2);
    checkLessons([example(1), example(2)], 'infoNce', 2);
  });
});

describe('drawing', () => {
  test('a batch whose scores happen to be equal gives way to the next one', async () => {
    const data = scored(0, 0, 0, 0, 0, 1);
    const [sampler, plain] = [new EpochSampler(6, 2, 1), new EpochSampler(6, 2, 1)];
    const mixed = (batch: readonly number[]) => batch.includes(5);
    for (let i = 0; i < 6; i++) {
      const { examples, dropped } = await drawBatch(sampler, data, {});
      for (let skipped = 0; skipped < dropped; skipped++) expect(mixed(plain.next())).toBe(false);
      const next = plain.next();
      expect(mixed(next)).toBe(true);
      expect(examples).toEqual(next.map((index) => data[index]));
    }
    expect(plain.state).toEqual(sampler.state);
  });

  test('a source that never teaches anything is told after many batches, with lines of the last', async () => {
    const drawn = drawBatch(new EpochSampler(3, 2, 0), scored(1, 1, 1), {});
    await expect(drawn).rejects.toThrow(
      /more than 100 batches in a row .* the last being pairs\.jsonl:\d, \d: all 2 pairs have the score 1/,
    );
  });
});
