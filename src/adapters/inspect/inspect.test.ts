import fc from 'fast-check';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { BACKENDS, expectNoLeak, startBackend } from '../../../test/support/backends.ts';
import { expectClose } from '../../../test/support/close.ts';
import { geometryConfig, narrowed } from '../../../test/support/geometries.ts';
import { deltaAt, plainAdapter, randomTerm } from '../../../test/support/plain-adapter.ts';
import { randomAdapter, randomModel } from '../../../test/support/random-model.ts';
import { InputError } from '../../errors.ts';
import { qr } from '../algebra/qr.ts';
import { denseSvd } from '../algebra/svd.ts';
import type { Vectors } from '../algebra/vectors.ts';
import { type Adapter, weigh } from '../with-adapters.ts';
import { adapterEffect, type Embeds } from './adapter-effect.ts';
import { compareAdapters, overlap } from './compare-adapters.ts';
import { inspectAdapter, ranksOf } from './inspect-adapter.ts';
import { modulePlace } from './module-place.ts';

beforeAll(() => startBackend(BACKENDS[0]));

const given: Adapter[] = [];
const keep = (adapter: Adapter): Adapter => {
  given.push(adapter);
  return adapter;
};
afterEach(() => {
  for (const adapter of given.splice(0)) adapter.dispose();
});

const Q = 'model.layers.3.self_attn.q_proj';
const size = { inSize: 9, outSize: 7 };
const close = (found: ArrayLike<number>, expected: ArrayLike<number>, what: string) =>
  expectClose(found, expected, { relativeToMax: 1e-6, what });
const hypot = (values: Iterable<number>) => Math.hypot(...values);

describe('inspectAdapter', () => {
  test('its numbers are those of the change itself, formed in full', async () => {
    const adapter = keep(plainAdapter('mine', { [Q]: randomTerm({ ...size, rank: 3, scale: -0.5 }, 1) }));
    const { modules, ...whole } = await expectNoLeak(() => inspectAdapter(adapter));
    const delta = await deltaAt(adapter, Q);
    const rows = Array.from({ length: 9 }, (_, i) => Float64Array.from(delta.subarray(i * 7, i * 7 + 7)));
    const values = denseSvd(rows).s;
    const [report] = modules;
    expect(report).toMatchObject({
      module: Q,
      layer: 3,
      kind: 'q_proj',
      ...size,
      rank: 3,
      scale: -0.5,
      activation: 'none',
      parameters: 48,
      relative: null,
    });
    close(report.singularValues, values.subarray(0, 3), 'singular values');
    close([report.frobenius, report.spectral], [hypot(delta), values[0]], 'norms');
    expect(report.stableRank).toBeCloseTo(hypot(delta) ** 2 / values[0] ** 2, 5);
    expect(whole).toEqual({ name: 'mine', rank: 3, parameters: 48, frobenius: report.frobenius });
  });

  test('ranks: of equal values their number, of one value 1, of none 0', () => {
    expect(ranksOf([2, 2, 2, 2]).stableRank).toBeCloseTo(4, 12);
    expect(ranksOf([2, 2, 2, 2]).effectiveRank).toBeCloseTo(4, 12);
    expect(ranksOf([5, 0, 0])).toEqual({ stableRank: 1, effectiveRank: 1 });
    expect(ranksOf([0, 0])).toEqual({ stableRank: 0, effectiveRank: 0 });
  });

  test('relative to the weights of a model, which stay as they are', async () => {
    const model = randomModel(geometryConfig(narrowed({ heads: 2, kvHeads: 1 })));
    const adapter = keep(randomAdapter(model.config, 'mine', 2, 'none'));
    const seen: string[] = [];
    const report = await expectNoLeak(() =>
      inspectAdapter(adapter, {
        params: model.params,
        onProgress: (done, total) => seen.push(`${done}/${total}`),
      }),
    );
    expect(seen.length).toBe(adapter.terms.size);
    expect(seen.at(-1)).toBe(`${adapter.terms.size}/${adapter.terms.size}`);
    const block = await model.params.model.layers.take(1);
    const { name, weight } = block.mlp.upProj;
    const found = report.modules.find((m) => m.module === name);
    const w = await weight.dense().data();
    close([found?.relative ?? 0], [hypot(await deltaAt(adapter, name)) / hypot(w)], 'relative norm');
    expect(report.modules.every((m) => m.relative !== null && m.relative > 0)).toBe(true);
    expect(report.modules.find((m) => m.module === 'multi_vector_projector')?.layer).toBe(null);
    model.dispose();
  });

  test('an abort is heard between modules', async () => {
    const adapter = keep(plainAdapter('mine', { [Q]: randomTerm({ ...size, rank: 3 }, 1) }));
    const failed = inspectAdapter(adapter, { signal: AbortSignal.abort(new Error('enough')) });
    await expect(failed).rejects.toThrow('enough');
  });

  test('places', () => {
    expect(modulePlace('visual.blocks.12.mlp.up_proj')).toEqual({ layer: 12, kind: 'up_proj' });
    expect(modulePlace('multi_vector_projector')).toEqual({ layer: null, kind: 'multi_vector_projector' });
  });
});

