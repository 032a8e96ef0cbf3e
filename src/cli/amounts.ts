/** 7509770496 → `7.5 GB`. */
export function bytes(n: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let i = 0;
  for (; n >= 1000 && i < units.length - 1; i++) n /= 1000;
  return i === 0 ? `${Math.round(n)} B` : `${n.toFixed(n < 10 ? 1 : 0)} ${units[i]}`;
}

/** 3754885248 → `3,754,885,248`. */
export const count = (n: number): string => n.toLocaleString('en-US');

/** `3 of 18 inputs`; `3 inputs` where nobody knows how many there will be. */
export const inputsOf = (done: number, total: number): string =>
  total > 0 ? `${count(done)} of ${counted(total, 'input')}` : counted(done, 'input');

/** `76 kB of 449 kB`. */
export const bytesOfAll = (done: number, total: number): string => `${bytes(done)} of ${bytes(total)}`;

/** `1 input`, `3 inputs`. */
export const counted = (n: number, thing: string): string => `${count(n)} ${thing}${n === 1 ? '' : 's'}`;

/** 0.034 s → `34 ms`. */
export const duration = (seconds: number): string =>
  seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`;
