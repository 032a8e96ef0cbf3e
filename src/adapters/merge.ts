import * as tf from '@tensorflow/tfjs-core';
import { InputError } from '../errors.ts';
import type { Blocks } from '../layers/blocks.ts';
import type { Linear } from '../layers/linear.ts';
import { isBlocks, isLinear, isTable, isTensor } from '../params.ts';
import type { Adapter } from './with-adapters.ts';

/** W ← W + sign · scale · A B for every map the adapter sits on (PEFT: LoraLayer.merge). One matrix more than the model at its peak. */
export function addToWeights(params: unknown, adapter: Adapter, sign: 1 | -1): void {
  const linears = residentLinears(params);
  const targets = linears.flatMap((l) => {
    const term = adapter.terms.get(l.name);
    return term ? [{ weight: l.weight, term }] : [];
  });
  // All or nothing: judged before the first matrix changes.
  if (targets.some(({ term }) => term.activation !== 'none')) {
    throw new InputError(
      `adapter "${adapter.name}" has a ReLU between its matrices and cannot be merged into one matrix`,
    );
  }
  if (targets.length < adapter.terms.size || targets.some(({ weight }) => !weight.update)) {
    throw new InputError(
      `adapter "${adapter.name}" can be merged only into float32 weights: 16-bit or quantised ones would round it away, and streamed ` +
        'ones are read again; load with residence: "float32"',
    );
  }
  for (const { weight, term } of targets) {
    weight.update?.((dense) =>
      tf.add(dense, tf.mul(tf.matMul(term.a.dense(), term.b.dense()), sign * term.scale)),
    );
  }
}

/** The linear maps that are in memory. */
function residentLinears(node: unknown): readonly Linear[] {
  if (isLinear(node)) return [node];
  if (isTensor(node) || isTable(node)) return [];
  if (isBlocks(node)) return residentBlocksOf(node).flatMap(residentLinears);
  return Object.values(node as object).flatMap(residentLinears);
}

function residentBlocksOf(blocks: Blocks<unknown>): readonly unknown[] {
  if (!blocks.resident) return [];
  return Array.from({ length: blocks.length }, (_, i) => blocks.take(i));
}