describe('compareAdapters', () => {
  test('with itself: everything is 1; with its opposite the cosine is -1', async () => {
    const mine = keep(
      plainAdapter('mine', {
        [Q]: randomTerm({ ...size, rank: 3 }, 1),
        k: randomTerm({ ...size, rank: 2 }, 5),
      }),
    );
    const same = await expectNoLeak(() => compareAdapters(mine, mine));
    expect(same).toMatchObject({ a: 'mine', b: 'mine', onlyInA: [], onlyInB: [] });
    expect(same.cosine).toBeCloseTo(1, 12);
    for (const m of same.modules) {
      close([m.cosine, m.inSimilarity, m.outSimilarity], [1, 1, 1], m.module);
      expect(m.inOverlap.length).toBe(m.module === Q ? 3 : 2);
      for (const [i, row] of m.inOverlap.entries()) expect(row[i]).toBeCloseTo(1, 10);
    }
    expect((await compareAdapters(mine, weigh(mine, -2))).cosine).toBeCloseTo(-1, 12);
  });

  test('the cosine is that of the changes formed in full, over all modules of either', async () => {
    const a = keep(
      plainAdapter('a', {
        [Q]: randomTerm({ ...size, rank: 3, scale: 2 }, 1),
        only: randomTerm({ ...size, rank: 1 }, 3),
      }),
    );
    const b = keep(
      plainAdapter('b', {
        [Q]: randomTerm({ ...size, rank: 2 }, 5),
        other: randomTerm({ ...size, rank: 1 }, 7),
      }),
    );
    const found = await compareAdapters(a, b);
    const [x, y] = [await deltaAt(a, Q), await deltaAt(b, Q)];
    const inner = x.reduce((sum, v, i) => sum + v * y[i], 0);
    close([found.modules[0].cosine], [inner / hypot(x) / hypot(y)], 'cosine of a module');
    const [normA, normB] = [
      hypot([...x, ...(await deltaAt(a, 'only'))]),
      hypot([...y, ...(await deltaAt(b, 'other'))]),
    ];
    close([found.cosine], [inner / normA / normB], 'cosine');
    expect(found).toMatchObject({ onlyInA: ['only'], onlyInB: ['other'] });
    expect(found.modules[0].inOverlap.length).toBe(3);
    expect(found.modules[0].inOverlap[0].length).toBe(2);
    const few = await compareAdapters(a, b, { directions: 1 });
    expect(few.modules[0].outOverlap).toEqual([[few.modules[0].outSimilarity]]);
  });

  test('φ: as defined, symmetric, between 0 and 1; of spaces at right angles 0', () =>
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 5 }),
        fc.nat(1e6),
        (m, n, seed) => {
          const { a } = randomTerm({ inSize: 8, outSize: 1, rank: m + n }, seed);
          const columns = Array.from({ length: m + n }, (_, k) =>
            Float64Array.from(a.subarray(k * 8, k * 8 + 8)),
          );
          const x = qr(columns.slice(0, m)).q;
          const y = qr(columns.slice(m)).q;
          const [there, back] = [overlap(x, y), overlap(y, x)];
          const defined = (i: number, j: number) => {
            let sum = 0;
            for (const u of x.slice(0, i))
              for (const v of y.slice(0, j)) sum += u.reduce((s, w, k) => s + w * v[k], 0) ** 2;
            return sum / Math.min(i, j);
          };
          for (let i = 1; i <= m; i++)
            for (let j = 1; j <= n; j++) {
              const value = there[i - 1][j - 1];
              expect(value).toBeCloseTo(defined(i, j), 12);
              expect(back[j - 1][i - 1]).toBeCloseTo(value, 12);
              expect(value).toBeGreaterThanOrEqual(0);
              expect(value).toBeLessThanOrEqual(1 + 1e-12);
            }
        },
      ),
    ));

  test('φ of spaces at right angles is 0, of one inside the other 1', () => {
    const axes: Vectors = [0, 1, 2, 3].map((k) =>
      Float64Array.from({ length: 4 }, (_, i) => (i === k ? 1 : 0)),
    );
    expect(overlap(axes.slice(0, 2), axes.slice(2)).flat()).toEqual([0, 0, 0, 0]);
    expect(overlap(axes.slice(0, 1), axes).flat()).toEqual([1, 1, 1, 1]);
  });

  test('adapters of different models, and no directions, are refused', async () => {
    const a = keep(plainAdapter('a', { [Q]: randomTerm({ ...size, rank: 3 }, 1) }));
    const b = keep(plainAdapter('b', { [Q]: randomTerm({ inSize: 8, outSize: 7, rank: 3 }, 1) }));
    await expect(compareAdapters(a, b)).rejects.toThrow(/is 9 → 7 in one and 8 → 7 in the other/);
    await expect(compareAdapters(a, a, { directions: 0 })).rejects.toThrow(InputError);
  });
});

