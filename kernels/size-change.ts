let answer: () => void = () => {};

/** What shall happen where tensors of other sizes follow: a pool of buffers may let go of what is free. */
export function onSizeChange(f: () => void): void {
  answer = f;
}

/** Said by a layer between parts of a model whose tensors have different sizes. */
export const sizesChange = (): void => answer();
