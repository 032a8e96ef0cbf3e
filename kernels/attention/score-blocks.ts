// Scores are computed for a block of query rows at a time, so that memory is linear in the length. A block of 2²⁴ scores
// is 64 MB: a text of 1024 tokens with 16 heads is one block; at 32,768 tokens a block still has 32 rows.
export const SCORES_AT_ONCE = 1 << 24;

/** Query rows of a block: as many as leave the scores of `heads` heads (of all segments) with L keys below the limit. */
export const blockRows = (L: number, heads: number, scoresAtOnce: number): number =>
  Math.max(1, Math.min(L, Math.floor(scoresAtOnce / (heads * L))));
