import type * as tf from '@tensorflow/tfjs-core';
import { blockOf, type Plan } from '../linear/linear-shaders.ts';
import { planOf } from '../linear/variant-choice.ts';
import { isIntegers } from '../linear/weight-layouts.ts';
import { numbered, numberedName } from '../webgpu/numbered.ts';
import { constant, run } from '../webgpu/run.ts';
import {
  type AffineMap,
  composedGated,
  composedHeads,
  type GatedInputs,
  type HeadsAttrs,
  type HeadsInputs,
  lowWidth,
  widthOf,
} from './fan.ts';
import { Flag, fanShader, type Variant } from './fan-shaders.ts';
import { fits } from './fits.ts';
import { type FloatWords, rowsOf, sameFloats, ups, type Words, wordsOf } from './row-words.ts';
import { stackOf } from './stack.webgpu.ts';

/** All maps, low-rank terms, biases and turns in one dispatch. */
export function webgpuHeads(inputs: HeadsInputs, attrs: HeadsAttrs): tf.Tensor2D {
  const { rows: x, maps, cos, sin } = inputs;
  const [rows, width] = x.shape;
  const H = cos.shape[1];
  if (!fits({ maps, rows, outputs: widthOf(maps) }) || H % 2 !== 0) return composedHeads(inputs, attrs);
  const firsts = [0];
  for (const { weight } of maps) firsts.push(firsts[firsts.length - 1] + weight.outSize);
  const outputs = firsts[maps.length];
  const plan = planOf(rows, outputs, true);
  const bias = maps.some((map) => map.bias);
  const stack = bias || maps.some(({ lora }) => lora.length > 0) ? stackOf(maps) : null;
  return run({
    shader: fanShader({ plan, kind: 'heads', ...variantOf(maps) }),
    inputs: {
      x,
      ...each('weight', maps, ({ weight }) => rowsOf(weight)),
      more: stack?.buffer ?? constant(new Int32Array(4)), // something must be bound where nothing is read
      cosines: cos,
      sines: sin,
    },
    uniforms: {
      rows,
      fours: maps[0].weight.inSize / 4,
      depth: width / 4,
      pairs: outputs / 2,
      outputs,
      flags: bias ? Flag.bias : 0,
      ...lowsOf(maps),
      half: H / 2,
      turned: attrs.turned * H,
      biasAt: stack?.biases ?? 0,
      ...each('first', maps, (_, i) => firsts[i]),
      ...each('moreAt', maps, (_, i) => stack?.ups[i] ?? 0),
    },
    workgroups: gridOf(plan, rows, outputs / 2),
    output: [rows, outputs],
  });
}

/** Gate and up, low-rank terms, biases and SwiGLU in one dispatch. */
export function webgpuGated(inputs: GatedInputs): tf.Tensor2D {
  const { rows: x, gate, up } = inputs;
  const maps = [gate, up];
  const [rows, width] = x.shape;
  const outputs = gate.weight.outSize;
  if (!fits({ maps, rows, outputs })) return composedGated(inputs);
  const plan = planOf(rows, 2 * outputs, true);
  const nothing = constant(new Int32Array(4));
  return run({
    shader: fanShader({ plan, kind: 'gated', ...variantOf(maps) }),
    inputs: {
      x,
      ...each('weight', maps, ({ weight }) => rowsOf(weight)),
      ...each('up', maps, ({ lora: [term] }) => (term ? rowsOf(term.b) : nothing)),
      ...each('bias', maps, ({ bias }) => bias ?? nothing),
    },
    uniforms: {
      rows,
      fours: gate.weight.inSize / 4,
      depth: width / 4,
      pairs: outputs,
      outputs,
      flags: (gate.bias ? Flag.bias : 0) | (up.bias ? Flag.second : 0),
      ...lowsOf(maps),
    },
    workgroups: gridOf(plan, rows, outputs),
    output: [rows, outputs],
  });
}

const each = <T>(
  what: string,
  maps: readonly AffineMap[],
  f: (map: AffineMap, i: number) => T,
): Record<string, T> => numbered(what, maps.length, (i) => f(maps[i], i));

function variantOf(maps: readonly AffineMap[]): Pick<Variant, 'weights' | 'up'> {
  const weights = wordsOf(maps.map((map) => map.weight)) as readonly Words[];
  const own = weights.find((words): words is FloatWords => !isIntegers(words));
  // Without terms any will do: one that a shader with terms has, too.
  return { weights, up: sameFloats(ups(maps.flatMap(({ lora }) => lora))) ?? own ?? 'bfloat16' };
}

/** Where each map's lows stand behind a normed row, and how many there are, in fours. */
function lowsOf(maps: readonly AffineMap[]): Record<string, number> {
  const fours: Record<string, number> = {};
  let before = 0;
  for (const [i, map] of maps.entries()) {
    const own = lowWidth(map) / 4;
    fours[numberedName('low', i)] = before;
    fours[numberedName('lows', i)] = own;
    before += own;
  }
  return fours;
}

function gridOf(plan: Plan, rows: number, pairs: number): readonly [number, number] {
  const [columns, tall] = blockOf(plan);
  return [Math.ceil((2 * pairs) / columns), Math.ceil(rows / tall)];
}
