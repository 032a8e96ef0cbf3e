const names = new Map<string, string[]>();

/** The i-th of several inputs or uniforms that are alike: `weight0`, `weight1`, … */
export function numberedName(what: string, i: number): string {
  let known = names.get(what);
  if (!known) {
    known = [];
    names.set(what, known);
  }
  while (known.length <= i) known.push(`${what}${known.length}`);
  return known[i];
}

/** A value for each of them. At every dispatch, so names are not made anew. */
export function numbered<T>(what: string, count: number, make: (i: number) => T): Record<string, T> {
  const values: Record<string, T> = {};
  for (let i = 0; i < count; i++) values[numberedName(what, i)] = make(i);
  return values;
}
