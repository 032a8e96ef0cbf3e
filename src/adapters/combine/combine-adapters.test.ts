import { readFileSync } from 'node:fs';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { BACKENDS, expectNoLeak, onEveryBackend, startBackend } from '../../../test/support/backends.ts';
import { expectClose } from '../../../test/support/close.ts';
import { deltaAt, type PlainTerm, plainAdapter, randomTerm } from '../../../test/support/plain-adapter.ts';
import { memorySource } from '../../../weights/memory-source.ts';
import { readFloat32, readHeader, readTensor } from '../../../weights/safetensors.ts';
import { InputError } from '../../errors.ts';
import { denseSvd } from '../algebra/svd.ts';
import type { Adapter } from '../with-adapters.ts';
import { combineAdapters } from './combine-adapters.ts';
import { type CombinationType, combinationOf, mergeValues, type RecipeOptions } from './recipe.ts';
import { clampPair, svdFactors } from './svd-factors.ts';

// What PEFT made of the same adapters: peft-combinations.py.
const bytes = readFileSync(new URL('peft-combinations.safetensors', import.meta.url));
const { tensors, metadata } = await readHeader(memorySource('peft-combinations.safetensors', bytes));

type Case = Required<Pick<RecipeOptions, 'type'>> &
  RecipeOptions & {
    readonly adapters: readonly string[];
    readonly weights: readonly number[];
    readonly density?: number | null;
    readonly rank: number;
  };
const { sizes, scales, cases } = JSON.parse(metadata?.index ?? '') as {
  sizes: Readonly<Record<string, readonly [number, number]>>;
  scales: Readonly<Record<string, number>>;
  cases: readonly Case[];
};

async function valuesOf(key: string): Promise<Float32Array> {
  const entry = tensors.get(key);
  if (!entry) throw new Error(`no golden value "${key}"`);
  return readFloat32(entry);
}

async function maskOf(key: string): Promise<Uint8Array> {
  const entry = tensors.get(key);
  if (!entry) throw new Error(`no mask "${key}"`);
  return readTensor(entry);
}

/** A matrix of PEFT, turned: [R, in] → [in, R]. */
async function turned(key: string): Promise<{ values: Float32Array; rows: number }> {
  const [rows, columns] = tensors.get(key)?.shape ?? [];
  const from = await valuesOf(key);
  return {
    values: from.map((_, i) => from[(i % rows) * columns + Math.floor(i / rows)]),
    rows,
  };
}

async function pairAt(prefix: string): Promise<PlainTerm> {
  const [a, b] = [await turned(`${prefix}/A`), await turned(`${prefix}/B`)];
  return { a: a.values, b: b.values, rank: a.rows };
}

async function source(name: string): Promise<Adapter> {
  const modules: Record<string, PlainTerm> = {};
  for (const module of Object.keys(sizes)) {
    if (!tensors.has(`source/${name}/${module}/A`)) continue;
    modules[module] = { ...(await pairAt(`source/${name}/${module}`)), scale: scales[`${name}/${module}`] };
  }
  return plainAdapter(name, modules);
}

const optionsOf = ({ type, density, majoritySign, svdRank, svdClamp }: Case): RecipeOptions => ({
  type,
  density: density ?? undefined,
  majoritySign,
  svdRank,
  svdClamp,
});
const draws = ({ type, density }: Case) => type.startsWith('dare') && (density ?? 1) < 1;
const close = (found: ArrayLike<number>, expected: ArrayLike<number>, what: string) =>
  expectClose(found, expected, { relativeToMax: 2e-6, what });

onEveryBackend(() => {
  const given: Adapter[] = [];
  const sources = async (names: readonly string[]) => {
    const found = await Promise.all(names.map(source));
    given.push(...found);
    return found;
  };
  afterEach(() => {
    for (const adapter of given.splice(0)) adapter.dispose();
  });

  // Random masks and a clamp that depends on the signs of singular vectors are held to PEFT below.
  test.each(
    cases
      .map((c, index) => [`${index} ${c.type} of ${c.adapters}`, c, index] as const)
      .filter(([, c]) => !draws(c) && c.svdClamp === undefined),
  )('as PEFT: %s', async (_, c, index) => {
    const adapters = await sources(c.adapters);
    const found = await expectNoLeak(() => combineAdapters(adapters, c.weights, optionsOf(c)), 6);
    given.push(found);
    expect(found.rank).toBe(c.rank);
    expect([...found.terms.keys()].sort()).toEqual(Object.keys(sizes).sort());
    const byFactor = !c.type.endsWith('svd') && c.type !== 'cat';
    for (const [module, term] of found.terms) {
      expect(term.scale).toBe(1);
      const expected = await pairAt(`case/${index}/${module}`);
      const reference = plainAdapter('reference', { [module]: expected });
      given.push(reference);
      close(await deltaAt(found, module), await deltaAt(reference, module), `ΔW of ${module}`);
      if (!byFactor) continue;
      close(await term.a.dense().data(), expected.a, `A of ${module}`);
      close(await term.b.dense().data(), expected.b, `B of ${module}`);
    }
  });
});

