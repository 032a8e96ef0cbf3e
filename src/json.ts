import { CheckpointError } from './errors.ts';

export type Json = Readonly<Record<string, unknown>>;

/** Typed reading of a JSON object. A missing or wrong key is an error that names file, key, what was expected and what came. */
export class JsonReader {
  readonly json: Json;
  readonly where: string;

  constructor(value: unknown, where: string) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new CheckpointError(`${where}: expected a JSON object, got ${describe(value)}`);
    }
    this.json = value as Json;
    this.where = where;
  }

  has(key: string): boolean {
    return this.json[key] !== undefined && this.json[key] !== null;
  }

  section(key: string): JsonReader {
    return new JsonReader(this.required(key, 'an object'), `${this.where}: ${key}`);
  }

  /** A positive whole number. */
  size(key: string, ...aliases: string[]): number {
    const found = [key, ...aliases].find((k) => this.has(k)) ?? key;
    const value = this.required(found, 'a positive whole number');
    if (typeof value === 'number' && Number.isInteger(value) && value > 0) return value;
    throw this.wrong(found, 'a positive whole number', value);
  }

  number(key: string): number {
    const value = this.required(key, 'a number');
    if (typeof value === 'number' && Number.isFinite(value)) return value;
    throw this.wrong(key, 'a finite number', value);
  }

  /** A token id: zero or more. */
  id(key: string): number {
    const value = this.required(key, 'a token id');
    if (typeof value === 'number' && Number.isInteger(value) && value >= 0) return value;
    throw this.wrong(key, 'a token id (0 or more)', value);
  }

  numbers(key: string): readonly number[] {
    const value = this.required(key, 'a list of numbers');
    if (Array.isArray(value) && value.every((v) => typeof v === 'number')) return value;
    throw this.wrong(key, 'a list of numbers', value);
  }

  words(key: string): readonly string[] {
    const value = this.required(key, 'a list of words');
    if (Array.isArray(value) && value.every((v) => typeof v === 'string')) return value;
    throw this.wrong(key, 'a list of words', value);
  }

  /** The value must be one of these words: what the code does not implement is refused, not ignored. */
  oneOf<W extends string>(key: string, words: readonly W[]): W {
    const value = this.required(key, words.join(' or '));
    const word = words.find((w) => w === value);
    if (word !== undefined) return word;
    throw this.wrong(key, words.join(' or '), value);
  }

  wrong(key: string, expected: string, value: unknown): CheckpointError {
    return new CheckpointError(`${this.where}: ${key} must be ${expected}, got ${describe(value)}`);
  }

  private required(key: string, expected: string): unknown {
    const value = this.json[key];
    if (value !== undefined && value !== null) return value;
    throw new CheckpointError(`${this.where}: the key "${key}" is missing (expected ${expected})`);
  }
}

function describe(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}
