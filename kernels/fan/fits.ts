import { isPlain } from '../linear/linear.ts';
import { chooseWay, possibleHere } from '../linear/variant-choice.ts';
import { kernelSettings } from '../product-settings.ts';
import { webgpuBackend } from '../webgpu/backend.ts';
import { limitsOf } from '../webgpu/limits.ts';
import { type Fan, lowWidths } from './fan.ts';
import { downs, sameFloats, ups, wordsOf } from './row-words.ts';

const MOST_MAPS = 3;

/** Where the caller asked for half precision and the GPU has it, each product by itself is quicker. */
function halfPrecision(rows: number, outputs: number): boolean {
  const way = chooseWay(possibleHere(rows, outputs), kernelSettings());
  return way === 'half' || way === 'matrix';
}

/**
 * Whether maps of one input can be one dispatch: plain terms, one a map, of all rows; weights in one buffer each, and so the
 * terms, which are floats, and alike; rows of whole fours; and tensors that this GPU can bind. What does not fit runs map by map.
 */
export function fits({ maps, rows, outputs }: Fan): boolean {
  const terms = maps.flatMap(({ lora }) => lora);
  const D = maps[0].weight.inSize;
  return (
    D % 4 === 0 &&
    !halfPrecision(rows, outputs) &&
    maps.length <= MOST_MAPS &&
    maps.every(({ lora }) => lora.length <= 1 && lora.every((term) => isPlain(term) && !term.rows)) &&
    wordsOf(maps.map(({ weight }) => weight)) !== null &&
    (terms.length === 0 || (sameFloats(downs(terms)) !== null && sameFloats(ups(terms)) !== null)) &&
    4 * rows * Math.max(D + lowWidths(maps), outputs) <=
      limitsOf(webgpuBackend().device).maxStorageBufferBindingSize
  );
}
