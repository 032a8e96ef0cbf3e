import type { JinaEmbeddings } from '../../src/platform/node.ts';
import { type Style, TRAINING_STYLES } from './emoji.ts';
import type { Probe } from './evaluation-sets.ts';
import { MAJOR_LOCALES } from './locales.ts';
import type { Material } from './material.ts';
import { vectorSource } from './recall.ts';
import { trainingTexts } from './splits.ts';

/**
 * Where the model without adapters puts each emoji: half way between the mean of its drawings that are trained on and the mean
 * of its names that are, in the 30 major languages. The prototypes that the base learned with are not in its checkpoint; these are.
 * → [N] unit vectors; zeros for an emoji with neither
 */
export async function centres(
  jina: JinaEmbeddings,
  { corpus, drawings }: Material,
  onProgress: (done: number) => void = () => {},
): Promise<readonly Float32Array[]> {
  const locales = corpus.locales.filter((l) => MAJOR_LOCALES.includes(l.locale));
  const names = locales.map((l) => trainingTexts(corpus, l).names);
  const vectorsOf = vectorSource(jina, drawings, onProgress);
  const meanOf = async (probesOf: (emoji: number) => readonly Probe[]) => {
    const probes = corpus.emoji.map((_, i) => probesOf(i));
    const vectors = await vectorsOf(probes.flat(), null, 'query');
    const sums: Float32Array[] = [];
    let at = 0;
    for (const own of probes) {
      sums.push(unitSum(vectors.slice(at, at + own.length)));
      at += own.length;
    }
    return sums;
  };
  const seen = await meanOf((emoji) =>
    TRAINING_STYLES.filter((style: Style) => drawings.of(style, emoji)).map((style) => ({ emoji, style })),
  );
  const said = await meanOf((emoji) =>
    names.flatMap((list) => (list[emoji] === null ? [] : [{ emoji, text: list[emoji] }])),
  );
  const width = Math.max(...seen.map((v) => v.length), ...said.map((v) => v.length));
  return corpus.emoji.map((_, i) => {
    const sum = unitSum([seen[i], said[i]].filter((v) => v.length > 0));
    return sum.length > 0 ? sum : new Float32Array(width);
  });
}

/** Their sum at length one; empty for none. */
function unitSum(vectors: readonly Float32Array[]): Float32Array {
  const sum = new Float32Array(vectors[0]?.length ?? 0);
  for (const v of vectors) for (let k = 0; k < sum.length; k++) sum[k] += v[k];
  const size = Math.hypot(...sum) || 1;
  return sum.map((x) => x / size);
}
