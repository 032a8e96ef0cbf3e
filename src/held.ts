/** Things that were made together and are freed together: what is left when a load fails half-way. */
export class Held {
  readonly #values: { dispose(): void }[] = [];

  keep<T extends { dispose(): void }>(value: T): T {
    this.#values.push(value);
    return value;
  }

  dispose(): void {
    for (const value of this.#values.splice(0)) value.dispose();
  }
}
