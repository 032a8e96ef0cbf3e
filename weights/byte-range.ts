import { SourceError } from '../src/errors.ts';

/** Refuses a range that does not lie inside the source. Every `ByteSource.read` starts with this. Units: bytes. */
export function checkRange(source: { name: string; size: number }, offset: number, length: number): void {
  const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length);
  if (whole && offset >= 0 && length >= 0 && offset + length <= source.size) return;
  throw new SourceError(
    `${source.name}: cannot read ${rangeText(offset, length)}: the file has ${source.size} bytes; ` +
      'it is shorter than its contents claim, or the reader asked for the wrong place',
  );
}

/** How messages write a range. */
export const rangeText = (offset: number, length: number): string => `${length} bytes at offset ${offset}`;
