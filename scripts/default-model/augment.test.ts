import { expect, test } from 'vitest';
import { randomStream } from '../../src/adapters/combine/random-stream.ts';
import {
  calmView,
  drawView,
  PLAIN_VIEW,
  plainBackground,
  randomView,
  tintedView,
  type View,
} from './augment.ts';
import type { Drawing } from './drawings.ts';

const SIDE = 8;
const drawing = (colour: (x: number, y: number) => readonly number[]): Drawing => {
  const data = new Uint8Array(SIDE * SIDE * 4);
  for (let i = 0; i < SIDE * SIDE; i++) data.set(colour(i % SIDE, Math.floor(i / SIDE)), i * 4);
  return { side: SIDE, data };
};
const full: View = { ...PLAIN_VIEW, scale: [1, 1] };
const at = ({ data, width }: { data: Uint8Array; width: number }, x: number, y: number) => [
  ...data.slice((y * width + x) * 3, (y * width + x) * 3 + 3),
];

test('a full view of the same size is the drawing over its background', () => {
  const picture = drawView(
    drawing((x, y) => (x < 4 ? [x * 20, y * 20, 7, 255] : [64, 0, 0, 128])),
    full,
    SIDE,
  );
  expect(at(picture, 3, 5)).toEqual([60, 100, 7]);
  expect(at(picture, 6, 2)).toEqual([191, 127, 127]); // 64 + (1 − 128/255) · 255
});

test('a quarter turn goes clockwise, a shift to the right and down, scale leaves a margin', () => {
  const corner = drawing((x, y) => (x < 4 && y < 4 ? [0, 0, 0, 255] : [0, 0, 0, 0]));
  const dark = (view: View, x: number, y: number) => at(drawView(corner, view, SIDE), x, y)[0] < 128;
  expect(dark(full, 1, 1)).toBe(true);
  const turned = { ...full, angle: Math.PI / 2 };
  expect([dark(turned, 1, 1), dark(turned, 6, 1), dark(turned, 1, 6)]).toEqual([false, true, false]);
  const shifted: View = { ...full, shift: [0.5, 0.5] };
  expect([dark(shifted, 1, 1), dark(shifted, 6, 6), dark(shifted, 6, 1)]).toEqual([false, true, false]);
  const small: View = { ...full, scale: [0.5, 0.5] };
  expect([dark(small, 1, 1), dark(small, 3, 3)]).toEqual([false, true]);
});

test('rows swing to the sides', () => {
  const stripe = drawing((x) => (x === 3 || x === 4 ? [0, 0, 0, 255] : [255, 255, 255, 255]));
  const wave = { amplitude: 0.25, cycles: 1, phase: 0 };
  const picture = drawView(stripe, { ...full, swing: [wave, { ...wave, amplitude: 0 }] }, SIDE);
  const darkest = (y: number) =>
    [...Array(SIDE).keys()].reduce((best, x) => (at(picture, x, y)[0] < at(picture, best, y)[0] ? x : best));
  expect([0, 2, 6].map(darkest)).toEqual([3, 1, 5]);
});

test('colours change by the matrix and never leave what alpha allows', () => {
  const half = drawing(() => [100, 50, 0, 128]);
  const view: View = {
    ...full,
    background: plainBackground(0),
    colour: [0, 1, 0, 0, 9, 0, 0, 0, 0, 0, 0, -50],
  };
  expect(at(drawView(half, view, SIDE), 4, 4)).toEqual([50, 128, 0]);
});

test('light falls from a side, on the drawing alone', () => {
  const grey = drawing((x) => (x === 0 ? [0, 0, 0, 0] : [100, 100, 100, 255]));
  const picture = drawView(grey, { ...full, light: [0.5, 0] }, SIDE);
  expect([0, 2, 4, 6].map((x) => at(picture, x, 3)[0])).toEqual([255, 88, 100, 112]);
});

test('a drawing in black gets a colour that is seen before its background', () => {
  const half = drawing((x) => (x < 4 ? [0, 0, 0, 255] : [0, 0, 0, 0]));
  for (let seed = 0; seed < 50; seed++) {
    const random = randomStream(seed, 'tint');
    const background = plainBackground(255 * random());
    const picture = drawView(half, tintedView({ ...full, background }, random), SIDE);
    const [tint, behind] = [at(picture, 1, 4), at(picture, 6, 4)];
    const apart = Math.max(...tint.map((c, i) => Math.abs(c - behind[i])));
    expect(apart, `seed ${seed}`).toBeGreaterThanOrEqual(89);
  }
});

test('blur keeps what is even and spreads what is not', () => {
  const dot = drawing((x, y) => (x === 4 && y === 4 ? [90, 90, 90, 255] : [0, 0, 0, 255]));
  const picture = drawView(dot, { ...full, blur: 1 / 3 }, SIDE);
  for (const [x, y] of [
    [3, 3],
    [4, 4],
    [5, 3],
  ])
    expect(at(picture, x, y)).toEqual([10, 10, 10]);
  expect(at(picture, 2, 4)).toEqual([0, 0, 0]);
});

test('random views: the same for a seed, others for another, and the drawing stays in sight', () => {
  const red = drawing(() => [255, 0, 0, 255]);
  const view = (seed: number) => randomView(randomStream(seed, 'view'));
  expect(view(1)).toEqual(view(1));
  expect(view(1)).not.toEqual(view(2));
  for (let seed = 0; seed < 50; seed++) {
    const [r, , b] = at(drawView(red, view(seed), 28), 14, 14);
    expect(r - b, `seed ${seed}`).toBeGreaterThan(60);
  }
});

test('a calm view is whole, upright and before white', () => {
  const red = drawing(() => [255, 0, 0, 255]);
  for (let seed = 0; seed < 20; seed++) {
    const view = calmView(randomStream(seed, 'calm'));
    expect(view).toMatchObject({ angle: 0, background: PLAIN_VIEW.background, colour: PLAIN_VIEW.colour });
    expect(view.scale[0] / 2 + Math.abs(view.shift[0])).toBeLessThanOrEqual(0.55); // hardly over the edge
    expect(at(drawView(red, view, 28), 14, 14)).toEqual([255, 0, 0]);
  }
});
