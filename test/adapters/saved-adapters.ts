import * as tf from '@tensorflow/tfjs-core';
import { float32Matrix, type LoraTerm } from '../../kernels/index.ts';
import type { Adapter, SavedMap } from '../../src/adapters/with-adapters.ts';
import { Held } from '../../src/held.ts';
import { linearSpec } from '../../src/layers/linear.ts';
import type { LinearSpec } from '../../src/layers/spec.ts';
import type { ModelSpec } from '../../src/params.ts';
import { gaussian } from '../support/close.ts';

// The maps of a few corners of the model, and adapters on them. peft-loads.py has the same maps in PyTorch.

const patches = [6, 3, 1, 2, 2];
export const MAPS: readonly LinearSpec[] = [
  linearSpec('visual.patch_embed.proj', 12, 6, { bias: false, shape: patches }),
  linearSpec('visual.blocks.0.attn.qkv', 8, 12, { bias: true }),
  linearSpec('model.layers.0.self_attn.q_proj', 12, 10, { bias: true }),
  linearSpec('model.layers.0.self_attn.o_proj', 10, 12, { bias: true }),
  linearSpec('model.layers.1.mlp.up_proj', 12, 14, { bias: true }),
  linearSpec('multi_vector_projector', 12, 4, { bias: true }),
];
export const MAPS_SPEC = MAPS as unknown as ModelSpec;

type Form = { readonly rank: number; readonly scale: number };
const at = (rank: number, scale: number): Form => ({ rank, scale });

/** Ranks and scales that differ, a DoRA, and a LoRA with a bias of B beside a map that is replaced. */
export const FORMS: Readonly<Record<string, readonly (Form | null)[]>> = {
  plain: [at(2, 1.5), at(3, 0.7), at(4, 0.5), at(4, 0.5), at(4, -0.25), at(2, 0.5)],
  dora: [at(2, 0.5), at(2, 0.5), at(2, 0.5), at(3, 1 / 3), at(2, 2), null],
  bias: [null, at(2, 0.5), at(2, 0.5), null, at(2, 0.3), null],
};

export function savedAdapter(name: keyof typeof FORMS): Adapter {
  const held = new Held();
  let seed = name.length * 1000;
  const vector = (n: number) => held.keep(tf.tensor1d(gaussian(n, seed++)));
  const matrix = (rows: number, columns: number) =>
    held.keep(
      float32Matrix(
        tf.tensor2d(
          gaussian(rows * columns, seed++).map((v) => v / 2),
          [rows, columns],
        ),
      ),
    );
  const terms = new Map<string, LoraTerm>();
  for (const [i, { name: module, inSize, outSize }] of MAPS.entries()) {
    const form = FORMS[name][i];
    if (!form) continue;
    const { rank, scale } = form;
    const pair = { a: matrix(inSize, rank), b: matrix(rank, outSize), scale, activation: 'none' as const };
    const dora = name === 'dora' ? { magnitude: vector(outSize), norm: null, weight: 1 } : undefined;
    terms.set(module, { ...pair, bBias: name === 'bias' ? vector(outSize) : null, dora });
  }
  const saved = new Map<string, SavedMap>(
    name === 'bias' ? [['multi_vector_projector', { weight: matrix(12, 4), bias: vector(4) }]] : [],
  );
  const rank = Math.max(...[...terms.values()].map(({ a }) => a.outSize));
  const kernels = new Map(terms.has(MAPS[0].name) ? [[MAPS[0].name, patches]] : []);
  return { name, rank, terms, saved, kernels, parameters: 0, dispose: () => held.dispose() };
}
