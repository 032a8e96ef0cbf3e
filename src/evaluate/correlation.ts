/** Pearson's r of two series. NaN where one of them is constant or there are fewer than two pairs. */
export function pearson(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const [x, y] = [centred(a), centred(b)];
  const scale = Math.sqrt(product(x, x)) * Math.sqrt(product(y, y));
  return scale === 0 ? NaN : Math.max(-1, Math.min(1, product(x, y) / scale));
}

/** Spearman's ρ: Pearson's r of the ranks, equal values sharing their mean rank. (scipy.stats.spearmanr) */
export const spearman = (a: ArrayLike<number>, b: ArrayLike<number>): number => pearson(ranks(a), ranks(b));

/** 1 for the smallest; equal values get the mean of the ranks they take up. (scipy.stats.rankdata) */
export function ranks(values: ArrayLike<number>): Float64Array {
  const order = Array.from(values, (_, i) => i).sort((i, j) => values[i] - values[j]);
  const result = new Float64Array(values.length);
  for (let begin = 0; begin < order.length; ) {
    let end = begin;
    while (end < order.length && values[order[end]] === values[order[begin]]) end++;
    for (let at = begin; at < end; at++) result[order[at]] = (begin + 1 + end) / 2;
    begin = end;
  }
  return result;
}

function centred(values: ArrayLike<number>): Float64Array {
  const x = Float64Array.from(values);
  const mean = x.reduce((sum, v) => sum + v, 0) / x.length;
  // A constant series must be exactly zero, not what is left of a rounded mean.
  return x.every((v) => v === x[0]) ? x.fill(0) : x.map((v) => v - mean);
}

const product = (a: Float64Array, b: Float64Array): number => a.reduce((sum, v, i) => sum + v * b[i], 0);
