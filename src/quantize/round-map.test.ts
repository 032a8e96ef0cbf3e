import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { onEveryBackend } from '../../test/support/backends.ts';
import { gaussian } from '../../test/support/close.ts';
import { int4Scales } from '../../weights/int4-scales.ts';
import { decodeRows, encodeRows, GROUP, type PackedRows } from '../../weights/quantization.ts';
import { DAMPING, feedbackPanels } from './feedback.ts';
import { roundMap } from './round-map.ts';
import { upperFactor } from './upper-factor.ts';

const OUT = 24;

/** Rows that a few directions explain, and noise.   → [rows, width] */
const correlated = (rows: number, width: number): tf.Tensor2D =>
  tf.tidy(() => {
    const mixed = tf.matMul(
      tf.tensor2d(gaussian(rows * 12, 1), [rows, 12]),
      tf.tensor2d(gaussian(12 * width, 2), [12, width]),
    );
    return tf.add(mixed, tf.mul(tf.tensor2d(gaussian(rows * width, 3), [rows, width]), 0.3)) as tf.Tensor2D;
  });
const weightsOf = (width: number): tf.Tensor2D => tf.tensor2d(gaussian(width * OUT, 4), [width, OUT]);
const gramOf = (x: tf.Tensor2D): tf.Tensor2D => tf.matMul(x, x, true);
const rowsOf = (weight: tf.Tensor2D): Float32Array => tf.transpose(weight).dataSync() as Float32Array;

/** ‖X (W − Ŵ)‖ / ‖X W‖ */
function outputError(x: tf.Tensor2D, weight: tf.Tensor2D, packed: PackedRows): number {
  const [width] = weight.shape;
  const values = new Float32Array(weight.size);
  decodeRows('int4', packed, width, values);
  const found = tf.transpose(tf.tensor2d(values, [OUT, width]));
  const norm = (t: tf.Tensor) => tf.norm(tf.matMul(x, t as tf.Tensor2D)).dataSync()[0];
  return norm(tf.sub(weight, found)) / norm(weight);
}

onEveryBackend(() => {
  test.each([[32], [70], [300]])('inputs that know nothing of each other: to the nearest (%d)', async (n) => {
    const weight = weightsOf(n);
    expect(await roundMap(weight, tf.eye(n))).toEqual(encodeRows('int4', rowsOf(weight), n));
    expect(await roundMap(weight, tf.zeros([n, n]))).toEqual(encodeRows('int4', rowsOf(weight), n));
  });

  test.each([[70], [300]])('correlated inputs: less than half the error (%d)', async (n) => {
    const [x, weight] = [correlated(600, n), weightsOf(n)];
    const nearest = outputError(x, weight, encodeRows('int4', rowsOf(weight), n));
    expect(outputError(x, weight, await roundMap(weight, gramOf(x)))).toBeLessThan(nearest / 2);
  });

  test('fewer inputs than columns, and columns that are always zero', async () => {
    const n = 200;
    const mask = tf.tensor1d(Float32Array.from({ length: n }, (_, i) => (i % 7 === 0 ? 0 : 1)));
    const [x, weight] = [tf.mul(correlated(20, n), mask) as tf.Tensor2D, weightsOf(n)];
    const nearest = outputError(x, weight, encodeRows('int4', rowsOf(weight), n));
    expect(outputError(x, weight, await roundMap(weight, gramOf(x)))).toBeLessThan(nearest / 4);
  });

  test('frees what it makes', async () => {
    const [weight, gram] = [weightsOf(300), gramOf(correlated(100, 300))];
    const before = tf.memory().numTensors;
    await roundMap(weight, gram);
    expect(tf.memory().numTensors).toBe(before);
  });
});

/** GPTQ as published: the Cholesky factor of the inverse, and every later weight changed after each column. In float64. */
function published(weight: tf.Tensor2D, gram: tf.Tensor2D): number[][] {
  const [n] = weight.shape;
  const h = gram.arraySync();
  const mean = h.reduce((sum, row, i) => sum + row[i], 0) / n;
  for (let i = 0; i < n; i++) h[i][i] += DAMPING * mean;
  const u = transposed(cholesky(inverse(h)));
  const w = weight.arraySync();
  const nibbles: number[][] = [];
  let scales: Float32Array = new Float32Array();
  for (let k = 0; k < n; k++) {
    if (k % GROUP === 0) {
      const group = w.slice(k, k + GROUP);
      scales = int4Scales(Float32Array.from(transposed(group).flat()), group.length).widened;
    }
    nibbles.push(w[k].map((v, r) => Math.max(-8, Math.min(7, Math.floor(v / scales[r] + 0.5)))));
    const error = w[k].map((v, r) => (v - nibbles[k][r] * scales[r]) / u[k][k]);
    for (let j = k; j < n; j++) for (let r = 0; r < OUT; r++) w[j][r] -= error[r] * u[k][j];
  }
  return nibbles;
}

