import fc from 'fast-check';
import { expect, test } from 'vitest';
import { shortestFloat } from './shortest-float.ts';

const float32 = fc.float({ noNaN: true, noDefaultInfinity: true });

test('gives back the same bits', () => {
  fc.assert(
    fc.property(float32, (x) => {
      const back = new Float32Array([JSON.parse(shortestFloat(x))]);
      expect(new Uint32Array(back.buffer)[0]).toBe(new Uint32Array(new Float32Array([x]).buffer)[0]);
    }),
    { numRuns: 2000 },
  );
});

test('no decimal with fewer digits does', () => {
  const digitsOf = (text: string) =>
    text.replace(/e.*/, '').replace(/[-.]/g, '').replace(/^0+/, '').replace(/0+$/, '').length;
  fc.assert(
    fc.property(float32, (x) => {
      const digits = digitsOf(shortestFloat(x));
      for (let fewer = 1; fewer < digits; fewer++)
        expect(Math.fround(Number(x.toPrecision(fewer)))).not.toBe(x);
    }),
  );
});

test.each([
  [Math.fround(0.1), '0.1'],
  [0, '0'],
  [-0, '-0'],
  [1, '1'],
  [-0.5, '-0.5'],
  [16777216, '16777216'],
  [2 ** -149, '1e-45'],
  [3.4028234663852886e38, '3.4028235e+38'],
])('%f is %s', (x, text) => {
  expect(shortestFloat(x)).toBe(text);
});
