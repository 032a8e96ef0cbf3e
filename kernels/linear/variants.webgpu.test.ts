import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { gpuIdle } from '../../src/device-webgpu.ts';
import { BACKENDS, expectNoLeak, startBackend } from '../../test/support/backends.ts';
import { expectClose, gaussian } from '../../test/support/close.ts';
import { checkGpu, shadersOf } from '../../test/support/gpu.ts';
import { narrowToBf16 } from '../../weights/narrow.ts';
import { useKernels, type Way } from '../product-settings.ts';
import { composed } from '../registry.ts';
import { webgpuBackend } from '../webgpu/backend.ts';
import { noteOffers, offersOf } from '../webgpu/offers.ts';
import { linear } from './linear.ts';
import type { Matrix } from './matrix.ts';
import { matrixStore, type RawMatrix } from './matrix-store.ts';
import { possibleHere, waysOf } from './variant-choice.ts';
import { webgpuStore } from './webgpu-store.ts';

type Case = {
  readonly T: number;
  readonly In: number;
  readonly Out: number;
  readonly ranks?: readonly number[];
  readonly bias?: boolean;
  readonly gate?: boolean;
  readonly residual?: boolean;
  /** Size of the values of x, and of W. */
  readonly size?: number;
  readonly weightSize?: number;
  /** Rows of a part of W; not given: all in one. */
  readonly part?: number;
};

const SHADERS: Readonly<Record<Way, string>> = {
  plain: 'Linear',
  subgroups: 'Linear (subgroups)',
  half: 'Linear (half)',
  matrix: 'Linear (matrix)',
};

const raw = (outSize: number, inSize: number, seed: number, scale: number): RawMatrix => {
  const words = narrowToBf16(gaussian(outSize * inSize, seed).map((v) => v * scale));
  return { bytes: new Uint8Array(words.buffer), dtype: 'BF16', outSize, inSize };
};

/** One way against the composed truth. Half precision is asked for where the way needs it. */
async function check(way: Way, one: Case, relativeToMax: number): Promise<void> {
  const { T, In, Out, ranks = [], bias, gate, residual, size = 1, weightSize = 1, part } = one;
  const store = part === undefined ? matrixStore() : webgpuStore(2 * 4 * Math.ceil(In / 4) * part);
  await expectNoLeak(async () => {
    const weight = store.packed(raw(Out, In, 2, weightSize / Math.sqrt(In)));
    const lora = ranks.map((R, i) => ({
      a: matrixStore().packed(raw(R, In, 10 + i, 1 / Math.sqrt(In))),
      b: matrixStore().packed(raw(Out, R, 20 + i, weightSize / Math.sqrt(R))),
      scale: i % 2 === 0 ? 0.5 : -2,
      activation: i % 2 === 0 ? ('none' as const) : ('relu' as const),
    }));
    const x = tf.tensor2d(
      gaussian(T * In, 1).map((v) => v * size),
      [T, In],
    );
    const inputs = {
      x,
      weight,
      lora,
      bias: bias ? tf.tensor1d(gaussian(Out, 3)) : null,
      gate: gate ? tf.tensor2d(gaussian(T * Out, 4), [T, Out]) : undefined,
      residual: residual ? tf.tensor2d(gaussian(T * Out, 5), [T, Out]) : undefined,
    };
    const what = `${way} ${JSON.stringify(one)}`;
    const expected = composed(() => linear(inputs));
    const before = useKernels({ half: way === 'half' || way === 'matrix', prefer: way });
    try {
      const names = await shadersOf(async () => {
        for (const again of ['', ', again']) {
          const y = linear(inputs);
          expectClose(await y.data(), await expected.data(), { relativeToMax, what: what + again });
          y.dispose();
        }
      });
      expect(names, what).toContain(SHADERS[way]);
    } finally {
      useKernels(before);
    }
    for (const m of [weight, ...lora.flatMap((l): Matrix[] => [l.a, l.b])]) m.dispose();
    for (const t of [x, inputs.bias, inputs.gate, inputs.residual, expected]) t?.dispose();
  });
}

