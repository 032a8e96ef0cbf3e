import { InputError } from '../errors.ts';
import { type MinimizeOptions, minimize, type Objective } from './lbfgs.ts';

export type LogisticOptions = MinimizeOptions & {
  /** Inverse strength of the L2 penalty, which leaves the intercepts alone. Default 1, as in scikit-learn. */
  readonly c?: number;
};

export type LogisticModel = {
  /** Sorted; a row of `weights` each. Of two labels only the second has a row: the first is its opposite. */
  readonly labels: readonly string[];
  readonly width: number;
  /** Coefficients and, last, the intercept of every row.   [rows, width + 1] */
  readonly weights: Float64Array;
  readonly converged: boolean;
};

/**
 * Multinomial (of two labels: binary) logistic regression: the mean cross-entropy plus |w|² / (2 C n), in float64, from zero.
 * The same minimum as sklearn.linear_model.LogisticRegression().   vectors: n × [width]
 */
export async function fitLogistic(
  vectors: readonly Float32Array[],
  truth: readonly string[],
  { c = 1, ...minimizing }: LogisticOptions = {},
): Promise<LogisticModel> {
  const labels = [...new Set(truth)].sort();
  if (labels.length < 2)
    throw new InputError(
      `classification needs two labels or more to tell apart; the training items have ${labels.length ? `only ${JSON.stringify(labels[0])}` : 'none'}`,
    );
  const width = vectors[0].length;
  const index = new Map(labels.map((label, i) => [label, i]));
  const targets = truth.map((label) => index.get(label) as number);
  const rows = labels.length === 2 ? 1 : labels.length;
  const objective = crossEntropy(vectors, targets, { rows, width, penalty: 1 / (c * vectors.length) });
  const { x, converged } = await minimize(objective, new Float64Array(rows * (width + 1)), minimizing);
  return { labels, width, weights: x, converged };
}

/** The most probable label of a vector.   vector: [width] */
export function predictLogistic(model: LogisticModel, vector: Float32Array): string {
  const chances = logisticChances(model, vector);
  return model.labels[chances.indexOf(Math.max(...chances))];
}

/** How probable each label is, in the order of `labels`.   vector: [width] → [labels] */
export function logisticChances({ width, weights }: LogisticModel, vector: Float32Array): Float64Array {
  const logits = new Float64Array(weights.length / (width + 1));
  linearPart(weights, vector, logits);
  const all = logits.length === 1 ? Float64Array.of(0, logits[0]) : logits;
  const most = Math.max(...all);
  const raised = all.map((x) => Math.exp(x - most));
  const sum = raised.reduce((a, b) => a + b);
  return raised.map((x) => x / sum);
}

function crossEntropy(
  vectors: readonly Float32Array[],
  targets: readonly number[],
  { rows, width, penalty }: { rows: number; width: number; penalty: number },
): Objective {
  const n = vectors.length;
  const slopes = new Float64Array(rows);
  return (weights, gradient) => {
    gradient.fill(0);
    let loss = 0;
    vectors.forEach((vector, i) => {
      linearPart(weights, vector, slopes);
      loss += rows === 1 ? binaryLoss(slopes, targets[i]) : softmaxLoss(slopes, targets[i]);
      for (let row = 0; row < rows; row++) {
        const at = row * (width + 1);
        const slope = slopes[row] / n;
        for (let d = 0; d < width; d++) gradient[at + d] += slope * vector[d];
        gradient[at + width] += slope;
      }
    });
    let squares = 0;
    for (let i = 0; i < weights.length; i++) {
      if (i % (width + 1) === width) continue; // an intercept
      squares += weights[i] ** 2;
      gradient[i] += penalty * weights[i];
    }
    return loss / n + (penalty / 2) * squares;
  };
}

/** w·x + b of every row, into `logits`.   [rows] */
function linearPart(weights: Float64Array, vector: Float32Array, logits: Float64Array): void {
  const width = vector.length;
  for (let row = 0; row < logits.length; row++) {
    const at = row * (width + 1);
    let sum = weights[at + width];
    for (let d = 0; d < width; d++) sum += weights[at + d] * vector[d];
    logits[row] = sum;
  }
}

/** −log p of the target; the logits become the loss's slopes in them, softmax − target. */
function softmaxLoss(logits: Float64Array, target: number): number {
  const max = logits.reduce((a, b) => Math.max(a, b));
  const wanted = logits[target] - max;
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += logits[i] = Math.exp(logits[i] - max);
  for (let i = 0; i < logits.length; i++) logits[i] = logits[i] / sum - (i === target ? 1 : 0);
  return Math.log(sum) - wanted;
}

/** The same for one logit, whose sigmoid is the probability of target 1. */
function binaryLoss(logits: Float64Array, target: number): number {
  const z = logits[0];
  logits[0] = 1 / (1 + Math.exp(-z)) - target;
  return Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z))) - z * target;
}
