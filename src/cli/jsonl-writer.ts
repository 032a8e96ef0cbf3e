import { fromFloat16, type Vector } from '../output/quantize.ts';
import { isMulti } from '../output/similarity.ts';
import type { Embedded, EmbeddingWriter } from './embedding-writer.ts';
import { shortestFloat } from './shortest-float.ts';
import { openTemporaryFile } from './temporary-file.ts';

/** One JSON object a line, on stdout. */
export const jsonlToStdout = (print: (text: string) => Promise<void>): EmbeddingWriter => ({
  write: async (rows) => {
    for (const row of rows) await print(jsonLine(row));
  },
  finish: async () => {},
  discard: async () => {},
});

/** One JSON object a line, in a file. */
export async function jsonlToFile(path: string): Promise<EmbeddingWriter> {
  const file = await openTemporaryFile(path);
  return {
    write: async (rows) => {
      for (const row of rows) await file.append(jsonLine(row));
    },
    finish: file.commit,
    discard: file.discard,
  };
}

/** `{"index":0,"id":…,"type":"text","embedding":[…]}`, multi-vectors as `"embeddings":[[…],…]`. */
export function jsonLine({ index, id, type, embedding }: Embedded): string {
  const head = `{"index":${index},${id === undefined ? '' : `"id":${JSON.stringify(id)},`}"type":"${type}"`;
  const body = isMulti(embedding)
    ? `"embeddings":[${embedding.map(jsonVector).join(',')}]`
    : `"embedding":${jsonVector(embedding)}`;
  return `${head},${body}}\n`;
}

function jsonVector(v: Vector): string {
  if (v instanceof Float32Array) return `[${Array.from(v, shortestFloat).join(',')}]`;
  if (v instanceof Uint16Array) return `[${Array.from(v, (h) => shortestFloat(fromFloat16(h))).join(',')}]`;
  return `[${v.join(',')}]`;
}
