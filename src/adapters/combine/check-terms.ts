import type { LoraTerm } from '../../../kernels/index.ts';
import { InputError } from '../../errors.ts';
import type { Adapter } from '../with-adapters.ts';
import type { Combination } from './recipe.ts';

/**
 * Whether the terms of a module can be combined in this way, judged before the first is read.
 * @throws InputError naming module and adapters
 */
export function checkTerms(module: string, adapters: readonly Adapter[], { type, on }: Combination): void {
  const terms = adapters.flatMap((adapter) => {
    const term = adapter.terms.get(module);
    return term ? [{ name: adapter.name, term }] : [];
  });
  const said = (what: (term: LoraTerm) => unknown) =>
    terms.map(({ name, term }) => `"${name}" ${what(term)}`).join(', ');
  const shapes = new Set(terms.map(({ term: { a, b } }) => `${a.inSize} → ${b.outSize}`));
  if (shapes.size > 1) {
    throw new InputError(
      `the adapters belong to different models: ${module} is ${said(({ a, b }) => `${a.inSize} → ${b.outSize}`)}`,
    );
  }
  const activations = new Set(terms.map(({ term }) => term.activation));
  if (activations.size > 1) {
    throw new InputError(
      `adapters with and without a ReLU between their matrices do not make one adapter: on ${module} it is ` +
        `${said((t) => t.activation)}; run them together instead, as withAdapters does`,
    );
  }
  if (activations.has('relu') && on !== 'stack') {
    throw new InputError(
      `"${terms[0].name}" has a ReLU between its matrices on ${module}; only "cat" combines such adapters exactly, not "${type}"`,
    );
  }
  const ranks = new Set(terms.map(({ term }) => term.a.outSize));
  if (ranks.size > 1 && on === 'factors') {
    throw new InputError(
      `"${type}" works entry by entry and needs equal ranks, but on ${module} they are ${said((t) => t.a.outSize)}; ` +
        'use cat, svd or one that ends in _svd',
    );
  }
}
