export type Neighbours = { readonly vectors: readonly Float32Array[]; readonly labels: readonly string[] };

/**
 * The label that most of the `k` nearest vectors have, by cosine (all are unit vectors). Of equally near ones the first
 * given counts, of equally frequent labels the one that sorts first. (sklearn.neighbors.KNeighborsClassifier)
 */
export function predictNearest({ vectors, labels }: Neighbours, vector: Float32Array, k: number): string {
  const near: { score: number; label: string }[] = []; // best first
  vectors.forEach((other, i) => {
    let score = 0;
    for (let d = 0; d < vector.length; d++) score += vector[d] * other[d];
    if (near.length === k && score <= near[k - 1].score) return;
    if (near.length === k) near.pop();
    let at = near.length;
    while (at > 0 && near[at - 1].score < score) at--;
    near.splice(at, 0, { score, label: labels[i] });
  });
  const votes = new Map<string, number>();
  for (const { label } of near) votes.set(label, (votes.get(label) ?? 0) + 1);
  return [...votes].reduce((best, next) =>
    next[1] > best[1] || (next[1] === best[1] && next[0] < best[0]) ? next : best,
  )[0];
}
