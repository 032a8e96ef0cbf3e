import { InputError } from '../errors.ts';
import { type AdapterChoice, type ResolvedChoice, resolveChoice } from './choice.ts';
import { checkMeasured } from './measure-dora.ts';
import { Retirement } from './retirement.ts';
import { type Adapter, checkThere } from './with-adapters.ts';

/** The adapters that lie ready beside a model's weights, by name. It owns them. */
export class AdapterShelf {
  readonly #adapters = new Map<string, Adapter>();
  readonly #disabled = new Set<string>();
  readonly #retirement = new Retirement();
  readonly #merged: () => string | null;

  /** `merged`: the one that is in the weights now, which stays as it is. */
  constructor(merged: () => string | null) {
    this.#merged = merged;
  }

  get all(): ReadonlyMap<string, Adapter> {
    return this.#adapters;
  }

  find(name: string): Adapter {
    const adapter = this.#adapters.get(name);
    if (adapter) {
      checkThere([adapter]);
      return adapter;
    }
    const names = [...this.#adapters.keys()];
    throw new InputError(
      `no adapter named "${name}"; ${names.length ? `there are ${names.join(', ')}` : 'this model has none'}`,
    );
  }

  /** The adapters behind a name or a mix, as they are now. @throws InputError for a name that is not there */
  resolve(choice: string | null): ResolvedChoice {
    return resolveChoice(choice, {
      has: (name) => this.#adapters.has(name),
      find: (name) => this.find(name),
      isEnabled: (name) => !this.#disabled.has(name),
    });
  }

  adaptersOf(choice: AdapterChoice): readonly Adapter[] {
    return choice === null || typeof choice === 'string' ? this.resolve(choice).adapters : choice;
  }

  /** @throws InputError for a name that is taken. One whose tensors were lost with a GPU keeps none. */
  checkFree(name: string): void {
    const there = this.#adapters.get(name);
    if (!there || there.lost !== undefined) return;
    throw new InputError(
      `an adapter named "${name}" is already there; delete or rename it first, or choose another name`,
    );
  }

  add(adapter: Adapter): void {
    this.checkFree(adapter.name);
    checkMeasured(adapter);
    this.#adapters.set(adapter.name, adapter);
  }

  /** In the place of the one of its name, which is freed once no call runs with it. */
  replace(adapter: Adapter): void {
    const old = this.#changeable(adapter.name, 'replaced');
    checkMeasured(adapter);
    this.#adapters.set(adapter.name, adapter); // a Map keeps the place
    if (old !== adapter) this.#retirement.retire(old);
  }

  /** It keeps its place and its state. */
  rename(from: string, to: string): void {
    const adapter = this.#changeable(from, 'renamed');
    if (from !== to) this.checkFree(to);
    const all = [...this.#adapters];
    this.#adapters.clear();
    for (const [name, other] of all)
      this.#adapters.set(name === from ? to : name, name === from ? { ...adapter, name: to } : other);
    if (this.#disabled.delete(from)) this.#disabled.add(to);
  }

  /** Its tensors are freed once no call runs with it. */
  delete(name: string): void {
    const old = this.#adapters.get(name);
    const adapter = old?.lost === undefined ? this.#changeable(name, 'deleted') : old;
    this.#adapters.delete(name);
    this.#disabled.delete(name);
    this.#retirement.retire(adapter);
  }

  disable(name: string): void {
    this.#changeable(name, 'disabled');
    this.#disabled.add(name);
  }

  enable(name: string): void {
    this.find(name);
    this.#disabled.delete(name);
  }

  isEnabled(name: string): boolean {
    this.find(name);
    return !this.#disabled.has(name);
  }

  /** A call of several passes begins: adapters that are there now are not freed before it ends. → what ends it */
  hold(): () => void {
    return this.#retirement.enter();
  }

  /** The same adapters on another device, each in the place of its name. Those that were there are freed. */
  restock(adapters: readonly Adapter[]): void {
    this.#free();
    for (const adapter of adapters) this.#adapters.set(adapter.name, adapter);
  }

  dispose(): void {
    this.#free();
    this.#adapters.clear();
    this.#disabled.clear();
  }

  #free(): void {
    this.#retirement.dispose();
    for (const adapter of this.#adapters.values()) adapter.dispose();
  }

  #changeable(name: string, what: string): Adapter {
    const adapter = this.find(name);
    if (name !== this.#merged()) return adapter;
    throw new InputError(`adapter "${name}" is merged and cannot be ${what}; call unmergeAdapter() first`);
  }
}
