import * as tf from '@tensorflow/tfjs-core';
import { isBlocks, isLinear, isTable, isTensor } from '../../params.ts';

/** ‖W‖_F of the named linear maps. Blocks that are streamed are taken in their order, one at a time. */
export async function weightNorms(
  params: unknown,
  names: ReadonlySet<string>,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, number>> {
  const norms = new Map<string, number>();
  const walk = async (node: unknown): Promise<void> => {
    if (isTensor(node) || isTable(node)) return;
    if (isLinear(node)) {
      if (!names.has(node.name)) return;
      const norm = tf.tidy(() => tf.norm(node.weight.dense()));
      norms.set(node.name, (await norm.data())[0]);
      norm.dispose();
    } else if (isBlocks(node)) {
      for (let i = 0; i < node.length; i++) {
        signal?.throwIfAborted();
        const block = await node.take(i, signal);
        try {
          await walk(block);
        } finally {
          node.release(i);
        }
      }
    } else {
      for (const child of Object.values(node as object)) await walk(child);
    }
  };
  await walk(params);
  return norms;
}
