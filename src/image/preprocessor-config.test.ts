import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { CheckpointError } from '../errors.ts';
import { parsePreprocessorConfig } from './preprocessor-config.ts';

const golden = JSON.parse(
  readFileSync(new URL('../../test/golden/preprocessor_config.json', import.meta.url), 'utf8'),
) as Record<string, unknown>;

const without = (...keys: string[]) =>
  Object.fromEntries(Object.entries(golden).filter(([key]) => !keys.includes(key)));

test('the published layout', () => {
  expect(parsePreprocessorConfig(golden)).toEqual({
    minPixels: 3136,
    maxPixels: 602112,
    patchSize: 14,
    temporalPatchSize: 2,
    mergeSize: 2,
    imageMean: [0.48145466, 0.4578275, 0.40821073],
    imageStd: [0.26862954, 0.26130258, 0.27577711],
    rescaleFactor: 0.00392156862745098,
  });
});

test('the pixel bounds of transformers 5 lie in size', () => {
  const { minPixels, maxPixels } = parsePreprocessorConfig(without('min_pixels', 'max_pixels'));
  expect([minPixels, maxPixels]).toEqual([3136, 602112]);
});

test.each(['patch_size', 'temporal_patch_size', 'merge_size', 'image_mean', 'image_std', 'rescale_factor'])(
  'a file without %s is refused by that name',
  (key) => {
    expect(() => parsePreprocessorConfig(without(key))).toThrow(
      new CheckpointError(`preprocessor_config.json has no ${key}`),
    );
  },
);

test('bounds that are given nowhere are named in both spellings', () => {
  expect(() => parsePreprocessorConfig(without('max_pixels', 'size'))).toThrow(
    new CheckpointError('preprocessor_config.json has no max_pixels (or size.longest_edge)'),
  );
});

test.each([
  [{ image_mean: [0.5, 0.5] }, /image_mean must be three numbers \(R, G, B\), got \[0.5,0.5\]/],
  [{ image_std: [0.5, 0, 0.5] }, /image_std must be three numbers \(R, G, B, above 0\)/],
  [{ patch_size: '14' }, /patch_size must be a positive whole number, got "14"/],
  [{ rescale_factor: 0 }, /rescale_factor must be a positive number, got 0/],
  [{ min_pixels: 700000 }, /min_pixels 700000 is larger than max_pixels 602112/],
  [{ do_normalize: false }, /do_normalize is false; this step cannot be left out/],
  [{ resample: 2 }, /resample is 2; only 3 \(bicubic\) is implemented/],
])('%j is refused', (change, message) => {
  expect(() => parsePreprocessorConfig({ ...golden, ...change })).toThrow(message);
});

test.each([null, [], 'x'])('%j is not a settings file', (json) => {
  expect(() => parsePreprocessorConfig(json)).toThrow(/must hold an object/);
});
