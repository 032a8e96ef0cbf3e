import type { Adapter } from '../adapters/with-adapters.ts';
import type { JinaEmbeddings } from '../platform/node.ts';
import { loadOne } from './adapter-sources.ts';

/** The adapters of these words on a model that is loaded: its own, and those of folders, which are put beside them. */
export async function withAdapterWords(
  { model, name }: JinaEmbeddings,
  words: readonly string[],
  signal: AbortSignal,
): Promise<readonly Adapter[]> {
  if (words.length === 0) return [...model.adapters.values()];
  const adapters: Adapter[] = [];
  for (const word of words) {
    const own = model.adapters.get(word);
    if (own) {
      adapters.push(own);
      continue;
    }
    const known = [...model.adapters.keys()].join(', ');
    const adapter = await loadOne(word, [], model.spec, `${name} (${known})`, signal);
    try {
      await model.placeAdapter(adapter, { signal });
    } catch (error) {
      adapter.dispose();
      throw error;
    }
    adapters.push(model.adapter(adapter.name)); // a DoRA was measured on the way
  }
  return adapters;
}
