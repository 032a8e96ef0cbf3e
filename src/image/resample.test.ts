import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { resizeBicubic } from './resample.ts';

type Case = {
  readonly kind: 'noise' | 'extremes';
  readonly seed: number;
  readonly width: number;
  readonly height: number;
  readonly to: { readonly width: number; readonly height: number };
  readonly torchvision: string;
  readonly pillow: string;
};

// Outputs of the two libraries themselves; what made them stands in the file. Inputs are generated.
const fixtures = JSON.parse(readFileSync(new URL('resample.fixtures.json', import.meta.url), 'utf8')) as {
  cases: Case[];
};

function generate({ kind, seed, width, height }: Case): Uint8Array {
  let x = seed;
  return new Uint8Array(width * height * 3).map(() => {
    x = (Math.imul(1664525, x) + 1013904223) >>> 0;
    return kind === 'noise' ? x >>> 24 : x >>> 31 ? 255 : 0;
  });
}

test.each(fixtures.cases)(
  '$width × $height → $to.width × $to.height ($kind) is bit-identical to both libraries',
  (c) => {
    const image = { width: c.width, height: c.height, data: generate(c) };
    for (const variant of ['torchvision', 'pillow'] as const) {
      const { width, height, data } = resizeBicubic(image, c.to, variant);
      const expected = new Uint8Array(Buffer.from(c[variant], 'base64'));
      expect({ width, height, length: data.length }).toEqual({ ...c.to, length: expected.length });
      const wrong = data.findIndex((value, i) => value !== expected[i]);
      expect(wrong, `${variant}: byte ${wrong} is ${data[wrong]}, not ${expected[wrong]}`).toBe(-1);
    }
  },
);

const size = fc.record({ width: fc.integer({ min: 1, max: 90 }), height: fc.integer({ min: 1, max: 90 }) });

test('a flat colour stays flat', () => {
  fc.assert(
    fc.property(size, size, fc.integer({ min: 0, max: 255 }), (from, to, value) => {
      const data = new Uint8Array(from.width * from.height * 3).fill(value);
      for (const variant of ['torchvision', 'pillow'] as const) {
        expect(resizeBicubic({ ...from, data }, to, variant).data.every((x) => x === value)).toBe(true);
      }
    }),
    { numRuns: 40 },
  );
});

test('the same size is the same image, and the input is never written to', () => {
  const image = { width: 5, height: 4, data: new Uint8Array(60).map((_, i) => i * 4) };
  expect(resizeBicubic(image, { width: 5, height: 4 })).toEqual(image);
  resizeBicubic(image, { width: 9, height: 2 });
  expect(image.data).toEqual(new Uint8Array(60).map((_, i) => i * 4));
});