describe('parts that PEFT draws or leaves open', () => {
  beforeAll(() => startBackend(BACKENDS[0]));

  test('with the masks that PEFT drew, dare makes the same of factors', async () => {
    let compared = 0;
    for (const [index, c] of cases.entries()) {
      if (!draws(c) || c.type.endsWith('_svd')) continue;
      const how = combinationOf(optionsOf(c));
      for (const module of Object.keys(sizes)) {
        const here = c.adapters.filter((name) => tensors.has(`source/${name}/${module}/A`));
        const weights = here.map((name) => c.weights[c.adapters.indexOf(name)] * scales[`${name}/${module}`]);
        for (const [side, sign] of [
          ['A', true],
          ['B', false],
        ] as const) {
          const masks = await Promise.all(
            here.map((_, k) => maskOf(`case/${index}/${module}/keep/${k + (sign ? 0 : here.length)}`)),
          );
          const inputs = await Promise.all(here.map((name) => valuesOf(`source/${name}/${module}/${side}`)));
          const roots = weights.map((w) => Math.sqrt(Math.abs(w)) * (sign && w < 0 ? -1 : 1));
          const found = mergeValues(inputs, roots, how, (values, k) =>
            values.map((v, i) => (masks[k][i] ? v / how.density : 0)),
          );
          close(found, await valuesOf(`case/${index}/${module}/${side}`), `${c.type} ${module} ${side}`);
          compared++;
        }
      }
    }
    expect(compared).toBe(36); // 2 + 4 cases, 3 modules, A and B
  });

  test('with the masks that PEFT drew, dare makes the same of changes', async () => {
    let compared = 0;
    for (const [index, c] of cases.entries()) {
      if (!draws(c) || !c.type.endsWith('_svd')) continue;
      const how = combinationOf(optionsOf(c));
      const adapters = await Promise.all(c.adapters.map(source));
      for (const [module, [inSize, outSize]] of Object.entries(sizes)) {
        const here = adapters.filter((a) => a.terms.has(module));
        const deltas = await Promise.all(here.map((a) => deltaAt(a, module)));
        const masks = await Promise.all(here.map((_, k) => maskOf(`case/${index}/${module}/keep/${k}`)));
        const weights = here.map((a) => c.weights[c.adapters.indexOf(a.name)]);
        // PEFT's mask lies as ΔW [out, in], here it is ΔWᵀ.
        const merged = mergeValues(deltas, weights, how, (values, k) =>
          values.map((v, i) =>
            masks[k][(i % outSize) * inSize + Math.floor(i / outSize)] ? v / how.density : 0,
          ),
        );
        const rows = Array.from({ length: inSize }, (_, i) =>
          Float64Array.from(merged.subarray(i * outSize, (i + 1) * outSize)),
        );
        const found = plainAdapter('found', { [module]: svdFactors(denseSvd(rows), c.rank) });
        const reference = plainAdapter('reference', { [module]: await pairAt(`case/${index}/${module}`) });
        close(await deltaAt(found, module), await deltaAt(reference, module), `${c.type} ΔW of ${module}`);
        for (const adapter of [found, reference]) adapter.dispose();
        compared++;
      }
      for (const adapter of adapters) adapter.dispose();
    }
    expect(compared).toBe(18); // 2 + 4 cases, 3 modules
  });

  test('clamping by a quantile, on the matrices that PEFT clamped', async () => {
    const clamped = cases.findIndex((c) => c.svdClamp !== undefined);
    const before = cases.findIndex((c) => c.svdRank === cases[clamped].svdRank && c.svdClamp === undefined);
    expect(cases[before].weights).toEqual(cases[clamped].weights);
    for (const module of Object.keys(sizes)) {
      const expected = await pairAt(`case/${clamped}/${module}`);
      const found = clampPair(await pairAt(`case/${before}/${module}`), cases[clamped].svdClamp ?? 0);
      close(found.a, expected.a, `A of ${module}`);
      close(found.b, expected.b, `B of ${module}`);
    }
  });
});

