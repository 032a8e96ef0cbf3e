/** The one table of the model, as a module. */
export const TOKEN_TABLE = 'model.embed_tokens';

/**
 * The name a tensor or module has here, whatever layout its file uses. Canonical is the old Qwen2.5-VL layout, the published
 * checkpoint's own: `model.layers.N…`, `model.embed_tokens…`, `model.norm…`, `visual…`, heads bare. Read as the same:
 * - `model.language_model.…`, `model.visual.…`   transformers ≥ 4.52
 * - `language_model.…`                           a bare Qwen2_5_VLModel, ColQwen2.5
 * - `language_model.model.…`                     LLaVA-style wrappers
 * - `layers.…`                                   a bare decoder
 * A name that none of these explains comes back unchanged.
 */
export function canonicalName(name: string): string {
  const inner = name.replace(/^(?:model\.)?(?:language_model\.(?:model\.)?)?/, '');
  if (/^(?:layers|embed_tokens|norm)(?:\.|$)/.test(inner)) return `model.${inner}`;
  if (/^(?:visual|lm_head|multi_vector_projector)(?:\.|$)/.test(inner)) return inner;
  return name;
}