const transposed = (m: readonly (readonly number[])[]): number[][] =>
  m[0].map((_, j) => m.map((row) => row[j]));

function cholesky(m: readonly (readonly number[])[]): number[][] {
  const l = m.map((row) => row.map(() => 0));
  for (let i = 0; i < m.length; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = m[i][j];
      for (let k = 0; k < j; k++) sum -= l[i][k] * l[j][k];
      l[i][j] = i === j ? Math.sqrt(sum) : sum / l[j][j];
    }
  }
  return l;
}

function inverse(m: readonly (readonly number[])[]): number[][] {
  const n = m.length;
  const a = m.map((row, i) => [...row, ...row.map((_, j) => (i === j ? 1 : 0))]);
  for (let i = 0; i < n; i++) {
    const pivot = a[i][i];
    a[i] = a[i].map((v) => v / pivot);
    for (let k = 0; k < n; k++) {
      if (k === i) continue;
      const factor = a[k][i];
      if (factor !== 0) a[k] = a[k].map((v, j) => v - factor * a[i][j]);
    }
  }
  return a.map((row) => row.slice(n));
}

test('the codes of GPTQ as published', async () => {
  await tf.setBackend('cpu');
  const n = 160; // two panels
  const [x, weight] = [correlated(400, n), weightsOf(n)];
  const { codes } = await roundMap(weight, gramOf(x));
  const expected = published(weight, gramOf(x));
  const groups = n / GROUP;
  let differing = 0;
  for (let k = 0; k < n; k++) {
    for (let row = 0; row < OUT; row++) {
      const byte = codes[(row * groups + Math.floor(k / GROUP)) * 16 + (k % 16)];
      const nibble = k % GROUP < 16 ? byte & 15 : byte >> 4;
      if (nibble - 8 !== expected[k][row]) differing++;
    }
  }
  expect(differing).toBeLessThanOrEqual(0.01 * n * OUT); // float32 may round a half the other way, and the rest of its row follows
});

test('panels together are the factor of the damped matrix', async () => {
  await tf.setBackend('cpu');
  const n = 150;
  const gram = gramOf(correlated(300, n));
  const panels = await feedbackPanels(gram);
  expect(panels.map(({ first, width }) => [first, width])).toEqual([
    [0, 128],
    [128, 22],
  ]);
  const whole = upperFactor(
    gram.dataSync() as Float32Array,
    DAMPING * tf.mean(diagonalOf(gram)).dataSync()[0],
  );
  for (const { first, width, far, near } of panels) {
    const above = far?.dataSync() ?? [];
    for (let k = 0; k < width; k++) {
      for (let j = 0; j < first + width; j++) {
        const found = j < first ? above[j * width + k] : near[(j - first) * width + k];
        expect(Math.abs(found - whole.near[j * n + first + k])).toBeLessThan(1e-3);
      }
    }
  }
});

const diagonalOf = (m: tf.Tensor2D): tf.Tensor1D => tf.tensor1d(m.arraySync().map((row, i) => row[i]));

test('U D Uᵀ is the matrix, and a singular one gets its damping', () => {
  const x = gaussian(3 * 5, 6); // rank 3 of 5
  const s = new Float32Array(25);
  for (let i = 0; i < 5; i++)
    for (let j = 0; j < 5; j++) for (let t = 0; t < 3; t++) s[i * 5 + j] += x[t * 5 + i] * x[t * 5 + j];
  const { near, diagonal, turn } = upperFactor(s, 0.1);
  for (let i = 0; i < 5; i++) {
    for (let j = 0; j < 5; j++) {
      let product = 0;
      let identity = 0; // turn · D Uᵀ
      for (let m = 0; m < 5; m++) {
        product += near[i * 5 + m] * diagonal[m] * near[j * 5 + m];
        identity += turn[i * 5 + m] * diagonal[m] * near[j * 5 + m];
      }
      expect(product).toBeCloseTo(s[i * 5 + j] + (i === j ? 0.1 : 0), 4);
      expect(identity).toBeCloseTo(i === j ? 1 : 0, 4);
    }
  }
});
