import * as tf from '@tensorflow/tfjs-core';
import { preprocessorConfig } from '../../bench/make-checkpoint/plan-checkpoint.ts';
import { parsePreprocessorConfig } from '../../src/image/preprocessor-config.ts';
import type { TrainBatch } from '../../src/train/gradients.ts';
import { variableOf } from '../../src/train/variables.ts';
import { lesson } from './contrast.ts';
import { IMAGE_SIZE, type Task, WIDTH } from './geometry.ts';
import type { Material } from './material.ts';
import { chanceLoss, prototypes } from './prototypes.ts';
import { createSampler } from './sampler.ts';
import { LABELS, taughtLabels } from './taught-labels.ts';

/** What an adapter learns from: batches, and variables of its own beside the LoRA. */
export type Lesson = {
  readonly own: ReadonlyMap<string, tf.Variable>;
  batch(step: number): TrainBatch;
  dispose(): void;
};

const TEMPERATURE = 0.1;

/** How long each adapter learns, and its peak rate. Chosen by `validation`. */
export const COURSES: Readonly<Record<Task, { readonly updates: number; readonly rate: number }>> = {
  retrieval: { updates: 400, rate: 0.003 },
  classification: { updates: 900, rate: 0.003 },
  clustering: { updates: 400, rate: 0.003 },
};

// Of `MATRYOSHKA`: the base has all sizes alike, and small ones had most to gain.
const RETRIEVAL_SIZES = [4, 2, 1, 1, 1];

// A classifier weighs directions by itself: it keeps some of what the base knows, and sub-groups stand out. k-means counts every
// direction alike, so its vectors have nothing but labels.
const WEIGHTS = {
  classification: { group: 1, subgroup: 2, kept: 0.3 },
  clustering: { group: 1, subgroup: 1, kept: 0 },
} as const;

/**
 * retrieval: names find their emoji among all, and its picture among those of the batch.
 * classification, clustering: texts and pictures find the group and the sub-group of their emoji (`taughtLabels`).
 * `places`: where the base has each emoji, a vector for each.
 */
export async function lessonFor(
  task: Task,
  material: Material,
  places: readonly Float32Array[],
  seed: number,
): Promise<Lesson> {
  const { corpus, tokenizer } = material;
  const sample = createSampler({
    ...material,
    patches: parsePreprocessorConfig(preprocessorConfig(IMAGE_SIZE ** 2)),
    batchSize: task === 'retrieval' ? 384 : 192, // labels need no others in the batch to be told from
    imageSize: IMAGE_SIZE,
    maxLength: 32,
    seed,
    namesOnly: true,
    calm: true,
  });
  const emoji = variableOf(tf.tensor2d([...places] as unknown as number[][], [places.length, WIDTH]));
  if (task === 'retrieval') {
    return {
      own: new Map(),
      batch: (step) => lesson(sample(step), tokenizer, emoji, TEMPERATURE, RETRIEVAL_SIZES),
      dispose: () => emoji.dispose(),
    };
  }
  const taught = await taughtLabels(corpus, seed);
  const kinds = LABELS.map((label) => {
    const { names, chances } = taught[label];
    return { label, chances, weight: WEIGHTS[task][label], vectors: prototypes(names.length, WIDTH, seed) };
  });
  const { kept } = WEIGHTS[task];
  return {
    own: new Map([
      ...(kept > 0 ? [['prototypes', emoji] as const] : []),
      ...kinds.map(({ label, vectors }) => [`prototypes of ${label}`, vectors] as const),
    ]),
    batch: (step) => {
      const batch = sample(step);
      const { sides, loss: base } = lesson(batch, tokenizer, emoji, TEMPERATURE);
      const sought = kinds.map(({ chances, vectors }) =>
        chanceLoss(vectors, joined(Array.from(batch.emoji, (i) => chances[i])), TEMPERATURE),
      );
      return {
        sides,
        loss: {
          name: 'labels',
          multi: false,
          compute: (sides) =>
            tf.tidy(() => {
              const terms = sought.map((loss, k) => tf.mul(kinds[k].weight, loss.compute(sides)));
              if (kept > 0) terms.push(tf.mul(kept, base.compute(sides)));
              return tf.addN(terms) as tf.Scalar;
            }),
        },
      };
    },
    dispose: () => tf.dispose([emoji, ...kinds.map(({ vectors }) => vectors)]),
  };
}

function joined(rows: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(rows.length * rows[0].length);
  rows.forEach((row, i) => {
    all.set(row, i * row.length);
  });
  return all;
}
