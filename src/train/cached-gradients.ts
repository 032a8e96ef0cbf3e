import * as tf from '@tensorflow/tfjs-core';
import { type Encoded, encode } from './forward.ts';
import {
  batchGradients,
  frozenOf,
  type GradientOptions,
  gradientsOf,
  type LossAndGradients,
  sidesOf,
  type TrainBatch,
} from './gradients.ts';
import { type Stream, streamOf } from './train-input.ts';

// GradCache (Gao et al. 2021). A contrastive loss needs the vectors of the whole batch at once, but not their tapes:
//   1. every part of the batch → vectors, without a tape
//   2. the loss over all vectors → its gradient with respect to each vector
//   3. every part again, with a tape → gradients of the weights from those of its vectors
// The gradient is that of the whole batch; memory is that of a part, and time one forward pass more.

type Frozen = Awaited<ReturnType<typeof frozenOf>>;
type Part = { readonly stream: Stream; readonly members: readonly number[]; readonly frozen: Frozen };

/** Loss and gradients of a batch of any size, `chunk` inputs at a time. */
export async function cachedGradients(
  batch: TrainBatch,
  options: GradientOptions,
  chunk: number,
): Promise<LossAndGradients> {
  const inputs = batch.sides.flat();
  if (inputs.length <= chunk) return batchGradients(batch, options);
  const { order } = streamOf(inputs); // like lengths together
  const parts: Part[] = [];
  const held: tf.Tensor[] = [];
  try {
    for (let begin = 0; begin < order.length; begin += chunk) {
      const members = order.slice(begin, begin + chunk);
      const stream = streamOf(members.map((i) => inputs[i]));
      parts.push({ stream, members, frozen: await frozenOf(stream, options) });
    }
    const vectors = parts.map((part) => tidied(() => encodePart(part, batch, options)));
    held.push(...vectors.flatMap(tensorsOf));
    const { loss, slopes } = slopesOf(batch, inputs.length, parts, vectors);
    held.push(...slopes.flatMap(tensorsOf));
    const gradients = new Map<string, tf.Tensor>();
    parts.forEach((part, k) => {
      addInto(gradients, partGradients(part, slopes[k], batch, options));
    });
    return { loss, gradients };
  } finally {
    tf.dispose(held);
    tf.dispose(parts.flatMap(({ frozen }) => tensorsOf(frozen)));
  }
}

const encodePart = ({ stream, frozen }: Part, { loss }: TrainBatch, options: GradientOptions): Encoded =>
  encode(options.trainable.params, options.config, stream, frozen, { ...options, multi: loss.multi });

/** The loss, and its gradient with respect to the vectors of each part. */
function slopesOf(
  batch: TrainBatch,
  count: number,
  parts: readonly Part[],
  vectors: readonly Encoded[],
): { readonly loss: tf.Scalar; readonly slopes: readonly Encoded[] } {
  // Where input i stands among the parts: its row of the joined means, and the first of its rows of the joined tokens.
  const row = new Int32Array(count);
  const begins = new Array<number>(count);
  const inputs = new Array<Stream['inputs'][number]>(count);
  let [rows, tokenRows] = [0, 0];
  for (const { members, stream } of parts) {
    members.forEach((i, k) => {
      row[i] = rows + k;
      begins[i] = tokenRows + stream.begins[k];
      inputs[i] = stream.inputs[k];
    });
    rows += members.length;
    tokenRows += stream.rows;
  }
  const { multi } = batch.loss;
  const leaves = [
    ...vectors.map((v) => v.pooled),
    ...(multi ? vectors.map((v) => v.tokens as tf.Tensor2D) : []),
  ];
  const { value, grads } = tf.engine().gradients(
    () => {
      const pooled: tf.Tensor2D = tf.gather(
        tf.concat(vectors.map((v) => v.pooled)),
        tf.tensor1d(row, 'int32'),
      );
      const tokens = multi ? tf.concat(vectors.map((v) => v.tokens as tf.Tensor2D)) : null;
      return batch.loss.compute(sidesOf(batch.sides, { begins, inputs }, { pooled, tokens }));
    },
    leaves,
    undefined,
    true,
  ) as { value: tf.Scalar; grads: (tf.Tensor2D | undefined)[] };
  const slopeOf = (i: number): tf.Tensor2D => grads[i] ?? tf.zerosLike(leaves[i]);
  const slopes = parts.map((_, k) => ({
    pooled: slopeOf(k),
    tokens: multi ? slopeOf(parts.length + k) : null,
  }));
  return { loss: value, slopes };
}

/** Gradients of the weights from those of a part's vectors: of Σ vector · slope, the slopes being constants. */
function partGradients(
  part: Part,
  slope: Encoded,
  batch: TrainBatch,
  options: GradientOptions,
): Map<string, tf.Tensor> {
  const { loss, gradients } = gradientsOf(options.trainable, () => {
    const { pooled, tokens } = encodePart(part, batch, options);
    const along = tf.sum(tf.mul(pooled, slope.pooled)) as tf.Scalar;
    return tokens && slope.tokens ? tf.add(along, tf.sum(tf.mul(tokens, slope.tokens))) : along;
  });
  loss.dispose();
  return gradients;
}

/** Adds `more` to the sums, and takes its tensors over. */
function addInto(sums: Map<string, tf.Tensor>, more: Map<string, tf.Tensor>): void {
  for (const [name, gradient] of more) {
    const before = sums.get(name);
    sums.set(name, before ? tf.add(before, gradient) : gradient);
    if (before) tf.dispose([before, gradient]);
  }
}

const tensorsOf = (held: Encoded | Frozen): tf.Tensor[] =>
  (Object.values(held) as (tf.Tensor | null)[]).filter((t) => t !== null);

/** tf.tidy keeps what it returns also beside a null, though its type says otherwise. */
const tidied = (f: () => Encoded): Encoded =>
  tf.tidy(() => f() as unknown as tf.TensorContainer) as unknown as Encoded;
