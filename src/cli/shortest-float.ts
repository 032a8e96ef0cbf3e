/**
 * The shortest decimal that gives back the same float32. `String(x)` writes the 17 digits of the double: twice the bytes, and
 * digits that mean nothing. Nine always suffice, and one that n digits give back, n + 1 do too; so: search down from eight.
 */
export function shortestFloat(x: number): string {
  if (x === 0) return Object.is(x, -0) ? '-0' : '0';
  let digits = 8;
  let text = decimal(x, digits);
  if (text === null) return decimal(x, 9) ?? String(x);
  while (digits > 1) {
    const shorter = decimal(x, digits - 1);
    if (shorter === null) break;
    text = shorter;
    digits--;
  }
  return text;
}

function decimal(x: number, digits: number): string | null {
  const value = Number(x.toPrecision(digits));
  return Math.fround(value) === x ? String(value) : null;
}
