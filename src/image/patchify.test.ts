import fc from 'fast-check';
import { expect, test } from 'vitest';
import { normalisedLevels, patchify } from './patchify.ts';

const clip = {
  imageMean: [0.48145466, 0.4578275, 0.40821073],
  imageStd: [0.26862954, 0.26130258, 0.27577711],
  rescaleFactor: 1 / 255,
};

test('one block of the published geometry: 4 patches of 1176 values, both frames alike', () => {
  const data = new Uint8Array(28 * 28 * 3).map((_, i) => (i * 7) % 256);
  const { pixelValues, grid } = patchify(
    { width: 28, height: 28, data },
    { ...clip, patchSize: 14, temporalPatchSize: 2, mergeSize: 2 },
  );
  expect(grid).toEqual([1, 2, 2]);
  expect(pixelValues).toHaveLength(4 * 1176);
  for (let channel = 0; channel < 3; channel++) {
    const start = 1176 + channel * 392;
    expect(pixelValues.slice(start, start + 196)).toEqual(pixelValues.slice(start + 196, start + 392));
  }
});

test('every value lands where the formula says, for any patch, merge and frame count', () => {
  const geometry = fc.record({
    p: fc.integer({ min: 1, max: 5 }),
    m: fc.integer({ min: 1, max: 3 }),
    frames: fc.integer({ min: 1, max: 3 }),
    blocksX: fc.integer({ min: 1, max: 4 }),
    blocksY: fc.integer({ min: 1, max: 4 }),
  });
  const levels = normalisedLevels({ ...clip, patchSize: 1, temporalPatchSize: 1, mergeSize: 1 });
  fc.assert(
    fc.property(geometry, ({ p, m, frames, blocksX, blocksY }) => {
      const width = blocksX * m * p;
      const height = blocksY * m * p;
      const data = new Uint8Array(width * height * 3).map((_, i) => (i * 31 + 5) % 256);
      const options = { ...clip, patchSize: p, mergeSize: m, temporalPatchSize: frames };
      const { pixelValues, grid } = patchify({ width, height, data }, options);
      expect(grid).toEqual([1, height / p, width / p]);
      const columns = 3 * frames * p * p;
      expect(pixelValues).toHaveLength(grid[1] * grid[2] * columns);
      const expected = new Float32Array(pixelValues.length);
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
          const patchY = Math.floor(y / p);
          const patchX = Math.floor(x / p);
          const block = Math.floor(patchY / m) * blocksX + Math.floor(patchX / m);
          const row = (block * m + (patchY % m)) * m + (patchX % m);
          for (let c = 0; c < 3; c++) {
            for (let t = 0; t < frames; t++) {
              const column = ((c * frames + t) * p + (y % p)) * p + (x % p);
              expected[row * columns + column] = levels[c * 256 + data[(y * width + x) * 3 + c]];
            }
          }
        }
      }
      expect(pixelValues).toEqual(expected);
    }),
    { numRuns: 40 },
  );
});
