/**
 * The best documents of one query, whatever order they come in: a binary heap with the worst on top, never more than
 * `depth` entries. Equal scores are ordered by id, the larger id first, as trec_eval does.
 */
export class BestDocuments {
  readonly #depth: number;
  readonly #ids: string[] = [];
  readonly #scores: number[] = [];

  constructor(depth: number) {
    this.#depth = depth;
  }

  offer(id: string, score: number): void {
    const n = this.#ids.length;
    if (n < this.#depth) {
      this.#ids.push(id);
      this.#scores.push(score);
      this.#up(n);
    } else if (isBetter(score, id, this.#scores[0], this.#ids[0])) {
      this.#ids[0] = id;
      this.#scores[0] = score;
      this.#down(0);
    }
  }

  /** Ids, best first. */
  ranked(): readonly string[] {
    const order = this.#ids.map((_, i) => i);
    order.sort((i, j) => (this.#better(i, j) ? -1 : 1));
    return order.map((i) => this.#ids[i]);
  }

  #better(i: number, j: number): boolean {
    return isBetter(this.#scores[i], this.#ids[i], this.#scores[j], this.#ids[j]);
  }

  #up(i: number): void {
    for (let parent = (i - 1) >> 1; i > 0 && this.#better(parent, i); i = parent, parent = (i - 1) >> 1)
      this.#swap(i, parent);
  }

  #down(i: number): void {
    for (;;) {
      let worst = i;
      for (const child of [2 * i + 1, 2 * i + 2])
        if (child < this.#ids.length && this.#better(worst, child)) worst = child;
      if (worst === i) return;
      this.#swap(i, worst);
      i = worst;
    }
  }

  #swap(i: number, j: number): void {
    [this.#ids[i], this.#ids[j]] = [this.#ids[j], this.#ids[i]];
    [this.#scores[i], this.#scores[j]] = [this.#scores[j], this.#scores[i]];
  }
}

const isBetter = (score: number, id: string, otherScore: number, otherId: string): boolean =>
  score > otherScore || (score === otherScore && id > otherId);
