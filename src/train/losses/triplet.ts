import * as tf from '@tensorflow/tfjs-core';
import type { Loss } from './loss.ts';
import { overViews, type Views } from './side.ts';

export type TripletOptions = Views & { /** Default 0.2, in cosine. */ readonly margin?: number };

/**
 * Mean of max(0, margin + s(anchor, negative) − s(anchor, positive)) (Schroff et al. 2015, with cosines).
 * Sides: anchors [n], positives [n], negatives [n].
 */
export function triplet(options: TripletOptions = {}): Loss {
  const { margin = 0.2 } = options;
  return {
    name: 'triplet',
    multi: (options.multi ?? 0) > 0,
    compute: (sides) => {
      const [anchors, positives, negatives] = sides;
      return overViews(options, anchors.pooled.shape[1], (score) => {
        const gap = tf.sub(score.pairs(anchors, negatives), score.pairs(anchors, positives)); // [n]
        return tf.mean(tf.relu(tf.add(gap, margin)));
      });
    },
  };
}
