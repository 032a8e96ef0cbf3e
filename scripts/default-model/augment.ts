import type { RgbImage } from '../../src/image/rgb-image.ts';
import type { Drawing } from './drawings.ts';

/** How a drawing is looked at. Lengths are shares of the picture's side, angles radians, colours 0 … 255. */
export type View = {
  /** Sides of the drawing on the picture. */
  readonly scale: readonly [x: number, y: number];
  readonly angle: number;
  readonly shift: readonly [x: number, y: number];
  /** Rows swing to the sides, and columns up and down: a flag in the wind, a hand of another drawer. */
  readonly swing: readonly [rows: Wave, columns: Wave];
  /** c' = M c + t: rows of [M | t].   [3 · 4] */
  readonly colour: readonly number[];
  /** Light from a side: colours of the drawing are multiplied by 1 + light · (place − ½). */
  readonly light: readonly [x: number, y: number];
  readonly background: Background;
  /** Share of each neighbour in a 3-tap blur, 0 … 1/3. */
  readonly blur: number;
};

/** amplitude · sin(2π · cycles · place + phase); amplitude and place are shares of the picture's side. */
export type Wave = { readonly amplitude: number; readonly cycles: number; readonly phase: number };

const STILL: Wave = { amplitude: 0, cycles: 0, phase: 0 };

/** From colour to colour along a direction, with noise of this amplitude. */
export type Background = {
  readonly from: readonly number[]; // [3]
  readonly to: readonly number[]; //   [3]
  readonly angle: number;
  readonly noise: number;
  readonly seed: number;
};

const SAME_COLOURS = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0];

export const plainBackground = (level: number): Background => ({
  from: [level, level, level],
  to: [level, level, level],
  angle: 0,
  noise: 0,
  seed: 0,
});

/** The drawing as it is, in the middle of a white picture: what evaluation looks at. */
export const PLAIN_VIEW: View = {
  scale: [0.92, 0.92],
  angle: 0,
  shift: [0, 0],
  swing: [STILL, STILL],
  colour: SAME_COLOURS,
  light: [0, 0],
  background: plainBackground(255),
  blur: 0,
};

/** A view of a drawing as most people meet it: whole, upright, in its own colours before white. */
export function calmView(random: () => number): View {
  const within = (low: number, high: number) => low + (high - low) * random();
  const size = within(0.84, 1);
  return { ...PLAIN_VIEW, scale: [size, size], shift: [within(-0.05, 0.05), within(-0.05, 0.05)] };
}

/** A view to learn from. Never mirrored: arrows and hands mean something else then. */
export function randomView(random: () => number): View {
  const within = (low: number, high: number) => low + (high - low) * random();
  const size = within(0.6, 1.1);
  const aspect = Math.exp(within(-0.12, 0.12));
  const room = Math.max(0.04, (1 - size) / 2 + 0.04);
  return {
    scale: [size * aspect, size / aspect],
    angle: within(-0.3, 0.3),
    shift: [within(-room, room), within(-room, room)],
    swing: random() < 0.6 ? [randomWave(within), randomWave(within)] : [STILL, STILL],
    colour: random() < 0.8 ? randomColours(within, random() < 0.15) : SAME_COLOURS,
    light: random() < 0.5 ? [within(-0.5, 0.5), within(-0.5, 0.5)] : [0, 0],
    background: randomBackground(random, within),
    blur: random() < 0.3 ? within(0.05, 0.3) : 0,
  };
}

const randomWave = (within: (low: number, high: number) => number): Wave => {
  const cycles = within(0.4, 1.6);
  return { amplitude: within(0, 0.07 / cycles), cycles, phase: within(0, 2 * Math.PI) };
};

/** The view of a drawing in black: in a colour that is far enough from its background to be seen. */
export function tintedView(view: View, random: () => number): View {
  const { from, to } = view.background;
  const behind = luma(from.map((c, i) => (c + to[i]) / 2));
  for (;;) {
    const tint = [255 * random(), 255 * random(), 255 * random()];
    if (Math.abs(luma(tint) - behind) < 90) continue;
    return { ...view, colour: tint.flatMap((c) => [0, 0, 0, c]) };
  }
}

const LUMA = [0.213, 0.715, 0.072];
const luma = (colour: readonly number[]): number => colour.reduce((sum, c, i) => sum + c * LUMA[i], 0);

/** Hue turned about the grey axis, saturation, contrast, brightness. (SVG 1.1, feColorMatrix: hueRotate and saturate) */
function randomColours(within: (low: number, high: number) => number, pale: boolean): readonly number[] {
  const hue = within(-0.2, 0.2); // at most 11°: a red apple stays red
  const saturation = pale ? within(0, 0.6) : within(0.6, 1.3);
  const contrast = within(0.75, 1.2);
  const brightness = within(-24, 24) + 127 * (1 - contrast);
  const cos = Math.cos(hue);
  const sin = Math.sin(hue) / Math.sqrt(3);
  return [0, 1, 2].flatMap((row) => {
    const weights = [0, 1, 2].map((column) => {
      const same = row === column ? 1 : 0;
      const next = (row + 1) % 3 === column ? -1 : (column + 1) % 3 === row ? 1 : 0;
      const turned = cos * same + (1 - cos) / 3 + sin * next;
      return contrast * (saturation * turned + (1 - saturation) * LUMA[column]);
    });
    return [...weights, brightness];
  });
}

