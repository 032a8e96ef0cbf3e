import type { Blocks } from '../layers/blocks.ts';
import type { Linear } from '../layers/linear.ts';
import { isBlocks, isLinear, isTable, isTensor } from '../params.ts';

/** Visits the named linear maps of a tree. Blocks that are streamed are taken in their order, one at a time. */
export async function eachLinear(
  params: unknown,
  names: ReadonlySet<string>,
  visit: (linear: Linear) => void | Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  const walk = async (node: unknown): Promise<void> => {
    if (isTensor(node) || isTable(node)) return;
    if (isLinear(node)) {
      if (names.has(node.name)) await visit(node);
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
}

/** The linear maps that are in memory. */
export function residentLinears(node: unknown): readonly Linear[] {
  if (isLinear(node)) return [node];
  if (isTensor(node) || isTable(node)) return [];
  if (isBlocks(node)) return residentBlocksOf(node).flatMap(residentLinears);
  return Object.values(node as object).flatMap(residentLinears);
}

function residentBlocksOf(blocks: Blocks<unknown>): readonly unknown[] {
  if (!blocks.resident) return [];
  return Array.from({ length: blocks.length }, (_, i) => blocks.take(i));
}
