import { InputError } from '../../errors.ts';
import { type Factors, inVectors, outVectors, readFactors } from '../algebra/factors.ts';
import { productSvd } from '../algebra/svd.ts';
import { dot, type Vectors } from '../algebra/vectors.ts';
import { checkPlain } from '../check-plain.ts';
import type { Adapter } from '../with-adapters.ts';
import { modulePlace } from './module-place.ts';

/**
 * φ(i, j) at `[i - 1][j - 1]`: how much of the space of a's i strongest directions lies in that of b's j strongest, 0 to 1.
 * ‖U_aᵀ U_b‖_F² / min(i, j)   (Hu et al. 2021, LoRA, section 7.2)
 */
export type Overlap = readonly (readonly number[])[];

export type ModuleComparison = {
  readonly module: string;
  readonly layer: number | null;
  readonly kind: string;
  /** Of ΔW_a and ΔW_b as long vectors, -1 to 1: whether they push the same way. 0 where one of them is 0. */
  readonly cosine: number;
  /** Of the directions that are read (right singular vectors of ΔW, [in]). */
  readonly inOverlap: Overlap;
  /** Of the directions that are written (left singular vectors, [out]). */
  readonly outOverlap: Overlap;
  /** φ at the smaller of the two ranks, or at `directions`: one number a side. */
  readonly inSimilarity: number;
  readonly outSimilarity: number;
};

export type AdapterComparison = {
  readonly a: string;
  readonly b: string;
  /** Of all changes together, over the modules of either. */
  readonly cosine: number;
  /** The modules that both have. */
  readonly modules: readonly ModuleComparison[];
  readonly onlyInA: readonly string[];
  readonly onlyInB: readonly string[];
};

export type CompareOptions = {
  /** How many of the strongest directions are compared. Default: all, which are as many as the rank. */
  readonly directions?: number;
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
};

/** Compares what two adapters do, module by module. @throws InputError where they do not fit the same model, or one is a DoRA */
export async function compareAdapters(
  a: Adapter,
  b: Adapter,
  options: CompareOptions = {},
): Promise<AdapterComparison> {
  const { directions = Number.POSITIVE_INFINITY, onProgress, signal } = options;
  if (!(directions >= 1)) throw new InputError(`directions must be 1 or more, got ${directions}`);
  for (const adapter of [a, b]) checkPlain(adapter, 'compared');
  const shared = [...a.terms.keys()].filter((module) => b.terms.has(module));
  const modules: ModuleComparison[] = [];
  let [inner, normA, normB] = [0, 0, 0];
  for (const [module, term] of [...a.terms, ...[...b.terms].filter(([module]) => !a.terms.has(module))]) {
    signal?.throwIfAborted();
    const other = a.terms.has(module) ? b.terms.get(module) : undefined;
    const own = await readFactors(term);
    if (!other) {
      if (a.terms.has(module)) normA += innerProduct(own, own);
      else normB += innerProduct(own, own);
      continue;
    }
    const found = compareTerms(module, own, await readFactors(other), directions);
    modules.push(found.comparison);
    inner += found.inner;
    normA += found.normA;
    normB += found.normB;
    onProgress?.(modules.length, shared.length);
    await new Promise((resolve) => setTimeout(resolve)); // a page stays alive, an abort gets its turn
  }
  return {
    a: a.name,
    b: b.name,
    cosine: cosineOf(inner, normA, normB),
    modules,
    onlyInA: [...a.terms.keys()].filter((module) => !b.terms.has(module)),
    onlyInB: [...b.terms.keys()].filter((module) => !a.terms.has(module)),
  };
}

function compareTerms(module: string, a: Factors, b: Factors, directions: number) {
  if (a.inSize !== b.inSize || a.outSize !== b.outSize) {
    throw new InputError(
      `the adapters belong to different models: ${module} is ${a.inSize} → ${a.outSize} in one and ` +
        `${b.inSize} → ${b.outSize} in the other`,
    );
  }
  const [x, y] = [strongest(a, directions), strongest(b, directions)];
  const inOverlap = overlap(x.u, y.u);
  const outOverlap = overlap(x.v, y.v);
  const [inner, normA, normB] = [innerProduct(a, b), innerProduct(a, a), innerProduct(b, b)];
  const even = (o: Overlap) => {
    const least = Math.min(x.u.length, y.u.length);
    return least === 0 ? 0 : o[least - 1][least - 1];
  };
  const comparison: ModuleComparison = {
    module,
    ...modulePlace(module),
    cosine: cosineOf(inner, normA, normB),
    inOverlap,
    outOverlap,
    inSimilarity: even(inOverlap),
    outSimilarity: even(outOverlap),
  };
  return { comparison, inner, normA, normB };
}

/** The directions that carry something, strongest first. u: [in], v: [out] */
function strongest(factors: Factors, most: number): { u: Vectors; v: Vectors } {
  const { u, s, v } = productSvd(inVectors(factors), outVectors(factors));
  const live = Math.min(most, s.filter((x) => x > 0).length);
  return { u: u.slice(0, live), v: v.slice(0, live) };
}

/** φ(i, j) of orthonormal vectors, for every i and j. */
export function overlap(a: Vectors, b: Vectors): Overlap {
  const above = new Float64Array(b.length + 1); // Σ over the vectors of a so far, and the first j of b
  return a.map((x, i) => {
    let row = 0;
    return b.map((y, j) => {
      row += dot(x, y) ** 2;
      above[j + 1] += row;
      return above[j + 1] / Math.min(i + 1, j + 1);
    });
  });
}

/** ⟨ΔW_a, ΔW_b⟩ = s_a s_b Σ (a_r · a_q)(b_r · b_q), without forming either. */
function innerProduct(x: Factors, y: Factors): number {
  const [inX, outX, inY, outY] = [inVectors(x), outVectors(x), inVectors(y), outVectors(y)];
  let sum = 0;
  for (let r = 0; r < inX.length; r++)
    for (let q = 0; q < inY.length; q++) sum += dot(inX[r], inY[q]) * dot(outX[r], outY[q]);
  return x.scale * y.scale * sum;
}

const cosineOf = (inner: number, normA: number, normB: number): number =>
  normA > 0 && normB > 0 ? inner / Math.sqrt(normA * normB) : 0;
