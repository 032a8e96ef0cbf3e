import { createHash } from 'node:crypto';
import { openFolder } from '../../src/platform/node-files.ts';
import { type QuantizeOptions, quantizeCheckpoint } from '../../src/quantize/quantize-checkpoint.ts';
import type { FileTree } from '../../weights/byte-source.ts';
import { GOLDEN } from './golden.ts';
import { memoryFolder } from './memory-folder.ts';

export const sha256: QuantizeOptions['sha256'] = () => {
  const hash = createHash('sha256');
  return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest('hex') };
};

/** The golden checkpoint (or another) in another precision: its files, and what was said of it. */
export async function quantized(
  options: Partial<QuantizeOptions> & Pick<QuantizeOptions, 'precision'>,
  from?: FileTree,
) {
  const folder = memoryFolder();
  const tree = from ?? (await openFolder(GOLDEN));
  const made = await quantizeCheckpoint(tree, folder, { tool: 'test', sha256, ...options });
  await tree.close();
  return { files: folder.files, made };
}
