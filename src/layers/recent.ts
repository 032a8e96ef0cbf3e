/** The last few results of a pure function, by key: what repeated calls of one shape need again. Holds plain data, no tensors. */
export function recent<V>(limit: number): (key: string, make: () => V) => V {
  const known = new Map<string, V>();
  return (key, make) => {
    const value = known.get(key) ?? make();
    known.delete(key); // a Map keeps insertion order: the newest goes to the end
    known.set(key, value);
    if (known.size > limit) known.delete(known.keys().next().value as string);
    return value;
  };
}
