import { describe, expect, test } from 'vitest';
import type { KernelSettings, Way } from '../product-settings.ts';
import { type Offers, offersFrom } from '../webgpu/offers.ts';
import { matrixPlanOf } from './matrix-tiles.ts';
import { chooseWay, type Possible, TABLE, waysOf } from './variant-choice.ts';

const LIMITS = { maxComputeInvocationsPerWorkgroup: 256, maxComputeWorkgroupSizeX: 256 };
const ALL = ['shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix'];
const config = (M: number, N: number, K: number, componentType = 'f16', resultComponentType = 'f32') => ({
  M,
  N,
  K,
  componentType,
  resultComponentType,
});
const info = (sizes: object) => sizes as GPUAdapterInfo;
const apple = info({ subgroupMinSize: 4, subgroupMaxSize: 64, subgroupMatrixConfigs: [config(8, 8, 8)] });
const offers = (features: readonly string[], of = apple): Offers => offersFrom(new Set(features), of);

const possible = (kind: 'rows' | 'tiles', features: readonly string[], rows = 64): Possible => {
  const found = offers(features);
  const plan = kind === 'rows' ? { kind, rows: 4 } : { kind, per: 8 };
  const matrixPlan = kind === 'tiles' ? matrixPlanOf(found, rows, LIMITS) : null;
  return { plan, rows, offers: found, matrixPlan };
};

describe('which way a product goes', () => {
  test.each<[string, Possible, Partial<KernelSettings>, Way]>([
    ['nothing offered', possible('rows', []), {}, 'plain'],
    ['nothing offered, many rows', possible('tiles', []), { half: true }, 'plain'],
    ['half not asked for', possible('tiles', ALL), {}, 'plain'],
    ['half not asked for, but preferred', possible('tiles', ALL), { prefer: 'matrix' }, 'plain'],
    ['no subgroups', possible('rows', ['shader-f16']), { half: true, prefer: 'subgroups' }, 'plain'],
    ['preferred', possible('rows', ALL), { prefer: 'subgroups' }, 'subgroups'],
    ['plain preferred', possible('rows', ALL), { prefer: 'plain' }, 'plain'],
    ['no matrices', possible('tiles', ['shader-f16', 'subgroups']), { half: true, prefer: 'matrix' }, 'half'],
    [
      'matrices without subgroups',
      possible('tiles', [ALL[0], ALL[2]]),
      { half: true, prefer: 'matrix' },
      'half',
    ],
    ['half preferred', possible('tiles', ALL), { half: true, prefer: 'half' }, 'half'],
    ['matrix preferred', possible('tiles', ALL), { half: true, prefer: 'matrix' }, 'matrix'],
    [
      'matrix preferred for few rows',
      possible('rows', ALL),
      { half: true, prefer: 'matrix' },
      TABLE[0].ways[0],
    ],
  ])('%s', (_, found, settings, way) => {
    expect(chooseWay(found, { half: false, prefer: null, ...settings })).toBe(way);
  });

  test('the table knows every plan, and every choice of it can be made', () => {
    for (const kind of ['rows', 'tiles'] as const) {
      for (const rows of [1, 20, 64, 512, 100_000]) {
        const line = TABLE.find(({ plan, rowsUpTo }) => plan === kind && rows <= rowsUpTo);
        const ways = waysOf(possible(kind, ALL, rows), { half: true, prefer: null });
        expect([...(line?.ways ?? [])].sort()).toEqual([...ways].sort());
      }
    }
  });
});

describe('what a device offers', () => {
  test('only float16 matrices with float32 sums', () => {
    const found = offers(
      ALL,
      info({
        subgroupMinSize: 32,
        subgroupMaxSize: 32,
        subgroupMatrixConfigs: [
          config(16, 16, 16, 'f16', 'f16'),
          config(16, 8, 16),
          config(8, 8, 32, 'i8', 'i32'),
        ],
      }),
    );
    expect(found).toEqual({
      half: true,
      subgroups: { least: 32, most: 32 },
      matrices: [{ M: 16, N: 8, K: 16 }],
    });
    expect(matrixPlanOf(found, 33, LIMITS)).toEqual({ shape: { M: 16, N: 8, K: 16 }, lanes: 128, rows: 64 });
    expect(matrixPlanOf(found, 32, LIMITS)?.rows).toBe(32);
  });

  test('subgroups of unknown size have the sizes of the specification', () => {
    expect(offersFrom(new Set(['subgroups']), undefined).subgroups).toEqual({ least: 4, most: 128 });
  });

  test('a workgroup holds whole subgroups, and as many as there are lanes for', () => {
    const lanes = (subgroupMinSize: number, subgroupMaxSize: number, most = 256) =>
      matrixPlanOf(
        offers(ALL, info({ subgroupMinSize, subgroupMaxSize, subgroupMatrixConfigs: [config(8, 8, 8)] })),
        64,
        { maxComputeInvocationsPerWorkgroup: most, maxComputeWorkgroupSizeX: most },
      )?.lanes;
    expect(lanes(8, 8)).toBe(32);
    expect(lanes(4, 64)).toBe(128);
    expect(lanes(32, 64)).toBe(128);
    expect(lanes(64, 64)).toBe(256);
    expect(lanes(64, 64, 128)).toBeUndefined();
  });

  test('matrices that do not fit into the tiles are not used', () => {
    const odd = info({
      subgroupMinSize: 32,
      subgroupMaxSize: 32,
      subgroupMatrixConfigs: [config(12, 16, 16)],
    });
    expect(matrixPlanOf(offers(ALL, odd), 64, LIMITS)).toBeNull();
  });
});
