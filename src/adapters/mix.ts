import { InputError } from '../errors.ts';

/** A part of a mix: so much of the change of this adapter. */
export type MixPart = { readonly name: string; readonly weight: number };

const PART = /\s*(?:"([^"]+)"|([^"+*]*[^"+*\s]))\s*(?:\*\s*(-?(?:\d+\.?\d*|\.\d+)(?:e-?\d+)?)\s*)?(\+|$)/iy;

/** Whether a text can only be meant as a mix: `a*0.5`, `a + b`. */
export const looksLikeMix = (text: string): boolean => /[*+]/.test(text);

/**
 * `retrieval*0.7 + mine*0.3` → its parts. A name without a weight counts once; one with `+`, `*` or a space at its ends stands
 * in double quotes. @throws InputError saying where it stops making sense
 */
export function parseMix(text: string): readonly MixPart[] {
  const parts: MixPart[] = [];
  let at = 0;
  for (let more = true; more; ) {
    PART.lastIndex = at;
    const found = PART.exec(text);
    if (!found) {
      throw new InputError(
        `"${text}" is no mix of adapters: at "${text.slice(at)}" a name, or a name * number, must stand; ` +
          'write it as retrieval*0.7 + mine*0.3',
      );
    }
    const [, quoted, plain, weight = '1', after] = found;
    parts.push({ name: quoted ?? plain, weight: Number(weight) });
    at = PART.lastIndex;
    more = after === '+';
  }
  return parts;
}

/**
 * The one way to write a mix, in the order in which its adapters come: weights of the same adapter are added up, and what is
 * left out at weight 0. null: nothing is left.
 */
export function mixLabel(parts: readonly MixPart[]): string | null {
  const weights = new Map<string, number>();
  for (const { name, weight } of parts) weights.set(name, (weights.get(name) ?? 0) + weight);
  const left = [...weights].filter(([, weight]) => weight !== 0);
  if (left.length === 0) return null;
  const [[first, weight]] = left;
  if (left.length === 1 && weight === 1) return first;
  return left.map(([name, w]) => `${looksLikeMix(name) ? `"${name}"` : name}*${w}`).join(' + ');
}
