import { type MixPart, mixLabel, parseMix } from './mix.ts';
import { type Adapter, weigh } from './with-adapters.ts';

/** Which adapters a pass runs with: none, one by name, a mix (`retrieval*0.7 + mine*0.3`), or several that add up. */
export type AdapterChoice = null | string | readonly Adapter[];

/** What a pass of the decoder runs with: one choice for all its inputs, or one for each. */
export type PassAdapters = { readonly adapter?: AdapterChoice; readonly adapters?: readonly AdapterChoice[] };

/** The adapters behind a choice. `label` names what runs: disabled ones are left out, null is the backbone alone. */
export type ResolvedChoice = { readonly label: string | null; readonly adapters: readonly Adapter[] };

/** Adapters that lie ready, by name. `find` throws for a name that is not there. */
type Ready = {
  readonly has: (name: string) => boolean;
  readonly find: (name: string) => Adapter;
  readonly isEnabled: (name: string) => boolean;
};

/** The adapters behind a name or a mix. */
export function resolveChoice(choice: string | null, { has, find, isEnabled }: Ready): ResolvedChoice {
  if (choice === null) return { label: null, adapters: [] };
  const parts: readonly MixPart[] = has(choice) ? [{ name: choice, weight: 1 }] : parseMix(choice);
  for (const { name } of parts) find(name);
  const label = mixLabel(parts.filter(({ name }) => isEnabled(name)));
  if (label === null || has(label)) return { label, adapters: label === null ? [] : [find(label)] };
  return { label, adapters: parseMix(label).map(({ name, weight }) => weigh(find(name), weight)) };
}