describe('what cannot be combined', () => {
  beforeAll(() => startBackend(BACKENDS[0]));
  const size = { inSize: 6, outSize: 5 };
  const one = () => plainAdapter('one', { q: randomTerm({ ...size, rank: 2 }, 1) });
  const wide = () => plainAdapter('wide', { q: randomTerm({ ...size, rank: 3 }, 3) });
  const relu = () => plainAdapter('bent', { q: randomTerm({ ...size, rank: 2, activation: 'relu' }, 5) });
  const large = () => plainAdapter('large', { q: randomTerm({ inSize: 7, outSize: 5, rank: 2 }, 7) });

  test.each<[string, () => readonly Adapter[], readonly number[], RecipeOptions, RegExp]>([
    ['no adapters', () => [], [], {}, /list of adapters is empty/],
    ['a weight too few', () => [one(), wide()], [1], {}, /2 adapters but 1 weights/],
    ['a weight that is no number', () => [one()], [Number.NaN], {}, /weight 0, of "one", is no number/],
    [
      'an unknown type',
      () => [one(), one()],
      [1, 1],
      { type: 'mean' as CombinationType },
      /"mean"; there are linear, cat, svd, ties, .*magnitude_prune_svd/,
    ],
    [
      'an unknown sign',
      () => [one(), one()],
      [1, 1],
      { majoritySign: 'all' as 'total' },
      /there are total, frequency/,
    ],
    ['no density', () => [one(), one()], [1, 1], { type: 'ties' }, /"ties" prunes: give density/],
    ['density above 1', () => [one(), one()], [1, 1], { type: 'ties', density: 1.5 }, /from 0 to 1; got 1.5/],
    ['negative density', () => [one(), one()], [1, 1], { type: 'ties', density: -0.1 }, /got -0.1/],
    [
      'dare that keeps nothing',
      () => [one(), one()],
      [1, 1],
      { type: 'dare_ties', density: 0 },
      /above 0, up to 1; got 0/,
    ],
    ['rank 0', () => [one(), one()], [1, 1], { svdRank: 0 }, /svdRank must be a whole number from 1, got 0/],
    ['a rank for linear', () => [one(), one()], [1, 1], { type: 'linear', svdRank: 2 }, /not for "linear"/],
    ['a quantile above 1', () => [one(), one()], [1, 1], { svdClamp: 2 }, /svdClamp is a quantile .* got 2/],
    [
      'a seed that is no whole number',
      () => [one(), one()],
      [1, 1],
      { seed: 0.5 },
      /seed must be a whole number, got 0.5/,
    ],
    [
      'unequal ranks',
      () => [one(), wide()],
      [1, 1],
      { type: 'linear' },
      /on q they are "one" 2, "wide" 3; use cat, svd/,
    ],
    ['other shapes', () => [one(), large()], [1, 1], {}, /q is "one" 6 → 5, "large" 7 → 5/],
    [
      'a ReLU, summed',
      () => [relu(), relu()],
      [1, 1],
      { type: 'linear' },
      /only "cat" combines such adapters exactly, not "linear"/,
    ],
    ['a ReLU and none', () => [relu(), one()], [1, 1], { type: 'cat' }, /"bent" relu, "one" none/],
  ])('%s', async (_, adapters, weights, options, message) => {
    const given = adapters();
    const failed = combineAdapters(given, weights, options);
    await expect(failed).rejects.toThrow(message);
    await expect(failed).rejects.toBeInstanceOf(InputError);
    for (const adapter of given) adapter.dispose();
  });

  test('an abort between modules frees what was made', async () => {
    const modules = Object.fromEntries(
      ['q', 'k', 'v'].map((m, i) => [m, randomTerm({ ...size, rank: 2 }, i)]),
    );
    const adapter = plainAdapter('many', modules);
    const controller = new AbortController();
    const seen: number[] = [];
    await expectNoLeak(async () => {
      const failed = combineAdapters([adapter, adapter], [1, 1], {
        signal: controller.signal,
        onProgress: (done, total) => {
          seen.push(done / total);
          controller.abort(new Error('enough'));
        },
      });
      await expect(failed).rejects.toThrow('enough');
    });
    expect(seen).toEqual([1 / 3]);
    adapter.dispose();
  });
});
