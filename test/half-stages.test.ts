import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { possibleHere, waysOf } from '../kernels/linear/variant-choice.ts';
import { JinaEmbeddings } from '../src/platform/node.ts';
import { BACKENDS, startBackend } from './support/backends.ts';
import { GOLDEN, golden, goldenIndex } from './support/golden.ts';
import {
  compareImageStages,
  compareTextStages,
  lengthsOf,
  STAGED,
  StageReport,
  unpad,
} from './support/golden-stages.ts';
import { checkGpu, shadersOf } from './support/gpu.ts';

// compute: 'float16' against the public Python code in float32, stage by stage, by every kind of shader that multiplies float16.
// Products of up to 64 outputs stay in float32 (variant-choice.ts), so on this small checkpoint what is rounded is q, k, v of
// the vision tower and gate, up of the decoder.

const ALLOWED = 2e-3; // of a stage's largest value
const PRODUCT = [32, 96] as const; // rows and outputs of a product that may be of float16
const WAYS = [
  { way: 'half', needs: 'shader-f16' },
  { way: 'matrix', needs: 'chromium-experimental-subgroup-matrix' },
] as const;

describe.skipIf(!BACKENDS.includes('webgpu')).each(WAYS)(
  'golden stages in half precision, $way',
  { timeout: 300_000 },
  ({ way, needs }) => {
    const kernels = { half: true, prefer: way };
    let jina: JinaEmbeddings;
    let there = true;
    beforeAll(async () => {
      await startBackend('webgpu');
      there = waysOf(possibleHere(...PRODUCT), kernels).includes(way);
      if (!there)
        console.warn(`NOT RUN: golden stages in half precision, ${way}: the GPU does not offer ${needs}`);
      jina = await JinaEmbeddings.load(GOLDEN, {
        device: 'webgpu',
        taskPrefix: 'python',
        compute: 'float16',
        kernelVariant: way,
      });
    }, 300_000);
    afterAll(() => jina.dispose());
    afterEach(checkGpu);

    /** Runs it where the GPU can, by the shader meant, and other than in float32: an error of 1e-5 is above all of those. */
    const hold = async (what: string, f: (report: StageReport) => Promise<void>): Promise<void> => {
      if (!there) return;
      const report = new StageReport(ALLOWED);
      const names = await shadersOf(() => f(report));
      console.log(`webgpu, ${way}, ${what}: ${report.summary}`);
      expect(names).toContain(`Linear (${way})`);
      expect(report.worst).toBeGreaterThan(1e-5);
    };

    test.each(STAGED)('image %s: every stage from patches to hidden states', (name) =>
      hold(name, (report) => compareImageStages(jina, name, { report, kernels })),
    );

    test('texts in one packed batch: every decoder stage', () =>
      hold('texts', (report) => compareTextStages(jina, { report, kernels })));

    describe.each(['retrieval', 'text-matching', 'code'])('task %s', (task) => {
      const options = { task, promptName: 'query' } as const;
      test('single vectors of texts and images', () =>
        hold(`${task}, single`, async (report) => {
          const texts = await jina.encodeText(goldenIndex.texts, options);
          const { values } = await golden(`text.query/${task}/single`);
          report.compare(
            'texts',
            texts.flatMap((v) => [...v]),
            values,
          );
          for (const name of ['small', 'odd']) {
            const found = await jina.encodeImage(`${GOLDEN}images/${name}.png`, { task });
            report.compare(name, found, (await golden(`image.${name}/${task}/single`)).values);
          }
        }));

      test('multi-vectors of texts', () =>
        hold(`${task}, multi`, async (report) => {
          const found = await jina.encodeText(goldenIndex.texts, { ...options, returnMultivector: true });
          const { values, shape } = await golden(`text.query/${task}/multi`);
          const expected = unpad(values, shape, await lengthsOf('text.query'));
          found.forEach((rows, b) => {
            report.compare(
              `text ${b}`,
              rows.flatMap((r) => [...r]),
              expected[b],
            );
          });
        }));
    });
  },
);