// A few rows, or a few outputs, go one way; all else another.
const FEW: readonly Case[] = [
  { T: 1, In: 1, Out: 1 },
  { T: 1, In: 2048, Out: 257, ranks: [32], residual: true },
  { T: 5, In: 1176, Out: 96, ranks: [16], gate: true },
  { T: 8, In: 11008, Out: 67, bias: true },
  { T: 7, In: 3420, Out: 131, part: 50 },
  { T: 300, In: 40, Out: 1, bias: true },
  { T: 3, In: 2048, Out: 256, ranks: [32, 5], bias: true },
];
const MANY: readonly Case[] = [
  { T: 9, In: 1, Out: 65 },
  { T: 31, In: 33, Out: 127, ranks: [3], bias: true, gate: true, residual: true },
  { T: 32, In: 31, Out: 128, bias: true },
  { T: 33, In: 32, Out: 129, gate: true },
  { T: 63, In: 17, Out: 2047, ranks: [5], residual: true },
  { T: 64, In: 64, Out: 2048, ranks: [8], bias: true },
  { T: 65, In: 61, Out: 2049, ranks: [7] },
  { T: 13, In: 101, Out: 211, ranks: [4, 9, 2], bias: true, gate: true, residual: true },
  { T: 40, In: 60, Out: 211, ranks: [4], part: 70, residual: true },
  { T: 70, In: 2048, Out: 256, ranks: [32], bias: true, residual: true },
  { T: 20, In: 11008, Out: 128, ranks: [32], residual: true },
  { T: 40, In: 3420, Out: 160, bias: true, residual: true },
];
const SIZES: readonly Pick<Case, 'size' | 'weightSize'>[] = [
  { size: 1e6 },
  { size: 1e18 },
  { size: 1e-18 },
  { weightSize: 1e6 },
  { size: 1e12, weightSize: 1e-12 },
];

const WAYS: readonly { way: Way; needs: string; cases: readonly Case[]; relativeToMax: number }[] = [
  { way: 'subgroups', needs: 'subgroups', cases: FEW, relativeToMax: 1e-5 },
  { way: 'plain', needs: '', cases: [...FEW, ...MANY], relativeToMax: 1e-5 },
  { way: 'half', needs: 'shader-f16', cases: MANY, relativeToMax: 2e-3 },
  { way: 'matrix', needs: 'chromium-experimental-subgroup-matrix', cases: MANY, relativeToMax: 2e-3 },
];

describe.skipIf(!BACKENDS.includes('webgpu')).each(WAYS)(
  'linear on webgpu, $way',
  { timeout: 300_000 },
  ({ way, needs, cases, relativeToMax }) => {
    let there = true;
    beforeAll(async () => {
      await startBackend('webgpu');
      const [{ T, Out }] = cases;
      there = waysOf(possibleHere(T, Out), { half: true, prefer: null }).includes(way);
      if (!there) console.warn(`NOT RUN, linear on webgpu, ${way}: the GPU does not offer ${needs}`);
    });
    afterEach(async () => {
      await gpuIdle();
      await checkGpu();
    });

    test.each(cases)('$T × $In → $Out, $ranks', async (one) => {
      if (there) await check(way, one, relativeToMax);
    });

    test.each(SIZES)('values of x around $size, of W around $weightSize', async (sizes) => {
      const T = cases === FEW ? 5 : 20;
      if (there) await check(way, { T, In: 300, Out: 70, ranks: [8], ...sizes }, relativeToMax);
    });

    test('any shape, any terms', async () => {
      if (!there) return;
      const seed = Date.now() % 2 ** 31;
      console.log(`linear on webgpu, ${way}: random shapes with seed ${seed}`);
      const rows = cases === FEW ? { min: 1, max: 8 } : { min: 9, max: 80 };
      await fc.assert(
        fc.asyncProperty(
          fc.record({
            T: fc.integer(rows),
            In: fc.integer({ min: 1, max: 140 }),
            Out: fc.integer({ min: 65, max: 200 }),
            ranks: fc.array(fc.integer({ min: 1, max: 33 }), { maxLength: 2 }),
            bias: fc.boolean(),
            gate: fc.boolean(),
            residual: fc.boolean(),
          }),
          (one) => check(way, one, relativeToMax),
        ),
        { numRuns: 15, seed },
      );
    });
  },
);

// Subgroups are as large as the driver likes, between two bounds. With other bounds said, a workgroup holds fewer subgroups
// than parts of a tile, or more.
describe.skipIf(!BACKENDS.includes('webgpu'))(
  'subgroup matrices where subgroups are not of the usual size',
  () => {
    beforeAll(() => startBackend('webgpu'));
    afterEach(async () => {
      await gpuIdle();
      await checkGpu();
    });

    test.each([
      { least: 0.25, most: 0.5, what: 'larger: two subgroups for four parts' },
      { least: 1, most: 4, what: 'smaller: sixteen for four' },
    ])('$what', { timeout: 300_000 }, async ({ least, most }) => {
      const { device } = webgpuBackend();
      const offers = offersOf(device);
      const { subgroups, matrices } = offers;
      if (!subgroups || matrices.length === 0 || subgroups.least !== subgroups.most) {
        return console.warn(
          'NOT RUN: the GPU does not offer subgroup matrices, or subgroups of several sizes',
        );
      }
      const size = subgroups.most;
      noteOffers(device, { ...offers, subgroups: { least: least * size, most: most * size } });
      try {
        const lanes = possibleHere(64, 100).matrixPlan?.lanes;
        expect(lanes).toBe(most < 1 ? 2 * size : 16 * size);
        await check('matrix', { T: 70, In: 100, Out: 150, ranks: [8], bias: true, gate: true }, 2e-3);
        await check('matrix', { T: 20, In: 64, Out: 70, residual: true }, 2e-3);
      } finally {
        noteOffers(device, offers);
      }
    });
  },
);
