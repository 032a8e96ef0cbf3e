import * as tf from '@tensorflow/tfjs-core';
import type { KernelSettings } from '../../kernels/product-settings.ts';
import { gpuCall } from '../../src/device-call.ts';
import type { JinaEmbeddings } from '../../src/platform/node.ts';
import { imageIds, textIds } from '../../src/text/prompts.ts';
import type { Grid } from '../../src/vision/windows.ts';
import { worstDifference } from './close.ts';
import { GOLDEN, golden, goldenIndex } from './golden.ts';

// What the model computes on its way, beside what the public Python code recorded there.

/** The small images, for which every stage is recorded. */
export const STAGED = ['square', 'landscape', 'small', 'odd'].filter(
  (name) => goldenIndex.cases[`image.${name}`].stages,
);

/** Rows of a right-padded golden batch [B, S, …] where the mask is 1, one array a row. */
export function unpad(
  values: ArrayLike<number>,
  [B, S, width = 1]: readonly number[],
  lengths: readonly number[],
): number[][] {
  return Array.from({ length: B }, (_, b) =>
    Array.from({ length: lengths[b] * width }, (_, i) => values[b * S * width + i]),
  );
}

export async function lengthsOf(name: string): Promise<number[]> {
  const { values, shape } = await golden(`${name}/attention_mask`);
  const [B, S] = shape;
  return Array.from(
    { length: B },
    (_, b) => [...values.subarray(b * S, (b + 1) * S)].filter((m) => m === 1).length,
  );
}

/** Fails with the first stage that differs: its name, index and both values. Knows the worst error of all stages. */
export class StageReport {
  readonly #allowed: number;
  #worst = 0;
  #where = 'none';
  #count = 0;

  /** `allowed`: a part of a stage's largest value. */
  constructor(allowed: number) {
    this.#allowed = allowed;
  }

  compare(stage: string, found: ArrayLike<number>, expected: ArrayLike<number>): void {
    const { error, index, found: f, expected: e } = worstDifference(found, expected);
    if (!(error <= this.#allowed)) {
      throw new Error(
        `first stage that differs: ${stage}, value ${index} is ${f}, expected ${e} ` +
          `(error ${error.toExponential(2)} of max, allowed ${this.#allowed})`,
      );
    }
    if (error > this.#worst) [this.#worst, this.#where] = [error, stage];
    this.#count++;
  }

  get worst(): number {
    return this.#worst;
  }

  get summary(): string {
    return `${this.#count} stages, worst error ${this.#worst.toExponential(2)} of the stage's max (${this.#where})`;
  }
}

type Stages = { readonly report: StageReport; readonly kernels?: Partial<KernelSettings> };

/** An image whose stages are recorded, from patches to hidden states, with the adapter `retrieval`. */
export async function compareImageStages(
  jina: JinaEmbeddings,
  name: string,
  { report, kernels = {} }: Stages,
): Promise<void> {
  const key = `image.${name}`;
  const image = await jina.images.process(`${GOLDEN}images/${name}.png`);
  const grids: Grid[] = [image.grid];
  const ids = imageIds(jina.tokenizer, image.tokens);
  const stages = new SeenStages();
  const { observe } = stages;
  try {
    const compare = async () => {
      const options = { observe, guarded: true };
      const seen = await jina.model.see({ pixelValues: image.pixelValues, grids }, options);
      const hidden = await jina.model.forward([{ ids, grids }], { ...options, seen, adapter: 'retrieval' });
      for (const [stage, value] of stages.all) {
        report.compare(stage, await value.data(), (await golden(`${key}/${stage}`)).values);
      }
      report.compare('hidden', await hidden.data(), (await golden(`${key}/retrieval/hidden`)).values);
      tf.dispose([seen, hidden]);
    };
    await gpuCall(key, compare, kernels);
  } finally {
    stages.dispose();
  }
}

/** All golden texts in one packed batch, every stage of the decoder, with the adapter `retrieval`. */
export async function compareTextStages(
  jina: JinaEmbeddings,
  { report, kernels = {} }: Stages,
): Promise<void> {
  const lengths = await lengthsOf('text.query');
  const sequences = goldenIndex.texts.map((text) => ({
    ids: textIds(jina.tokenizer, text, { promptName: 'query', maxLength: 32768 }),
  }));
  const stages = new SeenStages();
  const { observe } = stages;
  try {
    const compare = async () => {
      const options = { adapter: 'retrieval', observe, guarded: true };
      const hidden = await jina.model.forward(sequences, options);
      for (const [stage, value] of stages.all) {
        const { values, shape } = await golden(`text.query/${stage}`);
        report.compare(stage, await value.data(), unpad(values, shape, lengths).flat());
      }
      const { values, shape } = await golden('text.query/retrieval/hidden');
      report.compare('hidden', await hidden.data(), unpad(values, shape, lengths).flat());
      tf.dispose(hidden);
    };
    await gpuCall('text.query', compare, kernels);
  } finally {
    stages.dispose();
  }
}

/** Keeps what a pass shows on its way. */
class SeenStages {
  readonly all: [stage: string, value: tf.Tensor][] = [];

  readonly observe = (stage: string, value: tf.Tensor): void => {
    if (stage !== 'merged') this.all.push([stage, tf.keep(tf.clone(value))]); // of it nothing is recorded
  };

  dispose(): void {
    tf.dispose(this.all.map(([, value]) => value));
  }
}
