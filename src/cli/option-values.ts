import { InvalidArgumentError } from 'commander';

/** A whole number from 1 up; what is too large for a setting is told by its own check. */
export function wholeNumber(word: string): number {
  const value = Number(word);
  if (/^\d+$/.test(word) && Number.isSafeInteger(value) && value >= 1) return value;
  throw new InvalidArgumentError('Expected a whole number, 1 or more.');
}

export function notEmpty(word: string): string {
  if (word.trim() !== '') return word;
  throw new InvalidArgumentError('Expected a word, got an empty one.');
}