describe('adapterEffect', () => {
  const turned = (degrees: number) => {
    const angle = (degrees * Math.PI) / 180;
    return Float32Array.of(Math.cos(angle), Math.sin(angle));
  };
  const angles: Readonly<Record<string, number>> = { none: 0, left: 60, right: -30 };
  const embedder: Embeds = {
    model: {
      adapters: new Map([
        ['left', 0],
        ['right', 0],
      ]),
    },
    encode: async (inputs, { task }) => inputs.map((_, i) => turned(angles[task ?? 'none'] * (i + 1))),
  };

  test('cosines with and without, and between adapters', async () => {
    const seen: number[] = [];
    const found = await adapterEffect(embedder, ['x', 'y'], undefined, {
      onProgress: (done) => seen.push(done),
    });
    expect(found).toMatchObject({ inputs: 2, adapters: ['left', 'right'] });
    expect(seen).toEqual([1, 2, 3]);
    const [left, right] = found.moved;
    expect([left.from, left.to, right.to]).toEqual([null, 'left', 'right']);
    close(left.cosines, [0.5, -0.5], 'left');
    close([left.least, right.least, right.mean], [-0.5, 0.5, (Math.sqrt(0.75) + 0.5) / 2], 'summaries');
    expect(found.between.length).toBe(1);
    close(found.between[0].cosines, [0, -1], 'between');
  });

  test('no inputs, no adapters, an unknown one', async () => {
    await expect(adapterEffect(embedder, [])).rejects.toThrow(/list of inputs is empty/);
    await expect(adapterEffect(embedder, ['x'], [])).rejects.toThrow(/no adapter to measure/);
    await expect(adapterEffect(embedder, ['x'], ['up'])).rejects.toThrow(
      /no adapter named "up"; there are left, right/,
    );
  });
});
