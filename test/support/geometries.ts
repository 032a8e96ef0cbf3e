import {
  type Geometry,
  GEOMETRIES as MADE,
  geometryConfig as madeConfig,
} from '../../bench/make-checkpoint/geometries.ts';
import { parseModelConfig } from '../../src/model-config.ts';

const { published, 'qwen2.5-vl-7b': qwen7b, 'design-card': designCard } = MADE;

/** The published model, Qwen2.5-VL-7B, and the model of the project's design card. */
export const GEOMETRIES = { published, 'Qwen2.5-VL-7B': qwen7b, 'design card': designCard };

/** A geometry of which only what matters is said; the rest is as published. */
export type Some = Pick<Geometry, 'hidden' | 'layers' | 'heads' | 'kvHeads' | 'mlp'> & Partial<Geometry>;

/** `config.json` of a geometry, in the published form; control tokens stand at the end of a small vocabulary. */
export function configJson(given: Some) {
  const g = { ...published, ...given };
  const vocab = Number(g.vocab);
  const special = Math.min(vocab, 151657) - 5;
  return {
    ...madeConfig({ ...g, matryoshka: g.matryoshka.filter((d) => d <= g.hidden) }, vocab),
    vision_start_token_id: special,
    vision_end_token_id: special + 1,
    vision_token_id: special + 2,
    image_token_id: special + 3,
    task_names: ['retrieval', 'text-matching', 'code'],
  };
}

export const geometryConfig = (g: Some) => parseModelConfig(configJson(g));

/** The same proportions of heads and groups, small enough to run: heads of 16, a few blocks. */
export const narrowed = ({ heads, kvHeads }: { heads: number; kvHeads: number }): Some => ({
  hidden: heads * 16,
  layers: 2,
  heads,
  kvHeads,
  mlp: 48,
  vocab: 600,
  vision: { depth: 3, hidden: 32, mlp: 44, heads: 2, fullatt: [1] },
});
