import { encodeSafetensorsHeader, type TensorHeading } from '../../weights/safetensors-writer.ts';
import type { OutputPrecision } from '../config.ts';
import { InputError } from '../errors.ts';
import type { Vector } from '../output/quantize.ts';
import { isMulti } from '../output/similarity.ts';
import { bytesOf, ELEMENT, type EmbeddingWriter } from './embedding-writer.ts';
import { openTemporaryFile } from './temporary-file.ts';

// Readers refuse headers above 100 MB; a heading takes about 80 bytes.
const MOST_TENSORS = 1_000_000;

/**
 * Single vectors: one tensor `embeddings` [n, d]. Multi-vectors: a tensor an input, `0`, `1`, …, [tokens, d]. The header says
 * all shapes and comes first, so the data waits in a second temporary file until they are known.
 */
export async function safetensorsToFile(path: string, precision: OutputPrecision): Promise<EmbeddingWriter> {
  const data = await openTemporaryFile(path, 'data.part');
  const file = await openTemporaryFile(path).catch(async (error) => {
    await data.discard();
    throw error;
  });
  const dtype = ELEMENT[precision].safetensors;
  const multi: TensorHeading[] = [];
  let count = 0;
  let width = 0;
  const discard = async () => {
    await data.discard();
    await file.discard();
  };
  return {
    async write(rows) {
      for (const { embedding } of rows) {
        const vectors = isMulti(embedding) ? embedding : [embedding as Vector];
        for (const vector of vectors) await data.append(bytesOf(vector));
        width = vectors[0].length;
        if (isMulti(embedding)) multi.push({ name: String(count), dtype, shape: [vectors.length, width] });
        if (multi.length > MOST_TENSORS)
          throw new InputError(
            `${path}: more than ${MOST_TENSORS} multi-vectors do not fit a .safetensors file; use .jsonl`,
          );
        count++;
      }
    },
    async finish(about) {
      const single = { name: 'embeddings', dtype, shape: [count, width] };
      await file.append(encodeSafetensorsHeader(multi.length ? multi : [single], about));
      for await (const piece of data.read()) await file.append(piece);
      await file.commit();
      await data.discard();
    },
    discard,
  };
}
