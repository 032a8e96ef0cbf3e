import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** Each floor and what it may stand on (design: a file imports only downwards). Longest matching prefix decides. */
const FLOORS: readonly (readonly [prefix: string, standsOn: readonly string[]])[] = [
  ['src/errors.ts', []],
  ['src/json.ts', ['src/errors.ts']],
  ['weights/', ['weights/', 'src/errors.ts']],
  ['kernels/', ['kernels/', 'weights/dtypes.ts', 'weights/quantization.ts', 'src/errors.ts']],
  ['src/text/', ['src/text/', 'src/errors.ts']],
  ['src/image/', ['src/image/', 'src/errors.ts']],
  ['src/model-config.ts', ['src/json.ts', 'src/errors.ts']],
  ['src/config.ts', ['src/text/', 'src/errors.ts']],
  ['src/layers/', ['src/layers/', 'kernels/', 'src/errors.ts']],
  ['src/vision/', ['src/vision/', 'src/layers/', 'kernels/', 'src/model-config.ts', 'src/errors.ts']],
  ['src/decoder/', ['src/decoder/', 'src/layers/', 'kernels/', 'src/model-config.ts', 'src/errors.ts']],
  ['src/heads/', ['src/heads/', 'src/layers/', 'kernels/', 'src/errors.ts']],
  ['src/plot/', ['src/plot/']],
  ['src/output/', ['src/output/', 'src/config.ts', 'src/errors.ts']],
  [
    'src/evaluate/',
    [
      'src/evaluate/',
      'src/plot/',
      'src/jina-embeddings.ts',
      'src/options.ts',
      'src/output/',
      'src/image/rgb-image.ts',
      'src/config.ts',
      'src/errors.ts',
    ],
  ],
  [
    'src/layers-api/',
    [
      'src/layers-api/',
      'src/vision/',
      'src/decoder/',
      'src/heads/',
      'src/layers/',
      'src/params.ts',
      'src/model-config.ts',
      'kernels/',
      'src/errors.ts',
    ],
  ],
  ['src/device', ['src/device', 'src/turns.ts', 'kernels/', 'src/errors.ts']],
];

const DOORS = ['src/platform/', 'src/cli/'];

const files = ['src', 'kernels', 'weights'].flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((f) => f.isFile() && f.name.endsWith('.ts'))
    .map((f) => relative(ROOT, join(f.parentPath, f.name))),
);
const sources = files.filter((f) => !f.endsWith('.test.ts'));

const importsOf = (file: string): readonly string[] =>
  [...readFileSync(join(ROOT, file), 'utf8').matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map((m) =>
    relative(ROOT, resolve(ROOT, dirname(file), m[1])),
  );

test('a file imports only what its floor stands on', () => {
  const offenders = sources.flatMap((file) => {
    const floor = FLOORS.filter(([prefix]) => file.startsWith(prefix)).sort(
      (a, b) => b[0].length - a[0].length,
    )[0];
    return importsOf(file)
      .filter((imported) => floor && !floor[1].some((allowed) => imported.startsWith(allowed)))
      .map((imported) => `${file} imports ${imported}`);
  });
  expect(offenders).toEqual([]);
});

test('nobody imports a door, except the doors themselves', () => {
  const offenders = sources
    .filter((file) => !DOORS.some((door) => file.startsWith(door)))
    .flatMap((file) =>
      importsOf(file)
        .filter((i) => DOORS.some((d) => i.startsWith(d)))
        .map((i) => `${file} imports ${i}`),
    );
  expect(offenders).toEqual([]);
});

test('only doors know the platform', () => {
  const platform = /from '(?:node:|sharp|fs|path)|\bBuffer\.|\bprocess\.|typeof window|\bdocument\./;
  const offenders = sources
    .filter((file) => !DOORS.some((door) => file.startsWith(door)))
    .filter((file) =>
      platform.test(readFileSync(join(ROOT, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '')),
    );
  expect(offenders).toEqual([]);
});

test('no file is named util, helper, common, manager, base or types; none is above 400 lines', () => {
  const names = files.filter((f) => /(^|\/)(utils?|helpers?|common|manager|base|types)\.ts$/.test(f));
  expect(names).toEqual([]);
  const long = sources.filter((f) => readFileSync(join(ROOT, f), 'utf8').split('\n').length > 400);
  expect(long).toEqual([]);
});
