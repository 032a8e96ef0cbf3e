import { InputError } from '../errors.ts';
import { Random } from './random.ts';

/** Where a sampler stands: the random state from which the current epoch was shuffled, and the batches already given. */
export type SamplerState = { readonly random: number; readonly epoch: number; readonly given: number };

/**
 * Batches of example indices, each epoch in a new seeded order. What is left at the end of an epoch and does not fill a
 * batch waits for the next one; fewer examples than a batch are one batch.
 */
export class EpochSampler {
  readonly batchesAnEpoch: number;
  readonly #count: number;
  readonly #size: number;
  #shuffledFrom: number;
  #order: Int32Array;
  #next: number;
  #epoch = 0;
  #given = 0;

  constructor(count: number, batchSize: number, seed: number) {
    if (count < 1) throw new InputError('there are no examples to train on');
    if (!(Number.isInteger(batchSize) && batchSize >= 1))
      throw new InputError(`a batch size is a whole number from 1, got ${batchSize}`);
    this.#count = count;
    this.#size = Math.min(batchSize, count);
    this.batchesAnEpoch = Math.floor(count / this.#size);
    this.#shuffledFrom = seed;
    [this.#order, this.#next] = this.#shuffle(seed);
  }

  next(): readonly number[] {
    if (this.#given === this.batchesAnEpoch) {
      this.#epoch++;
      this.#given = 0;
      this.#shuffledFrom = this.#next;
      [this.#order, this.#next] = this.#shuffle(this.#shuffledFrom);
    }
    const begin = this.#given++ * this.#size;
    return [...this.#order.subarray(begin, begin + this.#size)];
  }

  get state(): SamplerState {
    return { random: this.#shuffledFrom, epoch: this.#epoch, given: this.#given };
  }

  set state({ random, epoch, given }: SamplerState) {
    this.#shuffledFrom = random;
    this.#epoch = epoch;
    this.#given = given;
    [this.#order, this.#next] = this.#shuffle(random);
  }

  #shuffle(state: number): [Int32Array, number] {
    const random = new Random(state);
    const order = random.shuffled(this.#count);
    return [order, random.state];
  }
}
