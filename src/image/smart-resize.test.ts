import fc from 'fast-check';
import { expect, test } from 'vitest';
import { InputError } from '../errors.ts';
import { smartResize, tokenCount } from './smart-resize.ts';

const published = { factor: 28, minPixels: 3136, maxPixels: 602112 };

// Height, width → height, width, as the reference computes them. (ground truth, 2.1)
const golden = [
  [240, 320, 252, 308],
  [224, 224, 224, 224],
  [42, 42, 56, 56],
  [70, 70, 56, 56], // 2.5 rounds to 2
  [20, 20, 56, 56],
  [100, 200, 112, 196],
  [1080, 1920, 560, 1008],
  [1754, 1240, 896, 644],
  [3508, 2480, 896, 644],
  [4000, 3000, 896, 672],
  [3000, 4000, 672, 896],
  [28, 4000, 28, 4004],
  [776, 776, 756, 756],
  [1600, 2400, 616, 924],
];

test.each(golden)('%i × %i becomes %i × %i', (height, width, toHeight, toWidth) => {
  expect(smartResize({ height, width }, published)).toEqual({ height: toHeight, width: toWidth });
});

test('a 224 × 224 image is 64 tokens', () => {
  expect(tokenCount({ width: 224, height: 224 }, 28)).toBe(64);
});

const side = fc.integer({ min: 1, max: 6000 });
const sizes = fc
  .record({ width: side, height: side })
  .filter(({ width, height }) => Math.max(width, height) <= 200 * Math.min(width, height));
// Room between the bounds for every aspect ratio up to 200: a strip of one factor height must fit below the maximum.
const bounds = fc
  .record({
    factor: fc.constantFrom(16, 28, 32),
    tokens: fc.integer({ min: 1, max: 16 }),
    room: fc.integer({ min: 80, max: 2000 }),
  })
  .map(({ factor, tokens, room }) => ({
    factor,
    minPixels: tokens * factor * factor,
    maxPixels: tokens * factor * factor * room + 200 * factor * factor,
  }));

test('sides are multiples of the factor and the area lies within the bounds', () => {
  fc.assert(
    fc.property(sizes, bounds, (size, limits) => {
      const { width, height } = smartResize(size, limits);
      expect(width % limits.factor).toBe(0);
      expect(height % limits.factor).toBe(0);
      expect(Math.min(width, height)).toBeGreaterThanOrEqual(limits.factor);
      expect(width * height).toBeGreaterThanOrEqual(limits.minPixels);
      expect(width * height).toBeLessThanOrEqual(limits.maxPixels);
    }),
  );
});

test('a resized size stays as it is', () => {
  fc.assert(
    fc.property(sizes, bounds, (size, limits) => {
      const once = smartResize(size, limits);
      fc.pre(Math.max(once.width, once.height) <= 200 * Math.min(once.width, once.height));
      expect(smartResize(once, limits)).toEqual(once);
    }),
  );
});

test('width and height are treated alike', () => {
  fc.assert(
    fc.property(sizes, bounds, ({ width, height }, limits) => {
      const turned = smartResize({ width: height, height: width }, limits);
      expect(smartResize({ width, height }, limits)).toEqual({ width: turned.height, height: turned.width });
    }),
  );
});

test('an aspect ratio above 200 is refused with its numbers, 200 is not', () => {
  expect(() => smartResize({ width: 2010, height: 10 }, published)).toThrow(
    new InputError(
      'an image of 2010 × 10 pixels has an aspect ratio of 201.0, more than 200; crop it or cut it into pieces first',
    ),
  );
  expect(smartResize({ width: 2000, height: 10 }, published)).toEqual({ width: 812, height: 28 });
});

test.each([0, -1, 1.5, Number.NaN])('a side of %d is refused', (width) => {
  expect(() => smartResize({ width, height: 10 }, published)).toThrow(/both sides must be at least 1/);
});
