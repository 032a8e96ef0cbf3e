/** Seeded random numbers whose whole state is one number: what a resumed run goes on with. (mulberry32) */
export class Random {
  state: number;

  constructor(seed: number) {
    this.state = seed >>> 0;
  }

  /** Uniform in [0, 1). */
  uniform(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), this.state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** Uniform in [−bound, bound).   → [count] */
  uniformValues(count: number, bound: number): Float32Array {
    return Float32Array.from({ length: count }, () => (2 * this.uniform() - 1) * bound);
  }

  /** Normal with mean 0. (Box-Muller)   → [count] */
  normalValues(count: number, deviation: number): Float32Array {
    return Float32Array.from(
      { length: count },
      () => deviation * Math.sqrt(-2 * Math.log(1 - this.uniform())) * Math.cos(2 * Math.PI * this.uniform()),
    );
  }

  /** 0 … count−1 in random order. (Fisher-Yates) */
  shuffled(count: number): Int32Array {
    const order = Int32Array.from({ length: count }, (_, i) => i);
    for (let i = count - 1; i > 0; i--) {
      const j = Math.floor(this.uniform() * (i + 1));
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  }
}