function randomBackground(random: () => number, within: (low: number, high: number) => number): Background {
  const seed = Math.floor(random() * 2 ** 32);
  const kind = random();
  if (kind < 0.3) return { ...plainBackground(255), seed };
  if (kind < 0.4) return { ...plainBackground(0), seed }; // what a transparent PNG gets when alpha is dropped
  const colour = () => [within(0, 255), within(0, 255), within(0, 255)];
  const from = colour();
  return {
    from,
    to: kind < 0.7 ? from : colour(),
    angle: within(0, 2 * Math.PI),
    noise: random() < 0.3 ? within(5, 50) : 0,
    seed,
  };
}

/** A drawing seen in a view, as a picture of `size` × `size` pixels; they are written into `out` where it is given. */
export function drawView(
  { side, data }: Drawing,
  view: View,
  size: number,
  out = new Uint8ClampedArray(size * size * 3),
): RgbImage {
  const { from, to, angle: slope, noise } = view.background;
  const [lightX, lightY] = view.light;
  const [m0, m1, m2, t0, m3, m4, m5, t1, m6, m7, m8, t2] = view.colour;
  // Picture → drawing: the inverse of scale, rotation, shift, about both middles.
  const cos = Math.cos(view.angle) / size;
  const sin = Math.sin(view.angle) / size;
  const xx = (side * cos) / view.scale[0];
  const xy = (side * sin) / view.scale[0];
  const yx = (-side * sin) / view.scale[1];
  const yy = (side * cos) / view.scale[1];
  const middleX = size * (0.5 + view.shift[0]) - 0.5;
  const middleY = size * (0.5 + view.shift[1]) - 0.5;
  const stepX = Math.cos(slope) / (1.5 * size);
  const stepY = Math.sin(slope) / (1.5 * size);
  const line = side * 4;
  const [rows, columns] = view.swing.map((wave) => swingAlong(wave, size));
  let seed = view.background.seed;
  let o = 0;
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++, o += 3) {
      const along = 0.5 + (x - size / 2) * stepX + (y - size / 2) * stepY;
      let red = from[0] + (to[0] - from[0]) * along;
      let green = from[1] + (to[1] - from[1]) * along;
      let blue = from[2] + (to[2] - from[2]) * along;
      if (noise > 0) {
        seed = (Math.imul(seed, 1664525) + 1013904223) | 0;
        const grain = (seed / 2 ** 31) * noise;
        red += grain;
        green += grain;
        blue += grain;
      }
      const dx = x - middleX + rows[y];
      const dy = y - middleY + columns[x];
      const u = xx * dx + xy * dy + side / 2 - 0.5;
      const v = yx * dx + yy * dy + side / 2 - 0.5;
      if (u > -1 && v > -1 && u < side && v < side) {
        const left = Math.floor(u);
        const top = Math.floor(v);
        // Neighbours outside of the drawing are transparent; premultiplied, so colours may be mixed as they are.
        const right = left + 1 < side ? u - left : 0;
        const below = top + 1 < side ? v - top : 0;
        const leftShare = left >= 0 ? 1 - (u - left) : 0;
        const topShare = top >= 0 ? 1 - (v - top) : 0;
        const i = top * line + left * 4;
        const a = leftShare * topShare;
        const b = right * topShare;
        const c = leftShare * below;
        const d = right * below;
        const ia = a > 0 ? i : 0;
        const ib = b > 0 ? i + 4 : 0;
        const ic = c > 0 ? i + line : 0;
        const id = d > 0 ? i + line + 4 : 0;
        const alpha = (a * data[ia + 3] + b * data[ib + 3] + c * data[ic + 3] + d * data[id + 3]) / 255;
        if (alpha > 0) {
          const lit = 1 + lightX * (x / size - 0.5) + lightY * (y / size - 0.5);
          const r = lit * (a * data[ia] + b * data[ib] + c * data[ic] + d * data[id]);
          const g = lit * (a * data[ia + 1] + b * data[ib + 1] + c * data[ic + 1] + d * data[id + 1]);
          const l = lit * (a * data[ia + 2] + b * data[ib + 2] + c * data[ic + 2] + d * data[id + 2]);
          const full = 255 * alpha;
          red = (1 - alpha) * red + clamp(m0 * r + m1 * g + m2 * l + t0 * alpha, full);
          green = (1 - alpha) * green + clamp(m3 * r + m4 * g + m5 * l + t1 * alpha, full);
          blue = (1 - alpha) * blue + clamp(m6 * r + m7 * g + m8 * l + t2 * alpha, full);
        }
      }
      out[o] = red;
      out[o + 1] = green;
      out[o + 2] = blue;
    }
  }
  if (view.blur > 0) blur(out, size, view.blur);
  return { width: size, height: size, data: new Uint8Array(out.buffer, out.byteOffset, out.length) };
}

/** In pixels, at every place along a side. */
const swingAlong = ({ amplitude, cycles, phase }: Wave, size: number): Float64Array =>
  Float64Array.from(
    { length: size },
    (_, i) => amplitude * size * Math.sin((2 * Math.PI * cycles * i) / size + phase),
  );

const clamp = (x: number, most: number): number => Math.max(0, Math.min(x, most));

/** 3 taps along rows, then along columns; the outermost pixels stay. */
function blur(pixels: Uint8ClampedArray, size: number, share: number): void {
  const middle = 1 - 2 * share;
  const row = size * 3;
  for (const [step, lines, next] of [
    [3, size, row],
    [row, size, 3],
  ]) {
    for (let n = 0; n < lines; n++) {
      for (let channel = 0; channel < 3; channel++) {
        let i = n * next + channel;
        let before = pixels[i];
        for (let k = 1; k < size - 1; k++) {
          i += step;
          const here = pixels[i];
          pixels[i] = share * (before + pixels[i + step]) + middle * here;
          before = here;
        }
      }
    }
  }
}
