import fc from 'fast-check';
import { expect, test } from 'vitest';
import { bicubicTaps, bicubicWeights } from './bicubic-taps.ts';

function weightsOf(nIn: number, nOut: number, i: number): number[] {
  const { count, weights, stride } = bicubicWeights(nIn, nOut);
  return [...weights.subarray(i * stride, i * stride + count[i])];
}

// ground truth, 2.1, "Golden rows"
test('64 → 56: first row and tenth row are the reference’s', () => {
  expect(bicubicWeights(64, 56).first[0]).toBe(0);
  expect(bicubicWeights(64, 56).first[10]).toBe(10);
  const golden = [
    [0, [0.8914643524, 0.1387454685, -0.0302098209]],
    [10, [-0.0644165247, 0.5644165247, 0.5644165247, -0.0644165247]],
  ] as const;
  for (const [row, values] of golden) {
    const mine = weightsOf(64, 56, row).filter((w) => w !== 0);
    expect(mine).toHaveLength(values.length);
    values.forEach((value, j) => {
      expect(mine[j]).toBeCloseTo(value, 9);
    });
  }
});

test.each([
  [64, 56, 15],
  [320, 308, 15],
  [240, 252, 14],
])('torchvision: %i → %i has %i fractional bits', (nIn, nOut, precision) => {
  expect(bicubicTaps(nIn, nOut, 'torchvision').precision).toBe(precision);
});

const lengths = fc.record({
  nIn: fc.integer({ min: 1, max: 5000 }),
  nOut: fc.integer({ min: 1, max: 1200 }),
});

test('every row sums to one, lies inside the input, and no int32 sum of 255s can overflow', () => {
  fc.assert(
    fc.property(lengths, ({ nIn, nOut }) => {
      const { first, count, weights, stride } = bicubicWeights(nIn, nOut);
      const pillow = bicubicTaps(nIn, nOut, 'pillow').weights;
      let furthest = 0;
      let mostPositive = 0;
      let highest = 0;
      for (let i = 0; i < nOut; i++) {
        let sum = 0;
        let positive = 0;
        let fixed = 2 ** 21;
        for (let k = i * stride; k < i * stride + count[i]; k++) {
          sum += weights[k];
          positive += Math.max(weights[k], 0);
          fixed += Math.max(pillow[k], 0) * 255;
        }
        furthest = Math.max(furthest, Math.abs(sum - 1));
        mostPositive = Math.max(mostPositive, positive);
        highest = Math.max(highest, fixed);
      }
      expect(furthest).toBeLessThan(1e-12);
      expect(mostPositive).toBeLessThan(1.135);
      expect(highest).toBeLessThan(2 ** 31);
      expect(first.every((low, i) => low >= 0 && count[i] > 0 && low + count[i] <= nIn)).toBe(true);
    }),
  );
});

test('torchvision’s weights fit in an int16', () => {
  fc.assert(
    fc.property(lengths, ({ nIn, nOut }) => {
      const { weights } = bicubicTaps(nIn, nOut, 'torchvision');
      expect(weights.every((w) => Math.abs(w) < 2 ** 15)).toBe(true);
    }),
    { numRuns: 60 },
  );
});
