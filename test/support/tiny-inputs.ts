import { Random } from '../../src/train/random.ts';
import type { TrainInput } from '../../src/train/train-input.ts';
import { geometryConfig } from './geometries.ts';

/** Two blocks a tower, 60 tokens: what a finite difference can walk through. */
export const tinyConfig = geometryConfig({
  hidden: 32,
  layers: 2,
  heads: 2,
  kvHeads: 1,
  mlp: 24,
  vocab: 60,
  vision: { depth: 2, hidden: 32, mlp: 24, heads: 2, fullatt: [1] },
});
const { image, visionStart, visionEnd } = tinyConfig.tokens;
const random = new Random(4);

/** A text of random ids, another each time. */
export const tinyText = (length: number): TrainInput => ({
  ids: Int32Array.from({ length }, () => Math.floor(random.uniform() * 50)),
});

/** A picture of 2×4 random patches in its frame, another each time. */
export const tinyPicture = (): TrainInput => ({
  ids: Int32Array.from([1, visionStart, image, image, visionEnd, 2]),
  span: { begin: 1, end: 5 },
  image: { pixelValues: random.normalValues(8 * tinyConfig.vision.patchValues, 1), grid: [1, 2, 4] },
});
