const TILE = 32; // a square that is turned at once, so that both sides stay in the cache

/** Words of one size: bf16 and f16 travel as Uint16, float32 as Uint32 or Float32. */
export type Words = Uint16Array | Uint32Array | Float32Array;

/** The transpose of a matrix.   source: [rows, columns] → target: [columns, rows] */
export function transposeWords<W extends Words>(source: W, rows: number, columns: number, target: W): W {
  for (let top = 0; top < rows; top += TILE) {
    const bottom = Math.min(top + TILE, rows);
    for (let left = 0; left < columns; left += TILE) {
      const right = Math.min(left + TILE, columns);
      for (let c = left; c < right; c++) {
        for (let r = top; r < bottom; r++) target[c * rows + r] = source[r * columns + c];
      }
    }
  }
  return target;
}
